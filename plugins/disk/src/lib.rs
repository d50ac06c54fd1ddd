//! The module `disk`: totals of disks since boot and their rates over the tick, from `/proc/diskstats`. Knows nothing of
//! file systems.

mod diskstats;

use diskstats::Disk;
use gauged_plugin::bounds::{
    Bound, DISK_BYTES_PER_SECOND, OPERATION_SECONDS, OPERATIONS_PER_SECOND, QUEUE_LENGTH, TICK_PERCENT,
};
use gauged_plugin::kernel::File;
use gauged_plugin::rates::{EachChange, Rates};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Error, Plugin, Sample, Tick, about, files};

gauged_plugin::metrics! {
    module "disk" by {"device": "Name of the disk or partition"} since boot;
    /// Completed reads.
    READS: counter "reads_total" in "{operation}";
    /// Reads merged with adjacent ones before they reached the device.
    READS_MERGED: counter "reads_merged_total" in "{operation}";
    /// Bytes read.
    READ_BYTES: counter "read_bytes_total" in "By";
    /// Total duration of all reads, including time in the queue.
    READ_TIME: counter "read_time_seconds_total" in "s";
    /// Completed writes.
    WRITES: counter "writes_total" in "{operation}";
    /// Writes merged with adjacent ones before they reached the device.
    WRITES_MERGED: counter "writes_merged_total" in "{operation}";
    /// Bytes written.
    WRITTEN_BYTES: counter "written_bytes_total" in "By";
    /// Total duration of all writes, including time in the queue.
    WRITE_TIME: counter "write_time_seconds_total" in "s";
    /// Operations in progress; a high number for long means that the disk does not keep up.
    IN_PROGRESS: gauge "io_in_progress" in "{operation}";
    /// Time with at least one operation in progress.
    IO_TIME: counter "io_time_seconds_total" in "s";
    /// Time with operations in progress, weighted by their number.
    WEIGHTED_TIME: counter "io_weighted_time_seconds_total" in "s";
    /// Completed discards (space returned to the device); not reported before Linux 4.18.
    DISCARDS: counter "discards_total" in "{operation}";
    /// Discards merged with adjacent ones before they reached the device.
    DISCARDS_MERGED: counter "discards_merged_total" in "{operation}";
    /// Bytes discarded.
    DISCARDED_BYTES: counter "discarded_bytes_total" in "By";
    /// Total duration of all discards, including time in the queue.
    DISCARD_TIME: counter "discard_time_seconds_total" in "s";
    /// Completed flushes of the device's write cache; not reported before Linux 5.5.
    FLUSHES: counter "flushes_total" in "{operation}";
    /// Total duration of all flushes, including time in the queue.
    FLUSH_TIME: counter "flush_time_seconds_total" in "s";

    /// Bytes read per second over the tick.
    READ_RATE: gauge "read_bytes_per_second" in "By/s";
    /// Bytes written per second over the tick.
    WRITE_RATE: gauge "write_bytes_per_second" in "By/s";
    /// Reads completed per second over the tick.
    READ_IOPS: gauge "reads_per_second" in "{operation}/s";
    /// Writes completed per second over the tick.
    WRITE_IOPS: gauge "writes_per_second" in "{operation}/s";
    /// Average duration of the tick's reads and writes, including time in the queue; left out without any.
    AWAIT: gauge "await_seconds" in "s";
    /// Average duration of the tick's reads, including time in the queue; left out without any.
    READ_AWAIT: gauge "read_await_seconds" in "s";
    /// Average duration of the tick's writes, including time in the queue; left out without any.
    WRITE_AWAIT: gauge "write_await_seconds" in "s";
    /// Average size of the tick's reads and writes; left out without any.
    REQUEST_BYTES: gauge "request_bytes" in "By";
    /// Average number of operations in progress over the tick, including those in the queue.
    MEAN_QUEUE: gauge "queue_length" in "{operation}";
    /// Share of the tick with at least one operation in progress; a device with parallel operations is not at its limit
    /// at 100 %.
    UTILISATION: gauge "utilisation_percent" in "%";
}

/// Devices in memory, loop devices, and floppy disks.
const DEFAULT_EXCLUDE: [&str; 4] = ["fd*", "loop*", "ram*", "zram*"];

gauged_plugin::settings! {
    /// Names of the devices to measure, all if it is empty; `*` stands for any text. With a table `devices` both of its defaults are gone.
    "devices.include": "list of patterns" = "[]";
    /// Names of devices to leave out; it wins over `include`.
    "devices.exclude": "list of patterns" = gauged_plugin::json_list!(DEFAULT_EXCLUDE);
    /// Whether partitions are measured beside their disks.
    "partitions": "boolean" = "false";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    devices: Selection,
    partitions: bool,
}

struct Disks {
    settings: Settings,
    rates: Rates<8>,
    /// Whether the file was there before: it is not missing for good then.
    was_there: bool,
    skipped: Skipped,
}

/// The list of devices.
const DISKSTATS: &str = "/proc/diskstats";

