//! One line of an exposition.

use std::borrow::Cow;

use super::number::float;
use super::{Format, Label};
use crate::scan::{begins_with, find, is_same};

/// Why a line is not understood, and at which word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed<'a> {
    pub(super) word: &'a str,
    pub(super) why: &'static str,
}

/// A line that is no sample.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Comment<'a> {
    /// `# TYPE name word`.
    Type { name: &'a str, word: &'a str },
    /// `# HELP name text`.
    Help { name: &'a str, text: &'a str },
    /// `# UNIT name unit`.
    Unit { name: &'a str, unit: &'a str },
    /// `# EOF`.
    End,
    /// Any other.
    Other,
}

/// A sample, without its labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) value: f64,
    pub(super) has_timestamp: bool,
}

/// The names of the sample before, which are mostly those of the next one.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    pub(super) metric: &'a str,
    /// Those of its labels, all different.
    labels: Vec<&'a str>,
}

/// A place in a line.
struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// The text as long as its bytes are these.
    #[inline]
    fn take_while(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let end = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// The text up to the first of these bytes.
    #[inline]
    fn take_until(&mut self, bytes: [u8; 2]) -> &'a str {
        let rest = self.rest();
        let end = find(rest.as_bytes(), bytes).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// Whether the text here is a known name of a metric.
    #[inline]
    fn takes_name(&mut self, known: &str) -> bool {
        let rest = self.line.as_bytes().get(self.at..).unwrap_or_default();
        let ends = matches!(rest.get(known.len()), Some(b'{' | b' '));
        let is_here = ends && begins_with(rest, known.as_bytes());
        self.at += if is_here { known.len() } else { 0 };
        is_here
    }

    /// Whether the text here is a known name of a label, and its value in quotes follows.
    #[inline]
    fn takes_label(&mut self, known: &str) -> bool {
        let rest = self.line.as_bytes().get(self.at..).unwrap_or_default();
        let follows = rest.get(known.len()..).is_some_and(|rest| matches!(rest, [b'=', b'"', ..]));
        let is_here = follows && begins_with(rest, known.as_bytes());
        self.at += if is_here { known.len() + 2 } else { 0 };
        is_here
    }

    #[inline]
    fn word(&mut self) -> &'a str {
        self.take_until([b' ', b'\t'])
    }

    #[inline]
    fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, why: &'static str) -> Result<T, Malformed<'a>> {
        Err(Malformed { word: self.rest(), why })
    }

    /// A value in quotes, after the first one.
    #[inline]
    fn quoted(&mut self) -> Result<Cow<'a, str>, Malformed<'a>> {
        let plain = self.take_until([b'"', b'\\']);
        if self.takes(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut value = plain.to_owned();
        while self.takes(b'\\') {
            let escaped = self.peek();
            match escaped {
                Some(b'n') => value.push('\n'),
                Some(b'"') => value.push('"'),
                // Before another letter it stands for itself: Python's parser keeps it, too.
                _ => value.push('\\'),
            }
            self.at += usize::from(matches!(escaped, Some(b'n' | b'"' | b'\\')));
            value.push_str(self.take_until([b'"', b'\\']));
        }
        if self.takes(b'"') {
            Ok(Cow::Owned(value))
        } else {
            Err(Malformed { word: plain, why: "is a value without its last quote" })
        }
    }
}

#[inline]
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

