//! Kept components for unit tests, compiled in this process: a test binary cannot start itself as a compiler.

use crate::plugin::build::footprint::Footprint;
use crate::plugin::build::sealed::Sealed;
use crate::plugin::guest::engine_options::{EngineOptions, Purpose, compiler};

/// The file of a component, and the artifact that it is compiled to.
pub(crate) fn compiled(name: &str) -> (Vec<u8>, Sealed) {
    let path = format!("{}/tests/fixtures/components/0.2.0-rc.4/component/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let options = EngineOptions::detect(Purpose::Serve);
    let artifact = compiler(options).and_then(|compiler| compiler.precompile_component(&file));
    let mut artifact = artifact.expect("compiled");
    Footprint::append(&mut artifact).expect("small");
    (file, Sealed::copy(&*artifact).expect("copied"))
}
