//! A metric of a document: its path, and how the values there become its values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;

use gauged_plugin::descriptor::{Described as _, FoundMetric};
use gauged_plugin::json::{Document, Error, Field, Match, Query, Value as JsonValue};
use gauged_plugin::kernel::Number as _;
use gauged_plugin::service::figure;
use gauged_plugin::skipped::{Cause as _, Reason, Skip};
use gauged_plugin::{Sample, Value};

use crate::METRICS;
use crate::settings::Kind;

/// The most metrics of all documents at a tick. The agent takes 20,000 of a plugin by default, and those of the sources' states are
/// among them.
pub(crate) const MAX_VALUES: usize = 18_000;

/// The most values of all documents that are looked at in a tick, those included that become no metric: more take too long.
pub(crate) const MAX_MATCHES: usize = 50_000;

/// The longest label value. The agent takes 4 KiB; what is longer than this is no name.
const MAX_LABEL_BYTES: usize = 1024;

/// A metric of a document.
pub(crate) struct Metric {
    pub(crate) query: Query,
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    /// The labels of the query's stars, in its order.
    pub(crate) stars: Vec<Option<String>>,
    /// The labels from other paths, whose stars stand for the same.
    pub(crate) labels: Vec<(String, Query)>,
    /// The numbers that texts stand for.
    pub(crate) values: BTreeMap<String, f64>,
    pub(crate) scale: Option<f64>,
    pub(crate) is_optional: bool,
}

/// How many values all metrics may still look at and set in this tick.
pub(crate) struct Left {
    matches: usize,
    pub(crate) values: usize,
}

impl Default for Left {
    fn default() -> Self {
        Self { matches: MAX_MATCHES, values: MAX_VALUES }
    }
}

impl Left {
    /// Why there is no further value, as the end of a sentence that begins with the source.
    fn excess(&self) -> Option<String> {
        if self.values == 0 {
            return Some(format!("would make more than {MAX_VALUES} metrics with the other sources"));
        }
        let is_over = self.matches == 0;
        is_over.then(|| format!("has, with the other sources, more than {MAX_MATCHES} values at the paths of metrics"))
    }
}

/// The name of a metric.
pub(crate) enum Name {
    /// One that is known from the settings.
    Known(FoundMetric),
    /// That of the last star of the path, described by the metric that `describe` makes of it.
    OfLastStar(Box<dyn Fn(&str) -> FoundMetric>),
}

impl Metric {
    /// The metric as the settings describe it.
    pub(crate) fn described(&self) -> Option<&FoundMetric> {
        match &self.name {
            Name::Known(metric) => Some(metric),
            Name::OfLastStar(_) => None,
        }
    }

    /// Sets the metric of each value at the path, as long as some are left. Of the values that do not fit the first is reported.
    pub(crate) fn measure(&self, document: &Document<'_>, sample: &mut Sample, left: &mut Left) {
        let (mut is_there, mut cut, mut first_error) = (false, None, None);
        let flow = self.query.visit(document, &mut |found| {
            is_there = true;
            cut = left.excess();
            if cut.is_some() {
                return Ok(ControlFlow::Break(()));
            }
            left.matches -= 1;
            match self.set(document, &found, sample) {
                Ok(values) => left.values -= values,
                Err(error) => first_error = first_error.take().or(Some(error)),
            }
            Ok::<_, Infallible>(ControlFlow::Continue(()))
        });
        let (Ok(_), source) = (flow, document.source());
        if let Some(error) = first_error {
            error.skip().report(self.lost());
        }
        if let Some(why) = cut {
            Skip { reason: Reason::Truncated, ..Skip::malformed(source, "", why) }.report(self.lost());
        } else if !is_there && !self.is_optional {
            let why = format!("has nothing at {}", self.query.text());
            let remedy = "correct the path, or write optional = true if it is not always there";
            Skip::malformed(source, self.query.text(), why).with_remedy(remedy).report(self.lost());
        }
    }

    /// The name, or the path.
    fn lost(&self) -> String {
        match &self.name {
            Name::Known(metric) => metric.name().to_owned(),
            Name::OfLastStar(_) => self.query.text().to_owned(),
        }
    }

