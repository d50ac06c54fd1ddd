//! Series: what identifies and describes the values of many ticks. A series is made once and shared by all ticks, modules and
//! plugins that have it; it is released with its last user. Their number is bounded, for each collector and in total.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash as _, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::descriptor::{Descriptor, UNDESCRIBED};
use super::labels::{LabelSet, Labels, Text, identity};

/// Spreads the bits of an address.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// A series: the name, labels and descriptor of a metric, or of one column of a histogram or summary.
pub struct Series {
    name: Text,
    labels: Labels,
    /// None for a metric without one.
    descriptor: Option<Arc<Descriptor>>,
    account: Arc<SeriesAccount>,
    column: Column,
}

/// The text that stands for a series in its module: `name`, or `name{label="value",…}` with the values escaped as in the
/// Prometheus text format. No other series of the module has the same key. Both parts are shared with other series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The name.
    pub name: &'a str,
    /// The labels' text; empty without labels.
    pub labels: &'a str,
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        f.write_str(self.labels)
    }
}

/// The part of a metric that a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// All of it: a gauge or a counter.
    Value,
    /// A histogram's observations up to the bound in the label `le`, those of smaller bounds included.
    Bucket,
    /// A summary's quantile, which the label `quantile` has.
    Quantile,
    /// The sum of the observations.
    Sum,
    /// The number of observations.
    Count,
}

impl Column {
    /// The label that tells the columns of a metric apart.
    #[must_use]
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Bucket => Some("le"),
            Self::Quantile => Some("quantile"),
            Self::Value | Self::Sum | Self::Count => None,
        }
    }

    /// The end of the series' name, after the metric's.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Value | Self::Quantile => "",
            Self::Bucket => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
        }
    }
}

