//! The tick thread's side of rounds: when one is sent, and which parts go into which sample. At most one round is open, and
//! nothing here waits.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::schedule::Tick;
use crate::plugin::guest_thread::heartbeat::Heartbeat;
use crate::plugin::guest_thread::round::{Latest, Part, Round};
use crate::sample::{Sample, Values};
use crate::status::{GuestThreadState, PluginList, PluginsView};

/// The rounds of one guest thread.
#[derive(Default)]
pub(crate) struct Exchange {
    round: RoundState,
    /// The last tick at which plugins were called, or at which none was due.
    served: Option<Duration>,
    /// How many ticks since then had no round because one was open.
    skipped: u64,
    /// The part for the open sample.
    arrived: Option<Box<Part>>,
    /// The part of a round that ended after its sample.
    late: Option<Box<Part>>,
    /// A part that was delivered, with memory to use again.
    spent: Option<Box<Part>>,
    /// Whether its metrics about plugins were not appended yet.
    is_about_new: bool,
    /// The latest result of each plugin.
    latest: Vec<Latest>,
    /// The plugins in the status of the agent.
    list: Option<Arc<PluginList>>,
    /// The tick of the last round that has ended, and when it did.
    received: Option<(Duration, Instant)>,
    /// Since when the open round is overdue.
    overdue_since: Option<Instant>,
}

/// Whether a round is open.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum RoundState {
    #[default]
    None,
    /// The sample of its tick waits for it.
    Awaited,
    /// The sample of its tick has left without it.
    Overdue,
}

impl Exchange {
    /// Sends a round for a tick if one is due. Returns whether it was skipped because the one before is still open, or nobody
    /// took it.
    pub(crate) fn open(
        &mut self,
        tick: Tick,
        until: Option<Instant>,
        heartbeat: &Heartbeat,
        send: impl FnOnce(Round) -> bool,
    ) -> bool {
        let tick = Tick { previous: self.served.map(|moment| tick.index_at(moment)), ..tick };
        if !heartbeat.is_round_due(tick) {
            self.served = Some(tick.since_epoch);
            return false;
        }
        if self.round != RoundState::None {
            self.skipped += 1;
            return true;
        }
        let spent = self.spent.take().unwrap_or_default();
        if !send(Round { tick, until, skipped: self.skipped, spent }) {
            self.skipped += 1;
            return true;
        }
        (self.round, self.served, self.skipped) = (RoundState::Awaited, Some(tick.since_epoch), 0);
        false
    }

    /// Whether the open sample waits for a part.
    pub(crate) fn is_awaited(&self) -> bool {
        self.round == RoundState::Awaited
    }

    /// Whether the round of an earlier sample is still open.
    pub(crate) fn is_overdue(&self) -> bool {
        self.round == RoundState::Overdue
    }

    /// Stops waiting for the part of the open sample.
    pub(crate) fn give_up(&mut self) {
        if self.round == RoundState::Awaited {
            self.round = RoundState::Overdue;
            self.overdue_since = Some(Instant::now());
        }
    }

    /// Takes a part.
    pub(crate) fn take(&mut self, part: Box<Part>) {
        if let Some(list) = &part.list {
            self.list = Some(Arc::clone(list));
        }
        self.received = Some((part.tick, Instant::now()));
        self.overdue_since = None;
        match mem::take(&mut self.round) {
            RoundState::Overdue => self.late = Some(part),
            RoundState::Awaited | RoundState::None => self.arrived = Some(part),
        }
    }

    /// Moves what has arrived into the sample of a tick. What arrives later goes with the next one.
    pub(crate) fn deliver(&mut self, sample: &mut Sample) {
        self.give_up();
        let (mut arrived, mut late) = (self.arrived.take(), self.late.take());
        if let Some(part) = &mut arrived {
            part.move_into(sample);
        }
        if let Some(part) = &mut late {
            part.move_beside(sample);
        }
        let delivered = [arrived.as_ref(), late.as_ref()].map(|part| part.map(|part| part.tick));
        if let Some(mut part) = arrived.or(late) {
            mem::swap(&mut self.latest, &mut part.latest);
            self.is_about_new = true;
            self.spent = Some(part);
        }
        let retained = self.latest.iter().filter(|latest| !delivered.contains(&Some(latest.since)));
        let retained = retained.filter(|latest| latest.is_current(sample.tick));
        sample.retained.extend(retained.map(|latest| Arc::clone(&latest.module)));
    }

