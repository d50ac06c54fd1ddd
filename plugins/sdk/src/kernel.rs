//! Parsers for the kernel's file formats. Each error names the file, the line and the field. Fields and lines that later
//! kernels append are ignored.
//!
//! ```
//! use gauged_plugin::kernel::File;
//!
//! // `key: value kB`, as in /proc/meminfo, and `key value`, as in /proc/vmstat.
//! let memory = File::new("/proc/meminfo", "MemTotal:  16384 kB\nHugePages_Total:   2\n");
//! for line in memory.lines() {
//!     let (key, mut values) = line.key_values();
//!     match key {
//!         "MemTotal" => assert_eq!(values.bytes("the size")?, 16 << 20),
//!         "HugePages_Total" => assert_eq!(values.number::<u64>("the number")?, 2),
//!         _ => {}
//!     }
//! }
//!
//! // Columns, as in /proc/diskstats. Further columns are ignored.
//! let disks = File::new("/proc/diskstats", "   8       0 sda 5 1 40 3 7 2 56 9 0 10 12 0 0\n");
//! for line in disks.lines() {
//!     let mut columns = line.fields();
//!     let [_major, _minor] = columns.numbers::<u64, 2>("the device number")?;
//!     let name = columns.word("the device name")?;
//!     let [reads, _merged, sectors] = columns.numbers("reads")?;
//!     assert_eq!((name, reads, sectors), ("sda", 5_u64, 40));
//! }
//!
//! // Errors have file and line.
//! let torn = File::new("/proc/diskstats", "   8       0 sda 5 x\n");
//! let mut columns = torn.lines().next().expect("a line").fields();
//! let error = columns.by_ref().skip(3).next().map(|_| columns.number::<u64>("merged reads")).expect("five columns");
//! assert_eq!(error.unwrap_err().to_string(), "/proc/diskstats line 1: x is not a number (merged reads)");
//! # Ok::<(), gauged_plugin::Error>(())
//! ```

mod number;
mod octal;
mod text;
mod page;
mod named_values;
mod pressure;
mod thread_counts;

pub use named_values::NamedValue;
pub use number::Number;
pub use octal::unescape;
pub use page::page_bytes;
pub use pressure::{Pressure, Stall};
pub use thread_counts::ThreadCounts;

use std::fmt;
use std::ops::ControlFlow;
use std::str::SplitAsciiWhitespace;

use crate::bounds::Bound;
use crate::files;
use crate::skipped::Reason;

/// The most bytes of a file that are read, and of its text: both are held in the plugin's memory while names that are not UTF-8
/// are replaced, beside what the plugin makes of it. The default of that memory is 64 MiB.
pub const MAX_BYTES: usize = 8 << 20;

/// The content of a text file, with its path for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    path: String,
    text: String,
    is_cut: bool,
}

