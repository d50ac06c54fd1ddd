//! Recognises plugin files by their header and exports, before the engine sees them, with an error of its own for each kind
//! of file that is dropped into a plugins directory by mistake.

use std::borrow::Cow;

use wasmparser::{Encoding, Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::Resolve;

use crate::plugin::build::package_version::PackageVersion;
use crate::plugin::build::preview1::{ADAPTER, PREVIEW_1, closed_calls};
use crate::plugin::build::sealed::Sealed;

/// The export that makes a component a plugin, without its version.
const COLLECTOR_EXPORT: &str = "gauged:plugin/collector@";

/// The version of the WIT package `gauged:plugin` that this agent serves: a candidate, which no other replaces. A release also
/// serves plugins that were built for the other ones of its line, if they import nothing that it does not have.
pub(crate) const SERVED: &str = "0.2.0-rc.4";

/// The custom section in which a core module has the world that it was built for.
const WORLD_SECTION: &str = "component-type";

/// The imports of core modules for the WASI before preview 1, which nothing wraps.
const WASI_UNSTABLE: &str = "wasi_unstable";

/// The most packages in a core module's worlds: its own, `gauged:plugin`, and the dozen of WASI.
const PACKAGES: usize = 100;

/// How much of a file is examined for text.
const BEGINNING_BYTES: usize = 4096;

/// Checks that a file begins with a WebAssembly header.
///
/// # Errors
///
/// The kind of the file, and the remedy.
pub(crate) fn check_beginning(file: &Sealed) -> Result<(), String> {
    let mut buffer = [0; BEGINNING_BYTES];
    let beginning = file.prefix(&mut buffer).map_err(|error| format!("cannot be read: {error}; copy it again"))?;
    encoding(beginning).map(|_| ())
}

/// Checks that the bytes are a plugin of a version that this agent serves. A core module that contains its world is wrapped
/// into a component.
///
/// # Errors
///
/// The kind of the file, and the remedy.
pub(crate) fn to_component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    to_component_for(SERVED, bytes)
}

/// The same for an agent that serves this version.
pub(crate) fn to_component_for<'a>(served: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let encoding = encoding(bytes)?;
    let component = match encoding {
        Encoding::Component => Cow::Borrowed(bytes),
        Encoding::Module => Cow::Owned(wrap(bytes)?),
    };
    check_exports(served, &component)?;
    Ok(component)
}

fn encoding(bytes: &[u8]) -> Result<Encoding, String> {
    if bytes.is_empty() {
        return Err("is empty; copy it again".to_owned());
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(
            "is native code, such as a precompiled artifact, which is never loaded; use the .wasm file it was \
                    made of"
                .to_owned(),
        );
    }
    if !bytes.starts_with(b"\0asm") {
        // The last character may be cut off.
        let is_utf8 = str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true);
        let is_text = is_utf8 && !bytes.contains(&0);
        let reason = if is_text { "is text, not WebAssembly" } else { "is not WebAssembly" };
        return Err(format!("{reason}; build it for a wasm target"));
    }
    match Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding, .. }, .. }) => Ok(encoding),
        _ => Err("has a WebAssembly header of an unknown version; rebuild it with a current toolchain".to_owned()),
    }
}

