//! The size of a memory page. It differs between machines and is in no file, but `/proc/vmstat` and `/proc/meminfo` have
//! the same amounts in pages and in kB.

use super::{Fields, File, Line};

/// The page sizes of Linux.
const PAGE_SIZES: [u64; 4] = [4 << 10, 8 << 10, 16 << 10, 64 << 10];

/// The memory of processes and caches: keys in `/proc/vmstat` (pages) and `/proc/meminfo` (kB).
const MEMORY_KEYS: [(&str, &str); 4] = [
    ("nr_inactive_anon", "Inactive(anon)"),
    ("nr_active_anon", "Active(anon)"),
    ("nr_inactive_file", "Inactive(file)"),
    ("nr_active_file", "Active(file)"),
];

/// The size of a page in bytes, from `/proc/vmstat` and `/proc/meminfo`, or the files of these names of a node, read one
/// after the other. `None` if they lack the keys or disagree, as in some containers. The size is constant while a host runs.
///
/// ```
/// use gauged_plugin::kernel::{File, page_bytes};
///
/// let vmstat = File::new("/proc/vmstat", "nr_active_anon 1000\nnr_active_file 2000\n");
/// let meminfo = File::new("/proc/meminfo", "Active(anon):   16000 kB\nActive(file):   32016 kB\n");
/// assert_eq!(page_bytes(&vmstat, &meminfo), Some(16_384));
/// ```
#[must_use]
pub fn page_bytes(vmstat: &File, meminfo: &File) -> Option<u64> {
    let pages = sum(vmstat, |key| MEMORY_KEYS.iter().any(|(name, _)| *name == key));
    let bytes = sum(meminfo, |key| MEMORY_KEYS.iter().any(|(_, name)| *name == key));
    // Memory changes between the two reads, but by far less than the factor of two between page sizes.
    let is_near = |size: &u64| {
        let expected = pages.saturating_mul(*size);
        bytes.abs_diff(expected) <= expected / 8
    };
    PAGE_SIZES.into_iter().find(|size| pages > 0 && is_near(size))
}

fn sum(file: &File, is_wanted: impl Fn(&str) -> bool) -> u64 {
    let values = file.lines().map(key_values).filter(|(key, _)| is_wanted(key));
    values.filter_map(|(_, mut values)| values.bytes("memory").ok()).fold(0, u64::saturating_add)
}

/// The key and values of a line, of a node without its number: `Node 0 Active(anon):  16000 kB`.
fn key_values(line: Line<'_>) -> (&str, Fields<'_>) {
    let (key, mut values) = line.key_values();
    if key != "Node" {
        return (key, values);
    }
    let key = values.nth(1).unwrap_or_default();
    (key.strip_suffix(':').unwrap_or(key), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_node_have_the_page_size() {
        let vmstat = File::new("/n/vmstat", "nr_free_pages 5\nnr_active_anon 1000\n");
        let meminfo = File::new("/n/meminfo", "Node 0 MemFree:  9 kB\nNode 0 Active(anon):    4000 kB\n");
        assert_eq!(page_bytes(&vmstat, &meminfo), Some(4096));
    }

    fn size(pages: u64, kilobytes: u64) -> Option<u64> {
        let vmstat = File::new("/proc/vmstat", format!("nr_free_pages 7\nnr_inactive_file {pages}\n"));
        let meminfo = File::new("/proc/meminfo", format!("MemFree: 99 kB\nInactive(file):  {kilobytes} kB\n"));
        page_bytes(&vmstat, &meminfo)
    }

    #[test]
    fn page_size_needs_matching_amounts() {
        assert_eq!(size(1000, 4000), Some(4096));
        assert_eq!(size(1000, 4400), Some(4096), "more memory at the second read");
        assert_eq!(size(1000, 7600), Some(8192), "less memory at the second read");
        assert_eq!(size(1000, 64_000), Some(65_536));
        for (pages, kilobytes) in [(0, 0), (1000, 0), (1000, 1000), (1000, 6000), (1000, 32_000), (1000, 200_000)] {
            assert_eq!(size(pages, kilobytes), None, "{pages} pages of {kilobytes} kB");
        }
        assert_eq!(page_bytes(&File::new("/proc/vmstat", "nr x\n"), &File::new("/proc/meminfo", "")), None);
    }
}
