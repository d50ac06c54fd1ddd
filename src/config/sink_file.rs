//! The keys of a sink of kind `file`, in the table `[sinks.NAME]`: its path, rotation and durability. The keys that all sinks
//! share are parsed elsewhere.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::count::parse_count;
use super::duration::parse_duration;
use super::key::{DefaultValue, Key, Reload, Values, written_duration, written_size};
use super::problem_list::ProblemList;
use super::size::parse_size;

/// The default of `rotate_size`: a file that an editor still opens. Small hosts fill it in three days at the default interval.
const DEFAULT_ROTATE_SIZE_BYTES: u64 = 100 << 20;

/// The least: a few lines of a small host.
const MIN_ROTATE_SIZE_BYTES: u64 = 16 << 10;

/// The most: a tebibyte is no limit.
const MAX_ROTATE_SIZE_BYTES: u64 = 1 << 40;

/// The least of `rotate_age`: a file more often than once a minute is no archive.
const MIN_ROTATE_AGE: Duration = Duration::from_secs(60);

/// The most: older files are a matter of their size.
const MAX_ROTATE_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The default of `keep`: with the default size at most 600 MiB, and with compression about 200 MiB.
const DEFAULT_KEEP: usize = 5;

/// The least: with none, a reader that was away for a moment would lose lines.
const MIN_KEEP: usize = 1;

/// The most: six weeks of hourly files. The directory is listed at each rotation.
const MAX_KEEP: usize = 1000;

/// The least between two syncs: a disk needs some milliseconds for one.
const MIN_SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// The most: the kernel writes data back after half a minute of its own accord.
const MAX_SYNC_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The longest file name. That of a rotated file is 28 bytes longer while it is compressed, and Linux's limit is 255 bytes.
const MAX_NAME_BYTES: usize = 227;

/// The word for a rotation or a sync that does not happen.
const NEVER: &str = "never";

const EXAMPLE_PATH: &str = "/var/log/gauged/samples.ndjson";

/// The settings of a sink of kind `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// The file, an absolute path.
    pub path: PathBuf,
    /// The most bytes of a file. A longer line has a file for itself. None for any number.
    pub rotate_size: Option<u64>,
    /// How old a file gets. None for any age.
    pub rotate_age: Option<Duration>,
    /// How many rotated files stay.
    pub keep: usize,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// When lines are on the disk.
    pub fsync: Fsync,
}

/// When lines are forced to the disk. Otherwise the kernel writes them when it likes, which only a crash of the host shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Never.
    Never,
    /// When a file is complete: at a rotation, a reopening, and the end.
    Rotation,
    /// Also with the first line after this time.
    Interval(Duration),
    /// With each line.
    EachLine,
}

impl FileSettings {
    /// The default settings for a path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            rotate_size: Some(DEFAULT_ROTATE_SIZE_BYTES),
            rotate_age: None,
            keep: DEFAULT_KEEP,
            compress: true,
            fsync: Fsync::Never,
        }
    }
}

impl Fsync {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            NEVER => Ok(Self::Never),
            "rotation" => Ok(Self::Rotation),
            "line" => Ok(Self::EachLine),
            _ => parse_duration(text, MIN_SYNC_INTERVAL, MAX_SYNC_INTERVAL)
                .map(Self::Interval)
                .map_err(|message| format!("{message}; or write \"never\", \"rotation\" or \"line\"")),
        }
    }
}

/// As it is written.
impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str(NEVER),
            Self::Rotation => f.write_str("rotation"),
            Self::Interval(interval) => f.write_str(&written_duration(*interval)),
            Self::EachLine => f.write_str("line"),
        }
    }
}

/// The keys of one table, as far as they are read.
#[derive(Debug)]
pub(super) struct FileKeys {
    settings: FileSettings,
    has_path: bool,
}

impl FileKeys {
    pub(super) fn new() -> Self {
        Self { settings: FileSettings::new(PathBuf::new()), has_path: false }
    }

