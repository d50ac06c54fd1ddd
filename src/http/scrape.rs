//! `/metrics`: the latest results as a text, made once for each tick, naming and format, on the first request. A scrape collects
//! nothing and waits for nothing.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

use super::budget::ResponseBudget;
use super::limits::SCRAPE_KEPT;
use super::statistics::Statistics;
use crate::config::{Config, HttpConfig};
use crate::exposition::{Exposition, ExpositionSettings, Format};
use crate::naming::Naming;
use crate::sample::{Label, Series};
use crate::status::TickView;

/// How hard gzip tries: a text of metrics becomes a quarter of its size all the same, in a third of the time of the usual 6.
const COMPRESSION: u32 = 1;

/// The expositions of a configuration, and the texts of the last tick that was asked for.
#[derive(Default)]
pub(super) struct Scrapes {
    state: RefCell<ScrapeState>,
}

#[derive(Default)]
struct ScrapeState {
    expositions: Vec<KeptExposition>,
    /// The tick of the texts.
    published: Option<Instant>,
    texts: Vec<ScrapeText>,
}

/// An exposition, and when it was asked for at last.
struct KeptExposition {
    naming: Naming,
    exposition: Exposition,
    asked: Instant,
}

/// A text of the tick.
struct ScrapeText {
    naming: Naming,
    format: Format,
    plain: Bytes,
    gzip: Option<Bytes>,
}

/// A request for a text.
pub(super) struct ScrapeRequest<'a> {
    pub(super) naming: Naming,
    pub(super) format: Format,
    pub(super) accepts_gzip: bool,
    /// The modules that are asked for; all if there is none.
    pub(super) modules: Vec<&'a str>,
}

/// A text, and whether it is compressed.
pub(super) struct Scraped {
    pub(super) text: Bytes,
    pub(super) is_gzip: bool,
}

impl Scrapes {
    /// The text for a request; none when too much of earlier responses has not been read yet.
    pub(super) fn text(
        &self,
        request: &ScrapeRequest<'_>,
        tick: &TickView,
        (config, http): (&Config, &HttpConfig),
        budget: &ResponseBudget,
        statistics: &Statistics,
    ) -> Option<Scraped> {
        let mut state = self.state.borrow_mut();
        state.note(request.naming, Instant::now());
        if state.published != Some(tick.published) {
            state.texts.clear();
            state.published = Some(tick.published);
        }
        let is_whole = request.modules.is_empty();
        let is_asked = |text: &ScrapeText| (text.naming, text.format) == (request.naming, request.format);
        let known = state.texts.iter().position(|text| is_whole && is_asked(text));
        if let Some(known) = known.map(|at| &state.texts[at])
            && (known.gzip.is_some() || !request.accepts_gzip)
        {
            return Some(known.scraped(request.accepts_gzip));
        }
        if !budget.has_room() {
            return None;
        }
        let began = Instant::now();
        if let Some(known) = known.map(|at| &mut state.texts[at]) {
            known.compress(budget);
            statistics.record_rendering(began.elapsed());
            return Some(known.scraped(true));
        }
        let mut text = Vec::new();
        let modules = (!is_whole).then_some(&*request.modules);
        let exposition = state.exposition(request.naming, config, http);
        exposition.render(&tick.sample, request.format, modules, &mut text);
        if request.naming == http.naming {
            statistics.record_left_out(exposition.counts());
        }
        let mut rendered =
            ScrapeText { naming: request.naming, format: request.format, plain: budget.hold(text), gzip: None };
        if request.accepts_gzip {
            rendered.compress(budget);
        }
        statistics.record_rendering(began.elapsed());
        let scraped = rendered.scraped(request.accepts_gzip);
        if is_whole {
            state.texts.push(rendered);
        }
        Some(scraped)
    }

    /// Drops what nobody has asked for since long, but for the own naming: its choice among too many series stays.
    pub(super) fn drop_unused(&self, own: Naming, now: Instant) {
        let mut state = self.state.borrow_mut();
        let is_used = |kept: &KeptExposition| now.saturating_duration_since(kept.asked) < SCRAPE_KEPT;
        state.expositions.retain(|kept| kept.naming == own || is_used(kept));
        if !state.expositions.iter().any(is_used) {
            state.texts.clear();
        }
        let ScrapeState { expositions, texts, .. } = &mut *state;
        texts.retain(|text| expositions.iter().any(|kept| kept.naming == text.naming));
    }

    /// Whether there is anything to drop later.
    pub(super) fn are_kept(&self) -> bool {
        let state = self.state.borrow();
        state.expositions.len() > 1 || !state.texts.is_empty()
    }
}

impl ScrapeState {
    /// Notes that a naming is asked for.
    fn note(&mut self, naming: Naming, now: Instant) {
        if let Some(kept) = self.expositions.iter_mut().find(|kept| kept.naming == naming) {
            kept.asked = now;
        }
    }

    fn exposition(&mut self, naming: Naming, config: &Config, http: &HttpConfig) -> &mut Exposition {
        let known = self.expositions.iter().position(|kept| kept.naming == naming);
        let at = known.unwrap_or_else(|| {
            let exposition = Exposition::new(settings(naming, config, http));
            self.expositions.push(KeptExposition { naming, exposition, asked: Instant::now() });
            self.expositions.len() - 1
        });
        &mut self.expositions[at].exposition
    }
}

