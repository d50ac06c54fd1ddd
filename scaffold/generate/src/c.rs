//! The bindings for C: the output of wit-bindgen, and the custom section that makes a module a plugin, as assembler text instead
//! of an object file.

use std::fmt::Write as _;

use crate::File;
use crate::wit::{Wit, component_type};

/// The number of bytes in a line of assembler text.
const ROW_BYTES: usize = 24;

pub(crate) fn files(wit: &Wit) -> Vec<File> {
    let options = wit_bindgen_c::Opts { no_object_file: true, ..wit_bindgen_c::Opts::default() };
    let mut files = wit.generated(options.build(), "c/bindings");
    files.push(File { path: "c/bindings/component_type.c".to_owned(), text: assembler_text(&component_type(wit)) });
    files
}

/// The custom section with the world of a module, as assembler text. Projects in C++ and Zig have it, too.
fn assembler_text(section: &[u8]) -> String {
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
         #ifdef __cplusplus\n\
         extern \"C\"\n\
         #endif\n\
         // Called by the bindings, so that this file is linked.\n\
         void __component_type_object_force_link_plugin(void) {{}}\n"
    )
}