impl File {
    /// A file with this content, for tests and for text from another source.
    #[must_use]
    pub fn new(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into(), is_cut: false }
    }

    /// Reads a file; of one whose text is longer than [`MAX_BYTES`], the whole lines up to there. Each byte that is not UTF-8 becomes
    /// `\u{fffd}` and its two hexadecimal digits, so that two names stay two.
    ///
    /// # Errors
    ///
    /// As [`files::read`], except `TooLarge`.
    pub fn read(path: &str) -> Result<Self, files::Failure> {
        Self::from_content(path, files::read(path))
    }

    /// Reads many small files at the price of few calls of the agent, each as [`read`](Self::read) does. The results are in the
    /// order of the paths.
    ///
    /// ```
    /// use gauged_plugin::{kernel::File, testing::Host};
    ///
    /// let mut host = Host::new();
    /// host.file("/sys/class/net/eth0/mtu", "1500\n").file("/sys/class/net/lo/mtu", "65536\n");
    /// let paths = ["eth0", "eth1", "lo"].map(|name| format!("/sys/class/net/{name}/mtu"));
    /// let read = host.run(|| File::read_many(&paths));
    /// let mtus = read.into_iter().map(|file| file.ok().and_then(|file| file.number().ok()));
    /// assert_eq!(mtus.collect::<Vec<Option<u64>>>(), [Some(1500), None, Some(65536)]);
    /// ```
    #[must_use]
    pub fn read_many(paths: &[String]) -> Vec<Result<Self, files::Failure>> {
        let contents = files::read_many(paths, u32::MAX);
        paths.iter().zip(contents).map(|(path, content)| Self::from_content(path, content)).collect()
    }

    fn from_content(path: &str, content: Result<Vec<u8>, files::Failure>) -> Result<Self, files::Failure> {
        let (content, is_cut) = match content {
            Ok(content) => (content, false),
            Err(failure) if matches!(failure.error, files::Error::TooLarge(_)) => read_lines(path)?,
            Err(failure) => return Err(failure),
        };
        let (text, is_over) = text::replaced(content, MAX_BYTES);
        Ok(Self { is_cut: is_cut || is_over, ..Self::new(path, text) })
    }

    /// Reads a whole file; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), except `NotFound`.
    pub fn read_if_exists(path: &str) -> Result<Option<Self>, files::Failure> {
        match Self::read(path) {
            Ok(file) => Ok(Some(file)),
            Err(failure) if failure.error == files::Error::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the file has lines beyond [`MAX_BYTES`], which are missing.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The content.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The non-empty lines.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let lines = (1..).zip(self.text.lines()).filter(|(_, text)| !text.trim_ascii().is_empty());
        lines.map(|(number, text)| Line { path: &self.path, number, text })
    }

    /// The fields of a file with one line: `/proc/uptime`, `/proc/sys/fs/file-nr`.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        self.whole().fields()
    }

    /// The number in a file with a single value: `/proc/sys/fs/file-max`, most files in `/sys`.
    ///
    /// # Errors
    ///
    /// The file does not start with a number.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// assert_eq!(File::new("/sys/class/thermal/thermal_zone0/temp", "41000\n").number(), Ok(41000_i64));
    /// ```
    pub fn number<T: Number>(&self) -> Result<T, Error> {
        self.fields().number("value")
    }

    /// An error in the file as a whole: `/proc/stat: missing line cpu`.
    #[must_use]
    pub fn error(&self, message: impl fmt::Display) -> Error {
        self.whole().error(message)
    }

    /// The error of a file that ends too early.
    #[must_use]
    pub fn truncated(&self, message: impl fmt::Display) -> Error {
        Error { reason: Reason::Truncated, ..self.error(message) }
    }

    fn whole(&self) -> Line<'_> {
        Line { path: &self.path, number: 0, text: &self.text }
    }
}

