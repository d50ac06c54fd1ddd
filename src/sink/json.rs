//! A sample as one JSON object: module → key → value.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::admission::{Admission, SeriesSettings};
use crate::sample::{Key, Metric, Module, Sample, Value};

/// The layout of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line.
    Line,
    /// Indented lines, for people.
    Pretty,
}

/// Encodes samples. It allocates nothing for a sample that is like the one before.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Memory for the labels of a metric.
    labels: Vec<u8>,
    /// The series that are in the object.
    admission: Admission,
    left_out: usize,
}

impl Encoder {
    /// An encoder for the series of these settings.
    pub(crate) fn new(settings: Arc<SeriesSettings>) -> Self {
        Self { admission: Admission::new(settings), ..Self::default() }
    }

    /// Follows other settings.
    pub(crate) fn follow(&mut self, settings: &Arc<SeriesSettings>) {
        self.admission.follow(settings);
    }

    /// Appends the object and a line break to a buffer.
    pub fn encode(&mut self, sample: &Sample, style: Style, to: &mut Vec<u8>) {
        let written = match style {
            Style::Line => self.encode_line(sample, to),
            Style::Pretty => serde_json::to_writer_pretty(&mut *to, &Object::new(sample, &mut self.admission)),
        };
        debug_assert!(written.is_ok(), "keys are texts, and writing to memory does not fail");
        self.left_out = self.admission.end_sample(sample.tick);
        to.push(b'\n');
    }

    /// How many series of the last sample were left out since there are too many.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// Appends the object as [`Object`] is serialized. Metrics that follow one another often have one set of labels, whose text is
    /// escaped once.
    fn encode_line(&mut self, sample: &Sample, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut escaped = "";
        to.push(b'{');
        let start = to.len();
        for module in &sample.modules {
            let admitted = self.admission.decide(module.schema());
            if admitted.is_some_and(|admitted| admitted.is_empty() && !module.is_empty()) {
                continue;
            }
            if to.len() > start {
                to.push(b',');
            }
            serde_json::to_writer(&mut *to, &**module.name())?;
            to.extend_from_slice(b":{");
            let start = to.len();
            for (at, metric) in module.metrics().enumerate() {
                if admitted.is_some_and(|admitted| !admitted.has(at)) {
                    continue;
                }
                if to.len() > start {
                    to.push(b',');
                }
                let Key { name, labels } = metric.key();
                serde_json::to_writer(&mut *to, name)?;
                if !labels.is_empty() {
                    if !std::ptr::eq(labels, escaped) {
                        self.labels.clear();
                        serde_json::to_writer(&mut self.labels, labels)?;
                        escaped = labels;
                    }
                    // One text of both: without the quotation marks between them.
                    to.pop();
                    to.extend_from_slice(&self.labels[1..]);
                }
                to.push(b':');
                serde_json::to_writer(&mut *to, &Number(metric.value))?;
            }
            to.push(b'}');
        }
        to.push(b'}');
        Ok(())
    }
}

/// Appends a sample and a line break to a buffer, for a single sample.
pub fn encode(sample: &Sample, style: Style, to: &mut Vec<u8>) {
    Encoder::default().encode(sample, style, to);
}

struct Object<'a>(Vec<Admitted<'a>>);

impl<'a> Object<'a> {
    fn new(sample: &'a Sample, admission: &mut Admission) -> Self {
        Self(sample.modules.iter().filter_map(|module| Admitted::new(module, admission)).collect())
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for module in &self.0 {
            map.serialize_entry(module.name, &module)?;
        }
        map.end()
    }
}

/// The metrics of a module that are in the object.
struct Admitted<'a> {
    name: &'a str,
    metrics: Vec<Metric<'a>>,
}

impl<'a> Admitted<'a> {
    /// None if the module has metrics, and none of them is in the object.
    fn new(module: &'a Module, admission: &mut Admission) -> Option<Self> {
        let admitted = admission.decide(module.schema());
        let has = |at| admitted.is_none_or(|admitted| admitted.has(at));
        let metrics: Vec<_> =
            module.metrics().enumerate().filter(|(at, _)| has(*at)).map(|(_, metric)| metric).collect();
        (!metrics.is_empty() || module.is_empty()).then_some(Self { name: module.name(), metrics })
    }
}

impl Serialize for Admitted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.metrics.len()))?;
        for metric in &self.metrics {
            map.serialize_entry(&metric.key().to_string(), &Number(metric.value))?;
        }
        map.end()
    }
}

struct Number<'a>(&'a Value);

