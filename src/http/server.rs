//! The common state of all connections: the configuration in effect, the view of the agent, the limits, and the texts that were
//! made for others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use super::body::BodyBudget;
use super::budget::ResponseBudget;
use super::connections::Connections;
use super::events::EventHub;
use super::limits::SCRAPE_KEPT;
use super::sample_text::SampleTexts;
use super::scrape::{ScrapeRequest, Scraped, Scrapes};
use super::statistics::Statistics;
use crate::config::{Config, HttpConfig};
use crate::push::Inlet;
use crate::sample::{AGENT, Value};
use crate::sink::{Encoder, SeriesSettings, Style};
use crate::status::{AddressBoard, Document, Slot, TickView};

/// The server, as its connections have it.
pub(super) struct Server {
    slot: Arc<Slot>,
    statistics: Arc<Statistics>,
    connections: Rc<Connections>,
    events: Rc<EventHub>,
    budget: ResponseBudget,
    bodies: BodyBudget,
    inlet: Arc<Inlet>,
    samples: SampleTexts,
    /// The configuration in effect, and the texts that were made by it.
    current: RefCell<(Arc<Config>, Rc<Scrapes>)>,
    encoder: Rc<RefCell<Encoder>>,
}

impl Server {
    pub(super) fn new(
        config: Arc<Config>,
        slot: &Arc<Slot>,
        statistics: &Arc<Statistics>,
        inlet: &Arc<Inlet>,
    ) -> Rc<Self> {
        let encoder = Rc::new(RefCell::new(Encoder::new(series(&config))));
        Rc::new(Self {
            slot: Arc::clone(slot),
            statistics: Arc::clone(statistics),
            connections: Connections::new(statistics),
            events: EventHub::new(slot, statistics, &encoder),
            encoder,
            budget: ResponseBudget::default(),
            bodies: BodyBudget::default(),
            inlet: Arc::clone(inlet),
            samples: SampleTexts::default(),
            current: RefCell::new((config, Rc::default())),
        })
    }

    /// Puts another configuration into effect, for all requests from now on. Event streams end if they might not be had any more.
    pub(super) fn reconfigure(&self, config: Arc<Config>) {
        if !keeps_access(self.config().http.as_deref(), config.http.as_deref()) {
            self.events.end();
        }
        self.encoder.borrow_mut().follow(&series(&config));
        self.samples.clear();
        self.current.replace((config, Rc::default()));
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current.borrow().0)
    }

    pub(super) fn connections(&self) -> &Rc<Connections> {
        &self.connections
    }

    pub(super) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(super) fn events(&self) -> &Rc<EventHub> {
        &self.events
    }

    /// The memory of bodies that are being read.
    pub(super) fn bodies(&self) -> &BodyBudget {
        &self.bodies
    }

    /// The way of pushed points to the tick thread.
    pub(super) fn inlet(&self) -> &Inlet {
        &self.inlet
    }

    /// The last tick; none before the first.
    pub(super) fn tick(&self) -> Option<TickView> {
        self.slot.tick()
    }

    /// Where the addresses are shown.
    pub(super) fn addresses(&self) -> &AddressBoard {
        self.slot.addresses()
    }

    /// The host name in the last sample.
    pub(super) fn hostname(&self) -> Option<String> {
        let sample = self.tick()?.sample;
        let agent = sample.modules.iter().find(|module| **module.name() == *AGENT)?;
        let hostname = agent.metrics().find(|metric| metric.name() == "hostname")?;
        if let Value::Text(text) = hostname.value { Some(text.to_string()) } else { None }
    }

    pub(super) fn document(&self) -> Document {
        self.slot.document()
    }

    /// The text for a scrape; none when too much of earlier responses has not been read yet.
    pub(super) fn scrape(&self, request: &ScrapeRequest<'_>, tick: &TickView) -> Option<Scraped> {
        let (config, scrapes) = self.current.borrow().clone();
        scrapes.text(request, tick, (&config, config.http.as_ref()?), &self.budget, &self.statistics)
    }

    /// Drops the texts that nobody has asked for since long.
    pub(super) fn drop_unused(&self) {
        let (config, scrapes) = self.current.borrow().clone();
        if let Some(http) = &config.http {
            scrapes.drop_unused(http.naming, Instant::now());
        }
    }

    /// When there may be texts to drop; none if there are none.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.current.borrow().1.are_kept().then_some(SCRAPE_KEPT)
    }

    /// The sample of a tick as JSON; none when too much of earlier responses has not been read yet.
    pub(super) fn json(&self, tick: &TickView, style: Style) -> Option<Bytes> {
        self.samples.text(tick, style, &self.encoder, &self.budget)
    }

    /// A text that is made now and held until it is sent; none when too much of earlier responses has not been read yet.
    pub(super) fn hold(&self, text: impl FnOnce() -> Vec<u8>) -> Option<Bytes> {
        self.budget.has_room().then(|| self.budget.hold(text()))
    }
}

/// Whether those who were answered by one configuration are answered by another one, too.
fn keeps_access(before: Option<&HttpConfig>, after: Option<&HttpConfig>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    (&before.token, &before.tls, &before.hosts) == (&after.token, &after.tls, &after.hosts)
}

/// The series in JSON.
fn series(config: &Config) -> Arc<SeriesSettings> {
    let own = config.http.as_ref().map(|http| (http.selection.clone(), http.max_series));
    let (own, max_series) = own.unwrap_or_default();
    Arc::new(SeriesSettings { own, max_series, ..SeriesSettings::agent_wide(config) })
}
