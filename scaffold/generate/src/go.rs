//! The bindings for Go: the output of wit-bindgen with shorter names of packages, formatted, and the custom section that makes a
//! module a plugin. The packages that this output uses are in `scaffold/go/bindings`: `wit` and `memory`.

use std::fmt::Write as _;

use crate::File;
use crate::wit::{Wit, component_type};

/// The number of bytes in a line of the custom section.
const ROW_BYTES: usize = 32;

pub(crate) fn files(wit: &Wit) -> Vec<File> {
    let options = wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, ..wit_bindgen_go::Opts::default() };
    let mut files = Vec::new();
    for file in wit.generated(options.build(), "go/bindings") {
        let path = file.path.replace("gauged_plugin_", "");
        let path = match path.as_str() {
            // A project has its own, and the file with the exports is a package.
            "go/bindings/go.mod" => continue,
            "go/bindings/wit_exports.go" => "go/bindings/exports/exports.go".to_owned(),
            path => path.replace("wit_bindings.go", "bindings.go").replace("empty.s", "functions_without_body.s"),
        };
        let is_assembler = path.ends_with("functions_without_body.s");
        let text = if is_assembler { file.text + "\n" } else { formatted(&renamed(&file.text)) };
        files.push(File { path, text });
    }
    files.push(File { path: "go/bindings/component_type".to_owned(), text: section(&component_type(wit)) });
    files
}

/// The text with the import paths of a project.
fn renamed(text: &str) -> String {
    let line = |line: &str| {
        let (start, path) = match line.trim().split_once('"') {
            Some((alias, path)) if path.ends_with('"') && !path.trim_end_matches('"').contains([' ', '"']) => {
                (alias, path)
            }
            _ => return line.replace("package gauged_plugin_", "package ").replace("package main", "package exports"),
        };
        let known = [
            ("wit_component/export_gauged_plugin_", "export_gauged_plugin_", "gauged/"),
            ("wit_component/gauged_plugin_", "gauged_plugin_", "gauged/bindings/"),
        ];
        for (from, alias, to) in known {
            if let Some(name) = path.strip_prefix(from) {
                return format!("{alias}{} \"{to}{name}", name.trim_end_matches('"'));
            }
        }
        let path = path.replace("go.bytecodealliance.org/pkg/wit/types", "gauged/bindings/wit");
        format!("{start}\"{}", path.replace("go.bytecodealliance.org/pkg/wit/runtime", "gauged/bindings/memory"))
    };
    let text: String = text.lines().map(|text| line(text) + "\n").collect();
    // The main function is in the project.
    match text.find("// Unused, but present") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The text with a tab for each open bracket, and single empty lines.
fn formatted(text: &str) -> String {
    let (mut depth, mut is_empty, mut result) = (0_usize, true, String::new());
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            is_empty = true;
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        let closes_first = usize::from(code.starts_with(['}', ')']));
        let is_case = code.starts_with("case ") || code.starts_with("default:");
        if is_empty && !result.is_empty() && closes_first == 0 && !result.ends_with("{\n") {
            result.push('\n');
        }
        is_empty = false;
        let indentation = depth.saturating_sub(closes_first + usize::from(is_case));
        let _ = writeln!(result, "{}{line}", "\t".repeat(indentation));
        let count = |brackets: [char; 2]| code.matches(brackets).count();
        depth = (depth + count(['{', '('])).saturating_sub(count(['}', ')']));
    }
    result
}

/// The custom section as escape sequences of printf(1): the compiler of Go cannot make it, and `build.sh` appends it.
fn section(content: &[u8]) -> String {
    let name = b"component-type:plugin";
    let mut body = vec![u8::try_from(name.len()).expect("a short name")];
    body.extend(name);
    body.extend(content);
    let (mut bytes, mut size) = (vec![0], body.len());
    // The size in LEB128.
    loop {
        let low = u8::try_from(size & 0x7F).expect("seven bits");
        size >>= 7;
        bytes.push(low | if size > 0 { 0x80 } else { 0 });
        if size == 0 {
            break;
        }
    }
    bytes.extend(body);
    let row = |row: &[u8]| row.iter().fold(String::new(), |text, byte| format!("{text}\\{byte:03o}")) + "\n";
    bytes.chunks(ROW_BYTES).map(row).collect()
}
