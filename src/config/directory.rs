//! The directory `gauged.d`: its `*.toml` files, in the order of their names. A directory or file that cannot be read is an
//! error of the configuration; a file of the working directory that others can write is refused.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::location::{self, Refusal};
use super::piece::{Budget, Piece};

/// The most files: one for each plugin of a large host, ten times over.
const MAX_FILES: usize = 1000;

/// Reads the files of the directory beside the configuration file, or of a default directory where there is no such file.
/// Returns the directory, too, if there is one.
pub(super) fn read(
    file: Option<&Path>,
    budget: &mut Budget,
    refusals: &mut Vec<Refusal>,
) -> (Option<PathBuf>, Vec<Piece>) {
    let Some((directory, is_examined)) = location::find_pieces(file, refusals) else { return (None, Vec::new()) };
    let paths = match list(&directory) {
        Ok(paths) => paths,
        Err(why) => return (Some(directory.clone()), vec![Piece::unreadable(directory, why)]),
    };
    let mut pieces = Vec::new();
    for path in paths {
        if !is_examined || location::is_used(&path, refusals) {
            pieces.push(Piece::read(path, budget, "make it a readable file, or remove it"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_beyond_the_budget_are_not_held() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let pieces = root.path().join("gauged.d");
        fs::create_dir(&pieces).expect("created");
        for number in 0..9 {
            let file = fs::File::create(pieces.join(format!("{number}.toml"))).expect("created");
            file.set_len(if number == 8 { 0 } else { (1 << 20) - 1 }).expect("made longer");
        }
        let (mut budget, mut refusals) = (Budget::new(), Vec::new());
        let (_, read) = super::read(Some(&root.path().join("gauged.toml")), &mut budget, &mut refusals);
        let is_read: Vec<bool> = read.iter().map(|piece| piece.text.is_ok()).collect();
        assert_eq!(is_read, [true, true, true, true, false, false, false, false, true]);
        assert!(read.iter().map(Piece::len).sum::<usize>() <= 4 << 20);
        // Four bytes are left, which nobody reads any more.
        assert_eq!(format!("{budget:?}"), "Budget(0)");
    }
}
