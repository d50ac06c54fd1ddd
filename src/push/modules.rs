//! The tick thread's end: the points that came since the last tick become modules of its sample.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::inlet::{Inlet, SERIES};
use super::queue::Point;
use super::statistics::{Loss, Statistics};
use super::step::PushedStep;
use crate::sample::{CollectorVersion, ModuleSource, PUSH_PREFIX, Sample, SeriesTable};

/// How much older than its tick a point may be. Others have a wrong clock, and get the tick's time.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// How many steps there may be at a time, each with a module: programs use a handful.
const STEPS: usize = 16;

/// The name of the collector.
const COLLECTOR: &str = "push";

/// The pushed points, as the tick thread has them.
#[derive(Debug)]
pub(crate) struct PushedModules {
    inlet: Arc<Inlet>,
    is_open: bool,
    /// Whether samples may have had modules of these.
    has_delivered: bool,
    collector: Arc<CollectorVersion>,
    /// Sorted by step.
    steps: Vec<PushedStep>,
    /// The points for the open sample, by request.
    taken: Vec<Vec<Point>>,
}

impl PushedModules {
    /// Takes points if it `is_open`. The account of their series is in this table.
    pub(crate) fn new(table: &Arc<SeriesTable>, is_open: bool) -> Self {
        let mut modules = Self {
            inlet: Inlet::new(table),
            is_open: false,
            has_delivered: false,
            collector: CollectorVersion::native(COLLECTOR),
            steps: Vec::new(),
            taken: Vec::new(),
        };
        modules.set_open(is_open);
        modules
    }

    /// The delivery thread's end.
    pub(crate) fn inlet(&self) -> &Arc<Inlet> {
        &self.inlet
    }

    /// The numbers of points; none while they are turned off.
    pub(crate) fn statistics(&self) -> Option<&Statistics> {
        self.is_open.then_some(&self.inlet.statistics)
    }

    /// Begins to take points, or ends it: then those that wait and the latest ones are dropped.
    pub(crate) fn set_open(&mut self, is_open: bool) {
        if mem::replace(&mut self.is_open, is_open) == is_open {
            return;
        }
        if is_open {
            self.inlet.queue.open();
        } else {
            self.inlet.queue.close(&self.inlet.statistics);
            let taken = mem::take(&mut self.taken);
            self.inlet.statistics.lose(Loss::TurnedOff, taken.iter().map(Vec::len).sum());
            self.steps.clear();
        }
    }

    /// Takes what came before a tick. What comes later goes with the next one.
    pub(crate) fn collect(&mut self) {
        self.inlet.queue.take(&mut self.taken);
    }

    /// Puts the modules of a tick into its sample, behind those of the collectors.
    pub(crate) fn deliver(&mut self, sample: &mut Sample) {
        if self.taken.is_empty() && self.steps.is_empty() {
            return;
        }
        self.has_delivered = true;
        let tick = sample.tick;
        for step in &mut self.steps {
            step.expire(tick);
        }
        let mut taken = mem::take(&mut self.taken);
        for mut point in taken.drain(..).flatten() {
            if point.time > tick || tick.saturating_sub(point.time) > MAX_AGE {
                self.inlet.statistics.retime();
                point.time = tick;
            }
            match self.step(point.step_seconds) {
                Some(step) => step.push(point),
                None => self.inlet.statistics.lose(Loss::Limit, 1),
            }
        }
        // Its memory goes back into the queue.
        self.taken = taken;
        let mut room = SERIES.saturating_sub(self.steps.iter().map(PushedStep::len).sum());
        for step in &mut self.steps {
            step.deliver(sample, &self.inlet.statistics, &mut room);
        }
        self.steps.retain(|step| step.len() > 0);
    }

    /// The points of a step; none when there are too many steps.
    fn step(&mut self, seconds: u32) -> Option<&mut PushedStep> {
        let place = match self.steps.binary_search_by_key(&seconds, |step| step.seconds) {
            Ok(place) => place,
            Err(_) if self.steps.len() >= STEPS => return None,
            Err(place) => {
                let source = ModuleSource {
                    module: format!("{PUSH_PREFIX}{seconds}").into(),
                    collector: Arc::clone(&self.collector),
                    step: Duration::from_secs(seconds.into()),
                    is_verbatim: true,
                };
                self.steps.insert(place, PushedStep::new(seconds, source));
                place
            }
        };
        self.steps.get_mut(place)
    }

