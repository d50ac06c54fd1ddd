//! The project of a plugin: its directory, the program that builds it, and the file that the build makes. Any language: only
//! `build.sh` is known.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
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
    /// The file that the build makes; none where it is whatever `.wasm` file it writes last.
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

    /// The files that a build may have made.
    pub(super) fn outputs(&self) -> Outputs {
        let paths = match &self.output {
            Some(output) => vec![output.clone()],
            None => plugins(&self.build_directory).unwrap_or_default(),
        };
        Outputs(paths.into_iter().filter_map(|path| Some((path.clone(), Written::read(&path)?))).collect())
    }

    /// The file to run after a build: the one among these that was written last, of two in the same moment the first by name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(super) fn output(&self, outputs: &Outputs) -> anyhow::Result<PathBuf> {
        let last = outputs.0.iter().min_by_key(|(_, written)| Reverse(written.modified));
        last.map(|(path, _)| path.clone()).ok_or_else(|| {
            let shown = self.build_directory.display();
            anyhow!("{} has made no .wasm file in {shown}; let it write one there", self.command_line())
        })
    }
}

/// Files that builds make.
#[derive(Debug, Default)]
pub(super) struct Outputs(BTreeMap<PathBuf, Written>);

impl Outputs {
    /// Those of these that were not there before, or were written since.
    pub(super) fn written_since(&self, before: &Self) -> Self {
        let new = self.0.iter().filter(|(path, written)| before.0.get(*path) != Some(written));
        Self(new.map(|(path, written)| (path.clone(), *written)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, path: &Path) -> Option<Written> {
        self.0.get(path).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PathBuf, &Written)> {
        self.0.iter()
    }
}

/// The last time at which a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    inode: u64,
    /// As the kernel has it, in seconds and nanoseconds. A program can set the time of modification, and not this one.
    changed: (i64, i64),
    modified: SystemTime,
}

impl Written {
    /// The time of modification.
    pub(super) fn modified(self) -> SystemTime {
        self.modified
    }

    /// That of a regular file; none of anything else.
    fn read(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { inode: metadata.ino(), changed, modified: metadata.modified().ok()? })
    }
}

/// The `.wasm` files of a directory. Hidden ones are unfinished.
fn plugins(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let is_plugin = |path: &PathBuf| {
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        !is_hidden && path.extension().is_some_and(|extension| extension == "wasm")
    };
    Ok(fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_plugin).collect())
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
        let output = |project: &Project| project.output(&project.outputs());
        let why = output(&project).expect_err("none").to_string();
        assert!(why.contains("./build.sh --debug has made no .wasm file in "), "{why}");
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
            assert_eq!(output(&project).expect("one"), path.join(expected), "{name}");
        }
    }

    #[test]
    fn rewritten_plugin_is_new_whatever_its_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        for name in [BUILD, "a.wasm", "b.wasm"] {
            fs::write(path.join(name), "").expect("written");
        }
        let project = Project::open(path).expect("a project");
        let before = project.outputs();
        assert!(project.outputs().written_since(&before).is_empty());
        // As `cp -p` does; the other one has a time in the future all along.
        let old = fs::metadata(path.join("a.wasm")).and_then(|metadata| metadata.modified()).expect("a time");
        fs::write(path.join("new"), "1").expect("written");
        fs::File::options().write(true).open(path.join("new")).and_then(|file| file.set_modified(old)).expect("set");
        fs::rename(path.join("new"), path.join("a.wasm")).expect("renamed");
        let made = project.outputs().written_since(&before);
        assert_eq!((project.output(&made).expect("one"), made.iter().count()), (path.join("a.wasm"), 1));
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