/// Reads the whole lines of a long file within [`MAX_BYTES`], and whether others follow.
fn read_lines(path: &str) -> Result<(Vec<u8>, bool), files::Failure> {
    let mut content = Vec::new();
    let read = files::read_pieces(path, |piece| {
        let is_over = content.len() + piece.len() > MAX_BYTES;
        content.extend(piece.iter().take(MAX_BYTES - content.len()));
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if read.is_break() {
        content.truncate(content.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    }
    Ok((content, read.is_break()))
}

/// A line of a file.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    path: &'a str,
    /// Zero for the file as a whole.
    number: u32,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The fields, separated by spaces or tabs.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        Fields { line: self, rest: self.text.split_ascii_whitespace() }
    }

    /// The key before the first colon or space, and the fields after it.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/1/net/dev", "  eth0:1500 3\n");
    /// let (interface, mut counters) = file.lines().next().expect("a line").key_values();
    /// assert_eq!(interface, "eth0");
    /// assert_eq!(counters.number("bytes received"), Ok(1500_u64));
    /// ```
    #[must_use]
    pub fn key_values(self) -> (&'a str, Fields<'a>) {
        let text = self.text.trim_ascii_start();
        let end = text.bytes().position(|byte| matches!(byte, b':' | b' ' | b'\t')).unwrap_or(text.len());
        let (key, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        (key, Fields { line: self, rest: rest.strip_prefix(':').unwrap_or(rest).split_ascii_whitespace() })
    }

    /// The fields, each ended by a single space, so that one may be empty, as in `mountinfo`.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/1/mountinfo", "tmpfs  rw\n");
    /// let fields: Vec<_> = file.lines().next().expect("a line").spaced_fields().collect();
    /// assert_eq!(fields, ["tmpfs", "", "rw"]);
    /// ```
    pub fn spaced_fields(self) -> impl Iterator<Item = &'a str> {
        self.text.split(' ')
    }

    /// The key before the last colon, and the fields after it; `None` without a colon. For keys that may have colons
    /// themselves, such as the names of interfaces before Linux 4.20.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/1/net/dev", "eth0:1:4046496815 3\n");
    /// let (interface, mut counters) = file.lines().next().expect("a line").last_key_values().expect("a colon");
    /// assert_eq!(interface, "eth0:1");
    /// assert_eq!(counters.number("bytes received"), Ok(4_046_496_815_u64));
    /// ```
    #[must_use]
    pub fn last_key_values(self) -> Option<(&'a str, Fields<'a>)> {
        let (key, rest) = self.text.rsplit_once(':')?;
        Some((key.trim_ascii_start(), Fields { line: self, rest: rest.split_ascii_whitespace() }))
    }

    /// The number in the field `name=number`; `None` without such a field.
    ///
    /// # Errors
    ///
    /// The value is not a number of this type.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/sys/fs/cgroup/a/io.stat", "8:0 rbytes=4096 wbytes=0\n");
    /// let line = file.lines().next().expect("a line");
    /// assert_eq!(line.named_number("rbytes"), Ok(Some(4096_u64)));
    /// assert_eq!(line.named_number::<u64>("dbytes"), Ok(None));
    /// ```
    pub fn named_number<T: Number>(self, name: &str) -> Result<Option<T>, Error> {
        let find = |field: &'a str| field.strip_prefix(name)?.strip_prefix('=');
        let Some(text) = self.fields().find_map(find) else { return Ok(None) };
        T::parse(text).map(Some).ok_or_else(|| self.not_a_number(text, name))
    }

    /// An error in this line.
    #[must_use]
    pub fn error(&self, message: impl fmt::Display) -> Error {
        self.malformed("", message)
    }

    /// The error of a line that ends too early.
    #[must_use]
    pub fn truncated(&self, message: impl fmt::Display) -> Error {
        Error { reason: Reason::Truncated, ..self.error(message) }
    }

    /// The error of a word in this line.
    #[must_use]
    pub fn malformed(&self, word: &str, message: impl fmt::Display) -> Error {
        let (path, message) = (self.path.to_owned(), message.to_string());
        Error { path, line: self.number, word: word.to_owned(), message, reason: Reason::Malformed }
    }

    fn not_a_number(&self, word: &str, what: &str) -> Error {
        self.malformed(word, format_args!("{word} is not a number ({what})"))
    }
}

/// The fields of a line, read one after the other. Iterates over the remaining fields.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    line: Line<'a>,
    rest: SplitAsciiWhitespace<'a>,
}

impl<'a> Fields<'a> {
    /// The next field. `what` names it in errors.
    ///
    /// # Errors
    ///
    /// No field is left.
    pub fn word(&mut self, what: &str) -> Result<&'a str, Error> {
        self.rest.next().ok_or_else(|| self.line.truncated(format_args!("missing {what}")))
    }

    /// The next field as a number: `u64`, `u32`, `i64` or `f64`.
    ///
    /// # Errors
    ///
    /// No field is left, or it is not a number of this type.
    pub fn number<T: Number>(&mut self, what: &str) -> Result<T, Error> {
        let word = self.word(what)?;
        T::parse(word).ok_or_else(|| self.line.not_a_number(word, what))
    }

    /// The next field as a number within bounds.
    ///
    /// # Errors
    ///
    /// As [`number`](Self::number), or the number is impossible.
    pub fn bounded<T: Number + Copy>(&mut self, what: &str, bound: &Bound) -> Result<T, Error> {
        let word = self.word(what)?;
        let number = T::parse(word).ok_or_else(|| self.line.not_a_number(word, what))?;
        bound.check(number).ok_or_else(|| {
            let is_negative = number.to_f64() < 0.0 && bound.low >= 0.0;
            let reason = if is_negative { "it is below zero" } else { bound.reason };
            self.line.malformed(word, format_args!("{word} is impossible ({what}): {reason}"))
        })
    }

    /// The next field as a number; `None` at the end of the line, for columns that older kernels do not have.
    ///
    /// # Errors
    ///
    /// The field is not a number of this type.
    pub fn optional_number<T: Number>(&mut self, what: &str) -> Result<Option<T>, Error> {
        if self.rest.clone().next().is_none() { Ok(None) } else { self.number(what).map(Some) }
    }

    /// The error of a word of this line that is not what it should be.
    #[must_use]
    pub fn unexpected(&self, word: &str, what: &str) -> Error {
        self.line.malformed(word, format_args!("{word} is not {what}"))
    }

    /// The next `N` fields as numbers.
    ///
    /// # Errors
    ///
    /// As [`number`](Self::number).
    pub fn numbers<T: Number + Copy, const N: usize>(&mut self, what: &str) -> Result<[T; N], Error> {
        let mut numbers = [T::ZERO; N];
        for number in &mut numbers {
            *number = self.number(what)?;
        }
        Ok(numbers)
    }

    /// The next field as a number of bytes. A following unit kB means 1024 bytes.
    ///
    /// # Errors
    ///
    /// As [`number`](Self::number).
    pub fn bytes(&mut self, what: &str) -> Result<u64, Error> {
        let number: u64 = self.number(what)?;
        let has_unit = self.rest.clone().next() == Some("kB");
        if !has_unit {
            return Ok(number);
        }
        self.rest.next();
        number.checked_mul(1024).ok_or_else(|| self.line.error(format_args!("{number} kB is too large ({what})")))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.rest.next()
    }
}

