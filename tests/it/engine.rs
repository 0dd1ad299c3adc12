//! The engine: what it does not run is refused at the deployment, in words, by whatever guest it is asked for.

use ledge::deploy::DeployError;
use wasm_encoder::{
    CodeSection, ContType, FieldType, Function, FunctionSection, Instruction, MemorySection, MemoryType, Module, StorageType, TypeSection,
    ValType,
};

use crate::harness::module::with_module;
use crate::harness::{ECHO, Setup, TestGateway, gateway};

/// One page, and no more.
const MEMORY: MemoryType = MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: None };

fn memory(memory: MemoryType) -> Module {
    let (mut memories, mut module) = (MemorySection::new(), Module::new());
    memories.memory(memory);
    module.section(&memories);
    module
}

fn types(add: impl FnOnce(&mut TypeSection)) -> Module {
    let (mut types, mut module) = (TypeSection::new(), Module::new());
    add(&mut types);
    module.section(&types);
    module
}

/// A function of these instructions, which leave nothing behind.
fn code(instructions: &[Instruction]) -> Module {
    let mut module = types(|types| types.ty().function([], []));
    let (mut functions, mut code, mut body) = (FunctionSection::new(), CodeSection::new(), Function::new([]));
    functions.function(0);
    for instruction in instructions.iter().chain([&Instruction::End]) {
        body.instruction(instruction);
    }
    code.function(&body);
    module.section(&functions).section(&code);
    module
}

/// A module that asks for each of what the engine does not run, and a word of the refusal.
fn unknown() -> [(&'static str, Module, &'static str); 8] {
    let field = FieldType { element_type: StorageType::Val(ValType::I32), mutable: true };
    [
        ("a shared memory", memory(MemoryType { shared: true, ..MEMORY }), "threads"),
        ("atomic operations", code(&[Instruction::AtomicFence]), "threads"),
        ("a reference to an i31", code(&[Instruction::I32Const(1), Instruction::RefI31, Instruction::Drop]), "gc"),
        ("a struct", types(|types| types.ty().struct_([field])), "gc"),
        ("an array", types(|types| types.ty().array(&StorageType::I8, true)), "gc"),
        ("a memory of 64 bits", memory(MemoryType { memory64: true, ..MEMORY }), "memory64"),
        ("pages of one byte", memory(MemoryType { page_size_log2: Some(0), ..MEMORY }), "custom page sizes"),
        (
            "a continuation",
            types(|types| {
                types.ty().function([], []);
                types.ty().cont(&ContType(0));
            }),
            "stack switching",
        ),
    ]
}

fn function(module: &Module) -> Setup {
    let mut setup = gateway().function("count");
    setup.set.functions[0].component = setup.component(with_module("count", module));
    setup
}

fn driver(module: &Module) -> Setup {
    let mut setup = gateway().echo_thing("echo-1");
    setup.set.drivers[0].component = setup.component(with_module("echo-thing", module));
    setup
}

async fn refused(gw: &TestGateway, setup: Setup, what: &str) -> String {
    match gw.deploy(setup).await {
        Err(DeployError::Refused(problems)) => problems.join("\n"),
        other => panic!("{what} was not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_needs_what_the_engine_does_not_run_is_refused_in_words() {
    let gw = gateway().function("misbehave").start().await;
    for (what, module, word) in unknown() {
        for (setup, who) in [(function(&module), "function `test/count`: "), (driver(&module), "driver `echo_thing`: ")] {
            let message = refused(&gw, setup, what).await;
            assert!(message.starts_with(who) && message.contains(word), "{what}: {message}");
        }
    }
    assert_eq!(gw.result("misbehave", "still here").await, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_more_that_needs_nothing_unknown_is_no_reason_to_refuse_a_component() {
    let plain = memory(MEMORY);
    let gw = function(&plain).start().await;
    assert_eq!(gw.result("count", "").await, "1");
    let gw = driver(&plain).start().await;
    gw.online(&ledge::name::ThingId::new(ECHO, "echo-1")).await;
}
