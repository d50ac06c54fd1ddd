//! The heap's settings. glibc's keeps what is freed, for later: an agent whose plugins come and go would stay as large as it was at
//! its largest.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use rustix::process::{Resource, getrlimit};

/// From this size on, a block of the heap is a mapping of its own, which goes back to the system at once when it is freed. glibc
/// would raise this up to 32 MiB by itself, and keep the blocks of a plugin that is gone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BLOCK_BYTES: i32 = 128 << 10;

/// How many heaps there are where the address space is limited: guests have a thread that allocates much, and all others together
/// allocate little.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SHARED_HEAPS: i32 = 2;

/// Prepares the heap: large blocks are given back when they are freed, and threads share a few heaps where the address space is
/// limited, of which glibc reserves 64 MiB for each heap. To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "settings of the C library have no safe interface")]
pub fn prepare() {
    // SAFETY: these change numbers of the heap, which no other thread uses yet. Where that fails a number stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BLOCK_BYTES);
        if getrlimit(Resource::As).current.is_some() {
            libc::mallopt(libc::M_ARENA_MAX, SHARED_HEAPS);
        }
    }
}

/// Gives free memory back, also that between blocks that are in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library has no safe interface")]
pub(crate) fn release_free() {
    // SAFETY: it has no preconditions, and locks what other threads use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Nothing to do: other C libraries give back by themselves, and reserve little.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn prepare() {}

/// Nothing to do: other C libraries give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn release_free() {}
