//! The directory `gauged.d`: its `*.toml` files, in the order of their names. What is wrong with the directory or a file is an
//! error of the configuration; a file of the working directory that others can write is refused.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::location::{self, Refusal};
use super::piece::Piece;

/// The most files: one for each plugin of a large host, ten times over.
const MAX_FILES: usize = 1000;

/// Reads the files of the directory beside the configuration file, or of a default directory where there is no such file.
/// Returns the directory, too, if there is one.
pub(super) fn read(file: Option<&Path>, refusals: &mut Vec<Refusal>) -> (Option<PathBuf>, Vec<Piece>) {
    let Some((directory, is_examined)) = location::find_pieces(file, refusals) else { return (None, Vec::new()) };
    let paths = match list(&directory) {
        Ok(paths) => paths,
        Err(why) => return (Some(directory.clone()), vec![Piece::unreadable(directory, why)]),
    };
    let mut pieces = Vec::new();
    for path in paths {
        if !is_examined || location::is_used(&path, refusals) {
            pieces.push(Piece::read(path, "make it a readable file, or remove it"));
        }
    }
    (Some(directory), pieces)
}

/// The paths of the directory's files, in the order of their names.
fn list(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "let the agent's user read it",
            _ => "make it a directory, or remove it",
        };
        format!("failed to read the directory: {error}; {remedy}")
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let bytes = name.as_bytes();
        // As the shell's *.toml, which leaves out hidden files.
        if bytes.starts_with(b".") || !bytes.ends_with(b".toml") {
            continue;
        }
        if paths.len() == MAX_FILES {
            return Err(format!("has more than {MAX_FILES} files; merge some of them"));
        }
        paths.push(directory.join(name));
    }
    paths.sort_unstable();
    Ok(paths)
}
