//! Scraped metrics in the outputs of the agent: as they are at their source.

use std::collections::BTreeMap;
use std::fs;

use super::pages::{OPENMETRICS, Pages, TEXT};
use crate::first_party::built;
use crate::guest::install;
use crate::harness::repository;
use crate::http_server::peer::{HttpAgent, Response, connect, own_address, request};
use crate::node_exporter::exporter::{Scrape, Series};

/// A real exposition of Prometheus itself, with histograms and summaries.
pub fn fixture(name: &str) -> String {
    let path = repository().join("plugins/prometheus/fixtures").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An agent with an HTTP server that scrapes pages.
fn scraping(pages: &Pages, targets: &str) -> HttpAgent {
    let (setup, address) = (crate::harness::Setup::new(), own_address());
    let toml = format!(
        "[http]\nlisten = [\"{address}\"]\n[plugins.prometheus]\ntimeout = \"20s\"\nfetch = [{:?}]\n{targets}",
        pages.origin()
    );
    HttpAgent::write(&setup, &toml);
    install(&built("prometheus"), &setup.plugin("prometheus.wasm"));
    let agent = setup.start(&[]);
    HttpAgent { setup, agent, address }
}

/// The agent's own exposition.
fn exposition(agent: &HttpAgent) -> Response {
    let response = request(&mut connect(agent.address), "/metrics");
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// The series of an exposition: bounds and quantiles as numbers, without values that are not finite.
pub fn canonical(scrape: &Scrape) -> BTreeMap<Series, f64> {
    let canonical = |((name, mut labels), value): (Series, f64)| {
        for label in ["le", "quantile"] {
            if let Some(text) = labels.get_mut(label) {
                *text = text.parse::<f64>().expect("a number").to_string();
            }
        }
        ((name, labels), value)
    };
    let all = scrape.series.iter().map(|(series, value)| (series.clone(), *value));
    all.filter(|(_, value)| value.is_finite()).map(canonical).collect()
}

#[test]
fn exposition_has_scraped_metrics_as_their_source() {
    let pages = Pages::start();
    let text = fixture("prometheus.txt");
    pages.set("/metrics", TEXT, text.as_bytes());
    let mut agent = scraping(&pages, &pages.target("app", "/metrics", "labels = { instance = \"\" }"));
    agent.agent.wait(|sample| sample.contains_key("prometheus_app"));
    let served = exposition(&agent);
    for line in text.lines().filter(|line| line.starts_with('#')) {
        assert!(served.text().lines().any(|served| served == line), "{line} in {}", served.text());
    }
    let (source, served) = (Scrape::parse(&text), Scrape::parse(served.text()));
    let names: Vec<&str> = source.names().into_iter().collect();
    let mut served = canonical(&served);
    served.retain(|(name, _), _| names.contains(&&**name));
    let source = canonical(&source);
    assert!(source.len() > 50 && source.keys().any(|(name, _)| name.ends_with("_bucket")), "{source:?}");
    assert_eq!(served, source);
}

#[test]
fn samples_have_scraped_metrics_by_target() {
    let pages = Pages::start();
    pages.set(
        "/a",
        TEXT,
        b"# TYPE a:b counter\na:b{c=\"x \\\"y\\\"\"} 3\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_count 5\n",
    );
    pages.set("/b", OPENMETRICS, b"# TYPE jobs counter\njobs_total 7 # {a=\"b\"} 1\njobs_created 9\n# EOF\n");
    let targets = pages.target("one", "/a", "labels = { instance = \"\" }")
        + &pages.target("two", "/b", "labels = { instance = \"i\", job = \"j\" }");
    let mut agent = scraping(&pages, &targets);
    let sample =
        agent.agent.wait(|sample| sample.contains_key("prometheus_one") && sample.contains_key("prometheus_two"));
    let one = serde_json::json!({
        "a:b{c=\"x \\\"y\\\"\"}": 3.0, "h_bucket{le=\"1\"}": 2, "h_bucket{le=\"+Inf\"}": 5, "h_count": 5,
    });
    assert_eq!(serde_json::json!(sample["prometheus_one"]), one);
    assert_eq!(
        serde_json::json!(sample["prometheus_two"]),
        serde_json::json!({"jobs_total{instance=\"i\",job=\"j\"}": 7.0})
    );
    let own = &sample["prometheus"];
    assert_eq!((&own["up{target=\"one\"}"], &own["scraped_metrics{target=\"one\"}"]), (&true.into(), &2.into()));
}

#[test]
fn targets_with_one_name_share_a_metric() {
    let pages = Pages::start();
    pages.set("/a", TEXT, b"# HELP x Things.\n# TYPE x counter\nx 1\n");
    pages.set("/b", TEXT, b"# HELP x Things.\n# TYPE x counter\nx 2\n");
    pages.set("/c", TEXT, b"# TYPE x gauge\nx 3\n");
    let targets: String = ["a", "b", "c"]
        .map(|name| pages.target(name, &format!("/{name}"), &format!("labels = {{ instance = {name:?} }}")))
        .concat();
    let mut agent = scraping(&pages, &targets);
    agent.agent.wait(|sample| sample.contains_key("prometheus_c"));
    let text = exposition(&agent).text().to_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" x ") || line.starts_with("x{")).collect();
    assert_eq!(
        lines,
        ["# HELP x Things.", "# TYPE x counter", "x{instance=\"a\"} 1", "x{instance=\"b\"} 2"],
        "a metric has one type"
    );
    agent.agent.wait_log("reason=\"a metric of another kind has its name\"");
}
