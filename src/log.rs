//! The agent's own log: one line per event on standard error, written by a thread of its own, so that a log without a
//! reader, or with a full disk behind it, costs lines and nothing else.
//!
//! An event is a fixed message and fields. As text: `2026-11-25T10:00:00.000000Z  WARN plugin rejected plugin=redis
//! reason="…"`; as JSON: one object with `time`, `level`, `message` and the fields. Every character that is not plain
//! (`escape::is_plain`) is escaped in messages and fields, so that no name or text from outside can forge a line.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::config::log::{LogConfig, LogFormat, LogLevel};
use crate::escape::{is_plain, push_escaped};
use crate::queue::Queue;
use crate::write::write_whole;

/// How many lines wait to be written: as many as a thousand plugins log when they are loaded.
const QUEUE: usize = 1024;

/// How long the end of the agent waits for the last lines to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// The log, from its start until this is dropped.
#[derive(Debug)]
pub struct Log {
    lines: Lines,
}

/// The queue in front of the thread, as tracing writes to it.
#[derive(Debug, Clone)]
struct Lines(Arc<Queue<Vec<u8>>>);

impl Log {
    /// Starts to log all events of the program.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(config: LogConfig) -> io::Result<Self> {
        let lines = Lines(Arc::new(Queue::new(QUEUE)));
        let queue = Arc::clone(&lines.0);
        let formatter = Formatter { format: config.format, is_journal: is_journal() };
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_lines(&queue, formatter, &mut io::stderr());
            queue.close();
        })?;
        let level = match config.level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        };
        tracing_subscriber::fmt().with_writer(lines.clone()).with_max_level(level).event_format(formatter).init();
        Ok(Self { lines })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Lines that a stuck log does not take are lost with it.
        let _ = self.lines.0.end(FLUSH);
    }
}

/// Writes lines until the queue ends. A line that cannot be written is lost: there is no other place for it. It is counted
/// with those that the full queue dropped, and the count is written once that is possible.
fn write_lines(lines: &Queue<Vec<u8>>, formatter: Formatter, output: &mut (impl Write + AsFd)) {
    let mut reported = 0;
    // The last line was cut off: the next one begins with a line break.
    let mut is_torn = false;
    let mut write = |mut line: Vec<u8>| {
        if is_torn {
            line.insert(0, b'\n');
        }
        let mut written = 0;
        let is_written = write_whole(output, &line, &mut written).is_ok();
        if written > 0 {
            is_torn = !is_written;
        }
        is_written
    };
    while let Some(line) = lines.take() {
        let dropped = lines.dropped();
        if dropped > reported {
            let mut notice = LineBuilder::default();
            notice.push_text("message", "log lines dropped");
            notice.push_number("count", dropped - reported);
            if write(formatter.line(Level::WARN, &notice).into_bytes()) {
                reported = dropped;
            }
        }
        if !write(line) {
            lines.lose();
        }
    }
}

/// Each write of tracing is one whole line.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Whether standard error is the journal's: systemd names its device and inode in `$JOURNAL_STREAM` (systemd.exec(5)).
#[expect(clippy::disallowed_methods, reason = "the variable describes a stream and overrides no key")]
fn is_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Turns an event into a line.
#[derive(Debug, Clone, Copy)]
struct Formatter {
    format: LogFormat,
    /// The journal has a time of its own, and takes the level from a prefix (sd-daemon(3)).
    is_journal: bool,
}

impl<S, N> FormatEvent<S, N> for Formatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = LineBuilder::default();
        event.record(&mut fields);
        writer.write_str(&self.line(*event.metadata().level(), &fields))
    }
}

impl Formatter {
    fn line(self, level: Level, fields: &LineBuilder) -> String {
        let mut line = String::new();
        if self.is_journal {
            let priority = match level {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                _ => 7,
            };
            let _ = write!(line, "<{priority}>");
        }
        let mut time = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        match self.format {
            LogFormat::Text => {
                if !self.is_journal {
                    let _ = write!(line, "{time} ");
                }
                let _ = write!(line, "{level:>5} ");
                fields.write_text(&mut line);
            }
            LogFormat::Json => {
                let _ = write!(line, "{{\"time\":\"{time}\",\"level\":\"{}\"", level.as_str().to_ascii_lowercase());
                fields.write_json(&mut line);
                line.push('}');
            }
        }
        line.push('\n');
        line
    }
}

