//! Makes bulk memory operations interruptible: each goes through its memory piece by piece.
//!
//! Compiled code looks at the epoch where a function and a loop begin, and `memory.copy`, `memory.fill` and `memory.init` are
//! neither: one of them may take tens of milliseconds, in which the guest holds its thread whatever its limits say. So each that is
//! not known to be short becomes a call of a function that is added to its module and loops over pieces.
//!
//! Deliberately absent: the check that the whole range is there before its first byte is written. A range that is not there traps
//! at one of its pieces, and nobody sees the memory of an instance that trapped.

use std::borrow::Cow;

use wasm_encoder::{BlockType, CodeSection, Encode, Function, InstructionSink};
use wasmparser::{BinaryReader, FunctionBody, MemoryType, Operator, Parser, Payload, Result, TypeRef};

/// What is copied or filled without a look at the epoch: some 30 us, and 0.3 ms where each page is new.
const PIECE_BYTES: u32 = 256 << 10;

/// A valid component that does the same, with all bulk operations in pieces.
pub fn in_pieces(component: &[u8]) -> Result<Vec<u8>> {
    sections(component, &mut |id, content| match id {
        section::CORE_MODULE => module(content, PIECE_BYTES),
        section::COMPONENT => Ok(Cow::Owned(in_pieces(content)?)),
        _ => Ok(Cow::Borrowed(content)),
    })
}

/// The ids that are looked for, of a component and of a module.
mod section {
    pub const CORE_MODULE: u8 = 1;
    pub const COMPONENT: u8 = 4;
    pub const TYPE: u8 = 1;
    pub const FUNCTION: u8 = 3;
    pub const CODE: u8 = 10;
}

/// The first bytes of a component or module: its magic number and its version.
const HEADER_BYTES: usize = 8;

/// What becomes of a section, by its id and its content.
type Change<'c> = dyn FnMut(u8, &[u8]) -> Result<Cow<'_, [u8]>> + 'c;

fn sections(wasm: &[u8], change: &mut Change<'_>) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(wasm, 0);
    let mut changed = reader.read_bytes(HEADER_BYTES)?.to_vec();
    while !reader.eof() {
        let (id, content) = (reader.read_u8()?, reader.read_reader()?);
        changed.push(id);
        change(id, &wasm[content.range()])?.encode(&mut changed);
    }
    Ok(changed)
}

fn module(wasm: &[u8], piece_bytes: u32) -> Result<Cow<'_, [u8]>> {
    let Some(found) = Found::in_module(wasm)? else { return Ok(Cow::Borrowed(wasm)) };
    let changed = sections(wasm, &mut |id, content| {
        Ok(match id {
            section::TYPE => Cow::Owned(append(content, &[&HELPER_TYPE])?),
            section::FUNCTION => {
                let mut type_index = Vec::new();
                found.types.encode(&mut type_index);
                Cow::Owned(append(content, &vec![type_index.as_slice(); found.bulk.len()])?)
            }
            section::CODE => Cow::Owned(found.code(wasm, piece_bytes)?),
            _ => Cow::Borrowed(content),
        })
    })?;
    Ok(Cow::Owned(changed))
}

/// `(func (param i32 i32 i32))`, as it is encoded.
const HELPER_TYPE: [u8; 6] = [0x60, 3, 0x7f, 0x7f, 0x7f, 0];

/// Adds to a section that is a number of entries, and those.
fn append(content: &[u8], entries: &[&[u8]]) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(content, 0);
    let count = reader.read_var_u32()? as usize;
    let mut longer = Vec::new();
    (count + entries.len()).encode(&mut longer);
    longer.extend_from_slice(&content[reader.current_position()..]);
    longer.extend(entries.iter().copied().flatten());
    Ok(longer)
}

/// What a module has.
#[derive(Default)]
struct Found<'a> {
    types: u32,
    functions: u32,
    bodies: Vec<FunctionBody<'a>>,
    /// Operations that are done in pieces, each with a function of its own after all others.
    bulk: Vec<Bulk>,
}

