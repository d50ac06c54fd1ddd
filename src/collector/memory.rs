//! The modules `memory` and `swap`, from `/proc/meminfo` and `/proc/vmstat`, in bytes. Names and formulas are psutil's
//! (7.1 and later, where used memory is total minus available).

mod meminfo;

use std::sync::Arc;

use self::meminfo::{Available, Meminfo};
use super::bounds::{MEMORY, SWAPPED};
use super::{Collector, FileProblem, ReadError, percent};
use crate::config::Config;
use crate::procfs::{
    KeptFile, Machine, NO_LINE, NOT_A_NUMBER, ONLY_THE_LINE, Oddities, Oddity, is_key, keyed_lines, leading_number,
    split_word, whole_number,
};
use crate::sample::{NativeMetric, Values};

/// The second of the collector's modules.
pub(super) const SWAP: &str = "swap";

const MEMINFO: &str = "/proc/meminfo";
const VMSTAT: &str = "/proc/vmstat";

const fn bytes(module: &'static str, name: &'static str, description: &'static str) -> NativeMetric {
    NativeMetric::gauge(module, name, "By", description, MEMINFO)
}

/// The metrics of the modules.
pub(super) const METRICS: &[NativeMetric] = &[
    bytes("memory", "total", "Memory that the kernel manages."),
    bytes(
        "memory",
        "available",
        "Memory that a new program can get without swapping; estimated if the kernel does not report it.",
    ),
    NativeMetric::gauge("memory", "percent", "%", "Used memory, of the total.", MEMINFO),
    bytes("memory", "used", "Total minus available."),
    bytes("memory", "free", "Memory that is not used at all."),
    bytes("memory", "active", "Memory used recently, reclaimed last."),
    bytes("memory", "inactive", "Memory not used recently, reclaimed first."),
    bytes("memory", "buffers", "Cached blocks of disks."),
    bytes("memory", "cached", "Cached content of files, and the reclaimable part of the kernel's caches."),
    bytes("memory", "shared", "Shared memory and files on tmpfs."),
    bytes("memory", "slab", "Structures of the kernel."),
    bytes("swap", "total", "Swap space."),
    bytes("swap", "used", "Swap space in use."),
    bytes("swap", "free", "Swap space not in use."),
    NativeMetric::gauge("swap", "percent", "%", "Swap space in use, of the total; 0 without swap space.", MEMINFO),
    NativeMetric::counter("swap", "sin", "By", "Read from swap since boot.", VMSTAT),
    NativeMetric::counter("swap", "sout", "By", "Written to swap since boot.", VMSTAT),
];

/// Collects the modules `memory` and `swap`.
pub(super) struct Memory {
    meminfo: KeptFile,
    vmstat: KeptFile,
    /// Read only if the kernel does not report the available memory.
    zoneinfo: KeptFile,
    /// This tick's reading, for both modules.
    info: Result<Meminfo, ReadError>,
    paging: Option<Paging>,
    page_bytes: u64,
}

impl Memory {
    /// Makes the collector. The files are opened at the first tick.
    pub(super) fn new(config: &Config) -> Self {
        let root = &config.root;
        Self {
            meminfo: KeptFile::whole(root, MEMINFO),
            vmstat: KeptFile::records(root, VMSTAT),
            zoneinfo: KeptFile::records(root, "/proc/zoneinfo"),
            info: Ok(Meminfo::default()),
            paging: None,
            page_bytes: Machine::detect(root).page_bytes,
        }
    }
}

impl Collector for Memory {
    fn collect(&mut self, module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
        if module == SWAP {
            return self.collect_swap(values);
        }
        self.info = self.meminfo.read_noting(Meminfo::parse);
        self.collect_memory(values)
    }

    fn skipped_lines(&self) -> u64 {
        [&self.meminfo, &self.vmstat, &self.zoneinfo].into_iter().map(KeptFile::skipped_lines).sum()
    }

    fn problem(&self) -> Option<&Arc<FileProblem>> {
        [&self.meminfo, &self.vmstat, &self.zoneinfo].into_iter().find_map(KeptFile::problem)
    }
}

