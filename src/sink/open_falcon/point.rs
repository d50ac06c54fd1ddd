//! Points as Open-Falcon has them: JSON objects with metric, endpoint, tags, value, kind, step and time. All but the value and the time
//! of a series is text that is made once. Pure.

use std::cell::Cell;

use crate::naming::open_falcon::{CounterType, tags, valid_text};
use crate::sample::Label;
use crate::sink::numeric::NamedSeries;

/// A metric that transfers reject whatever its value is, since agents of old sent a text.
const REJECTED_METRIC: &str = "kernel.hostname";

/// A series, as its points have it.
#[derive(Debug, Default)]
pub(super) struct PointSeries {
    /// The beginning of its points, up to the value; none for a series that transfers reject.
    head: Option<Box<[u8]>>,
    /// The second of its last point.
    second: Cell<Option<u64>>,
}

impl PointSeries {
    /// The series of a host, whose name is valid.
    ///
    /// # Errors
    ///
    /// Why transfers reject it.
    pub(super) fn new(host: &str, series: &NamedSeries<'_>) -> Result<Self, &'static str> {
        let counter_type = CounterType::new(series.named.kind, series.series.column());
        Self::from_parts(host, &series.flat_name(), series.flat_labels(), counter_type)
    }

    /// A gauge of a host.
    pub(super) fn gauge(host: &str, metric: &str, tags: &[Label]) -> Self {
        Self::from_parts(host, metric, tags, CounterType::Gauge).unwrap_or_default()
    }

    fn from_parts<'a>(
        host: &str,
        metric: &str,
        labels: impl IntoIterator<Item = &'a Label>,
        counter_type: CounterType,
    ) -> Result<Self, &'static str> {
        if metric.is_empty() || metric == REJECTED_METRIC {
            return Err("transfers reject its name");
        }
        let tags = tags(metric, labels).ok_or("its name is too long")?;
        let mut head = String::from("{");
        for (name, text) in [
            ("metric", metric),
            ("endpoint", &valid_text(host)),
            ("counterType", counter_type.as_str()),
            ("tags", &tags),
        ] {
            // Nothing else is left in a valid text that JSON escapes.
            head.extend(["\"", name, "\":\"", &text.replace('\\', "\\\\"), "\","]);
        }
        head.push_str("\"value\":");
        Ok(Self { head: Some(head.into_bytes().into()), second: Cell::default() })
    }

    /// The beginning of its point in a second; none where it has one already: times are whole seconds, and receivers keep the first of
    /// several.
    pub(super) fn due(&self, second: u64) -> Option<&[u8]> {
        let head = self.head.as_deref()?;
        (self.second.replace(Some(second)) != Some(second)).then_some(head)
    }

    /// Whether transfers reject it.
    pub(super) fn is_rejected(&self) -> bool {
        self.head.is_none()
    }
}

/// The end of a point, after its value. Transfers fail a whole call for a step or time with a fraction.
pub(super) fn tail(step: u64, second: u64) -> String {
    format!(",\"step\":{step},\"timestamp\":{second}}}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label(name: &str, value: &str) -> Label {
        Label { name: name.to_owned().into(), value: value.into() }
    }

    fn head(metric: &str, labels: &[Label]) -> Result<String, &'static str> {
        let series = PointSeries::from_parts("web-1", metric, labels, CounterType::Counter)?;
        Ok(String::from_utf8(series.due(0).expect("its first point").to_vec()).expect("text"))
    }

    #[test]
    fn points_have_the_agents_form() {
        let head = head("net.if.in.bytes", &[label("iface", "eth0"), label("dc", "fra1")]);
        let expected = r#"{"metric":"net.if.in.bytes","endpoint":"web-1","counterType":"COUNTER","tags":"dc=fra1,iface=eth0","value":"#;
        assert_eq!(head.as_deref(), Ok(expected));
        assert_eq!(tail(10, 1_763_877_600), r#","step":10,"timestamp":1763877600}"#);
    }

    #[test]
    fn characters_that_lose_a_series_are_replaced() {
        let host = PointSeries::from_parts("a b'", "m", &[label("path", "C:\\'\">\n")], CounterType::Gauge);
        let head = host.expect("a series").head.expect("it is not rejected");
        let expected = r#"{"metric":"m","endpoint":"a_b_","counterType":"GAUGE","tags":"path=C:\\____","value":"#;
        assert_eq!(std::str::from_utf8(&head), Ok(expected));
    }

    #[test]
    fn series_that_transfers_reject_have_no_points() {
        assert!(head(&"m".repeat(510), &[]).is_ok());
        assert!(head(&"m".repeat(511), &[]).is_err());
        assert!(head("", &[]).is_err());
        assert!(head(REJECTED_METRIC, &[]).is_err());
    }

    #[test]
    fn series_have_one_point_a_second() {
        let series = PointSeries::gauge("web-1", "agent.alive", &[]);
        let due = [10, 10, 11, 10, 10].map(|second| series.due(second).is_some());
        assert_eq!(due, [true, false, true, true, false]);
    }

    proptest! {
        #[test]
        fn any_series_is_valid_json(metric in "\\PC{1,40}", name in any::<String>(), value in any::<String>()) {
            let head = head(&valid_text(&metric), &[label(&name, &value)]).expect("it is short");
            let point: serde_json::Value = serde_json::from_str(&format!("{head}1{}", tail(1, 2))).expect("JSON");
            let tags = point["tags"].as_str().expect("a text");
            prop_assert!(tags.len() + point["metric"].as_str().expect("a text").len() <= 510);
            prop_assert_eq!((tags.matches(',').count(), tags.matches('=').count()), (0, usize::from(!value.is_empty())));
            prop_assert!(!tags.contains(['"', '\'', '>', ' ', '\n', '\r']));
        }
    }
}
