//! One point as Open-Falcon's agents take it, checked as its servers do it: a JSON object with `endpoint`, `metric`, `timestamp`, `step`,
//! `value`, `counterType` and `tags`. Other fields are ignored. Pure.

use serde::Deserialize;

use super::field::{Field, shown};
use super::statistics::Rejection;
use crate::sample::{Label, Labels, MetricKind, Value};

/// The most bytes of a metric and its tags together, as in Open-Falcon.
const SERIES_BYTES: usize = 510;

/// The longest endpoint: a domain name.
const ENDPOINT_BYTES: usize = 253;

/// The longest step: a day. The series of a flood are gone after two of their steps.
const MAX_STEP_SECONDS: u64 = 86_400;

/// The label with the endpoint of another host.
const ENDPOINT: &str = "endpoint";

/// A checked point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CheckedPoint {
    pub(super) metric: String,
    /// Its tags, sorted by name, with the endpoint if that is not this host.
    pub(super) labels: Labels,
    pub(super) kind: MetricKind,
    pub(super) value: Value,
    pub(super) step_seconds: u32,
    /// Since the Unix epoch; none for now.
    pub(super) timestamp: Option<u64>,
}

/// Why a text is no good point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Rejection,
    /// The cause and the remedy.
    pub(super) text: String,
}

/// A point as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenPoint<'a> {
    #[serde(borrow)]
    endpoint: Field<'a>,
    #[serde(borrow)]
    metric: Field<'a>,
    timestamp: Field<'a>,
    step: Field<'a>,
    #[serde(borrow)]
    value: Field<'a>,
    #[serde(borrow, rename = "counterType")]
    counter_type: Field<'a>,
    #[serde(borrow)]
    tags: Field<'a>,
}

impl Fault {
    fn new(reason: Rejection, text: String) -> Self {
        Self { reason, text }
    }
}

impl CheckedPoint {
    /// Checks a JSON text. `own_name` is the name of this host, if it has one.
    ///
    /// # Errors
    ///
    /// When it is no good point.
    pub(super) fn parse(text: &str, own_name: Option<&str>) -> Result<Self, Fault> {
        if !text.starts_with('{') {
            let remedy = "write {\"metric\":…,\"step\":…,\"value\":…,\"counterType\":…}";
            return Err(Fault::new(Rejection::Form, format!("it is no object; {remedy}")));
        }
        let written: WrittenPoint<'_> = serde_json::from_str(text)
            .map_err(|error| Fault::new(Rejection::Form, format!("it cannot be read: {error} of it")))?;
        let metric = check_metric(&written.metric)?;
        let tags = match &written.tags {
            Field::Missing => "",
            Field::Text(tags) => tags,
            other => {
                return Err(Fault::new(Rejection::Tags, format!("tags is {other}; write a text such as \"a=b,c=d\"")));
            }
        };
        let bytes = metric.len() + tags.len();
        if bytes > SERIES_BYTES {
            let text = format!("metric and tags have {bytes} bytes; shorten them to {SERIES_BYTES}");
            return Err(Fault::new(Rejection::Metric, text));
        }
        let mut labels = parse_tags(tags)?;
        if let Some(endpoint) = foreign_endpoint(&written.endpoint, own_name)? {
            push_label(&mut labels, ENDPOINT, endpoint).map_err(|()| {
                let text = format!("it has a tag {ENDPOINT} and is of another host; rename the tag");
                Fault::new(Rejection::Tags, text)
            })?;
        }
        let kind = check_kind(&written.counter_type)?;
        let value = check_value(&written.value, kind)?;
        labels.sort_unstable_by(|label, other| label.name.cmp(&other.name));
        Ok(Self {
            metric: metric.to_owned(),
            labels: labels.into_iter().collect(),
            kind,
            value,
            step_seconds: check_step(&written.step)?,
            timestamp: check_timestamp(&written.timestamp)?,
        })
    }
}

/// Whether a name can be part of a series' key, whatever follows it there.
fn is_clean(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|letter| letter.is_control() || matches!(letter, '{' | '}' | '"' | '\\'))
}

fn check_metric<'a>(field: &'a Field<'_>) -> Result<&'a str, Fault> {
    let fault = |text: String| Fault::new(Rejection::Metric, text);
    match field {
        Field::Text(metric) if is_clean(metric) => Ok(metric),
        Field::Text(metric) if metric.is_empty() => Err(fault("metric is empty; name the metric".to_owned())),
        Field::Text(_) => Err(fault(format!(
            "metric is {field}; leave out quotation marks, backslashes, braces and control characters"
        ))),
        other => Err(fault(format!("metric is {other}; write a text"))),
    }
}

