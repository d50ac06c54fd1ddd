//! What all connections share: the configuration in effect, the view of the agent, the limits, and what was made for others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Bytes;

use super::budget::ResponseBudget;
use super::connections::Connections;
use super::events::EventHub;
use super::scrape::{ScrapeRequest, Scraped, Scrapes};
use super::statistics::Statistics;
use crate::config::Config;
use crate::sample::Sample;
use crate::sink::{Encoder, SeriesSettings, Style};
use crate::status::{Document, Slot, TickView};

/// The server, as its connections have it.
pub(super) struct Server {
    slot: Arc<Slot>,
    statistics: Arc<Statistics>,
    connections: Rc<Connections>,
    events: Rc<EventHub>,
    budget: ResponseBudget,
    /// The configuration in effect, and the texts that were made by it.
    current: RefCell<(Arc<Config>, Rc<Scrapes>)>,
    encoder: Rc<RefCell<Encoder>>,
}

impl Server {
    pub(super) fn new(config: Arc<Config>, slot: &Arc<Slot>, statistics: &Arc<Statistics>) -> Rc<Self> {
        let encoder = Rc::new(RefCell::new(Encoder::new(series(&config))));
        Rc::new(Self {
            slot: Arc::clone(slot),
            statistics: Arc::clone(statistics),
            connections: Connections::new(statistics),
            events: EventHub::new(slot, statistics, &encoder),
            encoder,
            budget: ResponseBudget::default(),
            current: RefCell::new((config, Rc::default())),
        })
    }

    /// Puts another configuration into effect, for all requests from now on.
    pub(super) fn reconfigure(&self, config: Arc<Config>) {
        self.encoder.borrow_mut().follow(&series(&config));
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

    /// The last tick; none before the first.
    pub(super) fn tick(&self) -> Option<TickView> {
        self.slot.tick()
    }

    pub(super) fn document(&self) -> Document {
        self.slot.document()
    }

    /// The text for a scrape; none when too much of earlier responses has not been read yet.
    pub(super) fn scrape(&self, request: &ScrapeRequest<'_>, tick: &TickView) -> Option<Scraped> {
        let (config, scrapes) = self.current.borrow().clone();
        scrapes.text(request, tick, (&config, config.http.as_ref()?), &self.budget, &self.statistics)
    }

    /// A sample as JSON; none when too much of earlier responses has not been read yet.
    pub(super) fn json(&self, sample: &Sample, style: Style) -> Option<Bytes> {
        self.hold(|| {
            let mut text = Vec::new();
            self.encoder.borrow_mut().encode(sample, style, &mut text);
            text
        })
    }

    /// A text that is made now and held until it is sent; none when too much of earlier responses has not been read yet.
    pub(super) fn hold(&self, text: impl FnOnce() -> Vec<u8>) -> Option<Bytes> {
        self.budget.has_room().then(|| self.budget.hold(text()))
    }
}

/// The series in JSON.
fn series(config: &Config) -> Arc<SeriesSettings> {
    let own = config.http.as_ref().map(|http| (http.selection.clone(), http.max_series));
    let (own, max_series) = own.unwrap_or_default();
    Arc::new(SeriesSettings { own, max_series, ..SeriesSettings::agent_wide(config) })
}
