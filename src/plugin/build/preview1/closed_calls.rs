//! Closed calls: those in which a guest may not call the host. The component model ends a guest that does so while the host asks it
//! for memory (`cabi_realloc`) or has read what it returned (`cabi_post_…`), whatever names they have. A runtime asks for the time whenever it collects
//! garbage, as that of Go does in any allocation. So these functions are wrapped: a global has 1 while one of them runs, and the
//! adapter, which imports it, does without the host then.

use std::ops::Range;

use wasmparser::{BinaryReaderError, CompositeInnerType, ExternalKind, Parser, Payload, TypeRef};

/// The name under which the adapter imports the global.
const CLOSED: &str = "gauged-closed";

/// The numbers of sections that are changed.
const FUNCTION: u8 = 3;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const CODE: u8 = 10;

/// The names of functions by which the host asks a guest for memory: those that wit-component knows.
const REALLOC: [&str; 5] =
    ["cabi_realloc", "canonical_abi_realloc", "cabi_import_realloc", "cabi_export_realloc", "cm32p2_realloc"];

/// The contents of a module that are needed to add functions to it.
#[derive(Default)]
struct Contents<'a> {
    /// For each type of a function the number of its parameters.
    parameters: Vec<u32>,
    /// For each function, imported ones first, its type.
    functions: Vec<u32>,
    /// The number of globals, imported ones included.
    globals: u32,
    exports: Vec<wasmparser::Export<'a>>,
    /// The sections with their numbers, in order.
    sections: Vec<(u8, Range<usize>)>,
}

/// The module with its closed calls marked.
pub(crate) fn mark(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut contents = Contents::read(module)?;
    let global = contents.globals;
    let wrapped: Vec<u32> =
        contents.exports.iter().filter(|export| is_closed(export)).map(|export| export.index).collect();

    let (mut types, mut bodies) = (Vec::new(), Vec::new());
    for function in &wrapped {
        let ty = contents.functions.get(*function as usize).copied().unwrap_or_default();
        leb128(ty, &mut types);
        let count = contents.parameters.get(ty as usize).copied().unwrap_or_default();
        let body = wrapper(*function, count, global);
        leb128(length(&body), &mut bodies);
        bodies.extend(body);
    }
    // A mutable i32 with the value 0.
    let new_global = [0x7F, 1, 0x41, 0, 0x0B];
    if !contents.sections.iter().any(|(id, _)| *id == GLOBAL) {
        // Its place is before the exports, which are there: without one there is nothing to call.
        let at = contents.sections.iter().position(|(id, _)| *id == EXPORT).unwrap_or(contents.sections.len());
        contents.sections.insert(at, (GLOBAL, 0..0));
    }

    let mut marked = module.get(..8).unwrap_or_default().to_vec();
    for (id, range) in contents.sections.clone() {
        let old = module.get(range).unwrap_or_default();
        let new = match id {
            FUNCTION => extended(old, length(&wrapped), &types),
            GLOBAL => extended(old, 1, &new_global),
            EXPORT => contents.exports(global),
            CODE => extended(old, length(&wrapped), &bodies),
            _ => old.to_vec(),
        };
        marked.push(id);
        leb128(length(&new), &mut marked);
        marked.extend(new);
    }
    Ok(marked)
}

/// Whether the host calls an exported function and lets it call nothing.
fn is_closed(export: &wasmparser::Export<'_>) -> bool {
    let name = export.name;
    let is_post_return = name.starts_with("cabi_post_") || (name.starts_with("cm32p2") && name.ends_with("_post"));
    (is_post_return || REALLOC.contains(&name)) && export.kind == ExternalKind::Func
}

impl<'a> Contents<'a> {
    fn read(module: &'a [u8]) -> Result<Self, BinaryReaderError> {
        let mut contents = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            let payload = payload?;
            if let Some(section) = payload.as_section() {
                contents.sections.push(section);
            }
            match payload {
                Payload::TypeSection(section) => {
                    for group in section {
                        contents.parameters.extend(group?.into_types().map(|ty| match ty.composite_type.inner {
                            CompositeInnerType::Func(function) => length(function.params()),
                            _ => 0,
                        }));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => contents.functions.push(ty),
                            TypeRef::Global(_) => contents.globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        contents.functions.push(ty?);
                    }
                }
                Payload::GlobalSection(section) => {
                    for global in section {
                        global?;
                        contents.globals += 1;
                    }
                }
                Payload::ExportSection(section) => contents.exports = section.into_iter().collect::<Result<_, _>>()?,
                _ => {}
            }
        }
        Ok(contents)
    }

    /// The section of exports, with the wrappers instead of closed functions, and the global.
    fn exports(&self, global: u32) -> Vec<u8> {
        let mut section = Vec::new();
        leb128(length(&self.exports) + 1, &mut section);
        let mut wrapper = length(&self.functions);
        let mut add = |name: &str, kind: u8, index: u32| {
            leb128(length(name.as_bytes()), &mut section);
            section.extend(name.as_bytes());
            section.push(kind);
            leb128(index, &mut section);
        };
        for export in &self.exports {
            let kind = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => 0,
                ExternalKind::Table => 1,
                ExternalKind::Memory => 2,
                ExternalKind::Global => 3,
                ExternalKind::Tag => 4,
            };
            let is_closed = is_closed(export);
            add(export.name, kind, if is_closed { wrapper } else { export.index });
            wrapper += u32::from(is_closed);
        }
        add(CLOSED, 3, global);
        section
    }
}