/// The endpoint, if it is not this host.
fn foreign_endpoint<'a>(field: &'a Field<'_>, own_name: Option<&str>) -> Result<Option<&'a str>, Fault> {
    let endpoint = match field {
        Field::Missing => return Ok(None),
        Field::Text(endpoint) => &**endpoint,
        other => {
            let text = format!("endpoint is {other}; write the name of a host, or leave it out for this one");
            return Err(Fault::new(Rejection::Endpoint, text));
        }
    };
    if endpoint.len() > ENDPOINT_BYTES || endpoint.chars().any(char::is_control) {
        let text = format!("endpoint is {field}; use at most {ENDPOINT_BYTES} bytes, without control characters");
        return Err(Fault::new(Rejection::Endpoint, text));
    }
    let is_own = endpoint.is_empty() || own_name.is_some_and(|own| own.eq_ignore_ascii_case(endpoint));
    Ok((!is_own).then_some(endpoint))
}

/// The labels of `a=b,c=d`. Spaces are no part of it, as in Open-Falcon.
fn parse_tags(tags: &str) -> Result<Vec<Label>, Fault> {
    let fault = |text: String| Fault::new(Rejection::Tags, text);
    let tags = tags.replace(' ', "");
    let mut labels = Vec::new();
    for tag in tags.split(',').filter(|tag| !tag.is_empty()) {
        let Some((name, value)) = tag.split_once('=') else {
            return Err(fault(format!("the tag {} has no =; write name=value", shown(tag))));
        };
        if !is_clean(name) {
            let remedy = "name it, without quotation marks, backslashes, braces and control characters";
            return Err(fault(format!("the tag {} has no valid name; {remedy}", shown(tag))));
        }
        push_label(&mut labels, name, value)
            .map_err(|()| fault(format!("it has the tag {} twice; leave one out", shown(name))))?;
    }
    Ok(labels)
}

/// Appends a label whose name is new.
fn push_label(labels: &mut Vec<Label>, name: &str, value: &str) -> Result<(), ()> {
    if labels.iter().any(|label| *label.name == *name) {
        return Err(());
    }
    labels.push(Label { name: name.to_owned().into(), value: value.into() });
    Ok(())
}

fn check_kind(field: &Field<'_>) -> Result<MetricKind, Fault> {
    match field {
        Field::Text(text) if text == "GAUGE" => Ok(MetricKind::Gauge),
        Field::Text(text) if text == "COUNTER" => Ok(MetricKind::Counter),
        other => {
            Err(Fault::new(Rejection::CounterType, format!("counterType is {other}; write \"GAUGE\" or \"COUNTER\"")))
        }
    }
}

/// A number, also as a text.
fn check_value(field: &Field<'_>, kind: MetricKind) -> Result<Value, Fault> {
    let fault = |text: String| Fault::new(Rejection::Value, text);
    let value = match field {
        Field::Unsigned(value) => Value::Unsigned(*value),
        Field::Signed(value) => Value::Signed(*value),
        Field::Float(value) => Value::Float(*value),
        Field::Text(text) => parse_number(text).ok_or_else(|| fault(format!("value is {field}; write a number")))?,
        other => return Err(fault(format!("value is {other}; write a number"))),
    };
    let is_negative = match value {
        Value::Signed(value) => value < 0,
        Value::Float(value) if !value.is_finite() => {
            return Err(fault(format!("value is {field}; leave out points without a finite number")));
        }
        Value::Float(value) => value < 0.0,
        _ => false,
    };
    if is_negative && kind == MetricKind::Counter {
        return Err(fault(format!("value is {field}, and counters are not negative; write \"GAUGE\"")));
    }
    Ok(value)
}

/// A number in a text, whole where it is written so.
fn parse_number(text: &str) -> Option<Value> {
    let whole = text.parse().ok().map(Value::Unsigned);
    let signed = || text.parse().ok().map(Value::Signed);
    whole.or_else(signed).or_else(|| text.parse().ok().map(Value::Float))
}

fn check_step(field: &Field<'_>) -> Result<u32, Fault> {
    let step = match field {
        Field::Unsigned(step @ 1..=MAX_STEP_SECONDS) => u32::try_from(*step).ok(),
        _ => None,
    };
    step.ok_or_else(|| {
        let remedy = format!("write the whole number of seconds between two points, 1 to {MAX_STEP_SECONDS}");
        Fault::new(Rejection::Step, format!("step is {field}; {remedy}"))
    })
}

