//! The memory nodes of a machine: where their files are, and the fields that are described, in the kernel's order.

use gauged_plugin::Sample;
use gauged_plugin::files;
use gauged_plugin::kernel::File;
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::{Skip, Skipped};

use crate::fields::{Counts, Table};

gauged_plugin::metrics! {
    module "meminfo_numa" by {"node": "Number of the memory node"};
    /// Memory of the node.
    MEM_TOTAL: gauge "MemTotal_bytes" in "By" from "MemTotal";
    /// Memory of the node that is not used at all.
    MEM_FREE: gauge "MemFree_bytes" in "By" from "MemFree";
    /// Memory of the node that is in use, caches included.
    MEM_USED: gauge "MemUsed_bytes" in "By" from "MemUsed";
    /// Memory of the node that is in the swap space as well.
    SWAP_CACHED: gauge "SwapCached_bytes" in "By" from "SwapCached";
    /// Memory of the node used recently, reclaimed last.
    ACTIVE: gauge "Active_bytes" in "By" from "Active";
    /// Memory of the node not used recently, reclaimed first.
    INACTIVE: gauge "Inactive_bytes" in "By" from "Inactive";
    /// Memory of programs and tmpfs on the node used recently.
    ACTIVE_ANON: gauge "Active_anon_bytes" in "By" from "Active(anon)";
    /// Memory of programs and tmpfs on the node not used recently.
    INACTIVE_ANON: gauge "Inactive_anon_bytes" in "By" from "Inactive(anon)";
    /// Cached files on the node used recently.
    ACTIVE_FILE: gauge "Active_file_bytes" in "By" from "Active(file)";
    /// Cached files on the node not used recently.
    INACTIVE_FILE: gauge "Inactive_file_bytes" in "By" from "Inactive(file)";
    /// Memory of the node that cannot be reclaimed.
    UNEVICTABLE: gauge "Unevictable_bytes" in "By" from "Unevictable";
    /// Memory of the node that programs have locked.
    MLOCKED: gauge "Mlocked_bytes" in "By" from "Mlocked";
    /// Memory of the node that the kernel does not map at all times; on 32-bit machines only.
    HIGH_TOTAL: gauge "HighTotal_bytes" in "By" from "HighTotal";
    /// Unused memory of the node that the kernel does not map at all times; on 32-bit machines only.
    HIGH_FREE: gauge "HighFree_bytes" in "By" from "HighFree";
    /// Memory of the node that the kernel can use for itself; on 32-bit machines only.
    LOW_TOTAL: gauge "LowTotal_bytes" in "By" from "LowTotal";
    /// Unused memory of the node that the kernel can use for itself; on 32-bit machines only.
    LOW_FREE: gauge "LowFree_bytes" in "By" from "LowFree";
    /// Memory of the node that has changed and waits to be written to disks.
    DIRTY: gauge "Dirty_bytes" in "By" from "Dirty";
    /// Memory of the node that is being written to disks.
    WRITEBACK: gauge "Writeback_bytes" in "By" from "Writeback";
    /// Cached files on the node, with blocks of disks and shared memory.
    FILE_PAGES: gauge "FilePages_bytes" in "By" from "FilePages";
    /// Files on the node that programs have mapped.
    MAPPED: gauge "Mapped_bytes" in "By" from "Mapped";
    /// Memory of programs on the node that belongs to no file.
    ANON_PAGES: gauge "AnonPages_bytes" in "By" from "AnonPages";
    /// Shared memory and files on tmpfs on the node.
    SHMEM: gauge "Shmem_bytes" in "By" from "Shmem";
    /// Stacks in the kernel that are on the node.
    KERNEL_STACK: gauge "KernelStack_bytes" in "By" from "KernelStack";
    /// Second stacks on the node that protect the return addresses of the kernel; on 64-bit ARM.
    SHADOW_CALL_STACK: gauge "ShadowCallStack_bytes" in "By" from "ShadowCallStack";
    /// Tables on the node that lead from addresses to memory.
    PAGE_TABLES: gauge "PageTables_bytes" in "By" from "PageTables";
    /// Tables of addresses on the node for virtual machines and devices.
    SEC_PAGE_TABLES: gauge "SecPageTables_bytes" in "By" from "SecPageTables";
    /// Pages on the node that a server of NFS has and has not yet stored; always 0 since Linux 5.8.
    NFS_UNSTABLE: gauge "NFS_Unstable_bytes" in "By" from "NFS_Unstable";
    /// Copies of pages on the node for devices that reach a part of the memory only.
    BOUNCE: gauge "Bounce_bytes" in "By" from "Bounce";
    /// Memory of FUSE on the node for pages that are being written.
    WRITEBACK_TMP: gauge "WritebackTmp_bytes" in "By" from "WritebackTmp";
    /// Memory of the kernel on the node that it gives back when memory is short.
    K_RECLAIMABLE: gauge "KReclaimable_bytes" in "By" from "KReclaimable";
    /// Structures of the kernel on the node.
    SLAB: gauge "Slab_bytes" in "By" from "Slab";
    /// Structures of the kernel on the node that it gives back when memory is short.
    S_RECLAIMABLE: gauge "SReclaimable_bytes" in "By" from "SReclaimable";
    /// Structures of the kernel on the node that it cannot give back.
    S_UNRECLAIM: gauge "SUnreclaim_bytes" in "By" from "SUnreclaim";
    /// Memory of programs on the node in transparent huge pages.
    ANON_HUGE_PAGES: gauge "AnonHugePages_bytes" in "By" from "AnonHugePages";
    /// Shared memory on the node in transparent huge pages.
    SHMEM_HUGE_PAGES: gauge "ShmemHugePages_bytes" in "By" from "ShmemHugePages";
    /// Shared memory on the node in huge pages that programs have mapped as such.
    SHMEM_PMD_MAPPED: gauge "ShmemPmdMapped_bytes" in "By" from "ShmemPmdMapped";
    /// Cached files on the node in transparent huge pages.
    FILE_HUGE_PAGES: gauge "FileHugePages_bytes" in "By" from "FileHugePages";
    /// Cached files on the node in huge pages that programs have mapped as such.
    FILE_PMD_MAPPED: gauge "FilePmdMapped_bytes" in "By" from "FilePmdMapped";
    /// Memory of the node that a confidential virtual machine has not accepted yet.
    UNACCEPTED: gauge "Unaccepted_bytes" in "By" from "Unaccepted";
    /// Memory of the node that drivers of graphics cards use.
    GPU_ACTIVE: gauge "GPUActive_bytes" in "By" from "GPUActive";
    /// Memory of the node that drivers of graphics cards keep for their next use.
    GPU_RECLAIM: gauge "GPUReclaim_bytes" in "By" from "GPUReclaim";
    /// Pages in the node's pool of huge pages of the default size.
    HUGE_PAGES_TOTAL: gauge "HugePages_Total" in "{page}" from "HugePages_Total";
    /// Unused pages in the node's pool of huge pages.
    HUGE_PAGES_FREE: gauge "HugePages_Free" in "{page}" from "HugePages_Free";
    /// Huge pages above the size of the node's pool.
    HUGE_PAGES_SURP: gauge "HugePages_Surp" in "{page}" from "HugePages_Surp";
}

