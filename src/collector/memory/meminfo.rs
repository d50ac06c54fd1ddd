//! The parser of `/proc/meminfo`. Documentation/filesystems/proc.rst, "meminfo".

use super::super::bounds::{MEMORY, MEMORY_TOTAL};
use crate::procfs::{NO_LINE, NOT_A_NUMBER, ONLY_THE_LINE, Oddities, Oddity, TWICE, is_key, keyed_lines, split_number};

/// The fields of `/proc/meminfo` in bytes; none if this kernel does not have the field, or if it cannot be true.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Meminfo {
    pub(super) total: Option<u64>,
    pub(super) free: Option<u64>,
    pub(super) available: Available,
    pub(super) buffers: Option<u64>,
    /// The page cache and the reclaimable part of the kernel's caches.
    pub(super) cached: Option<u64>,
    pub(super) page_cache: Option<u64>,
    pub(super) shared: Option<u64>,
    pub(super) slab: Option<u64>,
    pub(super) reclaimable: Option<u64>,
    pub(super) active: Option<u64>,
    pub(super) inactive: Option<u64>,
    pub(super) active_file: Option<u64>,
    pub(super) inactive_file: Option<u64>,
    pub(super) swap_total: Option<u64>,
    pub(super) swap_free: Option<u64>,
}

/// What the kernel reports as available.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Available {
    /// Nothing, or 0, as kernels do that cannot know it: it is estimated.
    #[default]
    Unknown,
    /// So many bytes.
    Stated(u64),
    /// Something that is no size.
    Odd,
}

/// The number of parsed lines. All are in the first half of the file: when all are found, the rest is skipped.
const FIELDS: usize = 14;

impl Meminfo {
    /// Fails only if the file has none of the lines.
    pub(super) fn parse(meminfo: &[u8], odd: &mut Oddities) -> Result<Self, &'static str> {
        let mut info = Self::default();
        let (mut available, mut missing) = (None, FIELDS);
        let (mut is_available_odd, mut is_reclaimable_odd) = (false, false);
        for (key, value) in keyed_lines(meminfo) {
            let (field, left_out) = match key {
                b"MemTotal" => (&mut info.total, "memory.total, memory.percent, memory.used"),
                b"MemFree" => (&mut info.free, "memory.free"),
                b"MemAvailable" => (&mut available, "memory.available, memory.percent, memory.used"),
                b"Buffers" => (&mut info.buffers, "memory.buffers"),
                b"Cached" => (&mut info.page_cache, "memory.cached"),
                b"Active" => (&mut info.active, "memory.active"),
                b"Inactive" => (&mut info.inactive, "memory.inactive"),
                b"Active(file)" => (&mut info.active_file, "the kernel's estimate of memory.available"),
                b"Inactive(file)" => (&mut info.inactive_file, "the kernel's estimate of memory.available"),
                b"SwapTotal" => (&mut info.swap_total, "swap.total, swap.percent, swap.used"),
                b"SwapFree" => (&mut info.swap_free, "swap.free, swap.percent, swap.used"),
                b"Shmem" => (&mut info.shared, "memory.shared"),
                b"Slab" => (&mut info.slab, "memory.slab"),
                b"SReclaimable" => (&mut info.reclaimable, "memory.cached"),
                _ if is_key(key) => continue,
                _ => {
                    odd.note(key, NO_LINE, ONLY_THE_LINE);
                    continue;
                }
            };
            if field.is_some() {
                odd.note(key, TWICE, ONLY_THE_LINE);
                continue;
            }
            match kibibytes(value) {
                Ok(bytes) => *field = Some(bytes),
                Err(reason) => {
                    let word = value.trim_ascii();
                    odd.note(if word.is_empty() { key } else { word }, reason, left_out);
                    is_available_odd |= key == b"MemAvailable";
                    is_reclaimable_odd |= key == b"SReclaimable";
                    continue;
                }
            }
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
        if missing == FIELDS {
            return Err("it has none of the lines that are expected");
        }
        info.available = match available {
            Some(bytes) if bytes > 0 => Available::Stated(bytes),
            None if is_available_odd => Available::Odd,
            _ => Available::Unknown,
        };
        if !is_reclaimable_odd {
            info.cached = info.page_cache.map(|cache| cache.saturating_add(info.reclaimable.unwrap_or(0)));
        }
        info.leave_out_impossible(meminfo, odd);
        Ok(info)
    }

