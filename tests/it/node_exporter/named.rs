//! The agent's exposition in the naming `node_exporter`, as a scraper gets it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::OnceLock;

use gauged::naming::node_exporter::{Relation, Row, rows, wildcard};

use super::exporter::{Scrape, Series};
use crate::harness::{Agent, Sample, Setup, repository};
use crate::http_server::peer::{connect, own_address, request};

/// An agent that is scraped. Its samples are printed, too.
pub struct ScrapedAgent {
    pub agent: Agent,
    address: SocketAddr,
    pub setup: Setup,
}

/// A scrape in `node_exporter`'s naming.
#[derive(Default)]
pub struct Named {
    pub scrape: Scrape,
    /// Our name of each series, as `module.metric`.
    pub metrics: BTreeMap<Series, String>,
}

impl ScrapedAgent {
    /// Starts an agent with this configuration, plugins and arguments.
    pub fn start(configuration: &str, plugins: &[&str], arguments: &[&str]) -> Self {
        let address = own_address();
        let setup = Setup::with_config(&format!(
            "interval = \"1s\"\n{configuration}\n[sinks.stdout]\nkind = \"stdout\"\n[http]\nlisten = [\"{address}\"]\n"
        ));
        super::install_all(&setup, plugins);
        let agent = setup.start(arguments);
        Self { agent, address, setup }
    }

    /// The scrape of the tick that has a sample; none if the next tick is over already.
    pub fn scrape(&self, sample: &Sample) -> Option<Named> {
        let response = request(&mut connect(self.address), "/metrics?naming=node_exporter");
        assert_eq!(response.status, 200, "{}", response.text());
        let named = Named::new(Scrape::parse(response.text()));
        let timestamp = ("node_time_seconds".to_owned(), BTreeMap::new());
        (named.scrape.series.get(&timestamp).copied() == sample["agent"]["timestamp"].as_f64()).then_some(named)
    }
}

impl Named {
    fn new(scraped: Scrape) -> Self {
        let mut named = Self { scrape: Scrape { types: scraped.types, ..Scrape::default() }, ..Self::default() };
        for ((name, mut labels), value) in scraped.series {
            if name.starts_with("node_hwmon_") {
                // `hwmon` stands for the chip on both sides; see plugins/README.md.
                labels.retain(|name, _| matches!(&**name, "hwmon" | "sensor"));
            }
            let series = (name, labels);
            let Some(metric) = metric(&series) else { continue };
            assert!(named.scrape.series.insert(series.clone(), value).is_none(), "{series:?} is there twice");
            named.metrics.insert(series, metric);
        }
        named
    }
}

/// Our name of a series; none of a histogram's part.
fn metric(series: &Series) -> Option<String> {
    let (name, labels) = series;
    let has_labels =
        |row: &&Row| row.labels.iter().all(|(name, value)| labels.get(*name).is_some_and(|own| own == value));
    let about = rows().filter(|row| wildcard(row.name, name).is_some()).filter(has_labels);
    let best =
        about.max_by_key(|row| if row.name.contains('*') { row.name.len() } else { usize::MAX - 8 + row.labels.len() });
    match best.map(|row| (row.name, row.relation)) {
        Some((pattern, Relation::Equal(equal))) => Some(equal.metric.replace('*', wildcard(pattern, name)?)),
        _ => own_names().get(name).cloned(),
    }
}

/// Our names of the metrics that keep them in this naming, by what they are called there.
fn own_names() -> &'static BTreeMap<String, String> {
    static NAMES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let list = repository().join("tests/it/exposition/node_exporter.txt");
        let list = fs::read_to_string(list).expect("readable");
        let names = list.lines().filter_map(|line| Some((line.split_once(' ')?.0, line.rsplit_once(": ")?.1)));
        names.map(|(name, metric)| (name.to_owned(), metric.to_owned())).collect()
    })
}