/// The directory of the nodes.
const NODES: &str = "/sys/devices/system/node";

/// The most nodes: a machine has one for each socket and each expander of memory, and 128 nodes of 50 fields are a third of the
/// 20,000 metrics that the agent takes of a plugin by default.
pub(crate) const MAX_NODES: usize = 128;

/// Sets the selected fields of all nodes. Returns how many fields there are of those that can be read.
pub(crate) fn measure(selection: &Selection, sample: &mut Sample, skipped: &mut Skipped) -> Counts {
    let mut counts = Counts::default();
    let Some(names) = skipped.keep(files::list(NODES), "the memory nodes") else { return counts };
    let mut numbers: Vec<&str> = names.iter().filter_map(|name| node_number(name)).collect();
    if numbers.len() > MAX_NODES {
        let why = format!("has {} nodes, of which {MAX_NODES} are measured", numbers.len());
        Skip::malformed(NODES, "", why).report("the other nodes");
        numbers.truncate(MAX_NODES);
    }
    let paths: Vec<String> = numbers.iter().map(|number| [NODES, "/node", number, "/meminfo"].concat()).collect();
    for (number, file) in numbers.into_iter().zip(File::read_many(&paths)) {
        let Some(file) = skipped.keep(file, format_args!("the memory of node {number}")) else { continue };
        let labels = [("node", number)];
        let of_node = Table { metrics: METRICS, labels: &labels }.measure(&file, selection, sample, skipped);
        counts = Counts { named: counts.named + of_node.named, selected: counts.selected + of_node.selected };
    }
    counts
}

/// The number in the name of a node's directory.
fn node_number(name: &str) -> Option<&str> {
    name.strip_prefix("node").filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
