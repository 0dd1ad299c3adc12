//! Components with a core module more than their guest has, for what no compiler of guests makes.

use wasm_encoder::{ComponentSection, InstanceSection, Module, ModuleArg, ModuleSection};
use wasmparser::{Parser, Payload};

use super::component;

/// The component of a guest, and a module in it that nobody instantiates.
pub fn with_module(guest: &str, module: &Module) -> Vec<u8> {
    let mut bytes = component(guest);
    ModuleSection(module).append_to_component(&mut bytes);
    bytes
}

/// The same, where the module is instantiated, and so its start function called, with each instance of the component.
pub fn with_instance(guest: &str, module: &Module) -> Vec<u8> {
    let mut bytes = with_module(guest, module);
    let mut instances = InstanceSection::new();
    instances.instantiate(modules(&bytes) - 1, [] as [(&str, ModuleArg); 0]);
    instances.append_to_component(&mut bytes);
    bytes
}

/// How many modules the outermost layer has.
fn modules(component: &[u8]) -> u32 {
    let (mut depth, mut modules) = (0, 0);
    for payload in Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } => {
                modules += u32::from(depth == 0);
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    modules
}
