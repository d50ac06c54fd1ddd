//! Reads and writes of a group by device, and device names. Stacked devices are excluded from sums, because the kernel
//! counts the same bytes for the disks below.

use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::{Error, File, Line, Number as _};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Descriptor, Sample};

use crate::report::InFile;
use crate::walk::Group;
use crate::{Io, READ_BYTES, READS, WRITE_BYTES, WRITES};

/// Name prefixes of devices on top of other devices or memory.
const STACKED_PREFIXES: [&str; 5] = ["dm-", "loop", "md", "ram", "zram"];

/// The number of a device without one in the kernel's eyes: hidden paths of `NVMe` multipath, ZFS. What it transfers is
/// counted for the device above it.
const UNKNOWN_DEVICE: &str = "(unknown)";

/// The amounts of a transfer with their metrics, keys in version 2, and operations in version 1.
const AMOUNTS: [(Descriptor, &str, &str); 4] = [
    (READ_BYTES, "rbytes", "Read"),
    (WRITE_BYTES, "wbytes", "Write"),
    (READS, "rios", "Read"),
    (WRITES, "wios", "Write"),
];

/// The amounts of version 1 that are in bytes, and in operations.
pub(crate) const BYTES: std::ops::Range<usize> = 0..2;
pub(crate) const OPERATIONS: std::ops::Range<usize> = 2..4;

/// The amounts of one device, in the order of [`AMOUNTS`]; `None` for one that is unreadable.
type Transfer = [Option<u64>; AMOUNTS.len()];

/// The transfers of a group by device number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Transfers {
    devices: Vec<(String, Transfer)>,
    /// The amounts that were read from a file as a whole. In version 1 several files have a part each.
    is_known: [bool; AMOUNTS.len()],
    /// The amounts of which no line of an unknown device was malformed: without its part a sum would fall.
    is_whole: [bool; AMOUNTS.len()],
}

impl Transfers {
    /// Parses `8:0 rbytes=90112 wbytes=0 rios=20 wios=0 dbytes=0 dios=0`. Some kernels omit the line end after a device
    /// without transfers.
    pub(crate) fn parse(&mut self, file: &File, skipped: &mut Skipped) {
        let all = BYTES.start..OPERATIONS.end;
        self.begin(all.clone());
        let mut torn = torn_line(file, skipped);
        for line in file.lines() {
            let (mut device, mut seen) = (None, [false; AMOUNTS.len()]);
            for field in line.fields() {
                let Some((key, value)) = field.split_once('=') else {
                    report_missing(line, device, std::mem::take(&mut seen), skipped);
                    device = self.device_number(field, line, all.clone(), skipped);
                    continue;
                };
                let Some(device) = device else { continue };
                let Some(at) = AMOUNTS.iter().position(|(_, name, _)| *name == key) else { continue };
                seen[at] = true;
                self.entry(device)[at] = amount(Some(value), line, AMOUNTS[at].0, skipped);
            }
            report_missing(line, device, seen, skipped);
            // The last word of a line without its end may be a part of one.
            if torn.take_if(|torn| *torn == line.text()).is_some() {
                match device {
                    Some(device) => *self.entry(device) = [None; AMOUNTS.len()],
                    None => self.is_whole.fill(false),
                }
            }
        }
    }

    /// Parses `8:0 Read 90112`: [`BYTES`] or [`OPERATIONS`].
    pub(crate) fn parse_v1(&mut self, file: &File, amounts: std::ops::Range<usize>, skipped: &mut Skipped) {
        self.begin(amounts.clone());
        let mut torn = torn_line(file, skipped);
        for line in file.lines() {
            let mut fields = line.fields();
            // The sum of all devices has no device.
            let Some(device) = fields.next().filter(|device| *device != "Total") else { continue };
            let Some(device) = self.device_number(device, line, amounts.clone(), skipped) else { continue };
            let entry = self.entry(device);
            let Some(operation) =
                skipped.keep(fields.word("the operation").map_err(InFile), "reads and writes of a device")
            else {
                continue;
            };
            if let Some(at) = amounts.clone().find(|&at| AMOUNTS[at].2 == operation) {
                let is_torn = torn.take_if(|torn| *torn == line.text()).is_some();
                let amount = amount(fields.next(), line, AMOUNTS[at].0, skipped);
                entry[at] = amount.filter(|_| !is_torn);
            }
        }
    }

    /// Begins a file with these amounts.
    fn begin(&mut self, amounts: std::ops::Range<usize>) {
        self.is_known[amounts.clone()].fill(true);
        self.is_whole[amounts].fill(true);
    }

