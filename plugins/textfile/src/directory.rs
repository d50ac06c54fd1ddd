//! The files in a directory.

use gauged_plugin::files::{self, FileStatus};
use gauged_plugin::skipped::{Cause as _, Reason, Skip};
use gauged_plugin::{Error, log};

/// The end of the names of the files that are read.
const SUFFIX: &str = ".prom";

/// The most files of a directory: a host has a handful.
const MAX_FILES: usize = 1000;

/// The largest file, which is what the agent reads in one call; and how much is read at a time, to bound the memory.
const MAX_BYTES: u32 = 4 << 20;

/// The longest part of a module's name that is a file's: half of the longest name.
const MAX_STEM_BYTES: usize = 64;

/// A directory, and whether it was there last.
pub(crate) struct Directory {
    path: String,
    is_missing: bool,
}

/// A file that may have metrics.
pub(crate) struct File {
    pub(crate) path: String,
    /// The name of a module of its own.
    pub(crate) module: String,
    status: FileStatus,
}

impl File {
    /// When it was written last, in seconds since the Unix epoch.
    #[allow(clippy::cast_precision_loss, reason = "microseconds do")]
    pub(crate) fn mtime_seconds(&self) -> f64 {
        self.status.modified_ns as f64 / 1e9
    }

    /// The same in milliseconds.
    pub(crate) fn mtime_ms(&self) -> u64 {
        u64::try_from(self.status.modified_ns / 1_000_000).unwrap_or_default()
    }
}

impl Directory {
    pub(crate) fn new(path: String) -> Self {
        Self { path, is_missing: false }
    }

    /// The files that are read, as a grant has them.
    pub(crate) fn pattern(&self) -> String {
        self.join("*.prom")
    }

    fn join(&self, name: &str) -> String {
        let slash = if self.path.ends_with('/') { "" } else { "/" };
        [&self.path, slash, name].concat()
    }

    /// Appends the files that may have metrics, by name. Returns whether these are all.
    ///
    /// # Errors
    ///
    /// The first missing grant; the other files are appended all the same.
    pub(crate) fn find(&mut self, found: &mut Vec<File>) -> Result<bool, Error> {
        let listed = files::list(&self.path);
        let is_missing = matches!(&listed, Err(failure) if failure.error == files::Error::NotFound);
        if is_missing && !self.is_missing {
            log::warn(&[&self.path, " does not exist; its files are read when it does"].concat());
        }
        self.is_missing = is_missing;
        if is_missing {
            return Ok(false);
        }
        let names = match listed {
            Ok(names) => names,
            Err(failure) if matches!(failure.error, files::Error::Denied(_)) => return Err(failure.into()),
            Err(failure) => {
                failure.skip().report("its files");
                return Ok(false);
            }
        };
        let (mut is_whole, mut denied) = (true, None);
        for (number, name) in names.iter().filter(|name| name.ends_with(SUFFIX)).enumerate() {
            if number == MAX_FILES {
                is_whole = false;
                let why = format!("has more than {MAX_FILES} files *.prom");
                Skip { reason: Reason::Truncated, ..Skip::malformed(&self.path, "", why) }.report("its other files");
                break;
            }
            let path = self.join(name);
            // Before it is read: a file that is replaced meanwhile does not look newer than what was read.
            match files::stat(&path) {
                Ok(status) => found.push(File { path, module: module(name), status }),
                // It was removed meanwhile.
                Err(failure) if failure.error == files::Error::NotFound => {}
                // The agent reports it.
                Err(failure) if matches!(failure.error, files::Error::Denied(_)) => denied = denied.or(Some(failure)),
                Err(failure) => {
                    failure.skip().report("its metrics");
                    is_whole = false;
                }
            }
        }
        denied.map_or(Ok(is_whole), |denied| Err(denied.into()))
    }
}

/// The name of a module for a file.
fn module(name: &str) -> String {
    let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '_' };
    "textfile_".chars().chain(stem.bytes().take(MAX_STEM_BYTES).map(plain)).collect()
}

/// Gives no two files one module.
pub(crate) fn name_modules(files: &mut [File]) {
    let mut taken = std::collections::BTreeSet::new();
    for file in files {
        let (first, mut number) = (file.module.clone(), 1);
        while !taken.insert(file.module.clone()) {
            number += 1;
            file.module = [&first, "_", &number.to_string()].concat();
        }
    }
}

/// Reads files, some at a time, and gives `take` each with its content, or with what to report.
pub(crate) fn read(files: &[File], mut take: impl FnMut(&File, Result<Vec<u8>, Skip>)) {
    let mut rest = files;
    while !rest.is_empty() {
        let mut bytes = 0_u64;
        let fits = |file: &&File| {
            bytes = bytes.saturating_add(file.status.size);
            bytes <= u64::from(MAX_BYTES)
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = later;
        let paths: Vec<String> = now.iter().map(|file| file.path.clone()).collect();
        for (file, content) in now.iter().zip(files::read_many(&paths, MAX_BYTES)) {
            match content {
                // It was removed meanwhile.
                Err(failure) if failure.error == files::Error::NotFound => {}
                content => take(file, content.map_err(|failure| failure.skip())),
            }
        }
    }
}