    /// Takes the modules of a sample that nobody has any more, the first `own` excepted: the guest thread has allocated them and
    /// releases them, so that the tick thread does not wait for the memory of another. Returns whether none is left.
    pub(crate) fn reclaim(&mut self, sample: &mut Sample, own: usize) -> bool {
        let is_own = sample.modules.len() <= own && sample.superseded.is_empty() && sample.retained.is_empty();
        if let Some(spent) = self.spent.as_mut().filter(|_| !is_own) {
            spent.modules.extend(sample.modules.drain(own.min(sample.modules.len())..));
            spent.modules.append(&mut sample.superseded);
            spent.modules.append(&mut sample.retained);
            return true;
        }
        is_own
    }

    /// Moves the agent's metrics about plugins into its module. Returns whether there are new ones.
    pub(crate) fn append_metrics(&mut self, agent: &mut Values<'_>) -> bool {
        let is_new = std::mem::take(&mut self.is_about_new);
        if let Some(about) = self.spent.as_mut().and_then(|part| part.about.as_mut()).filter(|_| is_new) {
            agent.push_part(about);
            return true;
        }
        false
    }

    /// The plugins in the status of the agent, as the guest thread, if there is one, has shown them last.
    pub(crate) fn view(&self, has_thread: bool) -> PluginsView {
        let thread = match self.overdue_since {
            _ if !has_thread => GuestThreadState::Absent,
            Some(since) => GuestThreadState::Overdue(since),
            None => GuestThreadState::Responds,
        };
        PluginsView { list: self.list.clone(), received: self.received, thread }
    }