impl<'a> Found<'a> {
    /// `None` where nothing is to be done.
    fn in_module(wasm: &'a [u8]) -> Result<Option<Self>> {
        let mut found = Self::default();
        let mut has_memory64 = false;
        let mut look = |memory: MemoryType| has_memory64 |= memory.memory64;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        found.types += u32::try_from(group?.types().len()).unwrap_or(u32::MAX);
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        match import?.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => found.functions += 1,
                            TypeRef::Memory(memory) => look(memory),
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(functions) => found.functions += functions.count(),
                Payload::MemorySection(memories) => memories.into_iter().try_for_each(|memory| memory.map(&mut look))?,
                Payload::CodeSectionEntry(body) => {
                    for_each_long(&body, |bulk, _| {
                        if !found.bulk.contains(&bulk) {
                            found.bulk.push(bulk);
                        }
                    })?;
                    found.bodies.push(body);
                }
                _ => {}
            }
        }
        // The engine refuses 64-bit memories, in words of its own.
        Ok((!found.bulk.is_empty() && !has_memory64).then_some(found))
    }

    /// The code section: every body with calls in place of the operations, and then the functions that are called.
    fn code(&self, wasm: &[u8], piece_bytes: u32) -> Result<Vec<u8>> {
        let mut code = CodeSection::new();
        for body in &self.bodies {
            code.raw(&self.body(wasm, body)?);
        }
        for bulk in &self.bulk {
            code.function(&bulk.function(piece_bytes));
        }
        // The section writes its length too, which whoever puts it into the module writes again.
        let mut encoded = Vec::new();
        code.encode(&mut encoded);
        let mut reader = BinaryReader::new(&encoded, 0);
        reader.read_var_u32()?;
        Ok(encoded.split_off(reader.current_position()))
    }

    fn body(&self, wasm: &[u8], body: &FunctionBody<'_>) -> Result<Vec<u8>> {
        let mut changed = Vec::new();
        let mut kept_to = body.range().start;
        for_each_long(body, |bulk, range| {
            let at = self.bulk.iter().position(|known| *known == bulk).unwrap_or_default();
            changed.extend_from_slice(&wasm[kept_to..range.start]);
            InstructionSink::new(&mut changed).call(self.functions + at as u32);
            kept_to = range.end;
        })?;
        changed.extend_from_slice(&wasm[kept_to..body.range().end]);
        Ok(changed)
    }
}

/// Calls `act` with each operation that may be long, and with where it stands.
fn for_each_long(body: &FunctionBody<'_>, mut act: impl FnMut(Bulk, std::ops::Range<usize>)) -> Result<()> {
    let mut operators = body.get_operators_reader()?;
    let mut is_short = false;
    while !operators.eof() {
        let start = operators.original_position();
        let operator = operators.read()?;
        match Bulk::of(&operator) {
            Some(bulk) if !is_short => act(bulk, start..operators.original_position()),
            _ => {}
        }
        // The length is the last operand, so a constant before the operation is its length. wasmtime has fast ways for those.
        is_short = matches!(operator, Operator::I32Const { value } if value as u32 <= PIECE_BYTES);
    }
    Ok(())
}

/// An operation whose operands are where to, where from (or the byte to fill with), and how many bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bulk {
    Copy { to: u32, from: u32 },
    Fill { memory: u32 },
    Init { memory: u32, segment: u32 },
}

/// Its operands, as locals of its function.
const TO: u32 = 0;
const FROM: u32 = 1;
const LENGTH: u32 = 2;

impl Bulk {
    fn of(operator: &Operator<'_>) -> Option<Self> {
        match *operator {
            Operator::MemoryCopy { dst_mem, src_mem } => Some(Self::Copy { to: dst_mem, from: src_mem }),
            Operator::MemoryFill { mem } => Some(Self::Fill { memory: mem }),
            Operator::MemoryInit { mem, data_index } => Some(Self::Init { memory: mem, segment: data_index }),
            _ => None,
        }
    }

    fn function(self, piece_bytes: u32) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        if let Self::Copy { .. } = self {
            // Ranges may overlap: what is still to be read must not be written yet.
            code.local_get(TO).local_get(FROM).i32_gt_u().if_(BlockType::Empty);
            self.backwards(&mut code, piece_bytes);
            code.else_();
            self.forwards(&mut code, piece_bytes);
            code.end();
        } else {
            self.forwards(&mut code, piece_bytes);
        }
        code.local_get(TO).local_get(FROM).local_get(LENGTH);
        self.operate(&mut code);
        code.end();
        function
    }

    /// Piece by piece from the start, until one piece or less is left.
    fn forwards(self, code: &mut InstructionSink<'_>, piece_bytes: u32) {
        let piece = piece_bytes as i32;
        while_more(code, piece, |code| {
            code.local_get(TO).local_get(FROM).i32_const(piece);
            self.operate(code);
            code.local_get(TO).i32_const(piece).i32_add().local_set(TO);
            if !matches!(self, Self::Fill { .. }) {
                code.local_get(FROM).i32_const(piece).i32_add().local_set(FROM);
            }
            code.local_get(LENGTH).i32_const(piece).i32_sub().local_set(LENGTH);
        });
    }

    /// Piece by piece from the end, until one piece or less is left.
    fn backwards(self, code: &mut InstructionSink<'_>, piece_bytes: u32) {
        let piece = piece_bytes as i32;
        while_more(code, piece, |code| {
            code.local_get(LENGTH).i32_const(piece).i32_sub().local_set(LENGTH);
            code.local_get(TO).local_get(LENGTH).i32_add();
            code.local_get(FROM).local_get(LENGTH).i32_add();
            code.i32_const(piece);
            self.operate(code);
        });
    }

    fn operate(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Copy { to, from } => code.memory_copy(to, from),
            Self::Fill { memory } => code.memory_fill(memory),
            Self::Init { memory, segment } => code.memory_init(memory, segment),
        };
    }
}