impl Plugin for Disks {
    const ABOUT: About = about!("Operations, throughput, latency and utilisation of disks.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, rates: Rates::default(), was_there: false, skipped: Skipped::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { settings: Settings { devices, partitions }, rates, was_there, skipped } = self;
        let file = match File::read(DISKSTATS) {
            Err(failure) if failure.error == files::Error::NotFound && !*was_there => {
                let why = format!("this kernel has no block devices: {DISKSTATS} does not exist");
                return Err(Error::Unsupported(why));
            }
            file => file?,
        };
        *was_there = true;
        if file.text().trim_ascii().is_empty() {
            skipped.lose(file.truncated("is empty"), "all disks");
        }
        for (name, disk) in diskstats::disks(&file, *partitions, devices, skipped) {
            set_totals(sample, name, &disk);
            if let Some(changes) = rates.change_each(tick, name, disk.counters()) {
                set_rates(sample, name, &changes);
            }
        }
        skipped.finish(sample)
    }
}

gauged_plugin::export!(Disks);

fn set_totals(sample: &mut Sample, name: &str, disk: &Disk) {
    let mut row = sample.labelled(&[("device", name)]);
    let Disk { read, write, in_progress, io_ms, weighted_ms, discard, flush: [flushes, flush_ms] } = disk;
    let seconds = |ms: Option<u64>| ms.map(seconds);
    row.set(READS, read.count).set(READS_MERGED, read.merged).set(READ_BYTES, read.bytes());
    row.set(READ_TIME, seconds(read.ms));
    row.set(WRITES, write.count).set(WRITES_MERGED, write.merged).set(WRITTEN_BYTES, write.bytes());
    row.set(WRITE_TIME, seconds(write.ms));
    row.set(IN_PROGRESS, *in_progress).set(IO_TIME, seconds(*io_ms)).set(WEIGHTED_TIME, seconds(*weighted_ms));
    row.set(DISCARDS, discard.count).set(DISCARDS_MERGED, discard.merged);
    row.set(DISCARDED_BYTES, discard.bytes()).set(DISCARD_TIME, seconds(discard.ms));
    row.set(FLUSHES, *flushes).set(FLUSH_TIME, seconds(*flush_ms));
}

/// The milliseconds from which on a time in 32 bits passed zero, and did not grow.
const MAX_MS: u64 = 1 << 31;

/// The counters whose fall means a new device: operations and bytes.
const COUNTERS_OF_DEVICE: [usize; 4] = [0, 1, 3, 4];

/// Sets the rates that are known, as in iostat. A fallen time is a wrapped 32-bit counter and leaves out only its own rates;
/// any other fallen counter means a new device.
fn set_rates(sample: &mut Sample, name: &str, changes: &EachChange<8>) {
    if COUNTERS_OF_DEVICE.iter().any(|&at| changes.is_reset[at]) {
        return;
    }
    let mut row = sample.labelled(&[("device", name)]);
    // What moved further than any disk can within the tick is left out, with all that is derived from it.
    let possible = |count: Option<u64>, bound: &Bound| {
        count.filter(|&count| bound.check(float(count) / changes.seconds).is_some())
    };
    let possible_ms =
        |ms: Option<u64>| ms.filter(|&ms| QUEUE_LENGTH.check(seconds(ms) / changes.seconds).is_some() && ms < MAX_MS);
    let [reads, read_bytes, read_ms, writes, written_bytes, write_ms, io_ms, weighted_ms] = changes.by;
    let [reads, writes] = [reads, writes].map(|count| possible(count, &OPERATIONS_PER_SECOND));
    let [read_bytes, written_bytes] = [read_bytes, written_bytes].map(|count| possible(count, &DISK_BYTES_PER_SECOND));
    let [read_ms, write_ms, weighted_ms] = [read_ms, write_ms, weighted_ms].map(possible_ms);
    let per_second = |count: Option<u64>| count.map(|count| float(count) / changes.seconds);
    row.set(READ_RATE, per_second(read_bytes)).set(WRITE_RATE, per_second(written_bytes));
    row.set(READ_IOPS, per_second(reads)).set(WRITE_IOPS, per_second(writes));
    let both = |read: Option<u64>, written: Option<u64>| Some(read?.saturating_add(written?));
    let operations = both(reads, writes);
    let average_seconds =
        |ms: Option<u64>, operations: Option<u64>| OPERATION_SECONDS.check(average(seconds(ms?), operations?)?);
    row.set(AWAIT, average_seconds(both(read_ms, write_ms), operations));
    row.set(READ_AWAIT, average_seconds(read_ms, reads)).set(WRITE_AWAIT, average_seconds(write_ms, writes));
    let bytes = both(read_bytes, written_bytes).zip(operations);
    row.set(REQUEST_BYTES, bytes.and_then(|(bytes, operations)| average(float(bytes), operations)));
    let fraction_of_tick = |ms: u64| seconds(ms) / changes.seconds;
    row.set(MEAN_QUEUE, weighted_ms.map(fraction_of_tick));
    // The kernel counts this time in its own ticks, so it may exceed the interval slightly.
    let percent = io_ms.and_then(|ms| TICK_PERCENT.check(fraction_of_tick(ms) * 100.0));
    row.set(UTILISATION, percent.map(|percent| percent.min(100.0)));
}

fn seconds(ms: u64) -> f64 {
    float(ms) / 1000.0
}

/// `None` without operations.
fn average(all: f64, operations: u64) -> Option<f64> {
    (operations > 0).then(|| all / float(operations))
}

#[allow(clippy::cast_precision_loss, reason = "times and averages need no 53 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
