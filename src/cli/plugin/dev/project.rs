//! The project of a plugin: its directory, the program that builds it, and the file that the build makes. Any language: only
//! `build.sh` is known.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};

use crate::cli::error::CommandError;
use crate::cli::plugin::checkout::is_checkout;

/// The file that builds a project.
const BUILD: &str = "build.sh";

/// A project.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Project {
    /// Its directory, as the user names it.
    pub(super) directory: PathBuf,
    /// The directory of the build and its output.
    pub(super) build_directory: PathBuf,
    /// The arguments of the build.
    pub(super) arguments: &'static [&'static str],
    /// The file that the build makes; none where it is whatever `.wasm` file was written last.
    output: Option<PathBuf>,
}

impl Project {
    /// Opens a directory as a project.
    ///
    /// # Errors
    ///
    /// When it is none, with the remedy.
    pub(super) fn open(directory: &Path) -> Result<Self, CommandError> {
        let shown = directory.display();
        let usage = |why: String| Err(CommandError::Usage(format!("{shown} {why}")));
        if !directory.is_dir() {
            return usage("is not a directory; name that of a project, such as one of `gauged plugin new`".to_owned());
        }
        if directory.join(BUILD).is_file() {
            let (directory, build_directory) = (directory.to_owned(), directory.to_owned());
            return Ok(Self { directory, build_directory, arguments: &["--debug"], output: None });
        }
        // Among the plugins of gauged's sources one build makes them all.
        let absolute = directory.canonicalize().with_context(|| format!("failed to find {shown}"))?;
        match (absolute.parent(), absolute.file_name()) {
            (Some(plugins), Some(name)) if is_checkout(plugins) && absolute.join("Cargo.toml").is_file() => {
                let output = plugins.join(name).with_added_extension("wasm");
                let (directory, build_directory) = (directory.to_owned(), directory.join(".."));
                Ok(Self { directory, build_directory, arguments: &[], output: Some(output) })
            }
            _ => usage(format!(
                "has no {BUILD}, so it is not a project of `gauged plugin new`; name the directory of one"
            )),
        }
    }

    /// The build, as a command line.
    pub(super) fn command_line(&self) -> String {
        let directory = if self.output.is_some() { ".." } else { "." };
        [&[&*format!("{directory}/{BUILD}")][..], self.arguments].concat().join(" ")
    }

    /// The program that builds, whatever the working directory.
    ///
    /// # Errors
    ///
    /// When its directory cannot be found.
    pub(super) fn program(&self) -> io::Result<PathBuf> {
        Ok(self.build_directory.canonicalize()?.join(BUILD))
    }

    /// The file that the last build made.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(super) fn output(&self) -> anyhow::Result<PathBuf> {
        let found = match &self.output {
            Some(output) => Some(output.clone()).filter(|output| output.is_file()),
            None => newest_plugin(&self.build_directory),
        };
        found.ok_or_else(|| {
            let shown = self.build_directory.display();
            anyhow!("{} has made no .wasm file in {shown}; let it write one there", self.command_line())
        })
    }
}

/// The `.wasm` file of a directory that was written last; of two in the same moment the first by name. Hidden ones are unfinished.
fn newest_plugin(directory: &Path) -> Option<PathBuf> {
    let written = |path: &Path| -> Option<SystemTime> {
        let is_plugin = path.extension()? == "wasm" && !path.file_name()?.to_string_lossy().starts_with('.');
        let metadata = fs::metadata(path).ok().filter(|metadata| is_plugin && metadata.is_file())?;
        metadata.modified().ok()
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // The last one of several with the same time is taken.
    paths.sort_by(|one, other| other.cmp(one));
    paths.into_iter().filter_map(|path| Some((written(&path)?, path))).max_by_key(|(at, _)| *at).map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn last_written_plugin_is_the_output() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        fs::write(path.join(BUILD), "").expect("written");
        let project = Project::open(path).expect("a project");
        assert!(
            project.output().expect_err("none").to_string().contains("./build.sh --debug has made no .wasm file in ")
        );
        let write = |name: &str, seconds: u64| {
            let file = fs::File::create(path.join(name)).expect("created");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("set");
        };
        for (name, seconds, expected) in [
            ("b.wasm", 10, "b.wasm"),
            ("a.wasm", 10, "a.wasm"),
            (".c.wasm", 30, "a.wasm"),
            ("d", 30, "a.wasm"),
            ("c.wasm", 20, "c.wasm"),
        ] {
            write(name, seconds);
            assert_eq!(project.output().expect("one"), path.join(expected), "{name}");
        }
    }

    #[test]
    fn directories_without_a_build_are_no_projects() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let reason = |path: &Path| match Project::open(path) {
            Err(CommandError::Usage(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(reason(directory.path()).contains("has no build.sh"));
        assert!(reason(&directory.path().join("missing")).contains("is not a directory"));
    }

    #[test]
    fn plugins_of_the_sources_are_built_together() {
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
        let project = Project::open(&plugins.join("hello")).expect("a plugin");
        assert_eq!(project.command_line(), "../build.sh");
        assert_eq!(project.output, Some(plugins.canonicalize().expect("there").join("hello.wasm")));
        assert!(Project::open(&plugins.join("sdk/src")).is_err());
    }
}
