//! Log lines: an event as text or as JSON. Pure but for the time of day.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::log::LogFormat;
use crate::escape::{is_plain, push_escaped};

/// The format of lines, which may change while the log is written.
#[derive(Debug, Clone)]
pub(super) struct SharedFormat(Arc<AtomicBool>);

impl SharedFormat {
    pub(super) fn new(format: LogFormat) -> Self {
        Self(Arc::new(AtomicBool::new(format == LogFormat::Json)))
    }

    pub(super) fn set(&self, format: LogFormat) {
        self.0.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    fn get(&self) -> LogFormat {
        if self.0.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
    }
}

/// Turns an event into a line.
#[derive(Debug, Clone)]
pub(super) struct Formatter {
    pub(super) format: SharedFormat,
    /// The journal has a time of its own, and takes the level from a prefix (sd-daemon(3)).
    pub(super) is_journal: bool,
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
    pub(super) fn line(&self, level: Level, fields: &LineBuilder) -> String {
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
        match self.format.get() {
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
pub(super) struct LineBuilder {
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
    pub(super) fn push_text(&mut self, name: &'static str, text: &str) {
        if name == "message" {
            text.clone_into(&mut self.message);
        } else {
            self.fields.push((name, FieldValue::Text(text.to_owned())));
        }
    }

    pub(super) fn push_number(&mut self, name: &'static str, number: impl fmt::Display) {
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
        Formatter { format: SharedFormat::new(format), is_journal }.line(Level::WARN, event)
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
