//! What Prometheus and `VictoriaMetrics` have stored, by their HTTP interface.

use serde_json::Value;

use super::points::{Labels, Points};
use crate::prometheus::server::Server;

fn labels(metric: &Value) -> Labels {
    let labels = metric.as_object().unwrap_or_else(|| panic!("no labels in {metric}"));
    labels.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
}

/// The points that Prometheus has of the series of a selector. Ends of series are none.
pub fn prometheus_points(server: &Server, selector: &str) -> Points {
    let response = server.query(&format!("{selector}[30m]"));
    let mut points = Points::default();
    for series in response["data"]["result"].as_array().unwrap_or_else(|| panic!("no series in {response}")) {
        for pair in series["values"].as_array().expect("values") {
            let (time, value) = (pair[0].as_f64().expect("a time"), pair[1].as_str().expect("a number"));
            points.add(&labels(&series["metric"]), (time * 1000.0).round() as i64, value.parse().expect("a number"));
        }
    }
    points
}

/// The points that `VictoriaMetrics` has of the series of a selector. Ends of series are none.
pub fn victoria_metrics_points(server: &Server, selector: &str) -> Points {
    server.flush();
    let text = server.get("/api/v1/export", &[("match[]", selector)]);
    let mut points = Points::default();
    for line in text.lines() {
        let series: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let list = |key: &str| series[key].as_array().unwrap_or_else(|| panic!("no {key} in {line}")).clone();
        for (time, value) in list("timestamps").iter().zip(list("values")) {
            if let Some(value) = value.as_f64() {
                points.add(&labels(&series["metric"]), time.as_i64().expect("milliseconds"), value);
            }
        }
    }
    points
}

/// The number of series that an expression has at this moment.
pub fn count(server: &Server, expression: &str) -> usize {
    server.flush();
    let response = server.query(expression);
    response["data"]["result"].as_array().unwrap_or_else(|| panic!("no series in {response}")).len()
}

/// The same at a moment, in milliseconds since the Unix epoch.
pub fn count_at(server: &Server, expression: &str, millis: i64) -> usize {
    server.flush();
    let time = format!("{}.{:03}", millis / 1000, millis % 1000);
    let response = server.json("/api/v1/query", &[("query", expression), ("time", &time)]);
    response["data"]["result"].as_array().unwrap_or_else(|| panic!("no series in {response}")).len()
}