    /// Releases the modules of a sample that nobody has any more: this thread has made them.
    pub(crate) fn release(&self, sample: &mut Sample) {
        if self.has_delivered {
            for modules in [&mut sample.modules, &mut sample.superseded, &mut sample.retained] {
                modules.retain(|module| !std::ptr::eq(module.collector(), &raw const *self.collector));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::step::TIMES;
    use super::*;
    use crate::sample::{MetricKind, Module, Value};

    /// A tick at which an hour has passed.
    const BASE: u64 = 1_700_000_000;

    struct Pushes {
        modules: PushedModules,
    }

    impl Pushes {
        fn new() -> Self {
            Self { modules: PushedModules::new(&Arc::default(), true) }
        }

        /// Pushes points: metric, seconds after the base, step, value.
        fn push(&self, points: &[(&str, i64, u32, u64)]) {
            self.push_kind("GAUGE", points);
        }

        fn push_kind(&self, kind: &str, points: &[(&str, i64, u32, u64)]) {
            let text = |(metric, at, step, value): &(&str, i64, u32, u64)| {
                let timestamp = BASE.saturating_add_signed(*at);
                format!(
                    r#"{{"metric":"{metric}","timestamp":{timestamp},"step":{step},"value":{value},"counterType":"{kind}"}}"#
                )
            };
            let body = format!("[{}]", points.iter().map(text).collect::<Vec<_>>().join(","));
            let outcome = self.modules.inlet.push(body.as_bytes(), None, Duration::ZERO).expect("taken");
            assert_eq!(outcome.accepted, points.len());
        }

        /// The sample of a tick, so many seconds after the base.
        fn tick(&mut self, at: u64) -> Sample {
            let mut sample = Sample { tick: Duration::from_secs(BASE + at), ..Sample::default() };
            self.modules.collect();
            self.modules.deliver(&mut sample);
            for module in sample.modules.iter().chain(&sample.superseded).chain(&sample.retained) {
                let mut keys: Vec<String> = module.metrics().map(|metric| metric.key().to_string()).collect();
                keys.sort_unstable();
                keys.dedup();
                assert_eq!(keys.len(), module.len(), "no series twice");
            }
            sample
        }

        fn lost(&self, loss: Loss) -> u64 {
            self.modules.inlet.statistics.lost(loss)
        }

        fn retimed(&self) -> u64 {
            self.modules.inlet.statistics.retimed()
        }
    }

    /// A module as text: its name, its time after the base, its metrics and values.
    fn text(module: &Arc<Module>) -> String {
        let metrics = module.metrics().map(|metric| match metric.value {
            Value::Unsigned(value) => format!(" {}={value}", metric.key()),
            other => panic!("{other:?}"),
        });
        let time = module.time.as_secs() - BASE;
        format!("{}@{time}:{}", module.name(), metrics.collect::<String>())
    }

    fn texts(modules: &[Arc<Module>]) -> Vec<String> {
        modules.iter().map(text).collect()
    }

    fn latest(sample: &Sample) -> Vec<String> {
        let mut latest: Vec<String> = sample.latest().map(text).collect();
        latest.sort_unstable();
        latest
    }

    #[test]
    fn modules_are_made_by_step_and_time() {
        let mut pushes = Pushes::new();
        pushes.push(&[("a", 3, 60, 1), ("b", 3, 60, 2), ("a", 3, 10, 3), ("c", 1, 60, 4), ("a", 2, 60, 5)]);
        let sample = pushes.tick(10);
        assert_eq!(texts(&sample.modules), ["push_10@3: a=3", "push_60@3: a=1 b=2"]);
        assert_eq!(texts(&sample.superseded), ["push_60@1: c=4", "push_60@2: a=5"]);
        assert_eq!(latest(&sample), ["push_10@3: a=3", "push_60@3: c=4 a=1 b=2"]);
        assert!(sample.modules.iter().all(|module| module.schema().source().is_verbatim));
        assert_eq!(sample.modules[1].step(), Duration::from_secs(60));
    }

    #[test]
    fn latest_points_of_all_programs_are_retained() {
        let mut pushes = Pushes::new();
        pushes.push(&[("a", 5, 60, 1)]);
        assert_eq!(latest(&pushes.tick(10)), ["push_60@5: a=1"]);
        pushes.push(&[("b", 15, 60, 2)]);
        let sample = pushes.tick(20);
        assert_eq!(texts(&sample.modules), ["push_60@15: b=2"]);
        assert_eq!(latest(&sample), ["push_60@15: a=1 b=2"]);
        assert_eq!(latest(&pushes.tick(120)), ["push_60@15: a=1 b=2"]);
        assert_eq!(latest(&pushes.tick(130)), ["push_60@15: b=2"], "two steps of the other one have passed");
        assert!(latest(&pushes.tick(140)).is_empty());
        assert!(pushes.modules.steps.is_empty());
    }

    #[test]
    fn unchanged_series_keep_their_schema() {
        let mut pushes = Pushes::new();
        let schemas = |sample: &Sample| sample.latest().map(|module| Arc::clone(module.schema())).collect::<Vec<_>>();
        pushes.push(&[("a", 1, 60, 1), ("b", 1, 60, 2)]);
        let first = schemas(&pushes.tick(10));
        pushes.push(&[("b", 11, 60, 3), ("a", 11, 60, 4)]);
        let second = pushes.tick(20);
        assert!(Arc::ptr_eq(&first[0], &schemas(&second)[0]) && second.retained.is_empty(), "in whatever order");
        pushes.push(&[("b", 21, 60, 5)]);
        let part = pushes.tick(30);
        pushes.push(&[("b", 31, 60, 6)]);
        let same = pushes.tick(40);
        assert!(Arc::ptr_eq(part.modules[0].schema(), same.modules[0].schema()));
        assert!(Arc::ptr_eq(&first[0], &schemas(&same)[0]));
    }

    #[test]
    fn times_stay_near_the_tick_and_never_decrease() {
        let mut pushes = Pushes::new();
        pushes.push(&[("past", 4, 60, 1), ("future", 5000, 60, 2), ("oldest", 400, 60, 3)]);
        let sample = pushes.tick(4000);
        assert_eq!(texts(&sample.superseded), ["push_60@400: oldest=3"]);
        assert_eq!(texts(&sample.modules), ["push_60@4000: past=1 future=2"]);
        assert_eq!(pushes.retimed(), 2);
        pushes.push(&[("late", 3990, 60, 4), ("past", 3999, 60, 5), ("past", 4005, 60, 6)]);
        let sample = pushes.tick(4010);
        assert_eq!(texts(&sample.superseded), ["push_60@4000: late=4"]);
        assert_eq!(texts(&sample.modules), ["push_60@4005: past=6"]);
        assert_eq!((pushes.retimed(), pushes.lost(Loss::OutOfOrder)), (4, 1));
        pushes.push(&[("far", i64::MAX, 60, 7)]);
        assert_eq!(texts(&pushes.tick(4020).modules), ["push_60@4020: far=7"]);
        // The clock is set back.
        pushes.push(&[("past", 3005, 60, 8)]);
        let sample = pushes.tick(3010);
        assert_eq!(
            (texts(&sample.modules), latest(&sample)),
            (vec!["push_60@3005: past=8".into()], vec!["push_60@3005: past=8".into()])
        );
    }

    #[test]
    fn later_point_of_a_time_wins() {
        let mut pushes = Pushes::new();
        pushes.push(&[("a", 1, 60, 1), ("a", 1, 60, 2)]);
        pushes.push_kind("COUNTER", &[("a", 1, 60, 3)]);
        let sample = pushes.tick(10);
        assert_eq!(texts(&sample.modules), ["push_60@1: a=3"]);
        let kind = |sample: &Sample| sample.modules[0].schema().series()[0].descriptor().kind;
        assert_eq!((kind(&sample), pushes.lost(Loss::Duplicate)), (MetricKind::Counter, 2));
        pushes.push(&[("a", 11, 60, 4)]);
        assert_eq!(kind(&pushes.tick(20)), MetricKind::Gauge, "its kind has changed");
    }

    #[test]
    fn floods_of_steps_and_times_are_bounded() {
        let mut pushes = Pushes::new();
        let steps: Vec<_> = (1..=20).map(|step| ("a", 1, step, 1)).collect();
        pushes.push(&steps);
        assert_eq!(pushes.tick(10).modules.len(), STEPS);
        assert_eq!(pushes.lost(Loss::Limit), 20 - STEPS as u64);

        let mut pushes = Pushes::new();
        let times: Vec<_> = (0..400).map(|at| ("a", at, 60, 1)).collect();
        pushes.push(&times);
        let sample = pushes.tick(400);
        assert_eq!(sample.superseded.len() + 1, TIMES);
        assert_eq!(sample.modules[0].time, Duration::from_secs(BASE + 399), "the newest are kept");
        assert_eq!(pushes.lost(Loss::Limit), 40);
    }

    #[test]
    fn turning_off_drops_everything() {
        let mut pushes = Pushes::new();
        pushes.push(&[("a", 1, 60, 1)]);
        pushes.tick(10);
        pushes.push(&[("a", 11, 60, 1), ("b", 11, 60, 1)]);
        pushes.modules.set_open(false);
        assert!(pushes.tick(20).latest().next().is_none() && pushes.modules.statistics().is_none());
        assert_eq!(pushes.lost(Loss::TurnedOff), 2);
        pushes.modules.set_open(true);
        pushes.push(&[("a", 21, 60, 2)]);
        assert_eq!(latest(&pushes.tick(30)), ["push_60@21: a=2"]);
    }

    #[test]
    fn released_samples_keep_modules_of_others() {
        let mut pushes = Pushes::new();
        pushes.push(&[("a", 1, 60, 1), ("a", 2, 60, 1), ("b", 2, 60, 1)]);
        let mut sample = pushes.tick(10);
        sample.modules.insert(0, crate::sample::test_module("load", |values| values.push("1min", 1_u64)));
        pushes.modules.release(&mut sample);
        assert_eq!(sample.latest().map(|module| module.name().to_string()).collect::<Vec<_>>(), ["load"]);
        assert!(sample.superseded.is_empty());
    }

    proptest! {
        /// Whatever is pushed: each point is in one module or counted as lost, times of a step rise, and those of a series as well.
        #[test]
        fn points_are_delivered_once_in_order(
            ticks in prop::collection::vec(
                prop::collection::vec((0_usize..3, -20_i64..20, 1_u32..3, any::<bool>()), 0..12),
                1..12,
            ),
        ) {
            let mut pushes = Pushes::new();
            let (mut pushed, mut delivered) = (0, 0);
            let mut last: BTreeMap<String, Duration> = BTreeMap::new();
            for (tick, points) in (0_u64..).zip(ticks) {
                for (metric, at, step, is_gauge) in points {
                    let at = 5000 + 10 * tick.cast_signed() + at;
                    let kind = if is_gauge { "GAUGE" } else { "COUNTER" };
                    pushes.push_kind(kind, &[(["a", "b", "c"][metric], at, 60 * step, 1)]);
                    pushed += 1;
                }
                let sample = pushes.tick(5000 + 10 * tick);
                for module in sample.results() {
                    delivered += module.len() as u64;
                    prop_assert!(module.time <= sample.tick);
                    let before = last.insert(module.name().to_string(), module.time);
                    prop_assert!(before.is_none_or(|before| before <= module.time));
                    for metric in module.metrics() {
                        let before = last.insert(format!("{} {}", module.name(), metric.key()), module.time);
                        prop_assert!(before.is_none_or(|before| before < module.time));
                    }
                }
                let mut names: Vec<_> = sample.latest().map(|module| module.name().clone()).collect();
                names.sort_unstable();
                let count = names.len();
                names.dedup();
                prop_assert_eq!(names.len(), count, "no latest result twice");
            }
            let lost: u64 = [Loss::Duplicate, Loss::OutOfOrder].map(|loss| pushes.lost(loss)).into_iter().sum();
            prop_assert_eq!(pushed, delivered + lost);
        }
    }
}
