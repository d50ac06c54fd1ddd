//! Programs that are written in Python: the machine's own, or ones that are installed from the Python package index into
//! the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether a program can be run so, and succeeds.
pub fn succeeds(program: &Path, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// The programs of a Python environment in which a package is installed. None where there is no Python, or none that can
/// make an environment or install packages.
pub fn environment(package: &str) -> Option<PathBuf> {
    let name: String = package.chars().take_while(char::is_ascii_alphanumeric).collect();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let programs = home.join("bin");
    let is_installed = || succeeds(&programs.join("python"), &["-c", &format!("import {name}")]);
    if is_installed() {
        return Some(programs);
    }
    let _ = succeeds(Path::new("python3"), &["-m", "venv", home.to_str().expect("text")])
        && succeeds(&programs.join("pip"), &["install", "--quiet", package]);
    is_installed().then_some(programs)
}