    /// The device of a line, or of a part of a line; `None` if it has no number.
    fn device_number<'a>(
        &mut self,
        text: &'a str,
        line: Line<'_>,
        amounts: std::ops::Range<usize>,
        skipped: &mut Skipped,
    ) -> Option<&'a str> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_device = text.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor));
        if !is_device && text != UNKNOWN_DEVICE {
            self.is_whole[amounts].fill(false);
            let error = line.malformed(text, format_args!("{text} is not a device number"));
            skipped.lose(InFile(error), "reads and writes of a device");
        }
        is_device.then_some(text)
    }

    /// Notes that a file with some of the amounts could not be read.
    pub(crate) fn forget(&mut self, amounts: std::ops::Range<usize>) {
        self.is_known[amounts].fill(false);
    }

    fn entry(&mut self, device: &str) -> &mut Transfer {
        let found = self.devices.iter().position(|(known, _)| known == device);
        let at = found.unwrap_or_else(|| {
            self.devices.push((device.to_owned(), [None; AMOUNTS.len()]));
            self.devices.len() - 1
        });
        &mut self.devices[at].1
    }
}

/// Only these amounts of a transfer.
fn only(mut transfer: Transfer, kept: [bool; AMOUNTS.len()]) -> Transfer {
    for (amount, is_kept) in transfer.iter_mut().zip(kept) {
        *amount = amount.filter(|_| is_kept);
    }
    transfer
}

/// Reports the amounts of a device that its line does not have, unless it has none at all, which means that there are none.
fn report_missing(line: Line<'_>, device: Option<&str>, seen: [bool; AMOUNTS.len()], skipped: &mut Skipped) {
    let Some(device) = device.filter(|_| seen.contains(&true)) else { return };
    for ((metric, name, _), _) in AMOUNTS.iter().zip(seen).filter(|(_, is_seen)| !is_seen) {
        let error = line.truncated(format_args!("has no {name} of {device}"));
        skipped.lose(InFile(error), metric.name);
    }
}

/// The last line of a file, if that ends within it. Some kernels end with a device without transfers and a space.
fn torn_line<'a>(file: &'a File, skipped: &mut Skipped) -> Option<&'a str> {
    let torn = file.text().rsplit('\n').next().filter(|line| !line.is_empty() && !line.ends_with(' '))?;
    skipped.lose(InFile(file.truncated("ends within a line")), "reads and writes of a device");
    Some(torn)
}

fn amount(word: Option<&str>, line: Line<'_>, metric: Descriptor, skipped: &mut Skipped) -> Option<u64> {
    let error = |word: &str| line.malformed(word, format_args!("{word} is not a number ({})", metric.name));
    let amount = match word {
        Some(word) => u64::parse(word).and_then(|amount| COUNT.check(amount)).ok_or_else(|| error(word)),
        None => Err(line.truncated(format_args!("missing {}", metric.name))),
    };
    skipped.keep(amount.map_err(InFile), metric.name)
}

/// The names of devices.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    /// Numbers and names; `None` before the next lookup.
    names: Option<Vec<(String, String)>>,
}

impl Devices {
    /// Drops the cached names, because devices may have changed.
    pub(crate) fn forget(&mut self) {
        self.names = None;
    }

    /// Sets the reads and writes of a group, if known.
    pub(crate) fn report(
        &mut self,
        transfers: Option<&Transfers>,
        group: &Group,
        io: Io,
        sample: &mut Sample,
        skipped: &mut Skipped,
    ) {
        let Some(transfers) = transfers else { return };
        let mut sum: Transfer = [Some(0); AMOUNTS.len()];
        for (device, transfer) in &transfers.devices {
            let name = self.name(device, skipped);
            if io == Io::Device {
                set(sample, &[("cgroup", &group.label), ("device", name)], only(*transfer, transfers.is_known));
            } else if !STACKED_PREFIXES.iter().any(|stacked| name.starts_with(stacked)) {
                for (sum, amount) in sum.iter_mut().zip(transfer) {
                    *sum = sum.zip(*amount).map(|(sum, amount)| sum.saturating_add(amount));
                }
            }
        }
        if io == Io::Summed {
            let sum = only(only(sum, transfers.is_whole), transfers.is_known);
            set(sample, &group.labels(), sum);
        }
    }

    /// The name of a device, or its number without a name.
    fn name<'a>(&'a mut self, device: &'a str, skipped: &mut Skipped) -> &'a str {
        let names = self.names.get_or_insert_with(|| read_names(skipped));
        names.iter().find(|(number, _)| number == device).map_or(device, |(_, name)| name)
    }
}

/// Parses `   8       0 sda 5 1 40 …`.
fn read_names(skipped: &mut Skipped) -> Vec<(String, String)> {
    let file = File::read_if_exists("/proc/diskstats");
    let Some(Some(file)) = skipped.keep(file, "the names of devices") else { return Vec::new() };
    let name = |line: Line<'_>| -> Result<(String, String), Error> {
        let mut fields = line.fields();
        let [major, minor] = fields.numbers::<u32, 2>("the device number")?;
        Ok((format!("{major}:{minor}"), fields.word("the device name")?.to_owned()))
    };
    file.lines().filter_map(|line| skipped.keep(name(line), "the name of a device")).collect()
}

fn set(sample: &mut Sample, labels: &[(&str, &str)], transfer: Transfer) {
    let mut row = sample.labelled(labels);
    for ((metric, ..), amount) in AMOUNTS.iter().zip(transfer) {
        row.set(*metric, amount);
    }
}
