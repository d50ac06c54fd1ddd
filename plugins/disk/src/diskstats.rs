//! The parser for `/proc/diskstats`, with the columns of any kernel version, and the detection of partitions. See the
//! kernel's `Documentation/admin-guide/iostats.rst`.

use gauged_plugin::kernel::{Error, Fields, File};
use gauged_plugin::select::Selection;

/// The kernel's unit of sectors, independent of the device.
const SECTOR_BYTES: u64 = 512;

/// The totals of a device since boot. Times are 32-bit milliseconds and wrap after 49 days.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) read: Operations,
    pub(crate) write: Operations,
    /// `None` if impossible: some kernels let this value fall below zero.
    pub(crate) in_progress: Option<u64>,
    pub(crate) io_ms: u64,
    pub(crate) weighted_ms: u64,
    /// Since Linux 4.18.
    pub(crate) discard: Option<Operations>,
    /// Number and milliseconds of flushes, since Linux 5.5.
    pub(crate) flush: Option<[u64; 2]>,
}

/// The operations of one kind.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) count: u64,
    pub(crate) merged: u64,
    sectors: u64,
    pub(crate) ms: u64,
}

impl Operations {
    fn read(columns: &mut Fields<'_>, what: &str) -> Result<Self, Error> {
        let [count, merged, sectors, ms] = columns.numbers(what)?;
        Ok(Self { count, merged, sectors, ms })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR_BYTES)
    }
}

impl Disk {
    fn read(columns: &mut Fields<'_>) -> Result<Self, Error> {
        let read = Operations::read(columns, "reads")?;
        let write = Operations::read(columns, "writes")?;
        let [in_progress, io_ms, weighted_ms] = columns.numbers::<u64, 3>("the time of all operations")?;
        let in_progress = i32::try_from(in_progress).is_ok().then_some(in_progress);
        let has_field = |columns: &Fields<'_>| columns.clone().next().is_some();
        let discard = if has_field(columns) { Some(Operations::read(columns, "discards")?) } else { None };
        let flush = if has_field(columns) { Some(columns.numbers("flushes")?) } else { None };
        Ok(Self { read, write, in_progress, io_ms, weighted_ms, discard, flush })
    }

    /// The counters for rates: operations, bytes and time of reads and of writes, total and weighted time.
    pub(crate) fn counters(&self) -> [u64; 8] {
        let Self { read, write, io_ms, weighted_ms, .. } = self;
        let (read_bytes, written_bytes) = (read.bytes(), write.bytes());
        [read.count, read_bytes, read.ms, write.count, written_bytes, write.ms, *io_ms, *weighted_ms]
    }
}

/// The selected devices.
pub(crate) fn disks<'a>(
    file: &'a File,
    with_partitions: bool,
    devices: &Selection,
) -> impl Iterator<Item = Result<(&'a str, Disk), Error>> {
    let mut disk_name = "";
    file.lines().filter_map(move |line| {
        let mut columns = line.fields();
        let name = match name(&mut columns) {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        let is_partition = is_partition(name, disk_name);
        if !is_partition {
            disk_name = name;
        }
        let is_wanted = (with_partitions || !is_partition) && devices.includes(name);
        is_wanted.then(|| Disk::read(&mut columns).map(|disk| (name, disk)))
    })
}

fn name<'a>(columns: &mut Fields<'a>) -> Result<&'a str, Error> {
    let [_major, _minor] = columns.numbers::<u64, 2>("the device number")?;
    columns.word("the device name")
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