/// The message and the fields of one event, in their order.
#[derive(Debug, Default)]
struct LineBuilder {
    message: String,
    fields: Vec<(&'static str, FieldValue)>,
}

#[derive(Debug)]
enum FieldValue {
    Text(String),
    /// A number or a boolean, which needs no quotes in either format.
    Literal(String),
}

impl LineBuilder {
    fn push_text(&mut self, name: &'static str, text: &str) {
        if name == "message" {
            text.clone_into(&mut self.message);
        } else {
            self.fields.push((name, FieldValue::Text(text.to_owned())));
        }
    }

    fn push_number(&mut self, name: &'static str, number: impl fmt::Display) {
        self.fields.push((name, FieldValue::Literal(number.to_string())));
    }

    /// `message name=value name="value with spaces"`.
    fn write_text(&self, line: &mut String) {
        push_escaped(line, &self.message);
        for (name, value) in &self.fields {
            let _ = write!(line, " {name}=");
            match value {
                FieldValue::Literal(literal) => line.push_str(literal),
                FieldValue::Text(text) if is_bare(text) => line.push_str(text),
                FieldValue::Text(text) => push_quoted(line, text, |line, character| {
                    let _ = write!(line, "{}", character.escape_default());
                }),
            }
        }
    }

    /// `,"message":"…","name":"value"`.
    fn write_json(&self, line: &mut String) {
        line.push_str(",\"message\":");
        push_json_string(line, &self.message);
        for (name, value) in &self.fields {
            let _ = write!(line, ",\"{name}\":");
            match value {
                FieldValue::Literal(literal) => line.push_str(literal),
                FieldValue::Text(text) => push_json_string(line, text),
            }
        }
    }
}

impl Visit for LineBuilder {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // `%value` is the text of `Display` here.
        self.push_text(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_number(field.name(), value);
    }
}

/// Whether a value can be told from the fields around it without quotes.
fn is_bare(text: &str) -> bool {
    let is_bare =
        |character: char| is_plain(character) && !character.is_whitespace() && !matches!(character, '"' | '=' | '\\');
    !text.is_empty() && text.chars().all(is_bare)
}

/// A JSON string in which characters that are not plain are escaped, too.
fn push_json_string(line: &mut String, text: &str) {
    push_quoted(line, text, |line, character| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(line, "\\u{unit:04x}");
        }
    });
}