    /// Begins anew with another thread. The latest results and the plugins in the status stay until the thread has newer ones.
    pub(crate) fn begin_anew(&mut self) {
        let Self { latest, list, received, .. } = mem::take(self);
        *self = Self { latest, list, received, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::sample::{CollectorVersion, Module, ModuleSource, ModuleWriter, SeriesAccount};

    const STEP: Duration = Duration::from_secs(10);

    fn module(name: &'static str, tick: u64) -> Arc<Module> {
        let collector = CollectorVersion::native("test");
        let source = ModuleSource { module: name.into(), collector, step: STEP, is_verbatim: false };
        let mut writer = ModuleWriter::new(source, [], &SeriesAccount::standalone());
        writer.write(STEP * u32::try_from(tick).expect("few"), |values| values.push("value", tick)).0
    }

    fn tick(index: u64) -> Tick {
        Tick { index, previous: index.checked_sub(1), since_epoch: STEP * u32::try_from(index).expect("few") }
    }

    /// The part of a round with a result of one plugin.
    fn answer(Round { tick, mut spent, .. }: Round, index: u64) -> Box<Part> {
        spent.clear();
        spent.tick = tick.since_epoch;
        let module = module("a", index);
        spent.latest.push(Latest { module: Arc::clone(&module), since: tick.since_epoch });
        spent.modules.push(module);
        spent
    }

    /// A sample of a tick.
    fn sample(exchange: &mut Exchange, index: u64) -> Sample {
        let mut sample = Sample { tick: tick(index).since_epoch, interval: STEP, ..Sample::default() };
        exchange.deliver(&mut sample);
        sample
    }

    fn ticks(modules: &[Arc<Module>]) -> Vec<u64> {
        modules.iter().map(|module| module.time.as_secs() / STEP.as_secs()).collect()
    }

    fn heartbeat(intervals: &[u64]) -> Heartbeat {
        let heartbeat = Heartbeat::default();
        heartbeat.set_intervals(intervals.to_vec());
        heartbeat
    }

    #[test]
    fn another_interval_keeps_the_phase_of_plugins() {
        let (mut exchange, heartbeat) = (Exchange::default(), heartbeat(&[2]));
        let mut called = Vec::new();
        let mut open = |heartbeat: &Heartbeat, tick: Tick| {
            let mut sent = None;
            exchange.open(tick, None, heartbeat, |round| sent.replace(round).is_none());
            if let Some(round) = sent {
                called.push(tick.since_epoch.as_secs());
                exchange.take(answer(round, 1));
            }
        };
        open(&heartbeat, tick(2));
        // A tick each second: the plugin is still due every 20 s.
        heartbeat.set_intervals(vec![20]);
        for index in 25..70 {
            open(&heartbeat, Tick { index, previous: Some(index - 1), since_epoch: Duration::from_secs(index) });
        }
        assert_eq!(called, [20, 40, 60]);
    }

    #[test]
    fn overdue_part_goes_beside_the_next_one() {
        let (mut exchange, heartbeat) = (Exchange::default(), heartbeat(&[1]));
        let mut sent = None;
        assert!(!exchange.open(tick(1), None, &heartbeat, |round| sent.replace(round).is_none()));
        assert!(sample(&mut exchange, 1).modules.is_empty() && exchange.is_overdue());
        assert!(exchange.open(tick(2), None, &heartbeat, |_| unreachable!("a round is open")), "skipped");
        assert!(sample(&mut exchange, 2).modules.is_empty());

        exchange.take(answer(sent.take().expect("sent"), 1));
        assert!(!exchange.open(tick(3), None, &heartbeat, |round| sent.replace(round).is_none()));
        let round = sent.take().expect("sent");
        assert_eq!((round.skipped, round.tick.previous), (1, Some(1)));
        exchange.take(answer(round, 3));
        let sample = sample(&mut exchange, 3);
        assert_eq!((ticks(&sample.modules), ticks(&sample.superseded)), (vec![3], vec![1]));
    }

    #[test]
    fn latest_result_is_retained_between_rounds() {
        let (mut exchange, heartbeat) = (Exchange::default(), heartbeat(&[5]));
        let mut sent = None;
        exchange.open(tick(5), None, &heartbeat, |round| sent.replace(round).is_none());
        exchange.take(answer(sent.expect("sent"), 5));
        assert_eq!(ticks(&sample(&mut exchange, 5).modules), [5]);
        assert!(!exchange.open(tick(6), None, &heartbeat, |_| unreachable!("no plugin is due")));
        let next = sample(&mut exchange, 6);
        assert_eq!((next.modules.len(), ticks(&next.retained)), (0, vec![5]));
        exchange.open(tick(7), None, &heartbeat, |_| unreachable!("no plugin is due"));
        assert!(sample(&mut exchange, 7).retained.is_empty(), "it is two steps old");
    }

    proptest! {
        /// Whenever the answers come, one round is open at most, each result is in exactly one sample, and its newest one is a
        /// module.
        #[test]
        fn answers_are_delivered_once(delays in prop::collection::vec(0_u64..4, 1..40)) {
            let (mut exchange, heartbeat) = (Exchange::default(), heartbeat(&[1]));
            let (mut open, mut answered, mut delivered, mut skipped) = (None, BTreeSet::new(), Vec::new(), 0);
            for (index, delay) in (1..).zip(&delays) {
                let arrive = |exchange: &mut Exchange, open: &mut Option<(Round, u64, u64)>, answered: &mut BTreeSet<u64>| {
                    if let Some((round, at, _)) = open.take_if(|(_, _, due)| *due <= index) {
                        answered.insert(at);
                        exchange.take(answer(round, at));
                    }
                };
                arrive(&mut exchange, &mut open, &mut answered);
                let mut sent = None;
                let is_skipped = exchange.open(tick(index), None, &heartbeat, |round| sent.replace(round).is_none());
                prop_assert_eq!(is_skipped, open.is_some());
                skipped += u64::from(is_skipped);
                if let Some(round) = sent {
                    prop_assert_eq!(round.skipped, skipped);
                    skipped = 0;
                    open = Some((round, index, index + delay));
                }
                arrive(&mut exchange, &mut open, &mut answered);
                let sample = sample(&mut exchange, index);
                prop_assert!(sample.modules.len() <= 1);
                let newest = ticks(&sample.modules);
                prop_assert!(ticks(&sample.superseded).iter().all(|older| Some(older) < newest.first()));
                delivered.extend(ticks(&sample.superseded));
                delivered.extend(newest);
            }
            prop_assert!(delivered.is_sorted());
            prop_assert_eq!(delivered, answered.into_iter().collect::<Vec<_>>());
        }
    }
}
