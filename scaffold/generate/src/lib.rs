//! The generator of the C bindings for new plugins, from the WIT in `wit/`: the output of wit-bindgen, and the custom section
//! that makes a module a plugin, as assembler text instead of an object file. The test compares the checked-in files;
//! `UPDATE_EXPECT=1 cargo test` writes them.

use std::fmt::Write as _;

use wit_bindgen_core::Files;
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The WIT.
const WIT: &str = include_str!("../../../wit/gauged.wit");

/// The number of bytes in a line of assembler text.
const ROW_BYTES: usize = 24;

/// The names and contents of the files.
///
/// # Panics
///
/// The WIT is invalid, or has no world `plugin`.
#[must_use]
pub fn bindings() -> Vec<(String, String)> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("gauged.wit", WIT).expect("valid WIT");
    let world = resolve.select_world(&[package], Some("plugin")).expect("a world plugin");
    let section = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).expect("a valid world");

    let options = wit_bindgen_c::Opts { no_object_file: true, ..wit_bindgen_c::Opts::default() };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("a world for C");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut bindings: Vec<_> = files.iter().map(|(name, bytes)| (name.to_owned(), text(bytes))).collect();
    bindings.push(("component_type.c".to_owned(), component_type(&section)));
    bindings
}

/// The custom section with the world of a module, as assembler text.
fn component_type(section: &[u8]) -> String {
    let rows = section.chunks(ROW_BYTES).fold(String::new(), |mut rows, row| {
        let row = row.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // Writing to a string cannot fail.
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