    /// Sets the metric of a value; returns the number of values that were set.
    fn set(&self, document: &Document<'_>, found: &Match<'_>, sample: &mut Sample) -> Result<usize, Error> {
        let is_any = matches!(self.name, Name::OfLastStar(_));
        let value = match self.value(&found.field) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(0),
            // All values below a path have the types that they have.
            Err(_) if is_any => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut labels = vec![("source".to_owned(), document.source().to_owned())];
        for (label, star) in self.stars.iter().zip(&found.stars) {
            labels.extend(label.clone().map(|label| (label, star.to_string())));
        }
        for (label, query) in &self.labels {
            let field = document.bound(query, &found.stars);
            labels.extend(label_value(&field)?.map(|value| (label.clone(), value.into_owned())));
        }
        if labels.iter().any(|(_, value)| value.len() > MAX_LABEL_BYTES) {
            return Err(found.field.error("has a label of more than 1024 bytes"));
        }
        let value = match (self.kind, value) {
            (Kind::Info, Value::Text(text)) => {
                labels.push(("value".to_owned(), text));
                Value::Natural(1)
            }
            (_, value) => value,
        };
        match &self.name {
            Name::Known(metric) => {
                sample.row(labels).set(metric, value);
            }
            Name::OfLastStar(describe) => {
                let metric = describe(found.stars.last().map(Cow::as_ref).unwrap_or_default());
                let is_own = METRICS.iter().any(|own| (own.module, own.name) == (metric.module(), metric.name()));
                if is_own || metric.name().is_empty() {
                    return Err(found.field.error("makes no name of a metric here; set `name`, or another `module`"));
                }
                sample.describe(&metric);
                sample.row(labels).set(&metric, value);
            }
        }
        Ok(1)
    }

    /// The value of a field; `None` for null.
    fn value(&self, field: &Field<'_>) -> Result<Option<Value>, Error> {
        let value = match (self.kind, field.value()?) {
            (_, JsonValue::Null) => return Ok(None),
            (Kind::Info | Kind::Text, value) => match text(value).filter(|text| text.len() <= MAX_LABEL_BYTES) {
                Some(text) => Value::Text(text.into_owned()),
                None => return Err(field.error("is no text of at most 1024 bytes")),
            },
            (Kind::Gauge, JsonValue::Boolean(value)) if self.values.is_empty() => Value::Boolean(*value),
            (Kind::Gauge | Kind::Counter, value) => self.number(field, value)?,
        };
        Ok(Some(value))
    }

    #[allow(clippy::cast_precision_loss, reason = "a scaled number is a float")]
    fn number(&self, field: &Field<'_>, value: &JsonValue<'_>) -> Result<Value, Error> {
        let known = text(value).and_then(|text| self.values.get(&*text).copied().map(Value::Number));
        let number = match (known, value) {
            (Some(known), _) => known,
            (None, JsonValue::Natural(number)) => natural(*number),
            (None, JsonValue::Integer(number)) => Value::Integer(*number),
            (None, JsonValue::Number(number)) => Value::Number(*number),
            (None, JsonValue::Text(text)) => match number_in_text(text) {
                Some(number) => number,
                None if self.values.is_empty() => {
                    let why =
                        "is a text that is no number; set `values` to the numbers of its words, or kind = \"info\"";
                    return Err(field.error(why));
                }
                None => return Err(field.error("is a text that is not in `values`")),
            },
            (None, _) => return Err(field.error("is no number")),
        };
        let number = match (number, self.scale) {
            (number, None) => number,
            (Value::Natural(number), Some(scale)) => Value::Number(number as f64 * scale),
            (Value::Integer(number), Some(scale)) => Value::Number(number as f64 * scale),
            (Value::Number(number), Some(scale)) => Value::Number(number * scale),
            (other, Some(_)) => other,
        };
        let is_negative = match number {
            Value::Integer(number) => number < 0,
            Value::Number(number) => number < 0.0,
            _ => false,
        };
        if self.kind == Kind::Counter && is_negative {
            return Err(field.error("is negative, and so no counter"));
        }
        Ok(number)
    }
}

/// An integer, or above those that a sample has a float, as for one that 64 bits do not hold.
#[allow(clippy::cast_precision_loss, reason = "a float is as near as can be")]
fn natural(number: u64) -> Value {
    if number <= i64::MAX.unsigned_abs() { Value::Natural(number) } else { Value::Number(number as f64) }
}

/// A number in a text, as some services write them.
fn number_in_text(text: &str) -> Option<Value> {
    let text = text.trim_ascii();
    if let Some(number) = u64::parse(text) {
        return Some(natural(number));
    }
    if let Some(number) = i64::parse(text) {
        return Some(Value::Integer(number));
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1.0, text), |digits| (-1.0, digits));
    figure::decimal(digits).map(|number| Value::Number(sign * number))
}

/// A text, or a whole number or boolean as one.
fn text<'d>(value: &'d JsonValue<'d>) -> Option<Cow<'d, str>> {
    Some(match value {
        JsonValue::Text(text) => Cow::Borrowed(&**text),
        JsonValue::Natural(number) => Cow::Owned(number.to_string()),
        JsonValue::Integer(number) => Cow::Owned(number.to_string()),
        JsonValue::Boolean(true) => Cow::Borrowed("true"),
        JsonValue::Boolean(false) => Cow::Borrowed("false"),
        _ => return None,
    })
}

/// The value of a label; `None` where the document has none, or null.
fn label_value<'d>(field: &Field<'d>) -> Result<Option<Cow<'d, str>>, Error> {
    match field.value() {
        Err(_) | Ok(JsonValue::Null) => Ok(None),
        Ok(value) => text(value).map(Some).ok_or_else(|| field.error("is no label: write a path to a text")),
    }
}
