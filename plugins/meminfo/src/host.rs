//! The fields of `/proc/meminfo` that are described, in the kernel's order, with those of old kernels and other architectures
//! at their places. The name of a metric is that of its field, with the unit last.

gauged_plugin::metrics! {
    module "meminfo";
    /// Memory that the kernel manages.
    MEM_TOTAL: gauge "MemTotal_bytes" in "By" from "MemTotal";
    /// Memory that is not used at all.
    MEM_FREE: gauge "MemFree_bytes" in "By" from "MemFree";
    /// Memory that a new program can get without swapping, by the kernel's estimate; since Linux 3.14.
    MEM_AVAILABLE: gauge "MemAvailable_bytes" in "By" from "MemAvailable";
    /// Cached blocks of disks.
    BUFFERS: gauge "Buffers_bytes" in "By" from "Buffers";
    /// Cached content of files, with shared memory, and without what is in the swap cache.
    CACHED: gauge "Cached_bytes" in "By" from "Cached";
    /// Memory that is in the swap space as well: it can be taken without writing it again.
    SWAP_CACHED: gauge "SwapCached_bytes" in "By" from "SwapCached";
    /// Memory used recently, reclaimed last.
    ACTIVE: gauge "Active_bytes" in "By" from "Active";
    /// Memory not used recently, reclaimed first.
    INACTIVE: gauge "Inactive_bytes" in "By" from "Inactive";
    /// Memory of programs and tmpfs used recently.
    ACTIVE_ANON: gauge "Active_anon_bytes" in "By" from "Active(anon)";
    /// Memory of programs and tmpfs not used recently: swapped first.
    INACTIVE_ANON: gauge "Inactive_anon_bytes" in "By" from "Inactive(anon)";
    /// Cached files used recently.
    ACTIVE_FILE: gauge "Active_file_bytes" in "By" from "Active(file)";
    /// Cached files not used recently: reclaimed first.
    INACTIVE_FILE: gauge "Inactive_file_bytes" in "By" from "Inactive(file)";
    /// Memory that cannot be reclaimed, such as locked memory.
    UNEVICTABLE: gauge "Unevictable_bytes" in "By" from "Unevictable";
    /// Memory that programs have locked, so that it is never swapped.
    MLOCKED: gauge "Mlocked_bytes" in "By" from "Mlocked";
    /// Memory that the kernel does not map at all times; on 32-bit machines only.
    HIGH_TOTAL: gauge "HighTotal_bytes" in "By" from "HighTotal";
    /// Unused memory among that which the kernel does not map at all times; on 32-bit machines only.
    HIGH_FREE: gauge "HighFree_bytes" in "By" from "HighFree";
    /// Memory that the kernel can use for itself; on 32-bit machines only.
    LOW_TOTAL: gauge "LowTotal_bytes" in "By" from "LowTotal";
    /// Unused memory among that which the kernel can use for itself; when it is short, the kernel kills processes. On 32-bit machines only.
    LOW_FREE: gauge "LowFree_bytes" in "By" from "LowFree";
    /// Memory that holds copies of files for programs; on machines without memory management only.
    MMAP_COPY: gauge "MmapCopy_bytes" in "By" from "MmapCopy";
    /// Swap space.
    SWAP_TOTAL: gauge "SwapTotal_bytes" in "By" from "SwapTotal";
    /// Swap space not in use.
    SWAP_FREE: gauge "SwapFree_bytes" in "By" from "SwapFree";
    /// Memory that the compressed cache of swapped pages takes; since Linux 5.19.
    ZSWAP: gauge "Zswap_bytes" in "By" from "Zswap";
    /// Size of the pages in the compressed cache before their compression; since Linux 5.19.
    ZSWAPPED: gauge "Zswapped_bytes" in "By" from "Zswapped";
    /// Memory that has changed and waits to be written to disks.
    DIRTY: gauge "Dirty_bytes" in "By" from "Dirty";
    /// Memory that is being written to disks.
    WRITEBACK: gauge "Writeback_bytes" in "By" from "Writeback";
    /// Memory of programs that is mapped and belongs to no file.
    ANON_PAGES: gauge "AnonPages_bytes" in "By" from "AnonPages";
    /// Files that programs have mapped, such as libraries.
    MAPPED: gauge "Mapped_bytes" in "By" from "Mapped";
    /// Shared memory and files on tmpfs.
    SHMEM: gauge "Shmem_bytes" in "By" from "Shmem";
    /// Memory of the kernel that it gives back when memory is short; since Linux 4.20.
    K_RECLAIMABLE: gauge "KReclaimable_bytes" in "By" from "KReclaimable";
    /// Structures of the kernel.
    SLAB: gauge "Slab_bytes" in "By" from "Slab";
    /// Structures of the kernel that it gives back when memory is short, such as cached names.
    S_RECLAIMABLE: gauge "SReclaimable_bytes" in "By" from "SReclaimable";
    /// Structures of the kernel that it cannot give back; a steady rise is a leak in the kernel.
    S_UNRECLAIM: gauge "SUnreclaim_bytes" in "By" from "SUnreclaim";
    /// Stacks of all threads in the kernel.
    KERNEL_STACK: gauge "KernelStack_bytes" in "By" from "KernelStack";
    /// Second stacks that protect the return addresses of the kernel; on 64-bit ARM.
    SHADOW_CALL_STACK: gauge "ShadowCallStack_bytes" in "By" from "ShadowCallStack";
    /// Tables that lead from addresses to memory.
    PAGE_TABLES: gauge "PageTables_bytes" in "By" from "PageTables";
    /// Tables of addresses for virtual machines and devices; since Linux 6.1.
    SEC_PAGE_TABLES: gauge "SecPageTables_bytes" in "By" from "SecPageTables";
    /// Tables kept for their next use; before Linux 5.2.
    QUICKLISTS: gauge "Quicklists_bytes" in "By" from "Quicklists";
    /// Pages that a server of NFS has and has not yet stored; always 0 since Linux 5.8.
    NFS_UNSTABLE: gauge "NFS_Unstable_bytes" in "By" from "NFS_Unstable";
    /// Copies of pages for devices that reach a part of the memory only.
    BOUNCE: gauge "Bounce_bytes" in "By" from "Bounce";
    /// Memory of FUSE for pages that are being written.
    WRITEBACK_TMP: gauge "WritebackTmp_bytes" in "By" from "WritebackTmp";
    /// Memory that programs may be promised in all, where the kernel limits that.
    COMMIT_LIMIT: gauge "CommitLimit_bytes" in "By" from "CommitLimit";
    /// Memory that programs have been promised, used or not.
    COMMITTED_AS: gauge "Committed_AS_bytes" in "By" from "Committed_AS";
    /// Addresses that the kernel has for its mappings.
    VMALLOC_TOTAL: gauge "VmallocTotal_bytes" in "By" from "VmallocTotal";
    /// Addresses that mappings of the kernel take; 0 from Linux 4.4 to 5.2.
    VMALLOC_USED: gauge "VmallocUsed_bytes" in "By" from "VmallocUsed";
    /// Largest free part of the addresses for the kernel's mappings; always 0 since Linux 4.4.
    VMALLOC_CHUNK: gauge "VmallocChunk_bytes" in "By" from "VmallocChunk";
    /// Data of the kernel that each CPU has of its own; since Linux 4.20.
    PERCPU: gauge "Percpu_bytes" in "By" from "Percpu";
    /// Memory that the kernel's test at boot has found broken; since Linux 6.4.
    EARLY_MEMTEST_BAD: gauge "EarlyMemtestBad_bytes" in "By" from "EarlyMemtestBad";
    /// Memory taken out of use because of its errors: above 0, a module fails.
    HARDWARE_CORRUPTED: gauge "HardwareCorrupted_bytes" in "By" from "HardwareCorrupted";
    /// Memory of programs in transparent huge pages.
    ANON_HUGE_PAGES: gauge "AnonHugePages_bytes" in "By" from "AnonHugePages";
    /// Shared memory and files on tmpfs in transparent huge pages.
    SHMEM_HUGE_PAGES: gauge "ShmemHugePages_bytes" in "By" from "ShmemHugePages";
    /// Shared memory in huge pages that programs have mapped as such.
    SHMEM_PMD_MAPPED: gauge "ShmemPmdMapped_bytes" in "By" from "ShmemPmdMapped";
    /// Cached files in transparent huge pages; since Linux 5.4.
    FILE_HUGE_PAGES: gauge "FileHugePages_bytes" in "By" from "FileHugePages";
    /// Cached files in huge pages that programs have mapped as such; since Linux 5.4.
    FILE_PMD_MAPPED: gauge "FilePmdMapped_bytes" in "By" from "FilePmdMapped";
    /// Memory set aside for large allocations of devices.
    CMA_TOTAL: gauge "CmaTotal_bytes" in "By" from "CmaTotal";
    /// Unused memory among that set aside for large allocations of devices.
    CMA_FREE: gauge "CmaFree_bytes" in "By" from "CmaFree";
    /// Memory of a confidential virtual machine that it has not accepted yet; since Linux 6.5.
    UNACCEPTED: gauge "Unaccepted_bytes" in "By" from "Unaccepted";
    /// Memory that a virtual machine has given back to its host.
    BALLOON: gauge "Balloon_bytes" in "By" from "Balloon";
    /// Memory that drivers of graphics cards use.
    GPU_ACTIVE: gauge "GPUActive_bytes" in "By" from "GPUActive";
    /// Memory that drivers of graphics cards keep for their next use, and give back when memory is short.
    GPU_RECLAIM: gauge "GPUReclaim_bytes" in "By" from "GPUReclaim";
    /// Pages in the pool of huge pages of the default size.
    HUGE_PAGES_TOTAL: gauge "HugePages_Total" in "{page}" from "HugePages_Total";
    /// Unused pages in the pool of huge pages.
    HUGE_PAGES_FREE: gauge "HugePages_Free" in "{page}" from "HugePages_Free";
    /// Huge pages that are promised to programs and still unused.
    HUGE_PAGES_RSVD: gauge "HugePages_Rsvd" in "{page}" from "HugePages_Rsvd";
    /// Huge pages above the size of the pool.
    HUGE_PAGES_SURP: gauge "HugePages_Surp" in "{page}" from "HugePages_Surp";
    /// Default size of a huge page.
    HUGEPAGESIZE: gauge "Hugepagesize_bytes" in "By" from "Hugepagesize";
    /// Memory in the pools of huge pages of all sizes, used or not; since Linux 4.16.
    HUGETLB: gauge "Hugetlb_bytes" in "By" from "Hugetlb";
    /// Memory that the kernel maps in pages of 4 KiB.
    DIRECT_MAP_4K: gauge "DirectMap4k_bytes" in "By" from "DirectMap4k";
    /// Memory that the kernel maps in pages of 64 KiB.
    DIRECT_MAP_64K: gauge "DirectMap64k_bytes" in "By" from "DirectMap64k";
    /// Memory that the kernel maps in pages of 1 MiB.
    DIRECT_MAP_1M: gauge "DirectMap1M_bytes" in "By" from "DirectMap1M";
    /// Memory that the kernel maps in pages of 2 MiB.
    DIRECT_MAP_2M: gauge "DirectMap2M_bytes" in "By" from "DirectMap2M";
    /// Memory that the kernel maps in pages of 4 MiB.
    DIRECT_MAP_4M: gauge "DirectMap4M_bytes" in "By" from "DirectMap4M";
    /// Memory that the kernel maps in pages of 1 GiB.
    DIRECT_MAP_1G: gauge "DirectMap1G_bytes" in "By" from "DirectMap1G";
    /// Memory that the kernel maps in pages of 2 GiB.
    DIRECT_MAP_2G: gauge "DirectMap2G_bytes" in "By" from "DirectMap2G";
}
