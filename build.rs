//! Lists the sources of the SDK and the bindings for Go, which the program contains for new projects: `OUT_DIR/sdk.rs` and
//! `OUT_DIR/go_bindings.rs` are lists of `File`s for `src/cli/plugin/new/files.rs`. The SDK's manifest is written out for them: what it
//! inherits from the workspace here is in it there.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The SDK's directory, relative to this file.
const SDK: &str = "plugins/sdk";

/// The manifest of its workspace.
const WORKSPACE: &str = "plugins/Cargo.toml";

/// The SDK's directory in a new project: as deep below the WIT as here.
const VENDORED: &str = "vendor/gauged-plugin";

/// The bindings for Go, relative to this file: a package for each interface of the WIT.
const GO_BINDINGS: &str = "scaffold/go/bindings";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={WORKSPACE}");
    #[expect(clippy::disallowed_methods, reason = "cargo passes the directory in the environment")]
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let (root, out) = (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(&out));
    let own = root.join(SDK).join("Cargo.toml");
    let manifest = out.join("sdk.toml");
    let whole = without_workspace(&fs::read_to_string(&own)?, &fs::read_to_string(root.join(WORKSPACE))?)?;
    fs::write(&manifest, whole)?;
    let source = |file: &Path| if file == own { manifest.clone() } else { file.to_owned() };
    list(root, SDK, VENDORED, &out.join("sdk.rs"), source)?;
    list(root, GO_BINDINGS, "bindings", &out.join("go_bindings.rs"), Path::to_owned)
}

/// Lists the files of a directory, with their paths in a project, in a file of the build. Their content is that of their sources.
fn list(
    root: &Path,
    directory: &str,
    in_project: &str,
    list_file: &Path,
    source: impl Fn(&Path) -> PathBuf,
) -> io::Result<()> {
    println!("cargo::rerun-if-changed={directory}");
    let directory = root.join(directory);
    let mut list = String::from("&[\n");
    for file in files(&directory)? {
        let below = file.strip_prefix(&directory).unwrap_or(&file);
        let path = Path::new(in_project).join(below).display().to_string();
        let file = source(&file);
        let file = file.display().to_string();
        // Writing to a string does not fail.
        let _ = writeln!(list, "    File {{ path: {path:?}, text: include_str!({file:?}) }},");
    }
    list.push_str("]\n");
    fs::write(list_file, list)
}

/// A manifest with the values that it inherits from its workspace, each of which is one line.
fn without_workspace(manifest: &str, workspace: &str) -> io::Result<String> {
    let value = |section: &str, key: &str| {
        let lines = workspace.lines().skip_while(|line| *line != section).skip(1);
        let mut lines = lines.take_while(|line| !line.starts_with('['));
        lines.find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=').map(str::trim_start))
    };
    let (mut whole, mut section) = (String::new(), "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = if line == "[package]" { "[workspace.package]" } else { "[workspace.dependencies]" };
        }
        // Writing to a string does not fail.
        let _ = match line.strip_suffix(".workspace = true") {
            Some(key) => {
                let missing = || io::Error::other(format!("{WORKSPACE} has no {key} in {section}"));
                writeln!(whole, "{key} = {}", value(section, key).ok_or_else(missing)?)
            }
            None => writeln!(whole, "{line}"),
        };
    }
    Ok(whole)
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