    /// Leaves out parts that are more than their whole.
    fn leave_out_impossible(&mut self, meminfo: &[u8], odd: &mut Oddities) {
        for (key, value, missing) in [
            ("MemTotal", self.total, Oddity::new("has no MemTotal", "memory.total, memory.percent, memory.used")),
            ("MemFree", self.free, Oddity::new("has no MemFree", "memory.free")),
        ] {
            // One that is there and cannot be read has been noted.
            if value.is_none() && line_value(meminfo, key).is_none() {
                odd.note_missing(missing);
            }
        }
        if let Some(total) = self.total
            && !MEMORY_TOTAL.holds(total as f64)
        {
            self.total = None;
            note_line(meminfo, "MemTotal", MEMORY_TOTAL.reason, "memory.total, memory.percent, memory.used", odd);
        }
        let more_memory = "is more than MemTotal";
        for (part, key, left_out) in [
            (&mut self.free, "MemFree", "memory.free"),
            (&mut self.buffers, "Buffers", "memory.buffers"),
            (&mut self.cached, "Cached", "memory.cached"),
            (&mut self.shared, "Shmem", "memory.shared"),
            (&mut self.slab, "Slab", "memory.slab"),
            (&mut self.active, "Active", "memory.active"),
            (&mut self.inactive, "Inactive", "memory.inactive"),
        ] {
            if part.zip(self.total).is_some_and(|(part, total)| part > total) {
                *part = None;
                note_line(meminfo, key, more_memory, left_out, odd);
            }
        }
        if self.swap_free.zip(self.swap_total).is_some_and(|(free, total)| free > total) {
            self.swap_free = None;
            note_line(meminfo, "SwapFree", "is more than SwapTotal", "swap.free, swap.percent, swap.used", odd);
        }
    }

    /// Memory that a new program can get without swapping, for kernels that do not report it. The formula is the kernel's
    /// (`si_mem_available` in `mm/show_mem.c`): free memory above the zones' low watermark, and each cache without its
    /// half or the watermark, whichever is less. None if free memory is not known.
    pub(super) fn estimate_available(&self, low_watermark: Option<u64>) -> Option<u64> {
        let free = self.free?;
        let known = (self.active_file, self.inactive_file, self.reclaimable, low_watermark);
        let (Some(active), Some(inactive), Some(reclaimable), Some(low)) = known else {
            return Some(free.saturating_add(self.page_cache.unwrap_or(0)));
        };
        let page_cache = active.saturating_add(inactive);
        let (plus, minus) = (
            free.saturating_add(page_cache).saturating_add(reclaimable),
            low.saturating_add((page_cache / 2).min(low)).saturating_add((reclaimable / 2).min(low)),
        );
        Some(plus.saturating_sub(minus))
    }
}

/// A size in kibibytes, in bytes.
///
/// # Errors
///
/// When it is none, with the fault.
fn kibibytes(value: &[u8]) -> Result<u64, &'static str> {
    let (kib, rest) = split_number(value).ok_or(NOT_A_NUMBER)?;
    if !matches!(rest.trim_ascii(), b"" | b"kB") {
        return Err(NOT_A_NUMBER);
    }
    kib.checked_mul(1024).filter(|&bytes| MEMORY.holds(bytes as f64)).ok_or(MEMORY.reason)
}

/// The value of the first line with this key.
fn line_value<'a>(meminfo: &'a [u8], key: &str) -> Option<&'a [u8]> {
    keyed_lines(meminfo).find(|(found, _)| *found == key.as_bytes()).map(|(_, value)| value.trim_ascii())
}

