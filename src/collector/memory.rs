//! The modules `memory` and `swap`, from `/proc/meminfo` and `/proc/vmstat`, in bytes. Names and formulas are psutil's
//! (7.1 and later, where used memory is total minus available).

use super::{Collector, ReadError, percent};
use crate::config::Config;
use crate::procfs::{KeptFile, Machine, keyed_lines, leading_number};
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
        self.info = self.meminfo.read(Meminfo::parse);
        self.collect_memory(values)
    }
}

impl Memory {
    fn collect_memory(&mut self, values: &mut Values<'_>) -> Result<(), ReadError> {
        let info = self.info.ok();
        let mut read = self.info.map(drop);
        let available = info.map(|info| {
            let stated = info.available.filter(|&available| available > 0);
            stated.unwrap_or_else(|| {
                let low_pages = self.zoneinfo.read(low_watermark_pages).inspect_err(|&error| read = Err(error)).ok();
                info.estimate_available(low_pages.map(|pages| pages.saturating_mul(self.page_bytes)))
            })
        });
        // In an LXC container the total is the container's and the available memory may be the host's.
        let available =
            info.zip(available).map(|(info, available)| if available > info.total { info.free } else { available });

        values.push("total", info.map(|info| info.total));
        values.push("available", available);
        let used = info.zip(available).map(|(info, available)| info.total.saturating_sub(available));
        values.push("percent", info.zip(used).map(|(info, used)| percent(used as f64, info.total as f64)));
        values.push("used", used);
        values.push("free", info.map(|info| info.free));
        values.push("active", info.and_then(|info| info.active));
        values.push("inactive", info.and_then(|info| info.inactive));
        values.push("buffers", info.and_then(|info| info.buffers));
        values.push("cached", info.and_then(|info| info.cached));
        values.push("shared", info.and_then(|info| info.shared));
        values.push("slab", info.and_then(|info| info.slab));
        read
    }

    fn collect_swap(&mut self, values: &mut Values<'_>) -> Result<(), ReadError> {
        let info = self.info.as_ref().ok();
        let mut read = self.info.map(drop);
        let swap_total = info.and_then(|info| info.swap_total);
        let swap_free = info.and_then(|info| info.swap_free);
        let swap_used = swap_total.zip(swap_free).map(|(total, free)| total.saturating_sub(free));
        // Without swap space the counters do not change.
        if self.paging.is_none() || swap_total != Some(0) {
            self.paging = self.vmstat.read(Paging::parse).inspect_err(|&error| read = Err(error)).ok();
        }
        let paging = self.paging;
        let bytes = |pages: u64| pages.saturating_mul(self.page_bytes);
        values.push("total", swap_total);
        values.push("used", swap_used);
        values.push("free", swap_free);
        values.push("percent", swap_total.zip(swap_used).map(|(total, used)| percent(used as f64, total as f64)));
        values.push("sin", paging.map(|paging| bytes(paging.pages_in)));
        values.push("sout", paging.map(|paging| bytes(paging.pages_out)));
        read
    }
}

/// The fields of `/proc/meminfo` in bytes; none if this kernel does not have the field.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Meminfo {
    total: u64,
    free: u64,
    available: Option<u64>,
    buffers: Option<u64>,
    /// The page cache and the reclaimable part of the kernel's caches.
    cached: Option<u64>,
    page_cache: Option<u64>,
    shared: Option<u64>,
    slab: Option<u64>,
    reclaimable: Option<u64>,
    active: Option<u64>,
    inactive: Option<u64>,
    active_file: Option<u64>,
    inactive_file: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

/// The number of parsed lines. All are in the first half of the file: when all are found, the rest is skipped.
const FIELDS: usize = 14;

impl Meminfo {
    fn parse(meminfo: &[u8]) -> Result<Self, &'static str> {
        let mut info = Self::default();
        let (mut total, mut free, mut missing) = (None, None, FIELDS);
        for (key, value) in keyed_lines(meminfo) {
            let field = match key {
                b"MemTotal" => &mut total,
                b"MemFree" => &mut free,
                b"MemAvailable" => &mut info.available,
                b"Buffers" => &mut info.buffers,
                b"Cached" => &mut info.page_cache,
                b"Active" => &mut info.active,
                b"Inactive" => &mut info.inactive,
                b"Active(file)" => &mut info.active_file,
                b"Inactive(file)" => &mut info.inactive_file,
                b"SwapTotal" => &mut info.swap_total,
                b"SwapFree" => &mut info.swap_free,
                b"Shmem" => &mut info.shared,
                b"Slab" => &mut info.slab,
                b"SReclaimable" => &mut info.reclaimable,
                _ => continue,
            };
            *field = leading_number(value).map(|kib| kib.saturating_mul(1024));
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
        info.total = total.ok_or("no MemTotal")?;
        info.free = free.ok_or("no MemFree")?;
        info.cached = info.page_cache.map(|cache| cache.saturating_add(info.reclaimable.unwrap_or(0)));
        Ok(info)
    }

