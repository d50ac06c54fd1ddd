//! The heap's settings. glibc's keeps what is freed, for later: an agent whose plugins come and go would stay as large as it was at
//! its largest.

/// From this size on, a block of the heap is a mapping of its own, which goes back to the system at once when it is freed. glibc
/// would raise this up to 32 MiB by itself, and keep the blocks of a plugin that is gone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BLOCK_BYTES: i32 = 128 << 10;

/// Makes the heap give large blocks back when they are freed. To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a setting of the C library has no safe interface")]
pub fn release_large_blocks() {
    // SAFETY: it changes a number of the heap, which no other thread uses yet. Where that fails the number stays as it was.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BLOCK_BYTES) };
}

/// Gives back what is free, between blocks that are in use, too. Takes about a millisecond.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library has no safe interface")]
pub(crate) fn release_free() {
    // SAFETY: it has no preconditions, and locks what other threads use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Nothing to do: other C libraries give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn release_large_blocks() {}

/// Nothing to do: other C libraries give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn release_free() {}
