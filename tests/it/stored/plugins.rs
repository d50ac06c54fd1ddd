//! Plugins of the tests: results that come late, and values and labels of every kind.

use gauged::sample::NativeMetric;

use crate::guest::{Guest, VALUE, metric_of};
use crate::http::Fetch;

/// The number of the kind in the interface.
const COUNTER: u32 = 1;

/// Instructions for the time that `collect` was called for, in milliseconds since the Unix epoch.
const TICK: &str = "(local.get 0)";

/// The metrics of [`numbers`] that are described, as [`Guest::describes`] does it.
pub static DESCRIBED: [NativeMetric; 2] = [
    NativeMetric::counter("numbers", "read_total", "By", "What it is.", "a plugin"),
    NativeMetric::gauge("numbers", "used", "By", "What it is.", "a plugin"),
];

/// The texts of a label that are escaped somewhere.
pub const TEXTS: [&str; 14] = [
    "plain",
    "two words",
    "a,b=c",
    "\"quoted\"",
    "by\\x2duuid",
    "C:\\",
    "a\\,b",
    "two\nlines",
    "é \u{1f980}",
    "a} 1",
    "# x",
    "'single'",
    "\\\\double",
    "tab\there",
];

/// A metric: its name, labels and value.
type Metric<'a> = (&'a str, Vec<(&'a str, &'a str)>, Value<'a>);

/// A value in the interface.
enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Boolean(bool),
    Text(&'a str),
}

/// A plugin whose metric is the time that it was called for.
pub fn clock(module: &str) -> Guest {
    Guest::new(module).before_collect(&format!("(i64.store (i32.const {}) {TICK})", VALUE + 8))
}

/// The same, once a server has responded.
pub fn waiting_clock(module: &str, url: &str) -> Guest {
    Fetch::get(url).showing(TICK).guest_as(module)
}

/// A plugin with values and labels of every kind.
pub fn numbers() -> Guest {
    let mut metrics: Vec<Metric<'_>> = vec![
        ("read_total", vec![("device", "a")], Value::Unsigned((1 << 53) + 1)),
        ("read_total", vec![("device", "b")], Value::Unsigned(u64::MAX)),
        ("used", vec![], Value::Signed(-5)),
        ("smallest", vec![], Value::Float(f64::MIN_POSITIVE)),
        ("largest", vec![], Value::Float(1e300)),
        ("tenth", vec![], Value::Float(0.1)),
        ("negative_zero", vec![], Value::Float(-0.0)),
        ("third", vec![], Value::Float(-1.0 / 3.0)),
        ("up", vec![], Value::Boolean(true)),
        ("down", vec![], Value::Boolean(false)),
        ("text", vec![], Value::Text("not a number")),
        ("digits", vec![], Value::Text("17")),
        (
            "taken",
            vec![("job", "batch"), ("instance", "i-1"), ("host", "h-1"), ("dc", "own"), ("le", "1")],
            Value::Unsigned(1),
        ),
        ("empty", vec![("none", ""), ("some", "x")], Value::Unsigned(1)),
    ];
    metrics.extend(TEXTS.iter().map(|text| ("label", vec![("text", *text)], Value::Unsigned(1))));
    let described = [("numbers", "read_total", COUNTER), ("numbers", "used", 0)];
    let mut guest = Guest::new("numbers").describes(&described);
    let mut words = Vec::new();
    for (name, labels, value) in &metrics {
        let name = guest.text(name);
        let mut pairs = Vec::new();
        for (label, text) in labels {
            let (label, text) = (guest.text(label), guest.text(text));
            pairs.extend([label.0, label.1, text.0, text.1]);
        }
        let list = guest.list(&pairs);
        let (case, low, high) = match value {
            Value::Unsigned(number) => halves(0, *number),
            Value::Signed(number) => halves(1, number.cast_unsigned()),
            Value::Float(number) => halves(2, number.to_bits()),
            Value::Boolean(is_true) => halves(3, (*is_true).into()),
            Value::Text(text) => {
                let (at, length) = guest.text(text);
                (4, at, length)
            }
        };
        words.push(metric_of(name, (list, labels.len() as u32), [case, 0, low, high]));
    }
    guest.returns(&words)
}

/// The number of a case, and the two halves of its value.
fn halves(case: u32, bits: u64) -> (u32, u32, u32) {
    (case, bits as u32, (bits >> 32) as u32)
}