    /// Parses a key of the table, whose dotted name is `key`. Returns the value of a key that is not a file's.
    pub(super) fn parse<'v>(
        &mut self,
        problems: &mut ProblemList<'_>,
        name: &str,
        key: &str,
        value: Spanned<DeValue<'v>>,
    ) -> Option<Spanned<DeValue<'v>>> {
        let settings = &mut self.settings;
        match name {
            "path" => {
                self.has_path = true;
                settings.path = problems.parsed(key, value, parse_path).unwrap_or_default();
            }
            "rotate_size" => {
                settings.rotate_size = problems.parsed(key, value, parse_rotate_size).unwrap_or(settings.rotate_size);
            }
            "rotate_age" => {
                settings.rotate_age = problems.parsed(key, value, parse_rotate_age).unwrap_or(settings.rotate_age);
            }
            "keep" => {
                let bounded = |text: &str| parse_count(text, MIN_KEEP, MAX_KEEP);
                settings.keep = problems.parsed(key, value, bounded).unwrap_or(settings.keep);
            }
            "compress" => settings.compress = problems.switch(key, value, settings.compress),
            "fsync" => settings.fsync = problems.parsed(key, value, Fsync::parse).unwrap_or(settings.fsync),
            _ => return Some(value),
        }
        None
    }

    /// The settings of the table with this dotted name. None if they are no use; the reason is among the problems.
    pub(super) fn finish(
        self,
        problems: &mut ProblemList<'_>,
        table_key: &str,
        span: std::ops::Range<usize>,
    ) -> Option<FileSettings> {
        if !self.has_path {
            let message = format!("is missing; add path = {EXAMPLE_PATH:?}");
            problems.add(span, &format!("{table_key}.path"), message);
        }
        Some(self.settings).filter(|settings| !settings.path.as_os_str().is_empty())
    }
}

/// The rows of these keys in the table of all keys.
pub(super) fn keys(table: &'static str) -> Vec<Key> {
    let key = |name, values, default, meaning| Key { table, name, values, default, meaning, reload: Reload::Applied };
    vec![
        key(
            "path",
            Values::Text("an absolute path"),
            DefaultValue::Depends { how: "none: it is required", example: "\"/var/log/gauged/samples.ndjson\"" },
            "of kind `file`, as all below: the [file](files.md) that lines are appended to; its directory has to exist",
        ),
        key(
            "rotate_size",
            Values::Text("`16KiB` to `1TiB`, `never`"),
            DefaultValue::Word("100MiB"),
            "the most bytes of a file; the next line goes to a new one",
        ),
        key(
            "rotate_age",
            Values::Text("`1m` to `30days`, `never`"),
            DefaultValue::Word(NEVER),
            "how old a file gets, counted from its first line",
        ),
        key(
            "keep",
            Values::Count(MIN_KEEP as u64, MAX_KEEP as u64),
            DefaultValue::Count(DEFAULT_KEEP as u64),
            "how many rotated files stay; the oldest are removed",
        ),
        key("compress", Values::Switch, DefaultValue::Switch(true), "compress rotated files with gzip"),
        key(
            "fsync",
            Values::Text("`never`, `rotation`, `100ms` to `1h`, `line`"),
            DefaultValue::Word(NEVER),
            "when lines are [on the disk](files.md#crash-of-the-host)",
        ),
    ]
}

/// The value of one of these keys, as it is written; none for another key.
pub(super) fn written_value(settings: &FileSettings, name: &str) -> Option<serde_json::Value> {
    Some(match name {
        "path" => settings.path.to_string_lossy().into(),
        "rotate_size" => settings.rotate_size.map_or_else(|| NEVER.to_owned(), written_size).into(),
        "rotate_age" => settings.rotate_age.map_or_else(|| NEVER.to_owned(), written_duration).into(),
        "keep" => settings.keep.into(),
        "compress" => settings.compress.into(),
        "fsync" => settings.fsync.to_string().into(),
        _ => return None,
    })
}

/// A file's path. That it can be written is for those who open it.
fn parse_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        return Err(format!("{text:?} is not an absolute path; write it like {EXAMPLE_PATH:?}"));
    }
    if text.ends_with('/') || text.ends_with("/.") || path.file_name().is_none() {
        return Err(format!("{text:?} is a directory; name a file in it, like {EXAMPLE_PATH:?}"));
    }
    if path.components().any(|component| component == Component::ParentDir) {
        // After a link it leads somewhere else than it seems to, and one file would have many paths.
        return Err(format!("{text:?} has a part \"..\"; write the path without it"));
    }
    let length = path.file_name().map_or(0, |name| name.as_bytes().len());
    if length > MAX_NAME_BYTES {
        return Err(format!(
            "has a file name of {length} bytes; with the date of a rotation it may have {MAX_NAME_BYTES}: choose a shorter one"
        ));
    }
    // Without `.` and doubled slashes: two spellings are one path.
    Ok(path.components().collect())
}

fn parse_rotate_size(text: &str) -> Result<Option<u64>, String> {
    if text == NEVER {
        return Ok(None);
    }
    let size = parse_size(text, MIN_ROTATE_SIZE_BYTES, MAX_ROTATE_SIZE_BYTES);
    size.map(Some).map_err(|message| format!("{message}; or write \"never\""))
}

fn parse_rotate_age(text: &str) -> Result<Option<Duration>, String> {
    if text == NEVER {
        return Ok(None);
    }
    let age = parse_duration(text, MIN_ROTATE_AGE, MAX_ROTATE_AGE);
    age.map(Some).map_err(|message| format!("{message}; or write \"never\""))
}