impl Series {
    /// The name: the metric's, with a column's suffix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The metric's name, without a column's suffix.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        &self.name[..self.name.len() - self.column.suffix().len()]
    }

    /// The part of the metric that the series holds.
    #[must_use]
    pub fn column(&self) -> Column {
        self.column
    }

    /// The labels in display order.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The text that stands for it in its module.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key { name: &self.name, labels: self.labels.text() }
    }

    /// The metric's descriptor: a gauge without unit where it has none.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        self.descriptor.as_deref().unwrap_or(&UNDESCRIBED)
    }

    /// Whether the metric has a descriptor.
    #[must_use]
    pub fn is_described(&self) -> bool {
        self.descriptor.is_some()
    }

    /// A hash of the name and the set of labels, by which a module knows its series: no two of them have the same.
    pub(super) fn identity(&self) -> u64 {
        match self.labels.len() {
            // There is no other order of the labels, and equal series are one in memory.
            0 | 1 => (std::ptr::from_ref(self).addr() as u64).wrapping_mul(GOLDEN_RATIO).rotate_left(32),
            _ => identity(&self.account.table.hashing, &self.name, &self.labels),
        }
    }

    pub(super) fn is(&self, name: &str, labels: &impl LabelSet, column: Column) -> bool {
        let own_name = if self.column == Column::Value { &self.name } else { self.metric_name() };
        self.column == column && own_name == name && labels.is_same(&self.labels)
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().fmt(f)
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let SeriesAccount { table, live, .. } = &*self.account;
        let descriptor = self.descriptor.as_deref();
        table.remove(table.hash(self.metric_name(), &self.labels, descriptor, self.column), self);
        live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All series of the agent.
#[derive(Debug)]
pub struct SeriesTable {
    hashing: RandomState,
    /// How many there may be before collectors with an account of their own get no more.
    limit: AtomicUsize,
    /// Behind a lock because series are made and released by several threads. It is held for a look-up, of series that are new
    /// in their module or have no user any more.
    series: Mutex<HashMap<u64, Weak<Series>, BuildHasherDefault<PassthroughHasher>>>,
    /// How many there are: a tick reads this without the lock, which another thread may hold while the map grows.
    count: AtomicUsize,
}

impl Default for SeriesTable {
    fn default() -> Self {
        Self::with_limit(usize::MAX)
    }
}

impl SeriesTable {
    fn with_limit(limit: usize) -> Self {
        Self {
            hashing: RandomState::new(),
            limit: AtomicUsize::new(limit),
            series: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Changes how many series there may be. Those beyond a lower limit stay as long as they have a user.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The number of series that are in use.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A hash of everything that a series is made of, with the labels in their order.
    fn hash(&self, name: &str, labels: &impl LabelSet, descriptor: Option<&Descriptor>, column: Column) -> u64 {
        let mut hasher = self.hashing.build_hasher();
        (name, column, descriptor).hash(&mut hasher);
        labels.pairs().for_each(|pair| pair.hash(&mut hasher));
        hasher.finish()
    }

    /// Removes a series that is being dropped, unless an equal one has taken its place.
    fn remove(&self, hash: u64, series: &Series) {
        let mut all = self.lock();
        if all.get(&hash).is_some_and(|weak| std::ptr::eq(weak.as_ptr(), series)) {
            all.remove(&hash);
            self.count.store(all.len(), Ordering::Relaxed);
            // A flood that has passed gives its memory back.
            if all.len() < all.capacity() / 8 {
                all.shrink_to_fit();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Weak<Series>, BuildHasherDefault<PassthroughHasher>>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes a number that is a hash already.
#[derive(Debug, Default)]
pub(super) struct PassthroughHasher(u64);

impl Hasher for PassthroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The series of one collector: as many as it may have at a time, the samples that wait in sinks included.
#[derive(Debug)]
pub struct SeriesAccount {
    table: Arc<SeriesTable>,
    limit: AtomicUsize,
    /// The series that this collector was the first to have.
    live: AtomicUsize,
}

impl SeriesAccount {
    /// An account for at most so many series.
    #[must_use]
    pub fn new(table: Arc<SeriesTable>, limit: usize) -> Arc<Self> {
        Arc::new(Self { table, limit: AtomicUsize::new(limit), live: AtomicUsize::new(0) })
    }

    /// An account without a limit, for the agent's own collectors: plugins must not leave them without series.
    #[must_use]
    pub fn unlimited(table: &Arc<SeriesTable>) -> Arc<Self> {
        Self::new(Arc::clone(table), usize::MAX)
    }

    /// An account with a table of its own.
    #[must_use]
    pub fn standalone() -> Arc<Self> {
        Self::unlimited(&Arc::default())
    }

    /// Changes how many series there may be. Those beyond a lower limit stay as long as they have a user.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The series of a metric that programs push, and a number that it shares with that of any other kind with the same name and
    /// labels, and with no other series. None when there are too many.
    pub(crate) fn pushed(
        self: &Arc<Self>,
        descriptor: &Arc<Descriptor>,
        labels: &Labels,
    ) -> Option<(u64, Arc<Series>)> {
        let series = self.series(&descriptor.name, labels, Some(descriptor), Column::Value)?;
        Some((identity(&self.table.hashing, &descriptor.name, labels), series))
    }

    /// The series of a metric's column: the one that is there already, or a new one. None when there are too many.
    pub(super) fn series(
        self: &Arc<Self>,
        name: &str,
        labels: &impl LabelSet,
        descriptor: Option<&Arc<Descriptor>>,
        column: Column,
    ) -> Option<Arc<Series>> {
        let hash = self.table.hash(name, labels, descriptor.map(|descriptor| &**descriptor), column);
        let (known, count) = {
            let all = self.table.lock();
            (all.get(&hash).and_then(Weak::upgrade), all.len())
        };
        let is_equal = |series: &Arc<Series>| {
            series.is(name, labels, column)
                && series.descriptor.as_deref() == descriptor.map(|descriptor| &**descriptor)
        };
        if let Some(series) = known.filter(is_equal) {
            return Some(series);
        }
        let limit = self.limit.load(Ordering::Relaxed);
        let is_limited = limit != usize::MAX;
        if is_limited
            && (count >= self.table.limit.load(Ordering::Relaxed) || self.live.load(Ordering::Relaxed) >= limit)
        {
            return None;
        }
        let name = match (column.suffix(), descriptor) {
            ("", Some(descriptor)) => descriptor.name.clone(),
            (suffix, _) => format!("{name}{suffix}").into(),
        };
        let (labels, descriptor, account) = (labels.to_labels(), descriptor.cloned(), Arc::clone(self));
        self.live.fetch_add(1, Ordering::Relaxed);
        let series = Arc::new(Series { name, labels, descriptor, account, column });
        let other = {
            let mut all = self.table.lock();
            let other = all.get(&hash).and_then(Weak::upgrade);
            if other.is_none() {
                all.insert(hash, Arc::downgrade(&series));
                self.table.count.store(all.len(), Ordering::Relaxed);
            }
            other
        };
        // Another thread may have made an equal one meanwhile. One that only has the same hash stays, and this one is not shared.
        Some(other.filter(is_equal).unwrap_or(series))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::descriptor::MetricKind;
    use super::super::labels::Label;
    use super::*;
    use crate::fuzzing::checks::read_key;

    fn series(account: &Arc<SeriesAccount>, name: &str, labels: &Labels) -> Option<Arc<Series>> {
        account.series(name, labels, None, Column::Value)
    }

    #[test]
    fn equal_series_are_one_until_released() {
        let account = SeriesAccount::standalone();
        let labels: Labels = [("mount", "/")].into();
        let first = series(&account, "free_bytes", &labels).expect("a series");
        let second = series(&account, "free_bytes", &[("mount", "/")].into()).expect("a series");
        assert!(Arc::ptr_eq(&first, &second));
        let others = [
            series(&account, "free_bytes", &Labels::default()),
            series(&account, "used_bytes", &labels),
            account.series("free_bytes", &labels, None, Column::Count),
            account.series(
                "free_bytes",
                &labels,
                Some(&Arc::new(Descriptor {
                    name: "free_bytes".into(),
                    kind: MetricKind::Counter,
                    ..UNDESCRIBED.clone()
                })),
                Column::Value,
            ),
        ];
        assert!(others.iter().flatten().all(|other| !Arc::ptr_eq(&first, other)));
        assert_eq!(account.table.count(), 5);
        drop((first, others));
        assert_eq!((account.table.count(), account.live.load(Ordering::Relaxed)), (1, 1), "one is used still");
        drop(second);
        assert!(account.table.count() == 0);
    }

    #[test]
    fn series_are_bounded_per_collector_and_in_total() {
        let table = Arc::new(SeriesTable::with_limit(5));
        let (first, second) = (SeriesAccount::new(Arc::clone(&table), 3), SeriesAccount::new(Arc::clone(&table), 100));
        let named =
            |account: &Arc<SeriesAccount>, number: usize| series(account, &number.to_string(), &Labels::default());
        let mut held: Vec<_> = (0..3).map(|number| named(&first, number).expect("within both limits")).collect();
        assert!(named(&first, 3).is_none(), "the collector's limit");
        held.extend((0..5).map(|number| named(&second, number).expect("known, or within the limit")));
        assert!(named(&second, 5).is_none(), "the total limit");
        assert!(named(&first, 1).is_some() && named(&first, 4).is_some(), "they are there already");
        assert!(named(&SeriesAccount::unlimited(&table), 5).is_some(), "the agent's own");
        held.clear();
        assert!(named(&first, 7).is_some());
        first.set_limit(0);
        assert!(named(&first, 7).is_none(), "the lower limit");
    }

    #[test]
    fn column_suffixes_are_part_of_the_name() {
        let account = SeriesAccount::standalone();
        let labels: Labels = [("le", "0.5")].into();
        let bucket = account.series("wait_seconds", &labels, None, Column::Bucket).expect("a series");
        assert_eq!((bucket.name(), bucket.metric_name()), ("wait_seconds_bucket", "wait_seconds"));
        assert_eq!(bucket.key().to_string(), r#"wait_seconds_bucket{le="0.5"}"#);
        assert_eq!((bucket.column(), bucket.descriptor().kind), (Column::Bucket, MetricKind::Gauge));
    }

    #[test]
    fn keys_are_escaped_as_in_prometheus() {
        let account = SeriesAccount::standalone();
        let key = |labels: &Labels| series(&account, "free_bytes", labels).expect("a series").key().to_string();
        assert_eq!(key(&Labels::default()), "free_bytes");
        let labels = [("mount", "/a \"b\"\\\n"), ("type", "")];
        assert_eq!(key(&labels.into()), r#"free_bytes{mount="/a \"b\"\\\n",type=""}"#);
    }

    proptest! {
        #[test]
        fn keys_parse_to_name_and_labels(
            name in "[A-Za-z0-9_]{1,12}",
            labels in prop::collection::vec(("[A-Za-z_][A-Za-z0-9_]{0,8}", any::<String>()), 0..4),
        ) {
            let label = |(name, value): &(String, String)| Label { name: name.clone().into(), value: (**value).into() };
            let series = series(&SeriesAccount::standalone(), &name, &labels.iter().map(label).collect());
            let series = series.expect("a series");
            let key = series.key().to_string();
            prop_assert_eq!(read_key(&key), Some((name, labels)));
            prop_assert!(!key.contains('\n'));
        }
    }
}
