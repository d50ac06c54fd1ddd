//! The generator of the bindings for plugins, from the WIT in `wit/`: a module for each language, whose output is checked in
//! below `scaffold/`, that for Rust in the SDK. The test compares the files; `UPDATE_EXPECT=1 cargo test` writes them.

mod c;
mod go;
mod rust;
mod typescript;
mod wit;
mod zig;

use wit::Wit;

/// A generated file.
pub struct File {
    /// The path below `scaffold/`.
    pub path: String,
    /// The content.
    pub text: String,
}

/// All generated files.
///
/// # Panics
///
/// The WIT is invalid, has no world `plugin`, or has a type that a language does not support yet.
#[must_use]
pub fn bindings() -> Vec<File> {
    let wit = Wit::parse();
    [c::files(&wit), go::files(&wit), rust::files(&wit), typescript::files(&wit), zig::files(&wit)]
        .into_iter()
        .flatten()
        .collect()
}