fn check_timestamp(field: &Field<'_>) -> Result<Option<u64>, Fault> {
    match field {
        Field::Missing | Field::Unsigned(0) => Ok(None),
        Field::Unsigned(seconds) => Ok(Some(*seconds)),
        other => {
            let remedy = "write whole seconds since 1970, or leave it out for now";
            Err(Fault::new(Rejection::Timestamp, format!("timestamp is {other}; {remedy}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const OWN: Option<&str> = Some("web-1");

    fn parse(point: &serde_json::Value) -> Result<CheckedPoint, Fault> {
        CheckedPoint::parse(&point.to_string(), OWN)
    }

    /// A good point with another value of one field; `null` is no value.
    fn with(field: &str, value: serde_json::Value) -> Result<CheckedPoint, Fault> {
        let mut point = json!({
            "endpoint": "web-1", "metric": "cpu.idle", "timestamp": 1_700_000_000, "step": 60, "value": 1,
            "counterType": "GAUGE", "tags": "",
        });
        point[field] = value;
        parse(&point)
    }

    fn text(labels: &Labels) -> &str {
        labels.text()
    }

    #[test]
    fn points_of_open_falcon_are_taken() {
        let point = parse(&json!({
            "endpoint": "Web-1", "metric": "net.if.in.bytes", "timestamp": 1_700_000_000, "step": 60, "value": 7.5,
            "counterType": "COUNTER", "tags": "iface=eth0, b=x=y,,", "more": [[{}]],
        }));
        let point = point.expect("good");
        assert_eq!((&*point.metric, point.kind, point.step_seconds), ("net.if.in.bytes", MetricKind::Counter, 60));
        assert_eq!((point.value, point.timestamp), (Value::Float(7.5), Some(1_700_000_000)));
        assert_eq!(text(&point.labels), "{b=\"x=y\",iface=\"eth0\"}");
        let least = parse(&json!({"metric": "m", "step": 1, "value": "3", "counterType": "GAUGE"})).expect("good");
        assert_eq!((least.value, least.timestamp, text(&least.labels)), (Value::Unsigned(3), None, ""));
    }

    #[test]
    fn foreign_endpoints_become_a_label() {
        let labels = |endpoint, tags: &str| {
            let point = json!({
                "endpoint": endpoint, "metric": "m", "step": 1, "value": 1, "counterType": "GAUGE", "tags": tags,
            });
            parse(&point).map(|point| text(&point.labels).to_owned())
        };
        for own in ["web-1", "WEB-1", ""] {
            assert_eq!(labels(own, "z=1").as_deref(), Ok("{z=\"1\"}"));
        }
        assert_eq!(labels("db-1", "a=1,z=1").as_deref(), Ok("{a=\"1\",endpoint=\"db-1\",z=\"1\"}"));
        assert_eq!(labels("web-1", "endpoint=x").as_deref(), Ok("{endpoint=\"x\"}"));
        assert_eq!(labels("db-1", "endpoint=x").expect_err("twice").reason, Rejection::Tags);
        let nameless =
            CheckedPoint::parse(r#"{"endpoint":"a","metric":"m","step":1,"value":1,"counterType":"GAUGE"}"#, None);
        assert_eq!(text(&nameless.expect("good").labels), "{endpoint=\"a\"}");
    }

    #[test]
    fn numbers_may_be_texts() {
        for (written, value) in [
            (json!(18_446_744_073_709_551_615_u64), Value::Unsigned(u64::MAX)),
            (json!("18446744073709551615"), Value::Unsigned(u64::MAX)),
            (json!(-5), Value::Signed(-5)),
            (json!("-5"), Value::Signed(-5)),
            (json!("1e3"), Value::Float(1000.0)),
            (json!(".5"), Value::Float(0.5)),
            (json!("36893488147419103232"), Value::Float(36_893_488_147_419_103_232.0)),
        ] {
            assert_eq!(with("value", written.clone()).map(|point| point.value), Ok(value), "{written}");
        }
    }

    #[test]
    fn bad_points_have_reason_and_remedy() {
        let long = "x".repeat(SERIES_BYTES + 1);
        for (field, value, reason) in [
            ("metric", json!(null), Rejection::Metric),
            ("metric", json!(""), Rejection::Metric),
            ("metric", json!(5), Rejection::Metric),
            ("metric", json!("a\nb"), Rejection::Metric),
            ("metric", json!("a{b=\"c\"}"), Rejection::Metric),
            ("metric", json!(long), Rejection::Metric),
            ("endpoint", json!(true), Rejection::Endpoint),
            ("endpoint", json!("x".repeat(ENDPOINT_BYTES + 1)), Rejection::Endpoint),
            ("endpoint", json!("a\u{7}"), Rejection::Endpoint),
            ("tags", json!({"a": "b"}), Rejection::Tags),
            ("tags", json!("a"), Rejection::Tags),
            ("tags", json!("=b"), Rejection::Tags),
            ("tags", json!("a=1,a=2"), Rejection::Tags),
            ("tags", json!("a\"=1"), Rejection::Tags),
            ("counterType", json!(null), Rejection::CounterType),
            ("counterType", json!("DERIVE"), Rejection::CounterType),
            ("counterType", json!("gauge"), Rejection::CounterType),
            ("value", json!(null), Rejection::Value),
            ("value", json!(true), Rejection::Value),
            ("value", json!([1]), Rejection::Value),
            ("value", json!(""), Rejection::Value),
            ("value", json!(" 1"), Rejection::Value),
            ("value", json!("NaN"), Rejection::Value),
            ("value", json!("-inf"), Rejection::Value),
            ("value", json!("1e999"), Rejection::Value),
            ("step", json!(null), Rejection::Step),
            ("step", json!(0), Rejection::Step),
            ("step", json!(-60), Rejection::Step),
            ("step", json!(10.0), Rejection::Step),
            ("step", json!("60"), Rejection::Step),
            ("step", json!(MAX_STEP_SECONDS + 1), Rejection::Step),
            ("timestamp", json!(-1), Rejection::Timestamp),
            ("timestamp", json!(1.5), Rejection::Timestamp),
            ("timestamp", json!("1700000000"), Rejection::Timestamp),
            ("timestamp", json!(1e30), Rejection::Timestamp),
        ] {
            let fault = with(field, value.clone()).expect_err("a bad point");
            assert_eq!(fault.reason, reason, "{field} {value}");
            assert!(fault.text.contains("; "), "{}", fault.text);
        }
        let counter = json!({"metric": "m", "step": 1, "value": -1, "counterType": "COUNTER"});
        assert_eq!(parse(&counter).expect_err("negative").reason, Rejection::Value);
        for text in
            ["1", "[]", "\"x\"", r#"{"value":1e999}"#, r#"{"metric":"a","metric":"b"}"#, r#"{"metric":"\ud800"}"#]
        {
            assert_eq!(CheckedPoint::parse(text, OWN).expect_err("no point").reason, Rejection::Form, "{text}");
        }
        for deep in ["tags", "unknown"] {
            let text = format!(r#"{{"{deep}":{}{}}}"#, "[".repeat(1_000_000), "]".repeat(1_000_000));
            assert!(CheckedPoint::parse(&text, OWN).is_err());
        }
    }

    #[test]
    fn reasons_are_short_whatever_is_sent() {
        let huge = "\u{1f980}\"\\".repeat(100_000);
        for field in ["metric", "endpoint", "tags", "counterType", "value", "step", "timestamp"] {
            let fault = with(field, json!(huge)).expect_err("a bad point");
            assert!(fault.text.len() < 400, "{}", fault.text);
        }
        assert!(with("tags", json!("a\"".repeat(250))).expect_err("bad").text.len() < 400);
        let text = format!(r#"{{"{huge}":1}}"#, huge = "x".repeat(100_000));
        assert!(CheckedPoint::parse(&text, OWN).expect_err("bad").text.len() < 400);
    }

    proptest! {
        /// Tags in any order are one set of labels.
        #[test]
        fn tags_are_read_back_in_any_order(
            tags in prop::collection::btree_map("[a-z.é-]{1,4}", "[^, =]{0,4}", 0..5),
            by in any::<prop::sample::Index>(),
        ) {
            let mut pairs: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if !pairs.is_empty() {
                let by = by.index(pairs.len());
                pairs.rotate_left(by);
            }
            let point = with("tags", json!(pairs.join(","))).expect("good");
            let read: BTreeMap<String, String> =
                point.labels.iter().map(|label| (label.name.to_string(), label.value.to_string())).collect();
            prop_assert_eq!(read, tags);
            prop_assert!(point.labels.is_sorted_by_key(|label| label.name.to_string()));
        }

        /// Whatever is accepted keeps the bounds; nothing panics.
        #[test]
        fn accepted_points_are_within_bounds(
            metric in any::<String>(),
            tags in any::<String>(),
            number in any::<f64>(),
            step in any::<u64>(),
            junk in any::<String>(),
        ) {
            let value = serde_json::Number::from_f64(number).map_or(serde_json::Value::Null, Into::into);
            let point = json!({
                "metric": metric, "tags": tags, "value": value, "step": step % 100_000, "counterType": "GAUGE",
            });
            if let Ok(point) = parse(&point) {
                let is_clean = is_clean(&point.metric);
                prop_assert!(point.metric.len() <= SERIES_BYTES && is_clean);
                prop_assert!((1..=MAX_STEP_SECONDS).contains(&u64::from(point.step_seconds)));
                prop_assert!(!matches!(point.value, Value::Float(value) if !value.is_finite()));
            }
            let _ = CheckedPoint::parse(&junk, OWN);
            let _ = CheckedPoint::parse(&format!("{{{junk}}}"), OWN);
        }
    }
}
