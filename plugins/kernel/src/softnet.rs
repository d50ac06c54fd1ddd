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
    /// Extended to 64 bits. Those of an offline CPU keep their value.
    counters: [Option<u64>; COUNTERS.len()],
    /// `None` while the CPU is offline, and in old kernels.
    backlog: Option<u64>,
}

impl Softnet {
    /// Updates the queues from a new file. A line that is not understood costs its CPU: all CPUs together are then left out,
    /// as long as that lasts.
    pub(crate) fn update(&mut self, file: &File, skipped: &mut Skipped) {
        self.queues.iter_mut().for_each(|queue| queue.backlog = None);
        // Without CPU numbers, a changed number of lines means that lines may belong to other CPUs.
        let names_cpu = file.lines().next().is_some_and(|line| line.fields().nth(CPU_COLUMN).is_some());
        if !names_cpu && file.lines().count() != self.queues.len() {
            self.queues.clear();
        }
        self.is_partial = false;
        for (row, line) in (0_u64..).zip(file.lines()) {
            let Some((columns, count)) = skipped.keep(parse(line), "softnet of a CPU") else {
                self.is_partial = true;
                continue;
            };
            let column = |at: usize| (at < count).then(|| columns[at]);
            let cpu = column(CPU_COLUMN).map_or(row, u64::from);
            let queue = self.queue(cpu);
            for ((at, _), counter) in COUNTERS.iter().zip(&mut queue.counters) {
                *counter = column(*at).map(|now| extend_to_64_bits(*counter, now));
            }
            queue.backlog = column(BACKLOG_COLUMN).map(u64::from);
        }
    }

    /// Sets the metrics, per CPU or as sums.
    pub(crate) fn set_metrics(&self, sample: &mut Sample, is_per_cpu: bool) {
        if is_per_cpu {
            for queue in &self.queues {
                let cpu = queue.cpu.to_string();
                let labels = [("cpu", cpu.as_str())];
                let mut row = sample.labelled(&labels);
                for ((_, metric), counter) in COUNTERS.iter().zip(queue.counters) {
                    row.set(*metric, counter);
                }
                row.set(SOFTNET_BACKLOG, queue.backlog);
            }
            return;
        }
        if self.is_partial {
            return;
        }
        for (at, (_, metric)) in COUNTERS.iter().enumerate() {
            sample.set(*metric, optional_sum(self.queues.iter().map(|queue| queue.counters[at])));
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
    for (column, word) in columns.iter_mut().zip(line.fields()) {
        let number = u32::from_str_radix(word, 16);
        *column = number.map_err(|_| line.malformed(word, format_args!("{word} is not a hexadecimal number")))?;
        count += 1;
    }
    if count < 3 { Err(line.truncated("missing the third column")) } else { Ok((columns, count)) }
}

/// Extends a 32-bit counter to 64 bits by its previous value.
fn extend_to_64_bits(before: Option<u64>, now: u32) -> u64 {
    let Some(before) = before else { return now.into() };
    let low = before & u64::from(u32::MAX);
    before - low + u64::from(now) + if u64::from(now) < low { 1 << 32 } else { 0 }
}

/// The sum of the known values, if any.
fn optional_sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().reduce(u64::saturating_add)
}
