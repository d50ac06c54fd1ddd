//! The module `disk`: what disks have done since boot, from `/proc/diskstats`, and how busy they were over the tick. Knows
//! nothing of the file systems on them.

mod table;

use gauged_plugin::kernel::File;
use gauged_plugin::rates::{Changes, Rates};
use gauged_plugin::select::Selection;
use gauged_plugin::{About, Error, Plugin, Sample, Tick, files};
use table::Disk;

gauged_plugin::metrics! {
    module "disk";
    /// Reads that were completed.
    READS: counter "reads_total" in "{operation}";
    /// Reads that were merged with others beside them before they reached the device.
    READS_MERGED: counter "reads_merged_total" in "{operation}";
    /// Bytes that were read.
    READ_BYTES: counter "read_bytes_total" in "By";
    /// Time that reads have taken, waiting included, each for itself.
    READ_TIME: counter "read_time_seconds_total" in "s";
    /// Writes that were completed.
    WRITES: counter "writes_total" in "{operation}";
    /// Writes that were merged with others beside them before they reached the device.
    WRITES_MERGED: counter "writes_merged_total" in "{operation}";
    /// Bytes that were written.
    WRITTEN_BYTES: counter "written_bytes_total" in "By";
    /// Time that writes have taken, waiting included, each for itself.
    WRITE_TIME: counter "write_time_seconds_total" in "s";
    /// Operations that have been begun and are not over; many for long means that the disk does not keep up.
    IN_PROGRESS: gauge "io_in_progress" in "{operation}";
    /// Time in which at least one operation was under way.
    IO_TIME: counter "io_time_seconds_total" in "s";
    /// Time in which operations were under way, multiplied by how many there were.
    WEIGHTED_TIME: counter "io_weighted_time_seconds_total" in "s";
    /// Discards that were completed: space that was handed back to the device; not told by kernels before 4.18.
    DISCARDS: counter "discards_total" in "{operation}";
    /// Discards that were merged with others beside them before they reached the device.
    DISCARDS_MERGED: counter "discards_merged_total" in "{operation}";
    /// Bytes that were discarded.
    DISCARDED_BYTES: counter "discarded_bytes_total" in "By";
    /// Time that discards have taken, waiting included, each for itself.
    DISCARD_TIME: counter "discard_time_seconds_total" in "s";
    /// Flushes that were completed: orders to write out the device's own cache; not told by kernels before 5.5.
    FLUSHES: counter "flushes_total" in "{operation}";
    /// Time that flushes have taken, waiting included, each for itself.
    FLUSH_TIME: counter "flush_time_seconds_total" in "s";

    /// Bytes read in a second, over the tick.
    READ_RATE: gauge "read_bytes_per_second" in "By/s";
    /// Bytes written in a second, over the tick.
    WRITE_RATE: gauge "write_bytes_per_second" in "By/s";
    /// Reads completed in a second, over the tick.
    READ_IOPS: gauge "reads_per_second" in "{operation}/s";
    /// Writes completed in a second, over the tick.
    WRITE_IOPS: gauge "writes_per_second" in "{operation}/s";
    /// What a read or write of this tick has taken on average, waiting included; left out where there was none.
    AWAIT: gauge "await_seconds" in "s";
    /// What a read of this tick has taken on average, waiting included; left out where there was none.
    READ_AWAIT: gauge "read_await_seconds" in "s";
    /// What a write of this tick has taken on average, waiting included; left out where there was none.
    WRITE_AWAIT: gauge "write_await_seconds" in "s";
    /// How large a read or write of this tick was on average; left out where there was none.
    REQUEST_BYTES: gauge "request_bytes" in "By";
    /// How many operations were under way on average over the tick, those that wait included.
    QUEUE_LENGTH: gauge "queue_length" in "{operation}";
    /// Share of the tick in which at least one operation was under way; a device that does many at a time is not at its
    /// limit at 100.
    UTILISATION: gauge "utilisation_percent" in "%";
}

/// Devices in memory, files that are devices, and floppy disks.
const NO_DISKS: [&str; 4] = ["fd*", "loop*", "ram*", "zram*"];

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    devices: Selection,
    partitions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { devices: Selection::except(&NO_DISKS), partitions: false }
    }
}

