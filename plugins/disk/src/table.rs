//! `/proc/diskstats`: the columns of a device, whichever the kernel has, and which devices are partitions. The meaning of
//! each column is in the kernel's `Documentation/admin-guide/iostats.rst`.

use gauged_plugin::kernel::{Error, Fields, File};
use gauged_plugin::select::Selection;

/// The unit of the kernel's columns, whatever the sectors of a device are.
const SECTOR_BYTES: u64 = 512;

/// What a device has done since boot. Times are in milliseconds and, like all that the kernel counts in 32 bits, begin
/// anew after 49 days.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) read: Done,
    pub(crate) write: Done,
    /// None where it cannot be: there are kernels that take away more than they have added.
    pub(crate) in_progress: Option<u64>,
    pub(crate) io_ms: u64,
    pub(crate) weighted_ms: u64,
    /// From Linux 4.18 on.
    pub(crate) discard: Option<Done>,
    /// How many, and for how long: from Linux 5.5 on.
    pub(crate) flush: Option<[u64; 2]>,
}

/// Operations of a kind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    pub(crate) merged: u64,
    sectors: u64,
    pub(crate) ms: u64,
}

impl Done {
    fn read(columns: &mut Fields<'_>, what: &str) -> Result<Self, Error> {
        let [operations, merged, sectors, ms] = columns.numbers(what)?;
        Ok(Self { operations, merged, sectors, ms })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR_BYTES)
    }
}

impl Disk {
    fn read(columns: &mut Fields<'_>) -> Result<Self, Error> {
        let read = Done::read(columns, "reads")?;
        let write = Done::read(columns, "writes")?;
        let [in_progress, io_ms, weighted_ms] = columns.numbers::<u64, 3>("the time of all operations")?;
        let in_progress = i32::try_from(in_progress).is_ok().then_some(in_progress);
        let has_more = |columns: &Fields<'_>| columns.clone().next().is_some();
        let discard = if has_more(columns) { Some(Done::read(columns, "discards")?) } else { None };
        let flush = if has_more(columns) { Some(columns.numbers("flushes")?) } else { None };
        Ok(Self { read, write, in_progress, io_ms, weighted_ms, discard, flush })
    }

    /// Those from which rates are made: operations, bytes and time of reads, of writes, and the time of all.
    pub(crate) fn counters(&self) -> [u64; 8] {
        let Self { read, write, io_ms, weighted_ms, .. } = self;
        let (read_bytes, written_bytes) = (read.bytes(), write.bytes());
        [read.operations, read_bytes, read.ms, write.operations, written_bytes, write.ms, *io_ms, *weighted_ms]
    }
}

/// The devices that are wanted.
pub(crate) fn listed<'a>(
    file: &'a File,
    with_partitions: bool,
    devices: &Selection,
) -> impl Iterator<Item = Result<(&'a str, Disk), Error>> {
    let mut whole = "";
    file.lines().filter_map(move |line| {
        let mut columns = line.fields();
        let name = match name(&mut columns) {
            Ok(name) => name,
            Err(error) => return Some(Err(error)),
        };
        let is_partition = is_partition(name, whole);
        if !is_partition {
            whole = name;
        }
        let is_wanted = (with_partitions || !is_partition) && devices.picks(name);
        is_wanted.then(|| Disk::read(&mut columns).map(|disk| (name, disk)))
    })
}

fn name<'a>(columns: &mut Fields<'a>) -> Result<&'a str, Error> {
    let [_major, _minor] = columns.numbers::<u64, 2>("the number of the device")?;
    columns.word("the name of the device")
}

/// Whether a device is a partition of the disk that was listed before it: `sda1` of `sda`, and with a `p` between where the
/// name of the disk itself ends in a digit, `nvme0n1p1` of `nvme0n1`. The kernel lists partitions after their disk; a lone
/// `xvda1` is a disk.
fn is_partition(name: &str, whole: &str) -> bool {
    let Some(rest) = name.strip_prefix(whole) else { return false };
    let ends_in_digit = whole.ends_with(|last: char| last.is_ascii_digit());
    let number = if ends_in_digit { rest.strip_prefix('p') } else { Some(rest) };
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    !whole.is_empty() && number.is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_their_disk() {
        for (whole, partition) in [
            ("sda", "sda1"),
            ("sdaa", "sdaa15"),
            ("nvme0n1", "nvme0n1p1"),
            ("mmcblk0", "mmcblk0p2"),
            ("md127", "md127p1"),
        ] {
            assert!(is_partition(partition, whole), "{partition}");
        }
        for (whole, disk) in [
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
            assert!(!is_partition(disk, whole), "{disk}");
        }
    }
}
