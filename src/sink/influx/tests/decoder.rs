//! Reads requests: gzip, and the line protocol as `VictoriaMetrics` reads it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;

use super::super::super::fixture::Point;

/// The text of a body.
pub(super) fn text(body: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).expect("gzip");
    text
}

/// The points of a body. Names are measurement and field with the separator between them.
pub(super) fn decode(body: &[u8], separator: &str) -> Vec<Point> {
    text(body).split_terminator('\n').flat_map(|line| decode_line(line, separator)).collect()
}

fn decode_line(line: &str, separator: &str) -> Vec<Point> {
    let parts = split(line, ' ');
    let [head, fields, time] = &*parts else { panic!("{} parts in {line:?}", parts.len()) };
    let tags = split(head, ',');
    let tags_of_line: Vec<(String, String)> = tags[1..].iter().map(|tag| pair(tag)).collect();
    assert!(tags_of_line.is_sorted_by(|(name, _), (other, _)| name < other), "{line:?}");
    let labels: BTreeMap<String, String> = tags_of_line.into_iter().collect();
    let time = Duration::from_nanos(time.parse().expect("nanoseconds"));
    let fields: Vec<(String, String)> = split(fields, ',').iter().map(|field| pair(field)).collect();
    let names: BTreeMap<_, _> = fields.iter().cloned().collect();
    assert_eq!(names.len(), fields.len(), "a field is there twice: {line:?}");
    let point = |(field, value): (String, String)| {
        let name = format!("{}{separator}{field}", unescaped(tags[0]));
        Point { time, name, labels: labels.clone(), value: value.parse().expect("a number"), is_certain: true }
    };
    fields.into_iter().map(point).collect()
}

/// The parts between characters that no backslash escapes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if letter == separator && !is_escaped {
            parts.push(&text[start..at]);
            start = at + 1;
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn pair(text: &str) -> (String, String) {
    let parts = split(text, '=');
    let [name, value] = &*parts else { panic!("{text:?}") };
    assert!(!name.is_empty() && !value.is_empty() && !value.ends_with('\\'), "{text:?}");
    (unescaped(name), unescaped(value))
}

fn unescaped(text: &str) -> String {
    let (mut unescaped, mut letters) = (String::new(), text.chars().peekable());
    while let Some(letter) = letters.next() {
        let is_special = |next: &char| matches!(next, ' ' | ',' | '=' | '\\');
        unescaped.push(if letter == '\\' { letters.next_if(is_special).unwrap_or(letter) } else { letter });
    }
    unescaped
}