/// The settings of an exposition.
fn settings(naming: Naming, config: &Config, http: &HttpConfig) -> ExpositionSettings {
    let (common, own) = (config.metrics.selection.clone(), http.selection.clone());
    // They may be measured for another naming only.
    let per_core = config.cpu.per_core;
    let is_hidden = move |module: &str, series: &Series| naming.hides(per_core, module, series);
    ExpositionSettings {
        naming,
        prefix: config.metrics.prefix.clone().into(),
        tags: config
            .tags
            .iter()
            .map(|(name, value)| Label { name: name.clone().into(), value: value.clone().into() })
            .collect(),
        is_selected: Box::new(move |module, series| {
            !is_hidden(module, series) && common.selects(module, series) && own.selects(module, series)
        }),
        max_series: http.max_series.unwrap_or(usize::MAX),
    }
}

impl ScrapeText {
    fn compress(&mut self, budget: &ResponseBudget) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(COMPRESSION));
        // Writing to memory does not fail; without a compressed text the plain one is sent.
        let compressed = encoder.write_all(&self.plain).and_then(|()| encoder.finish());
        self.gzip = compressed.ok().map(|text| budget.hold(text));
    }

    fn scraped(&self, accepts_gzip: bool) -> Scraped {
        match &self.gzip {
            Some(gzip) if accepts_gzip => Scraped { text: gzip.clone(), is_gzip: true },
            _ => Scraped { text: self.plain.clone(), is_gzip: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::config::{ListenAddress, Overrides};
    use crate::sample::{Sample, test_module};

    fn tick() -> TickView {
        let modules = ["one", "two"].map(|name| test_module(name, |values| values.push("value", 1_u64)));
        TickView::with_sample(Sample { modules: modules.into(), ..Sample::default() })
    }

    fn request(format: Format, accepts_gzip: bool) -> ScrapeRequest<'static> {
        ScrapeRequest { naming: Naming::Gauged, format, accepts_gzip, modules: Vec::new() }
    }

    #[test]
    fn texts_are_made_once_for_each_tick() {
        let config =
            Config::load(&Overrides { file: Some("/dev/null".into()), ..Overrides::default() }).expect("empty");
        let http = HttpConfig::at(vec![ListenAddress::Unix("/run/s".into())]);
        let (scrapes, budget, statistics) = (Scrapes::default(), ResponseBudget::default(), Statistics::default());
        let text = |request: &ScrapeRequest<'_>, tick: &TickView| {
            scrapes.text(request, tick, (&config, &http), &budget, &statistics).expect("room")
        };
        let (first, second) = (tick(), tick());
        let made = text(&request(Format::Text, false), &first);
        assert!(!made.is_gzip && made.text.starts_with(b"# HELP gauged_one_value"), "{:?}", made.text);
        assert_eq!(text(&request(Format::Text, false), &first).text.as_ptr(), made.text.as_ptr());
        let compressed = text(&request(Format::Text, true), &first);
        assert_eq!(text(&request(Format::Text, true), &first).text.as_ptr(), compressed.text.as_ptr());
        let mut plain = Vec::new();
        GzDecoder::new(&*compressed.text).read_to_end(&mut plain).expect("gzip");
        assert!(compressed.is_gzip && plain == made.text);
        let other = text(&request(Format::OpenMetrics, false), &first);
        assert!(other.text.ends_with(b"# EOF\n"));
        assert_ne!(text(&request(Format::Text, false), &second).text.as_ptr(), made.text.as_ptr());
        let one = text(&ScrapeRequest { modules: vec!["two"], ..request(Format::Text, false) }, &second);
        assert!(
            !one.text.windows(11).any(|part| part == b"gauged_one_")
                && one.text.windows(11).any(|part| part == b"gauged_two_")
        );
        assert_eq!(text(&request(Format::Text, false), &second).text.len(), made.text.len(), "it is not kept");
    }

    #[test]
    fn unused_naming_is_dropped() {
        let config =
            Config::load(&Overrides { file: Some("/dev/null".into()), ..Overrides::default() }).expect("empty");
        let http = HttpConfig::at(vec![ListenAddress::Unix("/run/s".into())]);
        let (scrapes, budget, statistics) = (Scrapes::default(), ResponseBudget::default(), Statistics::default());
        let (tick, other) = (tick(), ScrapeRequest { naming: Naming::NodeExporter, ..request(Format::Text, false) });
        for request in [&request(Format::Text, false), &other] {
            scrapes.text(request, &tick, (&config, &http), &budget, &statistics).expect("room");
        }
        let kept = || {
            let state = scrapes.state.borrow();
            (state.expositions.iter().map(|kept| kept.naming).collect::<Vec<_>>(), state.texts.len())
        };
        let now = Instant::now();
        scrapes.drop_unused(Naming::Gauged, now);
        assert_eq!(kept(), (vec![Naming::Gauged, Naming::NodeExporter], 2));
        scrapes.state.borrow_mut().note(Naming::Gauged, now + SCRAPE_KEPT);
        scrapes.drop_unused(Naming::Gauged, now + SCRAPE_KEPT);
        assert_eq!((kept(), scrapes.are_kept()), ((vec![Naming::Gauged], 1), true));
        scrapes.drop_unused(Naming::Gauged, now + 3 * SCRAPE_KEPT);
        assert_eq!((kept(), scrapes.are_kept()), ((vec![Naming::Gauged], 0), false));
    }
}
