//! The parser for `/proc/diskstats`, with the columns of any kernel version, and the detection of partitions. See the
//! kernel's `Documentation/admin-guide/iostats.rst`.

use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::{Error, Fields, File, Number as _};
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;

/// The kernel's unit of sectors, independent of the device.
const SECTOR_BYTES: u64 = 512;

/// The column of the name, from 0.
const NAME_COLUMN: usize = 2;

/// The number of columns after the name in the newest kernel.
const COLUMNS: usize = 17;

/// The number of columns of partitions before Linux 2.6.25: reads, sectors read, writes, sectors written.
const PARTITION_COLUMNS: usize = 4;

/// The totals of a device since boot; `None` for those that are unreadable or that its kernel does not have. Times are 32-bit
/// milliseconds and wrap after 49 days.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) read: Operations,
    pub(crate) write: Operations,
    /// `None` if impossible: some kernels let this value fall below zero.
    pub(crate) in_progress: Option<u64>,
    pub(crate) io_ms: Option<u64>,
    pub(crate) weighted_ms: Option<u64>,
    /// Since Linux 4.18.
    pub(crate) discard: Operations,
    /// Number and milliseconds of flushes, since Linux 5.5.
    pub(crate) flush: [Option<u64>; 2],
}

/// The operations of one kind.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    pub(crate) count: Option<u64>,
    pub(crate) merged: Option<u64>,
    sectors: Option<u64>,
    pub(crate) ms: Option<u64>,
}

impl Operations {
    pub(crate) fn bytes(&self) -> Option<u64> {
        COUNT.check(self.sectors?.saturating_mul(SECTOR_BYTES))
    }
}

impl Disk {
    /// Reads the columns after the name. A group of columns that is not whole is ignored: some containers lack a column of
    /// discards.
    fn read(columns: &mut Fields<'_>, name: &str, skipped: &mut Skipped) -> Self {
        let mut values = [None; COLUMNS];
        let mut count = 0;
        // Each column for its own: a word that is no number costs its metric.
        while count < COLUMNS && columns.clone().next().is_some() {
            let value = columns.bounded::<u64>("a column", &COUNT);
            values[count] = skipped.keep(value, format_args!("column {} of {name}", count + 4));
            count += 1;
        }
        if count < 11 && count != PARTITION_COLUMNS {
            let why = columns.word("the time of all operations").map(drop);
            skipped.keep(why, format_args!("the further columns of {name}"));
        }
        // Partitions before Linux 2.6.25: operations and sectors only.
        if count == PARTITION_COLUMNS {
            let [reads, read_sectors, writes, written_sectors] = [values[0], values[1], values[2], values[3]];
            let operations = |count, sectors| Operations { count, sectors, ..Operations::default() };
            let (read, write) = (operations(reads, read_sectors), operations(writes, written_sectors));
            return Self { read, write, ..Self::default() };
        }
        let group = |end: usize| count >= end;
        let four = |at: usize| match values.get(at..at + 4) {
            Some(&[count, merged, sectors, ms]) if group(at + 4) => Operations { count, merged, sectors, ms },
            _ => Operations::default(),
        };
        let [in_progress, io_ms, weighted_ms] = if group(11) { [values[8], values[9], values[10]] } else { [None; 3] };
        let in_progress = in_progress.filter(|&number| i32::try_from(number).is_ok());
        let flush = if group(17) { [values[15], values[16]] } else { [None; 2] };
        Self { read: four(0), write: four(4), in_progress, io_ms, weighted_ms, discard: four(11), flush }
    }

    /// The counters for rates: operations, bytes and time of reads and of writes, total and weighted time.
    pub(crate) fn counters(&self) -> [Option<u64>; 8] {
        let Self { read, write, io_ms, weighted_ms, .. } = self;
        let (read_bytes, written_bytes) = (read.bytes(), write.bytes());
        [read.count, read_bytes, read.ms, write.count, written_bytes, write.ms, *io_ms, *weighted_ms]
    }
}

/// The selected devices, each once.
pub(crate) fn disks<'a>(
    file: &'a File,
    with_partitions: bool,
    devices: &Selection,
    skipped: &mut Skipped,
) -> Vec<(&'a str, Disk)> {
    let mut disks: Vec<(&str, Disk)> = Vec::new();
    let mut disk_name = "";
    for line in file.lines() {
        let mut columns = line.fields();
        let read = name(&mut columns);
        let (name, is_readable) = match &read {
            Ok(name) => (*name, true),
            // The partitions that follow are still those of this disk.
            Err(_) => (line.fields().nth(NAME_COLUMN).filter(|name| is_plain_name(name)).unwrap_or_default(), false),
        };
        skipped.keep(read, "a device");
        if name.is_empty() {
            continue;
        }
        let is_partition = is_partition(name, disk_name);
        if !is_partition {
            disk_name = name;
        }
        let is_wanted = is_readable && (with_partitions || !is_partition) && devices.includes(name);
        if is_wanted && !disks.iter().any(|(known, _)| *known == name) {
            disks.push((name, Disk::read(&mut columns, name, skipped)));
        }
    }
    disks
}

fn name<'a>(columns: &mut Fields<'a>) -> Result<&'a str, Error> {
    let [_major, _minor] = columns.numbers::<u64, 2>("the device number")?;
    let name = columns.word("the device name")?;
    // Without a name the counters would take its place.
    if is_name(name) { Ok(name) } else { Err(columns.unexpected(name, "a device name")) }
}

/// Whether a word is the name of a device, and no counter.
fn is_name(word: &str) -> bool {
    f64::parse(word).is_none()
}

/// Whether a word in the place of a name, in a line that is otherwise not understood, is one.
fn is_plain_name(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_!/".contains(&byte);
    word.starts_with(|first: char| first.is_ascii_alphabetic()) && word.bytes().all(is_plain)
}

/// Whether a device is a partition of the disk listed before it: `sda1` of `sda`, or with a `p` if the disk name ends in a
/// digit, `nvme0n1p1` of `nvme0n1`. The kernel lists partitions after their disk; a lone `xvda1` is a disk.
fn is_partition(name: &str, disk_name: &str) -> bool {
    let Some(rest) = name.strip_prefix(disk_name) else { return false };
    let ends_in_digit = disk_name.ends_with(|last: char| last.is_ascii_digit());
    let number = if ends_in_digit { rest.strip_prefix('p') } else { Some(rest) };
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    !disk_name.is_empty() && number.is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_their_disk() {
        for (disk_name, partition) in [
            ("sda", "sda1"),
            ("sdaa", "sdaa15"),
            ("nvme0n1", "nvme0n1p1"),
            ("mmcblk0", "mmcblk0p2"),
            ("md127", "md127p1"),
        ] {
            assert!(is_partition(partition, disk_name), "{partition}");
        }
        for (disk_name, disk) in [
            ("", "xvda1"),
            ("sda", "sdaa"),
            ("sda", "sda"),
            ("sda", "sdb1"),
            ("loop1", "loop10"),
            ("dm-1", "dm-12"),
            ("nvme0n1", "nvme0n12"),
            ("nvme0n1", "nvme0n1p"),
            ("mmcblk0", "mmcblk0boot0"),
        ] {
            assert!(!is_partition(disk, disk_name), "{disk}");
        }
    }
}
