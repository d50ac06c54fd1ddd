//! The lines that series are in: each has its measurement and tags rendered once, for all of its fields.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::super::numeric::{NamedSeries, NumericSettings};
use super::super::target_labels::TargetLabels;
use super::escape::push_escaped;
use super::field;

/// From how many lines on those without a field are removed.
const MIN_PRUNED: usize = 64;

/// A series as a field of a line.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) line: Arc<Line>,
    /// The name, up to the value: `name=`.
    pub(super) key: Box<str>,
    /// Whether the name is one that a series without a field has, too.
    pub(super) is_value: bool,
}

/// A measurement with its tags.
#[derive(Debug)]
pub(super) struct Line {
    /// The line up to its first field: `measurement,tag=value `.
    pub(super) start: Arc<str>,
    /// No other line ever has the same.
    pub(super) id: u64,
    /// Where it is among the lines that are being written, if it is there: the one at that place has its id.
    slot: AtomicUsize,
}

impl Line {
    pub(super) fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed)
    }

    pub(super) fn set_slot(&self, slot: usize) {
        self.slot.store(slot, Ordering::Relaxed);
    }
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    known: HashMap<Arc<str>, Weak<Line>>,
    next_id: u64,
    /// The number of lines at which those without a field are removed.
    pruned_at: usize,
}

impl Lines {
    /// A series as a field of its line.
    pub(super) fn field(
        &mut self,
        series: &NamedSeries<'_>,
        settings: &NumericSettings,
        target: &TargetLabels,
    ) -> Field {
        let (name, separator) = (series.flat_name(), field::separator(settings.naming));
        let (measurement, field) = field::split(&name, &settings.prefix, &series.source.module, separator);
        let mut start = String::new();
        if measurement.starts_with('#') {
            // Otherwise the line would be a comment.
            start.push('\\');
        }
        push_escaped(measurement, &mut start);
        for (name, value) in target.merged(series, None) {
            start.push(',');
            push_escaped(name, &mut start);
            start.push('=');
            push_escaped(value, &mut start);
        }
        start.push(' ');
        let mut key = String::new();
        push_escaped(field, &mut key);
        key.push('=');
        Field { line: self.line(start), key: key.into(), is_value: field == field::VALUE }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn line(&mut self, start: String) -> Arc<Line> {
        if let Some(line) = self.known.get(&*start).and_then(Weak::upgrade) {
            return line;
        }
        if self.known.len() >= self.pruned_at {
            self.known.retain(|_, line| line.strong_count() > 0);
            self.pruned_at = MIN_PRUNED.max(2 * self.known.len());
        }
        self.next_id += 1;
        let start: Arc<str> = start.into();
        let line = Arc::new(Line { start: Arc::clone(&start), id: self.next_id, slot: AtomicUsize::new(0) });
        self.known.insert(start, Arc::downgrade(&line));
        line
    }
}
