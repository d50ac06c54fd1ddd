//! Lists the sources of the SDK and the bindings for Go, which the program contains for new projects: `OUT_DIR/sdk.rs` and
//! `OUT_DIR/go_bindings.rs` are lists of `File`s for `src/cli/plugin/new/files.rs`.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The SDK's directory, relative to this file.
const SDK: &str = "plugins/sdk";

/// The SDK's directory in a new project.
const VENDORED: &str = "vendor/gauged-plugin";

/// The bindings for Go, relative to this file: a package for each interface of the WIT.
const GO_BINDINGS: &str = "scaffold/go/bindings";

fn main() -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "cargo passes the directory in the environment")]
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let (root, out) = (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(&out));
    list(root, SDK, VENDORED, &out.join("sdk.rs"))?;
    list(root, GO_BINDINGS, "bindings", &out.join("go_bindings.rs"))
}

/// Lists the files of a directory, with their paths in a project, in a file of the build.
fn list(root: &Path, directory: &str, in_project: &str, list_file: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={directory}");
    let directory = root.join(directory);
    let mut list = String::from("&[\n");
    for file in files(&directory)? {
        let below = file.strip_prefix(&directory).unwrap_or(&file);
        let path = Path::new(in_project).join(below).display().to_string();
        let file = file.display().to_string();
        // Writing to a string does not fail.
        let _ = writeln!(list, "    File {{ path: {path:?}, text: include_str!({file:?}) }},");
    }
    list.push_str("]\n");
    fs::write(list_file, list)
}

/// All files below a directory, in a fixed order.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
