//! The points of one step: the modules of a tick, one for each time, and the latest point of each series.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::queue::Point;
use super::statistics::{Loss, Statistics};
use crate::sample::{Module, ModuleSource, Sample, Schema, Series, Value};

/// How many modules of a step one tick has, each of another time: the usual step of Open-Falcon, 60 s, and its smallest, 10 s, make up
/// to 360 in the hour that points may be old. Of more the newest are kept.
pub(super) const TIMES: usize = 360;

/// After how many steps a series without a new point is gone.
const KEPT_STEPS: u32 = 2;

/// The points of a step.
#[derive(Debug)]
pub(super) struct PushedStep {
    pub(super) seconds: u32,
    source: ModuleSource,
    /// The latest point of each series, in the order in which the series came.
    entries: Vec<Entry>,
    /// Their places, by the series' identity.
    places: HashMap<u64, usize>,
    /// The series of all entries; none after a change of them.
    schema: Option<Arc<Schema>>,
    /// The series of the last module that did not have all.
    partial: Option<Arc<Schema>>,
    /// The latest points of all series.
    latest: Option<Arc<Module>>,
    /// The time of the newest module.
    last_time: Duration,
    /// The points that came since the last tick.
    arrived: Vec<Point>,
}

/// The latest point of a series.
#[derive(Debug)]
struct Entry {
    identity: u64,
    series: Arc<Series>,
    value: Value,
    /// The time of its module.
    time: Duration,
    /// The tick of the sample that it was new in.
    since: Duration,
}

impl PushedStep {
    pub(super) fn new(seconds: u32, source: ModuleSource) -> Self {
        Self {
            seconds,
            source,
            entries: Vec::new(),
            places: HashMap::new(),
            schema: None,
            partial: None,
            latest: None,
            last_time: Duration::ZERO,
            arrived: Vec::new(),
        }
    }

    /// The number of series.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a point, whose time is one that this tick may have.
    pub(super) fn push(&mut self, point: Point) {
        self.arrived.push(point);
    }

    /// Forgets the series that had no point for two steps, at a tick.
    pub(super) fn expire(&mut self, tick: Duration) {
        let kept = self.source.step.saturating_mul(KEPT_STEPS);
        if self.last_time > tick {
            // The clock was set back: all is of the future, and would keep new points away.
            self.entries.clear();
            self.last_time = Duration::ZERO;
        } else if self.entries.iter().all(|entry| tick.abs_diff(entry.since) < kept) {
            return;
        }
        self.entries.retain(|entry| tick.abs_diff(entry.since) < kept);
        self.places.clear();
        self.places.extend(self.entries.iter().enumerate().map(|(place, entry)| (entry.identity, place)));
        (self.schema, self.partial, self.latest) = (None, None, None);
    }

    /// Puts the modules of a tick into its sample. There may be `room` more series.
    pub(super) fn deliver(&mut self, sample: &mut Sample, statistics: &Statistics, room: &mut usize) {
        let mut arrived = mem::take(&mut self.arrived);
        for point in arrived.iter_mut().filter(|point| point.time < self.last_time) {
            statistics.retime();
            point.time = self.last_time;
        }
        // Stable: of equal times the later point comes later.
        arrived.sort_by_key(|point| point.time);
        let times = arrived.chunk_by(|point, next| point.time == next.time).count();
        let mut excess = times.saturating_sub(TIMES);
        let (mut newest, mut places) = (None, Vec::new());
        let mut points = arrived.into_iter().peekable();
        while let Some(time) = points.peek().map(|point| point.time) {
            places.clear();
            while let Some(point) = points.next_if(|point| point.time == time) {
                if excess == 0 {
                    places.extend(self.take(point, sample.tick, statistics, room));
                } else {
                    statistics.lose(Loss::Limit, 1);
                }
            }
            excess = excess.saturating_sub(1);
            if !places.is_empty() {
                places.sort_unstable();
                self.last_time = time;
                sample.superseded.extend(newest.replace(self.module(&places)));
            }
        }
        if let Some(newest) = newest {
            self.latest = (newest.len() == self.entries.len()).then(|| Arc::clone(&newest));
            if self.latest.is_none() {
                sample.stale.push(newest.name().clone());
                sample.retained.push(self.latest());
            }
            sample.modules.push(newest);
        } else if !self.entries.is_empty() {
            sample.retained.push(self.latest());
        }
    }

    /// Takes a point as the latest of its series. Returns the place of the series if it has no point of that time yet.
    fn take(&mut self, point: Point, tick: Duration, statistics: &Statistics, room: &mut usize) -> Option<usize> {
        let Point { series, identity, value, time, .. } = point;
        let Some(&place) = self.places.get(&identity) else {
            if *room == 0 {
                statistics.lose(Loss::Limit, 1);
                return None;
            }
            *room -= 1;
            let place = self.entries.len();
            self.entries.push(Entry { identity, series, value, time, since: tick });
            self.places.insert(identity, place);
            self.schema = None;
            return Some(place);
        };
        let entry = &mut self.entries[place];
        if time <= entry.time && entry.since != tick {
            statistics.lose(Loss::OutOfOrder, 1);
            return None;
        }
        // Points of one tick come in the order of their times.
        let is_second = time == entry.time;
        if !Arc::ptr_eq(&entry.series, &series) {
            // It has another kind.
            entry.series = series;
            self.schema = None;
        }
        (entry.value, entry.time, entry.since) = (value, time, tick);
        if is_second {
            statistics.lose(Loss::Duplicate, 1);
            return None;
        }
        Some(place)
    }

    /// A module with the points of these series.
    fn module(&mut self, places: &[usize]) -> Arc<Module> {
        let schema = if places.len() == self.entries.len() {
            self.schema()
        } else {
            let series = || places.iter().map(|place| &self.entries[*place].series);
            let is_known = |known: &Arc<Schema>| {
                known.series().len() == places.len()
                    && known.series().iter().zip(series()).all(|(a, b)| Arc::ptr_eq(a, b))
            };
            match self.partial.take_if(|known| is_known(known)) {
                Some(known) => known,
                None => Schema::with_series(self.source.clone(), series().cloned().collect()),
            }
        };
        if places.len() < self.entries.len() {
            self.partial = Some(Arc::clone(&schema));
        }
        let values = places.iter().map(|place| self.entries[*place].value.clone()).collect();
        Arc::new(Module::new(self.last_time, schema, values))
    }

    /// The latest points of all series.
    fn latest(&mut self) -> Arc<Module> {
        if let Some(latest) = &self.latest {
            return Arc::clone(latest);
        }
        let schema = self.schema();
        let values = self.entries.iter().map(|entry| entry.value.clone()).collect();
        Arc::clone(self.latest.insert(Arc::new(Module::new(self.last_time, schema, values))))
    }

    /// The series of all entries.
    fn schema(&mut self) -> Arc<Schema> {
        let Self { schema, source, entries, .. } = self;
        let make =
            || Schema::with_series(source.clone(), entries.iter().map(|entry| Arc::clone(&entry.series)).collect());
        Arc::clone(schema.get_or_insert_with(make))
    }
}