impl Memory {
    fn collect_memory(&mut self, values: &mut Values<'_>) -> Result<(), ReadError> {
        let mut read = self.info.map(drop);
        let info = self.info.unwrap_or_default();
        let available = match info.available {
            Available::Stated(bytes) => Some(bytes),
            Available::Odd => None,
            Available::Unknown if read.is_err() => None,
            Available::Unknown => {
                let low_pages = self.zoneinfo.read(low_watermark_pages).inspect_err(|&error| read = Err(error)).ok();
                info.estimate_available(low_pages.map(|pages| pages.saturating_mul(self.page_bytes)))
            }
        };
        // In an LXC container the total is the container's and the available memory may be the host's.
        let is_foreign = available.zip(info.total).is_some_and(|(available, total)| available > total);
        let available = if is_foreign { info.free } else { available }.filter(|&bytes| MEMORY.holds(bytes as f64));

        values.push("total", info.total);
        values.push("available", available);
        let used = info.total.zip(available).map(|(total, available)| total.saturating_sub(available));
        values.push("percent", info.total.zip(used).map(|(total, used)| percent(used as f64, total as f64)));
        values.push("used", used);
        values.push("free", info.free);
        values.push("active", info.active);
        values.push("inactive", info.inactive);
        values.push("buffers", info.buffers);
        values.push("cached", info.cached);
        values.push("shared", info.shared);
        values.push("slab", info.slab);
        read
    }

    fn collect_swap(&mut self, values: &mut Values<'_>) -> Result<(), ReadError> {
        let mut read = self.info.map(drop);
        let Meminfo { swap_total, swap_free, .. } = self.info.unwrap_or_default();
        let swap_used = swap_total.zip(swap_free).map(|(total, free)| total.saturating_sub(free));
        // Without swap space the counters do not change.
        if self.paging.is_none() || swap_total != Some(0) {
            let (page_bytes, has_swap) = (self.page_bytes, swap_total.is_some_and(|total| total > 0));
            let parse = |text: &[u8], odd: &mut Oddities| Paging::parse(text, page_bytes, has_swap, odd);
            self.paging = self.vmstat.read_noting(parse).inspect_err(|&error| read = Err(error)).ok();
        }
        let Paging { bytes_in, bytes_out } = self.paging.unwrap_or_default();
        values.push("total", swap_total);
        values.push("used", swap_used);
        values.push("free", swap_free);
        values.push("percent", swap_total.zip(swap_used).map(|(total, used)| percent(used as f64, total as f64)));
        values.push("sin", bytes_in);
        values.push("sout", bytes_out);
        read
    }
}

/// The sum of all zones' low watermarks in `/proc/zoneinfo`, in pages.
fn low_watermark_pages(zoneinfo: &[u8]) -> Result<u64, &'static str> {
    let watermarks = zoneinfo.split(|&byte| byte == b'\n').filter_map(|line| line.trim_ascii().strip_prefix(b"low "));
    let mut sum = None;
    for watermark in watermarks {
        let pages = leading_number(watermark).ok_or("a low watermark is not a number")?;
        sum = Some(pages.saturating_add(sum.unwrap_or(0)));
    }
    sum.ok_or("no zone has a low watermark")
}

/// Bytes swapped since boot. None where the kernel does not count them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Paging {
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
}

impl Paging {
    /// Fails only if the file is empty. A kernel that cannot swap has neither line, and then `has_swap` is not set.
    fn parse(vmstat: &[u8], page_bytes: u64, has_swap: bool, odd: &mut Oddities) -> Result<Self, &'static str> {
        if vmstat.trim_ascii().is_empty() {
            return Err("it is empty");
        }
        let mut paging = Self::default();
        let (mut is_in_there, mut is_out_there) = (false, false);
        for (key, value) in keyed_lines(vmstat) {
            let (bytes, is_there, left_out) = match key {
                b"pswpin" => (&mut paging.bytes_in, &mut is_in_there, "swap.sin"),
                b"pswpout" => (&mut paging.bytes_out, &mut is_out_there, "swap.sout"),
                _ if is_key(key) => continue,
                _ => {
                    odd.note(key, NO_LINE, ONLY_THE_LINE);
                    continue;
                }
            };
            *is_there = true;
            let (word, _) = split_word(value);
            match whole_number(word).map(|pages| pages.checked_mul(page_bytes)) {
                Some(Some(all)) if SWAPPED.holds(all as f64) => *bytes = Some(all),
                Some(_) => odd.note(word, SWAPPED.reason, left_out),
                None => odd.note(if word.is_empty() { key } else { word }, NOT_A_NUMBER, left_out),
            }
            if paging.bytes_in.is_some() && paging.bytes_out.is_some() {
                break;
            }
        }
        if has_swap && !(is_in_there && is_out_there) {
            odd.note_missing(Oddity::new("has no pswpin or no pswpout", "swap.sin or swap.sout"));
        }
        Ok(paging)
    }
}

