//! `gauged plugin new`: a complete, working project in a directory of its own, made of what is in this program and of
//! nothing else. It is there as a whole or not at all.

mod files;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use self::files::File;
use crate::cli::error::CommandError;
use crate::cli::output::print;
use crate::config::is_plugin_name;

/// Arguments of `gauged plugin new`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plugin's name, and that of the directory
    #[arg(value_parser = parse_name)]
    pub name: String,
    /// The language to write it in
    #[arg(long, value_name = "LANGUAGE")]
    pub lang: Language,
    /// Directory to make it in; among the plugins of gauged's own sources, a Rust plugin is built with those
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub into: PathBuf,
}

/// The language of a new project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// By cargo, for wasm32-unknown-unknown
    Rust,
    /// By componentize-py
    Python,
    /// By componentize-js
    #[value(name = "javascript")]
    JavaScript,
    /// By clang
    C,
}

/// Reads the name of a plugin that is begun: as that of any plugin, beginning with a letter, since it becomes that of a
/// package in some languages.
///
/// # Errors
///
/// What would be right.
fn parse_name(text: &str) -> Result<String, String> {
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_sdk = text.replace('-', "_").eq_ignore_ascii_case("gauged_plugin");
    if !is_plugin_name(text) || !begins_well || is_sdk {
        return Err(
            "not the name of a new plugin; use letters, digits, - and _, a letter first, and not the SDK's".into()
        );
    }
    Ok(text.to_owned())
}

/// Makes a project that is called like its plugin, in this directory.
pub(super) fn run(Arguments { name, lang, into }: &Arguments) -> Result<ExitCode, CommandError> {
    let language = *lang;
    let directory = into.join(name);
    let is_checkout = language == Language::Rust && is_checkout(into);
    let files = match language {
        Language::Rust if is_checkout => files::CHECKOUT,
        Language::Rust => files::RUST,
        Language::Python => files::PYTHON,
        Language::JavaScript => files::JAVASCRIPT,
        Language::C => files::C,
    };
    make(&directory, name, files)?;
    print(&format!("made {}; its README.md says how to build and test it\n", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a directory is the `plugins/` of this program's sources, where the SDK and the build are there for all.
fn is_checkout(into: &Path) -> bool {
    let has = |file: &str, text: &str| fs::read_to_string(into.join(file)).is_ok_and(|content| content.contains(text));
    has("sdk/Cargo.toml", "name = \"gauged-plugin\"") && has("Cargo.toml", "[workspace]")
}

/// Writes the files below a directory that is not there yet, or is empty.
fn make(directory: &Path, name: &str, files: &[&[File]]) -> anyhow::Result<()> {
    let shown = directory.display();
    // One that can't be listed is not empty; and what can't be made is told as it is tried.
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty && fs::symlink_metadata(directory).is_ok() {
        bail!("{shown} is there already, and no empty directory; choose another name, or another place by --into");
    }
    let temporary = TemporaryDirectory(directory.with_file_name(format!(".{name}.{}", std::process::id())));
    let into = directory.parent().unwrap_or(directory).display();
    fs::create_dir(&temporary.0).with_context(|| format!("failed to make a directory in {into}"))?;
    for file in files.iter().copied().flatten() {
        let path = temporary.0.join(file.path);
        file.write(&path, name).with_context(|| format!("failed to write {}", path.display()))?;
    }
    fs::rename(&temporary.0, directory).with_context(|| format!("failed to make {shown}"))
}

/// A directory that is removed when it has not got its name by then.
struct TemporaryDirectory(PathBuf);

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // It is not there when all went well.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl File {
    fn write(&self, path: &Path, name: &str) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = self.text.replace("PLUGIN_NAME", name).replace("PLUGIN_MODULE", &name.replace('-', "_"));
        fs::write(path, text)?;
        if path.extension().is_some_and(|extension| extension == "sh") {
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_suit_plugins_and_packages() {
        for good in ["redis", "a-b_c9", "X"] {
            assert_eq!(parse_name(good), Ok(good.to_owned()));
        }
        for bad in ["", "9a", "-a", "_a", "a b", "../a", "a/b", "ä", "gauged-plugin", "gauged_plugin", &"a".repeat(129)]
        {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let into = tempfile::tempdir().expect("a temporary directory");
        let twice = [File { path: "a", text: "" }, File { path: "a/b", text: "" }];
        let error = make(&into.path().join("new"), "new", &[&twice]).expect_err("a file is no directory");
        assert!(format!("{error:#}").contains("failed to write"), "{error:#}");
        assert_eq!(fs::read_dir(into.path()).expect("readable").count(), 0);
    }
}