/// A loop, which is where the epoch is looked at.
fn while_more(code: &mut InstructionSink<'_>, piece: i32, act: impl FnOnce(&mut InstructionSink<'_>)) {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(LENGTH).i32_const(piece).i32_le_u().br_if(1);
    act(code);
    code.br(0).end().end();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasm_encoder as encode;
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;

    const MEMORY_BYTES: usize = 65_536;
    const SEGMENT: &[u8] = b"a segment that is longer than a piece of the tests";
    const BULK: [(&str, Bulk); 3] =
        [("copy", Bulk::Copy { to: 0, from: 0 }), ("fill", Bulk::Fill { memory: 0 }), ("init", Bulk::Init { memory: 0, segment: 0 })];

    /// A module that exports its memory, and each operation as a function of its operands.
    fn with_bulk() -> Vec<u8> {
        let mut module = encode::Module::new();
        let mut types = encode::TypeSection::new();
        types.ty().function([encode::ValType::I32; 3], []);
        let (mut functions, mut exports, mut code) =
            (encode::FunctionSection::new(), encode::ExportSection::new(), encode::CodeSection::new());
        for (at, (name, bulk)) in BULK.into_iter().enumerate() {
            functions.function(0);
            exports.export(name, encode::ExportKind::Func, at as u32);
            let mut function = Function::new([]);
            let mut body = function.instructions();
            body.local_get(TO).local_get(FROM).local_get(LENGTH);
            bulk.operate(&mut body);
            body.end();
            code.function(&function);
        }
        exports.export("memory", encode::ExportKind::Memory, 0);
        let mut memories = encode::MemorySection::new();
        memories.memory(encode::MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut segments = encode::DataSection::new();
        segments.passive(SEGMENT.iter().copied());
        module.section(&types).section(&functions).section(&memories).section(&exports);
        module.section(&encode::DataCountSection { count: 1 }).section(&code).section(&segments);
        module.finish()
    }

    /// The memory after the operation, or `None` if it trapped.
    fn after(module: &Module, name: &str, operands: (u32, u32, u32)) -> Option<Vec<u8>> {
        let mut store = Store::new(module.engine(), ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        for (at, byte) in memory.data_mut(&mut store).iter_mut().enumerate() {
            *byte = (at * 7 % 251) as u8;
        }
        let operate = instance.get_typed_func::<(u32, u32, u32), ()>(&mut store, name).unwrap();
        operate.call(&mut store, operands).ok().map(|()| memory.data(&store).to_vec())
    }

    fn changed(piece_bytes: u32) -> Vec<u8> {
        module(&with_bulk(), piece_bytes).unwrap().into_owned()
    }

    fn operand() -> impl Strategy<Value = u32> {
        let end = MEMORY_BYTES as u32;
        prop_oneof![0_u32..64, 0_u32..600, end - 600..end + 600, u32::MAX - 600..=u32::MAX, any::<u32>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn pieces_do_what_the_whole_does(piece in 1_u32..40, operands in (operand(), operand(), operand()), at in 0_usize..3) {
            let engine = Engine::default();
            let [whole, pieces] = [with_bulk(), changed(piece)].map(|wasm| Module::new(&engine, wasm).unwrap());
            let name = BULK[at].0;
            prop_assert_eq!(after(&whole, name, operands), after(&pieces, name, operands));
        }
    }

    #[test]
    fn what_is_known_to_be_short_stays_as_it_is_and_so_does_a_module_without_bulk() {
        let body = |length: i32| {
            let mut function = Function::new([]);
            function.instructions().i32_const(0).i32_const(0).i32_const(length).memory_fill(0).end();
            function.into_raw_body()
        };
        let long = |length| {
            let body = body(length);
            let mut found = 0;
            for_each_long(&FunctionBody::new(BinaryReader::new(&body, 0)), |_, _| found += 1).unwrap();
            found
        };
        assert_eq!((long(PIECE_BYTES as i32), long(PIECE_BYTES as i32 + 1), long(-1)), (0, 1, 1));
        let empty = encode::Module::new().finish();
        assert_eq!(module(&empty, 7).unwrap(), empty);
        assert!(changed(PIECE_BYTES).len() > with_bulk().len());
    }

    #[test]
    fn modules_inside_components_inside_components_are_found() {
        let mut inner = encode::Component::new();
        inner.section(&encode::RawSection { id: section::CORE_MODULE, data: &with_bulk() });
        let mut outer = encode::Component::new();
        outer.section(&encode::RawSection { id: section::COMPONENT, data: &inner.finish() });
        let outer = in_pieces(&outer.finish()).unwrap();
        wasmparser::Validator::new().validate_all(&outer).unwrap();
        let pieces = changed(PIECE_BYTES);
        assert!(outer.windows(pieces.len()).any(|window| window == pieces));
    }
}