/// The fuzz target. The input is `/proc/meminfo`, `/proc/vmstat` and `/proc/zoneinfo`, separated by NUL.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut files = bytes.splitn(3, |&byte| byte == 0);
    let mut file = || files.next().unwrap_or_default();
    let (meminfo, vmstat, zoneinfo) = (file(), file(), file());
    let mut odd = Oddities::default();
    odd.begin_text(meminfo);
    let info = Meminfo::parse(meminfo, &mut odd);
    odd.begin_text(vmstat);
    let paging = Paging::parse(vmstat, 4096, true, &mut odd);
    let (Ok(info), Ok(pages)) = (info, low_watermark_pages(zoneinfo)) else { return };
    let low = pages.saturating_mul(paging.ok().and_then(|paging| paging.bytes_in).unwrap_or(4096));
    let known = [info.active_file, info.inactive_file, info.reclaimable];
    let wide = known.map(|part| part.map(i128::from));
    let Some(free) = info.free else { return assert_eq!(info.estimate_available(Some(low)), None) };
    // The same formula without saturation.
    let exact = if let [Some(active), Some(inactive), Some(reclaimable)] = wide {
        let (cache, low) = (active + inactive, i128::from(low));
        (i128::from(free) - low) + (cache - (cache / 2).min(low)) + (reclaimable - (reclaimable / 2).min(low))
    } else {
        i128::from(free) + i128::from(info.page_cache.unwrap_or(0))
    };
    if known.into_iter().flatten().chain([low, free]).all(|part| part < u64::MAX / 8) {
        let expected = exact.clamp(0, i128::from(u64::MAX));
        assert_eq!(info.estimate_available(Some(low)).map(i128::from), Some(expected));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_watermarks_are_summed() {
        let zoneinfo = b"Node 0, zone DMA\n  pages free 3\n        min 1\n        low 5\n        high 9\nNode 0, zone Normal\n        low 7\n";
        assert_eq!(low_watermark_pages(zoneinfo), Ok(12));
        assert!(low_watermark_pages(b"").is_err());
        assert!(low_watermark_pages(b"        low 5\n        low -7\n").is_err(), "half of a sum is none");
    }

    #[test]
    fn swapped_pages_become_bytes() {
        let parse = |vmstat: &str, has_swap| {
            let (read, noted) =
                Oddities::noted(vmstat.as_bytes(), |text, odd| Paging::parse(text, 4096, has_swap, odd));
            read.map(|Paging { bytes_in, bytes_out }| (bytes_in, bytes_out, noted.len()))
        };
        assert_eq!(parse("nr_free_pages 1\npswpin 2\npswpout 3\npgfault 4\n", true), Ok((Some(8192), Some(12288), 0)));
        assert_eq!(parse("pswpin -2\npswpout 3\n", true), Ok((None, Some(12288), 1)));
        assert_eq!(parse("pswpin 2\npswpout 18446744073709551615\n", true), Ok((Some(8192), None, 1)));
        assert_eq!(parse("pswpin\n\0\npswpout 3 4\r\n", true), Ok((None, Some(12288), 2)));
        assert_eq!(parse("nr_free_pages 1\n", false), Ok((None, None, 0)), "a kernel that cannot swap");
        assert_eq!(parse("nr_free_pages 1\n", true), Ok((None, None, 1)), "a file that was cut");
        assert!(parse("\n", false).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            bytes in any::<Vec<u8>>(),
            text in "((Mem(Total|Free|Available)|Cached|SReclaimable|Swap(Total|Free)|(Ina|A)ctive(\\(file\\))?|pswp(in|out)|low)[: ] *-?[0-9]{0,21}( kB)?[\n\0]){0,20}",
        ) {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }
    }
}
