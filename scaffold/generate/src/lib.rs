//! Makes the bindings that a plugin in C is begun with, of the contract in `wit/`: what the generator writes, and the
//! section by which a module is known to be a plugin, as text instead of an object file. The test holds what is checked in
//! to that; `UPDATE_EXPECT=1 cargo test` writes it.

use std::fmt::Write as _;

use wit_bindgen_core::Files;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The contract.
const CONTRACT: &str = include_str!("../../../wit/gauged.wit");

/// How many bytes a line of a section has.
const ROW: usize = 24;

/// The files, by their names.
///
/// # Panics
///
/// When the contract cannot be read, or has no world `plugin`.
#[must_use]
pub fn bindings() -> Vec<(String, String)> {
    let mut resolve = Resolve::default();
    let contract = resolve.push_str("gauged.wit", CONTRACT).expect("the contract parses");
    let world = resolve.select_world(&[contract], Some("plugin")).expect("it has the world");
    let section = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).expect("it is sound");

    let options = wit_bindgen_c::Opts { no_object_file: true, ..wit_bindgen_c::Opts::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("C can say it");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("C is text");
    let mut bindings: Vec<_> = files.iter().map(|(name, bytes)| (name.to_owned(), text(bytes))).collect();
    bindings.push(("component_type.c".to_owned(), component_type(&section)));
    bindings
}

/// The section in which a module carries the world that it was built for, as an assembler takes it.
fn component_type(section: &[u8]) -> String {
    let rows = section.chunks(ROW).fold(String::new(), |mut rows, row| {
        let row = row.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // Writing to a string does not fail.
        let _ = writeln!(rows, "        \".byte {row}\\n\"");
        rows
    });
    format!(
        "// Generated from wit/gauged.wit: the section by which the module is known to be a plugin.\n\
         __asm__(\".section \\\".custom_section.component-type:plugin\\\",\\\"\\\",@\\n\"\n\
         {rows}        \".text\\n\");\n\n\
         // Called by plugin.c, so that this file is linked.\n\
         void __component_type_object_force_link_plugin(void) {{}}\n"
    )
}
