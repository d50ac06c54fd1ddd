//! The filter of system calls, for the kernel's seccomp: a list of those that stay. Every other one fails with `EPERM`, which
//! a compiler never sees: none of its calls is among them, whatever the C library and the kernel.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};

use rustix::process::{Pid, getpid};
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};

/// The rules for the arguments of each call, of which one has to hold; a call without rules is allowed as it is.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Standard error, for the reason of a rejection and the message of a panic.
const STDERR: RawFd = 2;

/// The calls that are allowed with any arguments: they reach no file, process or host.
const HARMLESS: &[i64] = &[
    // Memory. More of it is below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    // Locks of the allocator and of Rust's library, which also spins.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // The allocator asks for the number of CPUs, hash maps for a seed.
    libc::SYS_sched_getaffinity,
    libc::SYS_getrandom,
    // Where the kernel does not answer these without a call.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    // The wait for the agent's end, and its continuation after SIGCONT.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall,
    // Panics, aborts and overflows of the stack.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // The end.
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Leaves the calls of the list to all threads of this process.
pub(super) fn confine(input: &File, output: &File) -> Result<(), String> {
    let program = program(getpid(), input.as_raw_fd(), output.as_raw_fd()).map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn program(own: Pid, input: RawFd, output: RawFd) -> Result<BpfProgram, BackendError> {
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter =
        SeccompFilter::new(rules(own, input, output)?, denied, SeccompAction::Allow, TargetArch::try_from(ARCH)?);
    filter?.try_into()
}

/// The calls that stay.
fn rules(own: Pid, input: RawFd, output: RawFd) -> Result<Rules, BackendError> {
    let mut rules: Rules = HARMLESS.iter().map(|call| (*call, Vec::new())).collect();
    let own = own.as_raw_pid();
    for (call, alternatives) in [
        // Of the files, the input and the two outputs.
        (libc::SYS_pread64, vec![vec![number(0, input)?]]),
        (libc::SYS_write, vec![vec![number(0, output)?], vec![number(0, STDERR)?]]),
        (libc::SYS_writev, vec![vec![number(0, output)?], vec![number(0, STDERR)?]]),
        // A debug build of Rust's library examines a descriptor that it closes.
        (libc::SYS_fcntl, vec![vec![number(1, libc::F_GETFD)?]]),
        // No file becomes memory, and no memory becomes code: the agent runs the artifact, this process does not.
        (libc::SYS_mmap, vec![vec![mask(2, libc::PROT_EXEC, 0)?, mask(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?]]),
        (libc::SYS_mprotect, vec![vec![mask(2, libc::PROT_EXEC, 0)?]]),
        // The allocator gives memory back. Root may also take a page of memory from the host.
        (libc::SYS_madvise, vec![vec![number(2, libc::MADV_DONTNEED)?], vec![number(2, libc::MADV_FREE)?]]),
        // Signals, for the abort of a panic and the end with the agent: only to itself.
        (libc::SYS_kill, vec![vec![number(0, own)?]]),
        (libc::SYS_tgkill, vec![vec![number(0, own)?]]),
        // musl aborts by this. Its number is that of a thread: here the main one.
        (libc::SYS_tkill, vec![vec![number(0, own)?]]),
        // Its own limits, which are read and not set.
        (libc::SYS_prlimit64, vec![vec![number(0, 0)?, SeccompCondition::new(2, Qword, Eq, 0)?]]),
    ] {
        let alternatives = alternatives.into_iter().map(SeccompRule::new);
        rules.insert(call, alternatives.collect::<Result<_, _>>()?);
    }
    Ok(rules)
}

/// The argument at `index` has to be this number.
fn number(index: u8, number: i32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, Dword, Eq, number.cast_unsigned().into())
}

/// The bits of a mask in the argument at `index` have to be these.
fn mask(index: u8, mask: i32, bits: i32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(index, Dword, MaskedEq(mask.cast_unsigned().into()), bits.cast_unsigned().into())
}