struct Disks {
    settings: Settings,
    rates: Rates<8>,
}

impl Plugin for Disks {
    const ABOUT: About = About {
        version: env!("CARGO_PKG_VERSION"),
        description: "What disks do, and how busy they are.",
        metrics: METRICS,
    };
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, rates: Rates::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let file = match File::read("/proc/diskstats") {
            Err(failure) if failure.error == files::Error::NotFound => {
                return Err(Error::Unsupported("this kernel knows no disks: there is no /proc/diskstats".to_owned()));
            }
            file => file?,
        };
        let Settings { devices, partitions } = &self.settings;
        for disk in table::listed(&file, *partitions, devices) {
            let (name, disk) = disk?;
            totals(sample, name, &disk);
            if let Some(changes) = self.rates.changes(tick, name, disk.counters()) {
                over_the_tick(sample, name, &changes);
            }
        }
        Ok(())
    }
}

gauged_plugin::export!(Disks);

fn totals(sample: &mut Sample, name: &str, disk: &Disk) {
    let labels = [("device", name)];
    let mut row = sample.labelled(&labels);
    let Disk { read, write, in_progress, io_ms, weighted_ms, discard, flush } = disk;
    row.set(READS, read.operations).set(READS_MERGED, read.merged).set(READ_BYTES, read.bytes());
    row.set(READ_TIME, seconds(read.ms));
    row.set(WRITES, write.operations).set(WRITES_MERGED, write.merged).set(WRITTEN_BYTES, write.bytes());
    row.set(WRITE_TIME, seconds(write.ms));
    row.set(IN_PROGRESS, *in_progress).set(IO_TIME, seconds(*io_ms)).set(WEIGHTED_TIME, seconds(*weighted_ms));
    if let Some(discard) = discard {
        row.set(DISCARDS, discard.operations).set(DISCARDS_MERGED, discard.merged);
        row.set(DISCARDED_BYTES, discard.bytes()).set(DISCARD_TIME, seconds(discard.ms));
    }
    if let &Some([flushes, ms]) = flush {
        row.set(FLUSHES, flushes).set(FLUSH_TIME, seconds(ms));
    }
}

/// As iostat has them. A time that has fallen is one of 32 bits that has begun anew, and leaves out what is made of it;
/// where another counter has fallen, the device itself is another.
fn over_the_tick(sample: &mut Sample, name: &str, changes: &Changes<8>) {
    let labels = [("device", name)];
    let mut row = sample.labelled(&labels);
    let [reads, read_bytes, read_ms, writes, written_bytes, write_ms, io_ms, weighted_ms] = changes.by;
    let (Some(reads), Some(read_bytes)) = (reads, read_bytes) else { return };
    let (Some(writes), Some(written_bytes)) = (writes, written_bytes) else { return };
    let per_second = |count: u64| float(count) / changes.seconds;
    row.set(READ_RATE, per_second(read_bytes)).set(WRITE_RATE, per_second(written_bytes));
    row.set(READ_IOPS, per_second(reads)).set(WRITE_IOPS, per_second(writes));
    let all_ms = read_ms.zip(write_ms).map(|(read_ms, write_ms)| read_ms + write_ms);
    let each_takes = |ms: Option<u64>, operations: u64| ms.and_then(|ms| each(seconds(ms), operations));
    row.set(AWAIT, each_takes(all_ms, reads + writes));
    row.set(READ_AWAIT, each_takes(read_ms, reads)).set(WRITE_AWAIT, each_takes(write_ms, writes));
    row.set(REQUEST_BYTES, each(float(read_bytes + written_bytes), reads + writes));
    let of_the_tick = |ms: u64| seconds(ms) / changes.seconds;
    row.set(QUEUE_LENGTH, weighted_ms.map(of_the_tick));
    // The kernel counts this time in ticks of its own, of which one more may fall into this one.
    row.set(UTILISATION, io_ms.map(|ms| (of_the_tick(ms) * 100.0).min(100.0)));
}

fn seconds(ms: u64) -> f64 {
    float(ms) / 1000.0
}

/// None where there was no operation.
fn each(all: f64, operations: u64) -> Option<f64> {
    (operations > 0).then(|| all / float(operations))
}

#[allow(clippy::cast_precision_loss, reason = "times and averages need no 53 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