    /// Memory that a new program can get without swapping, for kernels that do not report it. The formula is the kernel's
    /// (`si_mem_available` in `mm/show_mem.c`): free memory above the zones' low watermark, and each cache without its
    /// half or the watermark, whichever is less.
    fn estimate_available(&self, low_watermark: Option<u64>) -> u64 {
        let known = (self.active_file, self.inactive_file, self.reclaimable, low_watermark);
        let (Some(active), Some(inactive), Some(reclaimable), Some(low)) = known else {
            return self.free.saturating_add(self.page_cache.unwrap_or(0));
        };
        let page_cache = active.saturating_add(inactive);
        let (plus, minus) = (
            self.free.saturating_add(page_cache).saturating_add(reclaimable),
            low.saturating_add((page_cache / 2).min(low)).saturating_add((reclaimable / 2).min(low)),
        );
        plus.saturating_sub(minus)
    }
}

/// The sum of all zones' low watermarks in `/proc/zoneinfo`, in pages.
fn low_watermark_pages(zoneinfo: &[u8]) -> Result<u64, &'static str> {
    zoneinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| leading_number(line.trim_ascii_start().strip_prefix(b"low ")?))
        .reduce(u64::saturating_add)
        .ok_or("no zone has a low watermark")
}

/// Pages swapped since boot.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Paging {
    pages_in: u64,
    pages_out: u64,
}

impl Paging {
    fn parse(vmstat: &[u8]) -> Result<Self, &'static str> {
        let (mut pages_in, mut pages_out) = (None, None);
        for (key, value) in keyed_lines(vmstat) {
            match key {
                b"pswpin" => pages_in = leading_number(value),
                b"pswpout" => pages_out = leading_number(value),
                _ => {}
            }
        }
        Ok(Self { pages_in: pages_in.ok_or("no pswpin")?, pages_out: pages_out.ok_or("no pswpout")? })
    }
}

/// The fuzz target. The input is `/proc/meminfo`, `/proc/vmstat` and `/proc/zoneinfo`, separated by NUL.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut files = bytes.splitn(3, |&byte| byte == 0);
    let mut file = || files.next().unwrap_or_default();
    let (meminfo, vmstat, zoneinfo) = (Meminfo::parse(file()), Paging::parse(file()), low_watermark_pages(file()));
    let (Ok(info), Ok(pages)) = (meminfo, zoneinfo) else { return };
    let low = pages.saturating_mul(vmstat.map_or(4096, |paging| paging.pages_in));
    let known = [info.active_file, info.inactive_file, info.reclaimable];
    let wide = known.map(|part| part.map(i128::from));
    let free = i128::from(info.free);
    // The same formula without saturation.
    let exact = if let [Some(active), Some(inactive), Some(reclaimable)] = wide {
        let (cache, low) = (active + inactive, i128::from(low));
        (free - low) + (cache - (cache / 2).min(low)) + (reclaimable - (reclaimable / 2).min(low))
    } else {
        free + i128::from(info.page_cache.unwrap_or(0))
    };
    if known.into_iter().flatten().chain([low, info.free]).all(|part| part < u64::MAX / 8) {
        let expected = exact.clamp(0, i128::from(u64::MAX));
        assert_eq!(i128::from(info.estimate_available(Some(low))), expected);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;

    #[test]
    fn kibibytes_become_bytes() {
        let text = b"MemTotal: 100 kB\nMemFree: 10 kB\nCached: 7 kB\nSwapCached: 9 kB\nSReclaimable: 2 kB\nActive: 3 kB\nActive(anon): 8 kB\nSwapTotal: 0 kB\n";
        let info = Meminfo::parse(text).expect("parses");
        assert_eq!((info.total, info.free, info.cached), (100 * KIB, 10 * KIB, Some(9 * KIB)));
        assert_eq!((info.active, info.available, info.swap_total), (Some(3 * KIB), None, Some(0)));
        assert!(Meminfo::parse(b"MemFree: 10 kB\n").is_err());
    }

    #[test]
    fn available_memory_is_estimated_by_the_kernels_formula() {
        let info = Meminfo {
            total: 1000,
            free: 100,
            page_cache: Some(300),
            active_file: Some(100),
            inactive_file: Some(100),
            reclaimable: Some(50),
            ..Meminfo::default()
        };
        // free 100 - low 40 + cache 200 - min(100, 40) + reclaimable 50 - min(25, 40)
        assert_eq!(info.estimate_available(Some(40)), 245);
        assert_eq!(info.estimate_available(None), 400, "free memory and page cache without zoneinfo");
        assert_eq!(info.estimate_available(Some(100_000)), 0);
    }

    #[test]
    fn low_watermarks_are_summed() {
        let zoneinfo = b"Node 0, zone DMA\n  pages free 3\n        min 1\n        low 5\n        high 9\nNode 0, zone Normal\n        low 7\n";
        assert_eq!(low_watermark_pages(zoneinfo), Ok(12));
        assert!(low_watermark_pages(b"").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in any::<Vec<u8>>()) {
            fuzz(&bytes);
        }
    }
}