/// A text in quotes. Quotes and backslashes in it get a backslash; `escape` writes the characters that are not plain.
fn push_quoted(line: &mut String, text: &str, escape: impl Fn(&mut String, char)) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            other if is_plain(other) => line.push(other),
            other => escape(line, other),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
    use std::os::fd::BorrowedFd;

    use proptest::prelude::*;

    use super::*;

    fn event(message: &str, fields: &[(&'static str, &str)]) -> LineBuilder {
        let mut event = LineBuilder::default();
        event.push_text("message", message);
        for (name, text) in fields {
            event.push_text(name, text);
        }
        event
    }

    fn line(format: LogFormat, is_journal: bool, event: &LineBuilder) -> String {
        Formatter { format, is_journal }.line(Level::WARN, event)
    }

    #[test]
    fn text_has_time_level_message_and_fields() {
        let mut event = event("plugin rejected", &[("plugin", "redis"), ("reason", "is \"truncated\""), ("empty", "")]);
        event.push_number("count", 3);
        let line = line(LogFormat::Text, false, &event);
        let (time, rest) = line.split_at(28);
        assert!(time.ends_with("Z "), "{line}");
        assert_eq!(rest, " WARN plugin rejected plugin=redis reason=\"is \\\"truncated\\\"\" empty=\"\" count=3\n");
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        let event = event("plugin rejected", &[("plugin", "redis")]);
        assert_eq!(line(LogFormat::Text, true, &event), "<4> WARN plugin rejected plugin=redis\n");
    }

    /// What `write_lines` writes of these lines to this output, and how many it counts as dropped.
    fn written(lines: &[&str], output: &mut (impl Write + AsFd)) -> u64 {
        let queue = Queue::new(lines.len());
        for line in lines {
            queue.put(format!("{line}\n").into_bytes());
        }
        queue.end(Duration::ZERO);
        write_lines(&queue, Formatter { format: LogFormat::Text, is_journal: true }, output);
        queue.dropped()
    }

    #[test]
    fn nonblocking_output_gets_all_lines() {
        // Twice the capacity of a pipe, for a reader that starts when the pipe is full.
        let (reader, mut writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("set");
        let line = "x".repeat(2000);
        let lines = vec![&*line; 64];
        let reading = thread::spawn(move || {
            let nearly_full = rustix::pipe::fcntl_getpipe_size(&reader).expect("a size") as u64 * 9 / 10;
            while rustix::io::ioctl_fionread(&reader).expect("a size") < nearly_full {
                thread::yield_now();
            }
            BufReader::new(reader).lines().map(|line| line.expect("text").len()).collect::<Vec<_>>()
        });
        assert_eq!(written(&lines, &mut writer), 0);
        drop(writer);
        assert_eq!(reading.join().expect("no panic"), vec![2000; 64]);
    }

    /// A file whose writes fail after so many bytes, until `fails` more have failed.
    struct FullDisk {
        file: File,
        space: usize,
        fails: usize,
    }

    impl Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.space == 0 && self.fails > 0 {
                self.fails -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let length = if self.fails > 0 { bytes.len().min(self.space) } else { bytes.len() };
            self.space = self.space.saturating_sub(length);
            self.file.write(&bytes[..length])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for FullDisk {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    #[test]
    fn lines_lost_on_a_full_disk_are_counted() {
        let file = tempfile::tempfile().expect("a file");
        // `one` fits, `two` is cut off; then the notice and `three` fail.
        let mut disk = FullDisk { file: file.try_clone().expect("cloned"), space: 6, fails: 3 };
        assert_eq!(written(&["one", "two", "three", "four"], &mut disk), 2);
        let mut text = String::new();
        (&file).seek(SeekFrom::Start(0)).expect("a file");
        (&file).read_to_string(&mut text).expect("text");
        assert_eq!(text, "one\ntw\n<4> WARN log lines dropped count=2\nfour\n");
    }

    #[test]
    fn json_is_one_object() {
        let mut event = event("plugin loaded", &[("plugin", "redis")]);
        event.push_number("count", 3);
        let line = line(LogFormat::Json, false, &event);
        let mut object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(object.as_object_mut().and_then(|object| object.remove("time")).is_some());
        let expected = serde_json::json!({
            "level": "warn", "message": "plugin loaded", "plugin": "redis", "count": 3,
        });
        assert_eq!(object, expected);
    }

    proptest! {
        /// No message and no field can end a line, begin another one or pass for a field of its own.
        #[test]
        fn any_field_stays_in_its_quotes(message in any::<String>(), first in any::<String>(), second in any::<String>()) {
            let event = event(&message, &[("first", &first), ("second", &second)]);
            let text = line(LogFormat::Text, false, &event);
            let inside = text.strip_suffix('\n').expect("a line");
            prop_assert!(inside.chars().all(is_plain), "{:?}", text);
            let mut expected = String::new();
            push_escaped(&mut expected, &message);
            let rest = inside[27..].strip_prefix("  WARN ").and_then(|rest| rest.strip_prefix(&*expected));
            let rest = rest.and_then(|rest| rest.strip_prefix(" first="));
            let (value, rest) = take_value(rest.expect("the first field")).expect("a value");
            prop_assert_eq!(value, escaped(&first));
            let (value, rest) = take_value(rest.strip_prefix(" second=").expect("the second field")).expect("a value");
            prop_assert_eq!((value, rest), (escaped(&second), ""));
        }

        #[test]
        fn any_event_reads_back_from_json(message in any::<String>(), value in any::<String>()) {
            let json = line(LogFormat::Json, false, &event(&message, &[("field", &value)]));
            prop_assert!(json.strip_suffix('\n').is_some_and(|json| json.chars().all(is_plain)));
            let object: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(object["message"].as_str(), Some(&*message));
            prop_assert_eq!(object["field"].as_str(), Some(&*value));
        }
    }

    fn escaped(text: &str) -> String {
        let mut line = String::new();
        push_escaped(&mut line, text);
        line
    }

    /// Reads a value as a program would that knows nothing of escapes but `\"` and `\\`.
    fn take_value(text: &str) -> Option<(String, &str)> {
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find(' ').unwrap_or(text.len());
            return Some((text[..end].to_owned(), &text[end..]));
        };
        let (mut value, mut characters) = (String::new(), quoted.char_indices());
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => return Some((value, &quoted[at + 1..])),
                '\\' => match characters.next()? {
                    (_, escaped @ ('"' | '\\')) => value.push(escaped),
                    (_, other) => value.extend(['\\', other]),
                },
                other => value.push(other),
            }
        }
        None
    }
}