fn is_name(name: &str) -> bool {
    name.bytes().all(is_name_byte) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Reads a line that begins with `#`.
pub(super) fn comment(line: &str) -> Result<Comment<'_>, Malformed<'_>> {
    let mut cursor = Cursor { line, at: 1 };
    cursor.skip_blanks();
    let keyword = cursor.word();
    if keyword == "EOF" && cursor.rest().trim_ascii().is_empty() {
        return Ok(Comment::End);
    }
    if !matches!(keyword, "TYPE" | "HELP" | "UNIT") {
        return Ok(Comment::Other);
    }
    cursor.skip_blanks();
    let name = cursor.word();
    if !is_name(name) {
        return Err(Malformed { word: name, why: "is no name of a metric" });
    }
    if keyword == "HELP" {
        // The text begins after one blank.
        cursor.at += usize::from(matches!(cursor.peek(), Some(b' ' | b'\t')));
        return Ok(Comment::Help { name, text: cursor.rest() });
    }
    cursor.skip_blanks();
    let word = cursor.rest().trim_ascii_end();
    Ok(if keyword == "TYPE" { Comment::Type { name, word } } else { Comment::Unit { name, unit: word } })
}

/// Reads a sample, and appends its labels, at most so many.
#[inline]
pub(super) fn sample<'a>(
    line: &'a str,
    format: Format,
    max_labels: usize,
    before: &mut Names<'a>,
    labels: &mut Vec<Label<'a>>,
) -> Result<Sample<'a>, Malformed<'a>> {
    let mut cursor = Cursor { line, at: 0 };
    if before.metric.is_empty() || !cursor.takes_name(before.metric) {
        let name = cursor.take_while(is_name_byte);
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Malformed { word: cursor.word_of_line(), why: "is no name of a metric" });
        }
        before.metric = name;
    }
    let name = before.metric;
    let has_blank = matches!(cursor.peek(), Some(b' ' | b'\t'));
    cursor.skip_blanks();
    let has_labels = cursor.takes(b'{');
    if has_labels {
        read_labels(&mut cursor, max_labels, &mut before.labels, labels)?;
        cursor.skip_blanks();
    } else if !has_blank {
        return cursor.fail("is neither labels nor a value");
    }
    let word = cursor.word();
    let Some(value) = float(word) else {
        return Err(Malformed { word, why: "is not a number" });
    };
    cursor.skip_blanks();
    let has_timestamp = cursor.peek().is_some_and(|next| next != b'#');
    if has_timestamp {
        let word = cursor.word();
        if !is_timestamp(word, format) {
            return Err(Malformed { word, why: "is not a timestamp" });
        }
        cursor.skip_blanks();
    }
    match (cursor.peek(), format) {
        // The rest is an exemplar.
        (None, _) | (Some(b'#'), Format::OpenMetrics) => Ok(Sample { name, value, has_timestamp }),
        _ => cursor.fail("is after the value"),
    }
}

impl<'a> Cursor<'a> {
    fn word_of_line(&self) -> &'a str {
        Cursor { line: self.line, at: 0 }.word()
    }
}

/// Reads labels after the first brace, up to and with the last one. `known` are different names, those of the line before; afterwards
/// its own.
#[inline]
fn read_labels<'a>(
    cursor: &mut Cursor<'a>,
    max: usize,
    known: &mut Vec<&'a str>,
    labels: &mut Vec<Label<'a>>,
) -> Result<(), Malformed<'a>> {
    let mut count = 0;
    loop {
        cursor.skip_blanks();
        if cursor.takes(b'}') {
            return Ok(());
        }
        let expected = known.get(count).copied().filter(|name| cursor.takes_label(name));
        let name = match expected {
            Some(name) => name,
            None => label_name(cursor)?,
        };
        let value = cursor.quoted()?;
        if expected.is_none() {
            known.truncate(count);
            if known.iter().any(|known| is_same(known, name)) {
                return Err(Malformed { word: name, why: "is a label that is there twice" });
            }
        }
        if count == max {
            return Err(Malformed { word: name, why: "is one label too many" });
        }
        if expected.is_none() {
            known.push(name);
        }
        count += 1;
        labels.push(Label { name, value });
        cursor.skip_blanks();
        if !cursor.takes(b',') {
            return if cursor.takes(b'}') { Ok(()) } else { cursor.fail("is not the end of the labels") };
        }
    }
}

/// Reads the name of a label, up to and with the quote before its value.
fn label_name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Malformed<'a>> {
    let name = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() {
        return cursor.fail("does not begin with the name of a label");
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(Malformed { word: name, why: "is no name of a label" });
    }
    cursor.skip_blanks();
    if !cursor.takes(b'=') {
        return Err(Malformed { word: name, why: "is a label without a value" });
    }
    cursor.skip_blanks();
    if !cursor.takes(b'"') {
        return Err(Malformed { word: name, why: "is a label whose value is not in quotes" });
    }
    Ok(name)
}

/// Whether a word is a timestamp: in the text format a whole number of milliseconds, in OpenMetrics seconds.
fn is_timestamp(word: &str, format: Format) -> bool {
    /// The year 285428751, far from the end of an integer of milliseconds.
    const LAST_SECONDS: f64 = 9e15;
    match format {
        Format::Text => word.parse::<i64>().is_ok(),
        Format::OpenMetrics => float(word).is_some_and(|seconds| seconds.abs() <= LAST_SECONDS),
    }
}

/// The text of a description without escapes.
pub(super) fn unescaped(text: &str, format: Format) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (letter, escapes) = match after.bytes().next() {
            Some(b'n') => ('\n', true),
            Some(b'\\') => ('\\', true),
            Some(b'"') if format == Format::OpenMetrics => ('"', true),
            _ => ('\\', false),
        };
        plain.push(letter);
        rest = after.get(usize::from(escapes)..).unwrap_or_default();
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}