fn note_line(meminfo: &[u8], key: &str, reason: &'static str, left_out: &'static str, odd: &mut Oddities) {
    match line_value(meminfo, key) {
        Some(value) => odd.note(value, reason, left_out),
        None => odd.note_missing(Oddity::new(reason, left_out)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    /// The parsed file, and the words and losses that are noted.
    fn parse(meminfo: &str) -> (Meminfo, Vec<(String, &'static str)>) {
        let (info, noted) = Oddities::noted(meminfo.as_bytes(), Meminfo::parse);
        (info.expect("parses"), noted)
    }

    #[test]
    fn kibibytes_become_bytes() {
        let text = "MemTotal: 100 kB\nMemFree: 10 kB\nCached: 7 kB\nSwapCached: 9 kB\nSReclaimable: 2 kB\nActive: 3 kB\nActive(anon): 8 kB\nSwapTotal: 0 kB\n";
        let (info, noted) = parse(text);
        assert_eq!((info.total, info.free, info.cached), (Some(100 * KIB), Some(10 * KIB), Some(9 * KIB)));
        assert_eq!((info.active, info.available, info.swap_total), (Some(3 * KIB), Available::Unknown, Some(0)));
        assert_eq!(noted, []);
        assert_eq!(parse(&text.replace('\n', "\r\n")), (info, vec![]));
        assert_eq!(parse(text.trim_end()), (info, vec![]));
        assert_eq!(parse(&text.replace(" kB", "")), (info, vec![]));
        let (doubled, noted) = parse(&text.repeat(2));
        assert_eq!((doubled, noted), (info, vec![("MemTotal".to_owned(), ONLY_THE_LINE)]));
        for wrong in ["", "\n", "nonsense", "\0\0", "HugePages_Total: 0\n"] {
            assert!(Oddities::noted(wrong.as_bytes(), Meminfo::parse).0.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn odd_fields_cost_only_their_metrics() {
        let good = "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 50 kB\nCached: 7 kB\nSReclaimable: 2 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\n";
        let (expected, _) = parse(good);
        for value in
            ["-5 kB", "5.5 kB", "5 MB", "5x kB", "18446744073709551616 kB", "18446744073709551615 kB", "", "\0"]
        {
            let odd = |key: &str| {
                let lines = good.lines().map(|line| match line.split_once(':') {
                    Some((found, _)) if found == key => format!("{key}: {value}\n"),
                    _ => format!("{line}\n"),
                });
                let (info, noted) = parse(&lines.collect::<String>());
                assert_eq!(noted.len(), 1, "{key} {value:?} {noted:?}");
                info
            };
            assert_eq!(odd("MemTotal"), Meminfo { total: None, ..expected }, "{value:?}");
            assert_eq!(odd("MemFree"), Meminfo { free: None, ..expected }, "{value:?}");
            assert_eq!(odd("MemAvailable"), Meminfo { available: Available::Odd, ..expected }, "{value:?}");
            assert_eq!(odd("Cached"), Meminfo { page_cache: None, cached: None, ..expected }, "{value:?}");
            assert_eq!(odd("SReclaimable"), Meminfo { reclaimable: None, cached: None, ..expected }, "{value:?}");
            assert_eq!(odd("SwapTotal"), Meminfo { swap_total: None, ..expected }, "{value:?}");
            assert_eq!(odd("SwapFree"), Meminfo { swap_free: None, ..expected }, "{value:?}");
        }
    }

    #[test]
    fn parts_are_no_more_than_their_whole() {
        for key in ["MemFree", "Buffers", "Cached", "Shmem", "Slab", "Active", "Inactive"] {
            let others = if key == "MemFree" { "" } else { "MemFree: 1 kB\n" };
            let (info, noted) = parse(&format!("MemTotal: 100 kB\n{key}: 101 kB\n{others}"));
            let parts = [info.free, info.buffers, info.cached, info.shared, info.slab, info.active, info.inactive];
            assert!(parts.iter().flatten().all(|&part| part == KIB), "{key} {parts:?}");
            assert_eq!(noted.len(), 1, "{key} {noted:?}");
            assert_eq!(noted[0].0, "101 kB");
        }
        let (info, noted) =
            parse("MemTotal: 100 kB\nMemFree: 1 kB\nSwapTotal: 0 kB\nSwapFree: 18446744073709346016 kB\n");
        assert_eq!((info.swap_total, info.swap_free, noted.len()), (Some(0), None, 1));
        let (info, _) = parse("MemTotal: 0 kB\nMemFree: 18446744073708785356 kB\nCached: 698016 kB\n");
        assert_eq!((info.total, info.free, info.cached), (None, None, Some(698_016 * KIB)));
        let (info, _) = parse("MemTotal: 100 kB\nMemFree: 1 kB\nCached: 90 kB\nSReclaimable: 20 kB\n");
        assert_eq!((info.cached, info.page_cache), (None, Some(90 * KIB)));
    }

    #[test]
    fn available_memory_is_estimated_by_the_kernels_formula() {
        let info = Meminfo {
            total: Some(1000),
            free: Some(100),
            page_cache: Some(300),
            active_file: Some(100),
            inactive_file: Some(100),
            reclaimable: Some(50),
            ..Meminfo::default()
        };
        // free 100 - low 40 + cache 200 - min(100, 40) + reclaimable 50 - min(25, 40)
        assert_eq!(info.estimate_available(Some(40)), Some(245));
        assert_eq!(info.estimate_available(None), Some(400), "free memory and page cache without zoneinfo");
        assert_eq!(info.estimate_available(Some(100_000)), Some(0));
        assert_eq!(Meminfo { free: None, ..info }.estimate_available(Some(40)), None);
    }
}
