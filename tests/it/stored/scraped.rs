//! Metrics that a plugin has scraped: a receiver has them as their source does, histograms and summaries included.

use std::collections::BTreeMap;

use super::points::{Labels, NAME, Points};
use super::receiver::{count, prometheus_points, victoria_metrics_points};
use crate::first_party::built;
use crate::guest::install;
use crate::harness::{Setup, wait_until};
use crate::node_exporter::exporter::{Scrape, Series};
use crate::prometheus::server::{Server, VICTORIA_METRICS_PRECISION};
use crate::requirement;
use crate::scrape::outputs::{canonical, fixture};
use crate::scrape::pages::{Pages, TEXT};

const HISTOGRAM: &str = "prometheus_http_request_duration_seconds";

/// An expression for everything that was scraped.
const SCRAPED: &str = "{shard=\"7\"}";

/// What a receiver has of each series of the source, by its name and labels there.
fn stored(points: &Points) -> BTreeMap<Series, f64> {
    let own = |labels: &Labels| -> Series {
        // The target's label, and those that a protocol gives each series.
        let is_own = |name: &str| !["shard", "instance", "job", NAME].contains(&name) && !name.contains('.');
        let mut labels = labels.clone();
        let name = labels.remove(NAME).expect("a name");
        labels.retain(|label, _| is_own(label));
        for label in ["le", "quantile"] {
            if let Some(text) = labels.get_mut(label) {
                *text = text.parse::<f64>().expect("a number").to_string();
            }
        }
        (name, labels)
    };
    points.all().map(|(labels, points)| (own(labels), *points.last_key_value().expect("a point").1)).collect()
}

#[test]
fn receivers_store_scraped_metrics_as_their_source() {
    let Some(prometheus) = requirement::old_and_new("prometheus") else { return };
    let Some(victoria_metrics) = requirement::old_and_new("victoria-metrics") else { return };
    let text = fixture("prometheus.txt");
    let source = canonical(&Scrape::parse(&text));
    let buckets = source.keys().filter(|(name, _)| *name == format!("{HISTOGRAM}_bucket")).count();
    assert!(buckets > 5, "{buckets}");
    let pages = Pages::start();
    pages.set("/metrics", TEXT, text.as_bytes());
    let receivers = [
        (Server::prometheus_receiver(&prometheus[0]), "remote_write", "/api/v1/write"),
        (Server::prometheus_receiver(&prometheus[1]), "remote_write", "/api/v1/write"),
        (Server::victoria_metrics_receiver(&victoria_metrics[1]), "remote_write", "/api/v1/write"),
        (Server::victoria_metrics_receiver(&victoria_metrics[1]), "otlp", "/opentelemetry/v1/metrics"),
    ];
    let mut toml = "interval = \"1s\"\n".to_owned();
    for (number, (server, kind, path)) in receivers.iter().enumerate() {
        let url = server.url(path);
        toml += &["[sinks.s", &number.to_string(), "]\nkind = \"", kind, "\"\nurl = \"", &url, "\"\n"].concat();
    }
    toml += &["[plugins.prometheus]\ntimeout = \"20s\"\nfetch = [\"", &pages.origin(), "\"]\n"].concat();
    toml += &pages.target("app", "/metrics", "labels = { instance = \"\", shard = \"7\" }");
    let setup = Setup::with_config(&toml);
    install(&built("prometheus"), &setup.plugin("prometheus.wasm"));
    let agent = setup.start(&[]);
    for (server, ..) in &receivers {
        wait_until("the receiver has the buckets", || {
            count(server, &format!("{HISTOGRAM}_bucket{SCRAPED}")) == buckets
        });
    }
    for (number, (server, kind, _)) in receivers.iter().enumerate() {
        let is_prometheus = number < 2;
        let points =
            if is_prometheus { prometheus_points(server, SCRAPED) } else { victoria_metrics_points(server, SCRAPED) };
        let stored = stored(&points);
        let names = |series: &BTreeMap<Series, f64>| series.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&stored), names(&source), "{kind} {number}");
        let precision = if is_prometheus { 0.0 } else { VICTORIA_METRICS_PRECISION };
        for (series, value) in &source {
            let off = (stored[series] - value).abs();
            assert!(off <= precision * value.abs(), "{kind}: {series:?} is {} and not {value}", stored[series]);
        }
        assert_eq!(server.complaints(), Vec::<String>::new(), "{kind}");
    }
    drop(agent);
}