/// A parse error, with file, line and field. Give it to [`Skipped`](crate::skipped::Skipped), which leaves out one metric; with
/// `?` it becomes [`Error::Failed`], because the plugin does not support this kernel's format.
///
/// [`Error::Failed`]: crate::Error::Failed
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub(crate) path: String,
    /// Zero for the file as a whole.
    pub(crate) line: u32,
    /// The word that was not understood; may be empty.
    pub(crate) word: String,
    pub(crate) message: String,
    pub(crate) reason: Reason,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{} line {line}: {}", self.path, self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error.reason {
            // The host does not have it.
            Reason::Missing if error.line == 0 => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds;
    use crate::skipped::Skipped;
    use crate::testing::Host;

    #[test]
    fn impossible_numbers_have_their_own_reason() {
        let error = |text: &str, bound: &Bound| {
            let error = File::new("/f", text).fields().bounded::<f64>("idle", bound);
            error.expect_err("impossible").to_string()
        };
        assert_eq!(error("-5.00", &bounds::COUNT), "/f: -5.00 is impossible (idle): it is below zero");
        let hot = format!("/f: 9999 is impossible (idle): {}", bounds::CELSIUS.reason);
        assert_eq!(error("9999", &bounds::CELSIUS), hot);
        let wrapped = File::new("/f", "18446744073709551611").fields().bounded::<u64>("idle", &bounds::COUNT);
        assert!(wrapped.expect_err("impossible").to_string().contains("top bit"));
    }

    #[test]
    fn long_text_is_cut_at_a_line() {
        // Names that are not UTF-8 make the text longer than the file.
        let line = [&[0xff; 99][..], b"\n"].concat();
        let mut host = Host::new();
        host.file("/proc/1/mountinfo", line.repeat(40_000));
        let file = host.run(|| Skipped::default().read("/proc/1/mountinfo", "all")).expect("read");
        assert!(file.is_cut() && file.text.capacity() <= MAX_BYTES);
        assert!(file.lines().all(|line| line.text().len() == 99 * 5));
        assert_eq!(file.lines().count(), MAX_BYTES / (99 * 5 + 1));
    }

    #[test]
    fn long_file_is_cut_at_a_line() {
        let line = format!("{}\n", "x".repeat(1000));
        for (lines, is_cut) in [(5000, false), (10_000, true)] {
            let mut host = Host::new();
            host.file("/proc/1/mountinfo", line.repeat(lines));
            let file = host.run(|| Skipped::default().read("/proc/1/mountinfo", "all")).expect("read");
            assert_eq!(file.is_cut(), is_cut, "{lines}");
            let expected = if is_cut { MAX_BYTES / line.len() } else { lines };
            assert_eq!(file.lines().count(), expected);
            assert!(file.lines().all(|whole| whole.text().len() + 1 == line.len()));
            let why =
                "WARN without its other lines: /proc/1/mountinfo is truncated: is longer than the 8 MiB that are read";
            assert_eq!(host.messages().concat(), if is_cut { why } else { "" });
        }
    }
}
