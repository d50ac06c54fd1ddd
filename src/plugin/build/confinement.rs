//! Takes all system calls from the compiler's process that a compiler does not need. Knows nothing of resource limits, which
//! the child lowers itself.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod seccomp;
#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod tests;

use std::fs::File;

/// Leaves this process memory, its two files and its own end, on all threads and for good. Every other system call fails.
///
/// # Errors
///
/// Why every system call is left to it: the kernel or the processor has no such filter.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(crate) fn confine(input: &File, output: &File) -> Result<(), String> {
    seccomp::confine(input, output)
}

/// There is no such filter.
///
/// # Errors
///
/// Always.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))))]
pub(crate) fn confine(_input: &File, _output: &File) -> Result<(), String> {
    use std::env::consts::{ARCH, OS};
    Err(format!("no filter of system calls for {OS} on {ARCH}"))
}
