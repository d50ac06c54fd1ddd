//! The adapter for WASI preview 1, which is wrapped around core modules that import it, as those of wasi-sdk, Go and
//! `wasm32-wasip1` do. It is inert as WASI 0.2 is here, and made of `preview1/adapter.wat`; a test holds it to that.

pub(crate) mod closed_calls;

/// The name of preview 1 in imports.
pub(crate) const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// The adapter, with the world that it imports.
pub(crate) const ADAPTER: &[u8] = include_bytes!("preview1/adapter.wasm");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wit_component::{StringEncoding, embed_component_metadata};
    use wit_parser::Resolve;

    use super::*;

    #[test]
    fn adapter_is_made_of_its_text() {
        let mut adapter = wat::parse_str(include_str!("preview1/adapter.wat")).expect("valid");
        let mut resolve = Resolve::default();
        let package = resolve.push_str("adapter.wit", include_str!("preview1/adapter.wit")).expect("it parses");
        let world = resolve.select_world(&[package], Some("adapter")).expect("it has a world");
        embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8).expect("embedded");
        #[expect(clippy::disallowed_methods, reason = "it is how expected texts are renewed")]
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugin/build/preview1/adapter.wasm");
            std::fs::write(file, &adapter).expect("written");
        } else {
            assert!(adapter == ADAPTER, "UPDATE_EXPECT=1 makes adapter.wasm of adapter.wat and adapter.wit");
        }
    }
}
