//! The queues between network devices and protocols, one a CPU: `/proc/net/softnet_stat`. Its counters have 32 bits, which a
//! busy CPU fills within hours; here they are carried on beyond.

use gauged_plugin::kernel::{self, File};
use gauged_plugin::{Descriptor, Sample};

use crate::{SOFTNET_BACKLOG, SOFTNET_DROPPED, SOFTNET_FLOW_LIMIT, SOFTNET_PROCESSED, SOFTNET_RPS, SOFTNET_SQUEEZED};

/// The counters, and in which column each is: the older ones that are there always, and those that came later.
const COUNTERS: [(usize, Descriptor); 5] =
    [(0, SOFTNET_PROCESSED), (1, SOFTNET_DROPPED), (2, SOFTNET_SQUEEZED), (9, SOFTNET_RPS), (10, SOFTNET_FLOW_LIMIT)];

/// The column of what waits in the queue, and that of the CPU's number: since Linux 5.10.
const BACKLOG: usize = 11;
const CPU: usize = 12;

/// What the columns of a line can be told apart by, and no more.
const COLUMNS: usize = 13;

/// The queues of all CPUs that were ever seen.
#[derive(Debug, Default)]
pub(crate) struct Softnet {
    queues: Vec<Queue>,
}

#[derive(Debug, Clone, Default)]
struct Queue {
    cpu: u64,
    /// Carried on beyond 32 bits. Those of a CPU that was switched off stand still.
    counters: [Option<u64>; COUNTERS.len()],
    /// None while the CPU is switched off, and in kernels that do not tell.
    backlog: Option<u64>,
}

impl Softnet {
    /// Takes in what there is now.
    pub(crate) fn read(&mut self, file: &File) -> Result<(), kernel::Error> {
        self.queues.iter_mut().for_each(|queue| queue.backlog = None);
        // Where lines do not name their CPU, another number of them means that each may be another's now.
        let names_cpu = file.lines().next().is_some_and(|line| line.fields().nth(CPU).is_some());
        if !names_cpu && file.lines().count() != self.queues.len() {
            self.queues.clear();
        }
        for (row, line) in (0_u64..).zip(file.lines()) {
            let (mut columns, mut count) = ([0_u32; COLUMNS], 0);
            for (column, word) in columns.iter_mut().zip(line.fields()) {
                let number = u32::from_str_radix(word, 16);
                *column = number.map_err(|_| line.error(format_args!("{word} is not a hexadecimal number")))?;
                count += 1;
            }
            if count < 3 {
                return Err(line.error("ends before the third column"));
            }
            let column = |at: usize| (at < count).then(|| columns[at]);
            let cpu = column(CPU).map_or(row, u64::from);
            let queue = self.queue(cpu);
            for ((at, _), counter) in COUNTERS.iter().zip(&mut queue.counters) {
                *counter = column(*at).map(|now| carried_on(*counter, now));
            }
            queue.backlog = column(BACKLOG).map(u64::from);
        }
        Ok(())
    }

    /// By CPU, or all together.
    pub(crate) fn measured(&self, sample: &mut Sample, is_per_cpu: bool) {
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
        for (at, (_, metric)) in COUNTERS.iter().enumerate() {
            sample.set(*metric, sum(self.queues.iter().map(|queue| queue.counters[at])));
        }
        sample.set(SOFTNET_BACKLOG, sum(self.queues.iter().map(|queue| queue.backlog)));
    }

    fn queue(&mut self, cpu: u64) -> &mut Queue {
        let at = self.queues.iter().position(|queue| queue.cpu == cpu).unwrap_or_else(|| {
            self.queues.push(Queue { cpu, ..Queue::default() });
            self.queues.len() - 1
        });
        &mut self.queues[at]
    }
}

/// A counter of 32 bits that has come to this, as one of 64.
fn carried_on(before: Option<u64>, now: u32) -> u64 {
    let Some(before) = before else { return now.into() };
    let low = before & u64::from(u32::MAX);
    before - low + u64::from(now) + if u64::from(now) < low { 1 << 32 } else { 0 }
}

/// None of nothing.
fn sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().reduce(u64::saturating_add)
}
