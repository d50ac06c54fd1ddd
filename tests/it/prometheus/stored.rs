//! The scrapes that a server has stored, each with its series.

use std::collections::BTreeMap;

use serde_json::Value;

use super::server::Server;

/// The label that has a series' name.
pub const NAME: &str = "__name__";

/// A series: its name and its labels, without those of the target.
pub type Labels = BTreeMap<String, String>;

/// Samples with one timestamp.
#[derive(Default)]
pub struct Scrape {
    /// When it began, in seconds since the Unix epoch.
    pub time: f64,
    /// The server's own numbers of it, such as `up`.
    pub own: BTreeMap<String, f64>,
    /// What was scraped.
    pub series: BTreeMap<Labels, f64>,
}

/// The scrapes of a job by Prometheus.
pub fn prometheus_scrapes(server: &Server, job: &str) -> Vec<Scrape> {
    // Alerts have the labels of what they are about.
    let response = server.query(&format!("{{job=\"{job}\",__name__!~\"ALERTS.*\"}}[10m]"));
    let mut scrapes = BTreeMap::new();
    for series in response["data"]["result"].as_array().unwrap_or_else(|| panic!("no series in {response}")) {
        for pair in series["values"].as_array().expect("values") {
            let (time, value) = (pair[0].as_f64().expect("a time"), pair[1].as_str().expect("a number"));
            add(&mut scrapes, (time * 1000.0).round() as i64, &series["metric"], value.parse().expect("a number"));
        }
    }
    scrapes.into_values().collect()
}

/// The scrapes of a job by `VictoriaMetrics`.
pub fn victoria_metrics_scrapes(server: &Server, job: &str) -> Vec<Scrape> {
    let text = server.get("/api/v1/export", &[("match[]", &format!("{{job=\"{job}\"}}"))]);
    let mut scrapes = BTreeMap::new();
    for line in text.lines() {
        let series: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let list = |key: &str| series[key].as_array().unwrap_or_else(|| panic!("no {key} in {line}")).clone();
        for (time, value) in list("timestamps").iter().zip(list("values")) {
            // The end of a series is none.
            if let Some(value) = value.as_f64() {
                add(&mut scrapes, time.as_i64().expect("milliseconds"), &series["metric"], value);
            }
        }
    }
    scrapes.into_values().collect()
}

/// Adds a sample to its scrape.
fn add(scrapes: &mut BTreeMap<i64, Scrape>, millis: i64, labels: &Value, value: f64) {
    let labels = labels.as_object().expect("labels").iter();
    let mut labels: Labels =
        labels.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect();
    labels.retain(|name, _| name != "job" && name != "instance");
    let scrape = scrapes.entry(millis).or_default();
    scrape.time = millis as f64 / 1000.0;
    if labels[NAME].starts_with("gauged_") {
        scrape.series.insert(labels, value);
    } else {
        scrape.own.insert(labels[NAME].clone(), value);
    }
}
