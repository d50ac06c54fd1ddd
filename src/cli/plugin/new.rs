//! `gauged plugin new`: creates a project for a new plugin from files in this program. The directory is created with all
//! files, or not at all.

pub(super) mod files;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use self::files::{File, vendored};
use super::checkout::is_checkout;
use super::origin::{ORIGIN_FILE, Origin};
use crate::cli::error::CommandError;
use crate::cli::output::print;
use crate::config::is_plugin_name;

/// Arguments of `gauged plugin new`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the plugin and of its directory
    #[arg(value_parser = parse_name)]
    name: String,
    /// Language of the plugin
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// Directory in which to create it; in plugins/ of gauged's sources, a Rust plugin joins the workspace
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
}

/// The language of a new project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Built by cargo for wasm32-unknown-unknown
    Rust,
    /// Built by componentize-py
    Python,
    /// Built by componentize-js
    #[value(name = "javascript")]
    JavaScript,
    /// Built by esbuild and componentize-js
    #[value(name = "typescript")]
    TypeScript,
    /// Built by go
    Go,
    /// Built by clang
    C,
    /// Built by zig's C++ compiler, or that of wasi-sdk
    #[value(name = "cpp")]
    CPlusPlus,
    /// Built by zig
    Zig,
}

impl Language {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The files of a project in it, outside of gauged's sources.
    pub(super) fn files(self) -> &'static [&'static [File]] {
        match self {
            Self::Rust => files::RUST,
            Self::Python => files::PYTHON,
            Self::JavaScript => files::JAVASCRIPT,
            Self::TypeScript => files::TYPESCRIPT,
            Self::Go => files::GO,
            Self::C => files::C,
            Self::CPlusPlus => files::CPP,
            Self::Zig => files::ZIG,
        }
    }
}

/// Parses the name of a new plugin. It begins with a letter, since some languages use it as the name of a package.
fn parse_name(text: &str) -> Result<String, String> {
    let has_letter_first = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_sdk = text.replace('-', "_").eq_ignore_ascii_case("gauged_plugin");
    if !is_plugin_name(text) || !has_letter_first || is_sdk {
        return Err(
            "not a valid name; use letters, digits, - and _, begin with a letter, and do not use the SDK's name".into(),
        );
    }
    Ok(text.to_owned())
}

/// Creates the project.
pub(super) fn run(Arguments { name, lang, into }: &Arguments) -> Result<ExitCode, CommandError> {
    let language = *lang;
    let directory = into.join(name);
    let is_checkout = language == Language::Rust && is_checkout(into);
    let (files, origin) = if is_checkout {
        (files::CHECKOUT, None)
    } else {
        (language.files(), Some(Origin::new(&language.name(), vendored(language.files())).text()))
    };
    create(&directory, name, files, origin.as_deref())?;
    print(&format!("created {}; its README.md explains how to build and test it\n", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Creates a directory with the files and the record of their origin. It may exist if it is empty.
fn create(directory: &Path, name: &str, files: &[&[File]], origin: Option<&str>) -> anyhow::Result<()> {
    let shown = directory.display();
    // A directory that cannot be listed counts as not empty.
    let is_empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty && fs::symlink_metadata(directory).is_ok() {
        bail!("{shown} exists and is not an empty directory; choose another name, or another directory with --into");
    }
    let temporary = TemporaryDirectory(directory.with_file_name(format!(".{name}.{}", std::process::id())));
    let into = directory.parent().unwrap_or(directory).display();
    fs::create_dir(&temporary.0).with_context(|| format!("failed to create a directory in {into}"))?;
    for file in files.iter().copied().flatten() {
        let path = temporary.0.join(file.path);
        file.write(&path, name).with_context(|| format!("failed to write {}", path.display()))?;
    }
    if let Some(origin) = origin {
        let path = temporary.0.join(ORIGIN_FILE);
        fs::write(&path, origin).with_context(|| format!("failed to write {}", path.display()))?;
    }
    fs::rename(&temporary.0, directory).with_context(|| format!("failed to create {shown}"))
}

/// A directory that is removed unless it was renamed.
struct TemporaryDirectory(PathBuf);

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
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
        let error = create(&into.path().join("new"), "new", &[&twice], None).expect_err("a file is not a directory");
        assert!(format!("{error:#}").contains("failed to write"), "{error:#}");
        assert_eq!(fs::read_dir(into.path()).expect("readable").count(), 0);
    }
}
