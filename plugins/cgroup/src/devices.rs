//! Reads and writes of a group by device, and device names. Stacked devices are excluded from sums, because the kernel
//! counts the same bytes for the disks below.

use gauged_plugin::kernel::{self, File, Line};
use gauged_plugin::{Error, Sample};

use crate::walk::Group;
use crate::{Io, READ_BYTES, READS, WRITE_BYTES, WRITES};

/// Name prefixes of devices on top of other devices or memory.
const STACKED_PREFIXES: [&str; 5] = ["dm-", "loop", "md", "ram", "zram"];

/// Bytes and operations, read and written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Transfer {
    read_bytes: u64,
    write_bytes: u64,
    reads: u64,
    writes: u64,
}

/// The transfers of a group by device number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Transfers(Vec<(String, Transfer)>);

impl Transfers {
    /// Parses `8:0 rbytes=90112 wbytes=0 rios=20 wios=0 dbytes=0 dios=0`. Some kernels omit the line end after a device
    /// without transfers.
    pub(crate) fn parse(&mut self, file: &File) -> Result<(), kernel::Error> {
        for line in file.lines() {
            let mut device = None;
            for field in line.fields() {
                let Some((key, value)) = field.split_once('=') else {
                    device = Some(device_number(field, line)?);
                    continue;
                };
                let device = device.ok_or_else(|| line.error(format_args!("{field} has no device")))?;
                let transfer = self.entry(device);
                let account = match key {
                    "rbytes" => &mut transfer.read_bytes,
                    "wbytes" => &mut transfer.write_bytes,
                    "rios" => &mut transfer.reads,
                    "wios" => &mut transfer.writes,
                    _ => continue,
                };
                *account = value.parse().map_err(|_| line.error(format_args!("{value} is not a number ({key})")))?;
            }
        }
        Ok(())
    }

    /// Parses `8:0 Read 90112`, in bytes.
    pub(crate) fn parse_bytes(&mut self, file: &File) -> Result<(), kernel::Error> {
        self.parse_v1(file, |transfer| [&mut transfer.read_bytes, &mut transfer.write_bytes])
    }

    /// Parses `8:0 Read 20`, in operations.
    pub(crate) fn parse_operations(&mut self, file: &File) -> Result<(), kernel::Error> {
        self.parse_v1(file, |transfer| [&mut transfer.reads, &mut transfer.writes])
    }

    fn parse_v1(&mut self, file: &File, counters: fn(&mut Transfer) -> [&mut u64; 2]) -> Result<(), kernel::Error> {
        for line in file.lines() {
            let mut fields = line.fields();
            let device = fields.word("the device")?;
            // The sum of all devices.
            if device == "Total" {
                continue;
            }
            let [read, written] = counters(self.entry(device_number(device, line)?));
            match fields.word("the operation")? {
                "Read" => *read = fields.number("the amount read")?,
                "Write" => *written = fields.number("the amount written")?,
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, device: &str) -> &mut Transfer {
        let found = self.0.iter().position(|(known, _)| known == device);
        let at = found.unwrap_or_else(|| {
            self.0.push((device.to_owned(), Transfer::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

fn device_number<'a>(text: &'a str, line: Line<'_>) -> Result<&'a str, kernel::Error> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once(':') {
        Some((major, minor)) if is_number(major) && is_number(minor) => Ok(text),
        _ => Err(line.error(format_args!("{text} is not a device number"))),
    }
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
    ) -> Result<(), Error> {
        let Some(Transfers(transfers)) = transfers else { return Ok(()) };
        let mut sum = Transfer::default();
        for (device, transfer) in transfers {
            let name = self.name(device)?;
            if io == Io::Device {
                set(sample, &[("cgroup", &group.label), ("device", name)], *transfer);
            } else if !STACKED_PREFIXES.iter().any(|stacked| name.starts_with(stacked)) {
                sum.read_bytes = sum.read_bytes.saturating_add(transfer.read_bytes);
                sum.write_bytes = sum.write_bytes.saturating_add(transfer.write_bytes);
                sum.reads = sum.reads.saturating_add(transfer.reads);
                sum.writes = sum.writes.saturating_add(transfer.writes);
            }
        }
        if io == Io::Summed {
            set(sample, &group.labels(), sum);
        }
        Ok(())
    }

    /// The name of a device, or its number without a name.
    fn name<'a>(&'a mut self, device: &'a str) -> Result<&'a str, Error> {
        let names = match self.names.take() {
            Some(names) => names,
            None => read_names()?,
        };
        let names = self.names.insert(names);
        Ok(names.iter().find(|(number, _)| number == device).map_or(device, |(_, name)| name))
    }
}

/// Parses `   8       0 sda 5 1 40 …`.
fn read_names() -> Result<Vec<(String, String)>, Error> {
    let Some(file) = File::read_if_exists("/proc/diskstats")? else { return Ok(Vec::new()) };
    let names = file.lines().map(|line| {
        let mut fields = line.fields();
        let [major, minor] = fields.numbers::<u32, 2>("the device number")?;
        Ok((format!("{major}:{minor}"), fields.word("the device name")?.to_owned()))
    });
    names.collect()
}

fn set(sample: &mut Sample, labels: &[(&str, &str)], transfer: Transfer) {
    let mut row = sample.labelled(labels);
    row.set(READ_BYTES, transfer.read_bytes).set(WRITE_BYTES, transfer.write_bytes);
    row.set(READS, transfer.reads).set(WRITES, transfer.writes);
}