impl Serialize for Number<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Unsigned(value) => serializer.serialize_u64(*value),
            Value::Signed(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Text(value) => serializer.serialize_str(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{Labels, test_module};
    use crate::selection::{Selection, SeriesPattern};

    fn sample(metrics: &[(&str, Option<&str>, Value)]) -> Sample {
        let module = test_module("m", |values| {
            for (name, label, value) in metrics {
                match label {
                    None => values.push(name, value.clone()),
                    Some(label) => values.push_labelled(name, &[("label", *label)].into(), value.clone()),
                }
            }
        });
        Sample { modules: vec![module], ..Sample::default() }
    }

    fn line(sample: &Sample) -> String {
        let mut bytes = Vec::new();
        encode(sample, Style::Line, &mut bytes);
        String::from_utf8(bytes).expect("JSON is text")
    }

    #[test]
    fn samples_are_encoded_as_maps_of_maps() {
        let sample = sample(&[
            ("null", None, Value::Null),
            ("big", None, Value::Unsigned(u64::MAX)),
            ("small", None, Value::Signed(-1)),
            ("half", None, Value::Float(0.5)),
            ("whole", None, Value::Float(3.0)),
            ("true", None, Value::Boolean(true)),
            ("text", None, Value::from("a \"b\"\n")),
            ("labelled", Some("C:\\"), Value::Unsigned(1)),
        ]);
        expect![[r#"
            {"m":{"null":null,"big":18446744073709551615,"small":-1,"half":0.5,"whole":3.0,"true":true,"text":"a \"b\"\n","labelled{label=\"C:\\\\\"}":1}}
        "#]]
        .assert_eq(&line(&sample));
        let mut pretty = Vec::new();
        encode(&sample, Style::Pretty, &mut pretty);
        assert!(pretty.starts_with(b"{\n  \"m\": {\n    \"null\": null,\n"));
    }

    #[test]
    fn shared_labels_follow_each_name() {
        let (first, second): (Labels, Labels) = ([("a", "x\ty")].into(), [("a", "z")].into());
        let module = test_module("m", |values| {
            for (name, labels) in [("one", &first), ("two", &first), ("three", &second), ("four", &first)] {
                values.push_labelled(name, labels, 1);
            }
            values.push("five", 1);
        });
        let sample = Sample { modules: vec![module], ..Sample::default() };
        expect![[r#"
            {"m":{"one{a=\"x\ty\"}":1,"two{a=\"x\ty\"}":1,"three{a=\"z\"}":1,"four{a=\"x\ty\"}":1,"five":1}}
        "#]]
        .assert_eq(&line(&sample));
    }

    proptest! {
        #[test]
        /// The line and the object in several lines are of the same series, whichever are selected.
        #[test]
        fn both_styles_have_the_same_series(names in prop::collection::btree_set("[ab]{1,2}", 0..5), excluded in "m\\.[ab]\\*?", most in 1_usize..4) {
            let metrics: Vec<_> = names.iter().map(|name| (&**name, None, Value::Unsigned(1))).collect();
            let sample = sample(&metrics);
            let exclude = vec![SeriesPattern::parse(&excluded).expect("a pattern")];
            let own = Selection { exclude, ..Selection::default() };
            let settings = Arc::new(SeriesSettings { own, max_series: Some(most), ..SeriesSettings::default() });
            let (mut encoder, mut line) = (Encoder::new(Arc::clone(&settings)), Vec::new());
            encoder.encode(&sample, Style::Line, &mut line);
            let object = Object::new(&sample, &mut Admission::new(settings));
            prop_assert_eq!(line, (serde_json::to_string(&object).expect("JSON") + "\n").into_bytes());
        }

        #[test]
        fn encoded_samples_parse_to_the_same_values(entries in prop::collection::btree_map("[a-z]{1,5}", (any::<String>(), any::<f64>()), 0..6)) {
            let metrics: Vec<(&str, Option<&str>, Value)> = entries
                .iter()
                .map(|(name, (label, value))| {
                    let value = if value.is_finite() { Value::Float(*value) } else { Value::from(&**label) };
                    (name.as_str(), Some(label.as_str()), value)
                })
                .collect();
            let sample = sample(&metrics);
            let line = line(&sample);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let object = Object::new(&sample, &mut Admission::default());
            prop_assert_eq!(&line, &(serde_json::to_string(&object).expect("JSON") + "\n"));
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            let parsed = parsed["m"].as_object().expect("a module");
            prop_assert_eq!(parsed.len(), metrics.len());
            for metric in sample.modules[0].metrics() {
                let value = &parsed[&metric.key().to_string()];
                match metric.value {
                    Value::Float(float) => prop_assert_eq!(value.as_f64(), Some(*float)),
                    Value::Text(text) => prop_assert_eq!(value.as_str(), Some(&**text)),
                    _ => unreachable!("the sample has floats and texts only"),
                }
            }
        }
    }
}