/// Wraps a core module into a component of the world that it contains.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let (mut worlds, mut has_preview_1) = (Vec::new(), false);
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(|error| damaged(&error))? {
            Payload::CustomSection(section) if section.name().starts_with(WORLD_SECTION) => {
                worlds.push(section.data());
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let from = import.map_err(|error| damaged(&error))?.module;
                    has_preview_1 |= from == PREVIEW_1;
                    if from == WASI_UNSTABLE {
                        return Err(format!(
                            "is a core module for the WASI before preview 1 (it imports {from}); rebuild it with a current \
                             toolchain"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    if worlds.is_empty() {
        return Err(
            "is a core module without a world; build it with the gauged SDK, or make a component of it".to_owned()
        );
    }
    check_worlds(&worlds)?;
    let marked = if has_preview_1 { Some(closed_calls::mark(module).map_err(|error| damaged(&error))?) } else { None };
    wit_component::ComponentEncoder::default()
        .module(marked.as_deref().unwrap_or(module))
        .and_then(|encoder| if has_preview_1 { encoder.adapter(PREVIEW_1, ADAPTER) } else { Ok(encoder) })
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| format!("is a core module that does not fit its world: {error:#}; rebuild it"))
}

/// Checks that the packages of these worlds, taken together, are few and need each other in no circle: wit-component would
/// follow a circle until the stack overflows.
fn check_worlds(worlds: &[&[u8]]) -> Result<(), String> {
    let misfit = |why: String| format!("is a core module with an invalid world: {why}; rebuild it");
    let mut all: Option<Resolve> = None;
    for world in worlds {
        let DecodedWasm::WitPackage(packages, _) =
            wit_component::decode(world).map_err(|error| misfit(format!("{error:#}")))?
        else {
            return Err(misfit("it is a component".to_owned()));
        };
        check_order(&packages).map_err(misfit)?;
        match &mut all {
            Some(all) => {
                all.merge(packages).map_err(|error| misfit(format!("{error:#}")))?;
                check_order(all).map_err(misfit)?;
            }
            None => all = Some(packages),
        }
    }
    Ok(())
}

fn check_order(packages: &Resolve) -> Result<(), String> {
    let mut unordered: Vec<_> = packages.packages.iter().map(|(id, _)| id).collect();
    if unordered.len() > PACKAGES {
        return Err(format!("it names more than {PACKAGES} packages"));
    }
    while !unordered.is_empty() {
        let is_blocked = |id| packages.package_direct_deps(id).any(|needed| unordered.contains(&needed));
        let blocked: Vec<_> = unordered.iter().copied().filter(|&id| is_blocked(id)).collect();
        if blocked.len() == unordered.len() {
            return Err("its packages need each other".to_owned());
        }
        unordered = blocked;
    }
    Ok(())
}

/// Checks that a component exports a collector of a version that an agent of this version takes.
fn check_exports(served: &str, component: &[u8]) -> Result<(), String> {
    let mut depth = 0_usize;
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| damaged(&error))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(|error| damaged(&error))?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let versions: Vec<&str> = exports.iter().filter_map(|name| name.strip_prefix(COLLECTOR_EXPORT)).collect();
    if versions.iter().any(|version| is_taken(version, served)) {
        return Ok(());
    }
    let Some(version) = versions.first() else {
        let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(format!(
            "is a component of another world: it exports {exports} instead of {COLLECTOR_EXPORT}{served}; build it for \
             the world gauged:plugin/plugin"
        ));
    };
    Err(if is_prerelease(version) {
        format!("was built for a pre-release, gauged:plugin {version}; rebuild it for {served}")
    } else {
        let agent = env!("CARGO_PKG_VERSION");
        format!(
            "was built for gauged:plugin {version}, and this agent, {agent}, serves {served}; update the agent, or build the \
             plugin for {served}"
        )
    })
}

/// Whether plugins that were built for a version of the interface are taken by an agent that serves this one.
fn is_taken(version: &str, served: &str) -> bool {
    let [built_for, served] = [version, served].map(PackageVersion::parse);
    built_for.zip(served).is_some_and(|(built_for, served)| served.serves(built_for))
}

/// Whether a version is a candidate, or 0.1, which was withdrawn.
fn is_prerelease(version: &str) -> bool {
    version.contains('-') || version.starts_with("0.1.")
}

fn damaged(error: &wasmparser::BinaryReaderError) -> String {
    if error.message().contains("unexpected end") {
        "is truncated; copy it again".to_owned()
    } else {
        format!("is damaged: {error}; copy it again")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn expect_error(bytes: &[u8], why: &Expect) {
        why.assert_eq(&to_component(bytes).expect_err("not a plugin"));
    }

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).expect("valid WAT")
    }

    #[test]
    fn mistakes_have_distinct_errors() {
        expect_error(b"", &expect!["is empty; copy it again"]);
        expect_error(b"(component)", &expect!["is text, not WebAssembly; build it for a wasm target"]);
        expect_error(&[0, 1, 2, 3], &expect!["is not WebAssembly; build it for a wasm target"]);
        expect_error(
            b"\x7fELF\x02\x01",
            &expect![
                "is native code, such as a precompiled artifact, which is never loaded; use the .wasm file it was made of"
            ],
        );
        expect_error(
            b"\0asm\x09\0\0\0",
            &expect!["has a WebAssembly header of an unknown version; rebuild it with a current toolchain"],
        );
        expect_error(
            &component("(module)"),
            &expect!["is a core module without a world; build it with the gauged SDK, or make a component of it"],
        );
        expect_error(
            &component("(module (import \"wasi_unstable\" \"fd_write\" (func)))"),
            &expect![
                "is a core module for the WASI before preview 1 (it imports wasi_unstable); rebuild it with a current toolchain"
            ],
        );
        expect_error(
            &component("(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func)))"),
            &expect!["is a core module without a world; build it with the gauged SDK, or make a component of it"],
        );
        expect_error(
            &component("(component)"),
            &expect![
                "is a component of another world: it exports nothing instead of gauged:plugin/collector@0.2.0-rc.4; build it for the world gauged:plugin/plugin"
            ],
        );
        let exporting = |name: &str| component(&format!("(component (instance $i) (export \"{name}\" (instance $i)))"));
        expect_error(
            &exporting("wasi:cli/run@0.2.0"),
            &expect![
                "is a component of another world: it exports wasi:cli/run@0.2.0 instead of gauged:plugin/collector@0.2.0-rc.4; build it for the world gauged:plugin/plugin"
            ],
        );
        expect_error(
            &exporting("gauged:plugin/collector@0.2.0"),
            &expect![
                "was built for gauged:plugin 0.2.0, and this agent, 0.1.0, serves 0.2.0-rc.4; update the agent, or build the plugin for 0.2.0-rc.4"
            ],
        );
        for version in ["0.1.0", "0.1.7", "0.2.0-rc.2", "0.2.0-rc.40", "0.3.0-rc.1"] {
            let why = to_component(&exporting(&format!("gauged:plugin/collector@{version}"))).expect_err("another");
            assert_eq!(why, format!("was built for a pre-release, gauged:plugin {version}; rebuild it for {SERVED}"));
        }
        assert!(to_component(&exporting("gauged:plugin/collector@0.10.0")).is_err());
        let whole = exporting(&format!("{COLLECTOR_EXPORT}{SERVED}"));
        expect_error(&whole[..whole.len() - 3], &expect!["is truncated; copy it again"]);
    }

    /// A file of two kilobytes that ended the process; found by the fuzzer.
    #[test]
    fn worlds_with_circular_packages_are_rejected() {
        expect_error(
            include_bytes!("../../../fuzz/corpus/probe/packages-in-a-circle"),
            &expect!["is a core module with an invalid world: its packages need each other; rebuild it"],
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_components_or_have_reasons(mut bytes in any::<Vec<u8>>(), header in 0_usize..3) {
            let start: &[u8] = [&b""[..], b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"][header];
            bytes.splice(0..0, start.iter().copied());
            crate::plugin::fuzzing::probe(&bytes);
        }
    }
}
