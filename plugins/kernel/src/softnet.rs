//! The per-CPU queues between network devices and protocols, from `/proc/net/softnet_stat`. Its 32-bit counters wrap within
//! hours on a busy CPU and are extended to 64 bits here.

use gauged_plugin::kernel::{self, File, Line};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Descriptor, Sample};

use crate::{SOFTNET_BACKLOG, SOFTNET_DROPPED, SOFTNET_FLOW_LIMIT, SOFTNET_PROCESSED, SOFTNET_RPS, SOFTNET_SQUEEZED};

/// The counters with their columns. Old kernels have only the first three.
const COUNTERS: [(usize, Descriptor); 5] =
    [(0, SOFTNET_PROCESSED), (1, SOFTNET_DROPPED), (2, SOFTNET_SQUEEZED), (9, SOFTNET_RPS), (10, SOFTNET_FLOW_LIMIT)];

/// The column of the backlog, since Linux 5.10.
const BACKLOG_COLUMN: usize = 11;

/// The column of the CPU number, since Linux 5.10.
const CPU_COLUMN: usize = 12;

/// The number of columns in use.
const COLUMN_COUNT: usize = 13;

/// The queues of all CPUs seen so far.
#[derive(Debug, Default)]
pub(crate) struct Softnet {
    queues: Vec<Queue>,
    /// Whether the last file had lines that were not understood, without which a sum would be too small.
    is_partial: bool,
}

#[derive(Debug, Clone, Default)]
struct Queue {
    cpu: u64,
    /// Those of an offline CPU keep their value.
    counters: [Counter; COUNTERS.len()],
    /// `None` while the CPU is offline, and in old kernels.
    backlog: Option<u64>,
}

/// A counter that is extended to 64 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// The last value; `None` if the kernel has no such column.
    value: Option<u64>,
    /// Whether the column was below it at the last file: for a moment, or for good.
    has_fallen: bool,
}

/// The growth from which on a counter did not pass zero: a CPU handles at most 20 million packets in a second, and there are ticks
/// of a minute.
const MAX_GROWTH: u64 = 1 << 30;

impl Counter {
    /// Takes the column of a new file. One that passed 2^32 goes on. One that fell is not known for a tick, after which it is back
    /// or counts anew.
    fn update(&mut self, column: Option<u32>) {
        let known = |value| Self { value: Some(value), has_fallen: false };
        *self = match (column.map(u64::from), self.value) {
            (None, _) => Self::default(),
            (Some(now), None) => known(now),
            (Some(now), Some(before)) => {
                let low = before & u64::from(u32::MAX);
                let has_passed_zero = now > 0 && now < low && now + (1 << 32) - low < MAX_GROWTH;
                if now >= low || has_passed_zero {
                    known(before - low + now + if has_passed_zero { 1 << 32 } else { 0 })
                } else if self.has_fallen {
                    known(now)
                } else {
                    Self { has_fallen: true, ..*self }
                }
            }
        };
    }

    fn known(self) -> Option<u64> {
        self.value.filter(|_| !self.has_fallen)
    }
}

impl Softnet {
    /// Updates the queues from a new file. A line that is not understood costs its CPU: all CPUs together are then left out,
    /// as long as that lasts.
    pub(crate) fn update(&mut self, file: &File, skipped: &mut Skipped) {
        self.queues.iter_mut().for_each(|queue| queue.backlog = None);
        let lines: Vec<Line<'_>> = file.lines().collect();
        let mut parsed: Vec<_> = lines.iter().map(|line| skipped.keep(parse(*line), "softnet of a CPU")).collect();
        let names_cpu = parsed.iter().flatten().any(|(_, count)| *count > CPU_COLUMN);
        // Beside lines with a CPU number, one without it is cut.
        for (line, columns) in lines.iter().zip(&mut parsed) {
            if names_cpu && columns.is_some_and(|(_, count)| count <= CPU_COLUMN) {
                *columns = skipped.keep(Err(line.truncated("missing the number of the CPU")), "softnet of a CPU");
            }
        }
        if !names_cpu && parsed.len() != self.queues.len() {
            let (first, second) = parsed.split_at(parsed.len() / 2);
            if first == second && first.len() == self.queues.len() {
                // The file has its lines twice.
                parsed.truncate(self.queues.len());
            } else {
                // Without CPU numbers, a changed number of lines means that lines may belong to other CPUs.
                self.queues.clear();
            }
        }
        self.is_partial = parsed.iter().any(Option::is_none);
        for (row, line) in (0_u64..).zip(parsed) {
            let Some((columns, count)) = line else { continue };
            let column = |at: usize| (at < count).then(|| columns[at]);
            let cpu = column(CPU_COLUMN).map_or(row, u64::from);
            let queue = self.queue(cpu);
            for ((at, _), counter) in COUNTERS.iter().zip(&mut queue.counters) {
                counter.update(column(*at));
            }
            queue.backlog = column(BACKLOG_COLUMN).map(u64::from);
        }
    }

    /// Sets the metrics, per CPU or as sums.
    pub(crate) fn set_metrics(&self, sample: &mut Sample, is_per_cpu: bool) {
        if is_per_cpu {
            for queue in &self.queues {
                let mut row = sample.labelled(&[("cpu", &queue.cpu.to_string())]);
                for ((_, metric), counter) in COUNTERS.iter().zip(queue.counters) {
                    row.set(*metric, counter.known());
                }
                row.set(SOFTNET_BACKLOG, queue.backlog);
            }
            return;
        }
        if self.is_partial {
            return;
        }
        for (at, (_, metric)) in COUNTERS.iter().enumerate() {
            // The sum is unknown while one that the kernel has is.
            let counters = || self.queues.iter().map(|queue| queue.counters[at]);
            let sum = optional_sum(counters().map(Counter::known));
            sample.set(*metric, sum.filter(|_| !counters().any(|counter| counter.has_fallen)));
        }
        sample.set(SOFTNET_BACKLOG, optional_sum(self.queues.iter().map(|queue| queue.backlog)));
    }

    fn queue(&mut self, cpu: u64) -> &mut Queue {
        let at = self.queues.iter().position(|queue| queue.cpu == cpu).unwrap_or_else(|| {
            self.queues.push(Queue { cpu, ..Queue::default() });
            self.queues.len() - 1
        });
        &mut self.queues[at]
    }
}

/// The columns of a line, and how many there are.
fn parse(line: Line<'_>) -> Result<([u32; COLUMN_COUNT], usize), kernel::Error> {
    let (mut columns, mut count) = ([0_u32; COLUMN_COUNT], 0);
    // All have as many digits, unless one is cut.
    let digits = line.fields().next().map_or(0, str::len);
    for (column, word) in columns.iter_mut().zip(line.fields()) {
        let number = u32::from_str_radix(word, 16).ok().filter(|_| word.len() == digits);
        *column = number.ok_or_else(|| {
            line.malformed(word, format_args!("{word} is not a hexadecimal number of {digits} digits"))
        })?;
        count += 1;
    }
    if count < 3 { Err(line.truncated("missing the third column")) } else { Ok((columns, count)) }
}

/// The sum of the known values, if any.
fn optional_sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().reduce(u64::saturating_add)
}
