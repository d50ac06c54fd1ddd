//! A sample as one JSON object: module → key → value.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::sample::{Key, Module, Sample, Value};

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
}

impl Encoder {
    /// Appends the object and a line break to a buffer.
    pub fn encode(&mut self, sample: &Sample, style: Style, to: &mut Vec<u8>) {
        let written = match style {
            Style::Line => self.encode_line(sample, to),
            Style::Pretty => serde_json::to_writer_pretty(&mut *to, &Object(sample)),
        };
        debug_assert!(written.is_ok(), "keys are texts, and writing to memory does not fail");
        to.push(b'\n');
    }

    /// Appends the object as [`Object`] is serialized. Metrics that follow one another often have one set of labels, whose text is
    /// escaped once.
    fn encode_line(&mut self, sample: &Sample, to: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut escaped = "";
        to.push(b'{');
        for (at, module) in sample.modules.iter().enumerate() {
            if at > 0 {
                to.push(b',');
            }
            serde_json::to_writer(&mut *to, &**module.name())?;
            to.extend_from_slice(b":{");
            for (at, metric) in module.metrics().enumerate() {
                if at > 0 {
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

struct Object<'a>(&'a Sample);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.modules.len()))?;
        for module in &self.0.modules {
            map.serialize_entry(&**module.name(), &Metrics(module))?;
        }
        map.end()
    }
}

struct Metrics<'a>(&'a Module);

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for metric in self.0.metrics() {
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
            prop_assert_eq!(&line, &(serde_json::to_string(&Object(&sample)).expect("JSON") + "\n"));
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