/// A function that calls another one with its own parameters, and has 1 in the global meanwhile.
fn wrapper(function: u32, parameters: u32, global: u32) -> Vec<u8> {
    // No locals.
    let mut body = vec![0];
    let set = |value: u8, body: &mut Vec<u8>| {
        body.extend([0x41, value, 0x24]);
        leb128(global, body);
    };
    set(1, &mut body);
    for parameter in 0..parameters {
        body.push(0x20);
        leb128(parameter, &mut body);
    }
    body.push(0x10);
    leb128(function, &mut body);
    set(0, &mut body);
    body.push(0x0B);
    body
}

/// A section with more entries; an empty one has none yet.
fn extended(section: &[u8], count: u32, entries: &[u8]) -> Vec<u8> {
    let width = section.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let (old, rest) = section.split_at(width.min(section.len()));
    let old = old.iter().rev().fold(0_u32, |number, byte| number << 7 | u32::from(byte & 0x7F));
    let mut extended = Vec::with_capacity(section.len() + entries.len() + 5);
    leb128(old.saturating_add(count), &mut extended);
    extended.extend(rest);
    extended.extend(entries);
    extended
}

fn leb128(mut number: u32, to: &mut Vec<u8>) {
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        to.push(low | if number > 0 { 0x80 } else { 0 });
        if number == 0 {
            return;
        }
    }
}

/// A length within a module, whose size is limited far below 4 GiB.
fn length<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULE: &str = r#"(module
        (import "a" "b" (func (param i64)))
        (memory (export "memory") 1)
        (func (export "run") (result i32) i32.const 7)
        (func $realloc (export "cabi_realloc") (export "other") (param i32 i32 i32 i32) (result i32) local.get 3)
        (func (export "cabi_post_run") (param i32))
        (@custom "kept" "content"))"#;

    #[test]
    fn marked_modules_are_valid_and_have_the_global() {
        for text in [MODULE, &MODULE.replace("(memory", "(global $own (mut i64) (i64.const 5)) (memory"), "(module)"] {
            let module = wat::parse_str(text).expect("valid");
            let marked = mark(&module).expect("marked");
            wasmparser::validate(&marked).expect("valid");
            let contents = Contents::read(&marked).expect("readable");
            let before = Contents::read(&module).expect("readable");
            let has_global = |export: &wasmparser::Export<'_>| export.name == CLOSED && export.index == before.globals;
            assert!(text == "(module)" || contents.exports.iter().any(has_global), "{text}");
            let index = |contents: &Contents<'_>, name: &str| {
                contents.exports.iter().find(|export| export.name == name).map(|export| export.index)
            };
            assert_eq!(index(&contents, "run"), index(&before, "run"));
            assert_eq!(index(&contents, "other"), index(&before, "other"));
            if text != "(module)" {
                assert_eq!(index(&contents, "cabi_realloc"), Some(4));
                assert_eq!(index(&contents, "cabi_post_run"), Some(5));
            }
        }
    }

    proptest! {
        #[test]
        fn section_of_any_size_is_extended(count in 0_u32..40_000, more in 0_u32..300) {
            let (mut section, mut expected) = (Vec::new(), Vec::new());
            leb128(count, &mut section);
            leb128(count + more, &mut expected);
            section.push(9);
            expected.extend([9, 8]);
            prop_assert_eq!(extended(&section, more, &[8]), expected);
        }

        /// A module that can be read in spite of its damage is marked, and has its exports and the global afterwards.
        #[test]
        fn damaged_modules_keep_their_exports(
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
            at in 0_usize..200,
            is_cut in any::<bool>(),
        ) {
            let mut module = wat::parse_str(MODULE).expect("valid");
            let at = at % module.len();
            let end = if is_cut { module.len() } else { module.len().min(at + bytes.len()) };
            module.splice(at..end, bytes);
            let Ok(marked) = mark(&module) else { return Ok(()) };
            let before = Contents::read(&module).expect("it was marked");
            if !before.sections.iter().any(|(id, _)| *id == EXPORT) {
                // There is nothing to call.
                return Ok(());
            }
            let after = Contents::read(&marked).expect("a marked module can be read");
            let names = |contents: &Contents<'_>| -> Vec<String> {
                contents.exports.iter().map(|export| export.name.to_owned()).collect()
            };
            prop_assert_eq!(names(&after), [names(&before), vec![CLOSED.to_owned()]].concat());
            prop_assert_eq!(after.globals, before.globals + 1);
        }
    }
}
