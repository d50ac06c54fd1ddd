//! The confinement as it is, in processes of its own: this test program starts itself again for one test, which confines
//! itself and reports on standard error.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_long;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::{ExitStatusExt as _, parent_id};
use std::process::{Command, Output, Stdio};
use std::ptr::null;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};

use crate::plugin::build::budget::CompileOptions;
use crate::plugin::build::child;
use crate::plugin::guest::engine_options::{EngineOptions, MemoryLayout, Purpose};

/// Tells a process what to do once it is confined.
const TASK: &str = "GAUGED_TEST_CONFINED";

/// More than any kernel has system calls.
const CALLS: c_long = 1024;

/// The numbers of `uretprobe` and `uprobe` on x86-64: calls of the kernel's own trampolines, which it excepts from filters. From
/// anywhere else they end the process (`SIGILL`).
const PROBES: [c_long; 2] = [335, 336];

/// The arguments of a system call.
type Arguments = [c_long; 6];

/// Runs a task in a confined process, by the one test that knows it.
fn run(task: &str) -> Output {
    let test = concat!(module_path!(), "::confined_process_runs_its_task");
    let (_, test) = test.split_once("::").expect("a crate");
    #[expect(clippy::disallowed_methods, reason = "it is this program that is run")]
    let mut command = Command::new(std::env::current_exe().expect("known"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(TASK, task);
    command.stdin(File::open("/dev/null").expect("open")).stdout(Stdio::null()).output().expect("it runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Does nothing but in a process that [`run`] has started.
#[test]
fn confined_process_runs_its_task() {
    #[expect(clippy::disallowed_methods, reason = "a test of this file sets it")]
    let Some(task) = std::env::var_os(TASK) else { return };
    let engine = EngineOptions { layout: MemoryLayout::Reserved, purpose: Purpose::Serve };
    let options = CompileOptions { cpu: Duration::from_secs(60), engine };
    let (input, output) = child::confine(options).expect("confined");
    match task.to_str().expect("text") {
        "all" => report(unlisted().map(|call| (call.to_string(), call, [0; 6]))),
        "forbidden" => report(forbidden(&input).into_iter().map(|(name, call, with)| (name.to_owned(), call, with))),
        "work" => work(&output),
        "abort" => std::process::abort(),
        "overflow" => drop(overflow(1)),
        "memory" => drop(vec![1_u8; 2 << 30]),
        "kill" => kill_process(getpid(), Signal::KILL).expect("allowed"),
        other => panic!("{other}"),
    }
    #[expect(clippy::disallowed_methods, reason = "libtest would write to standard output")]
    std::process::exit(0);
}

/// Makes system calls, and reports the error number of each; 0 for none.
fn report(calls: impl Iterator<Item = (String, c_long, Arguments)>) {
    for (name, call, [a, b, c, d, e, f]) in calls {
        #[expect(unsafe_code, reason = "there is no other way to make any system call")]
        // SAFETY: each is denied, or the test fails.
        let returned = unsafe { libc::syscall(call, a, b, c, d, e, f) };
        let number = if returned < 0 { io::Error::last_os_error().raw_os_error().expect("a number") } else { 0 };
        writeln!(io::stderr(), "call {name} {number}").expect("allowed");
    }
}

/// The reported error numbers by call.
fn reported(output: &Output) -> BTreeMap<String, i32> {
    let text = stderr(output);
    assert!(output.status.success(), "{}: {text}", output.status);
    let calls = text.lines().filter_map(|line| line.strip_prefix("call ")?.rsplit_once(' '));
    calls.map(|(name, number)| (name.to_owned(), number.parse().expect("a number"))).collect()
}

/// The calls that are left in some form: a second list, so that none is added unnoticed.
const ALLOWED: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_ppoll,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// The numbers of all other calls.
fn unlisted() -> impl Iterator<Item = c_long> {
    let is_excepted = |call: &c_long| cfg!(target_arch = "x86_64") && PROBES.contains(call);
    (0..CALLS).filter(move |call| !ALLOWED.contains(call) && !is_excepted(call))
}

/// The calls that a compromised compiler would want, with arguments that work without the confinement.
#[expect(clippy::too_many_lines, reason = "it is a list")]
fn forbidden(input: &File) -> Vec<(&'static str, c_long, Arguments)> {
    let (own, parent, input) = (getpid().as_raw_pid().into(), parent_id().into(), input.as_raw_fd().into());
    let path = c"/dev/null".as_ptr().expose_provenance().cast_signed() as c_long;
    let here = c_long::from(libc::AT_FDCWD);
    let limits = [0_u64; 2].as_ptr().expose_provenance().cast_signed() as c_long;
    let page = c_long::from(4096);
    let (read, execute) = (c_long::from(libc::PROT_READ), c_long::from(libc::PROT_READ | libc::PROT_EXEC));
    let private = c_long::from(libc::MAP_PRIVATE);
    let anonymous = c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let none = null::<u8>().expose_provenance().cast_signed() as c_long;
    #[cfg(target_arch = "x86_64")]
    let some = vec![
        ("open", libc::SYS_open, [path, 0, 0, 0, 0, 0]),
        ("creat", libc::SYS_creat, [path, 0, 0, 0, 0, 0]),
        ("stat", libc::SYS_stat, [path, limits, 0, 0, 0, 0]),
        ("readlink", libc::SYS_readlink, [path, none, 0, 0, 0, 0]),
        ("unlink", libc::SYS_unlink, [path, 0, 0, 0, 0, 0]),
        ("fork", libc::SYS_fork, [0; 6]),
        ("vfork", libc::SYS_vfork, [0; 6]),
        ("dup2", libc::SYS_dup2, [input, 9, 0, 0, 0, 0]),
        ("pipe", libc::SYS_pipe, [none, 0, 0, 0, 0, 0]),
        ("memfd_secret", libc::SYS_memfd_secret, [0; 6]),
        ("setrlimit", libc::SYS_setrlimit, [0, limits, 0, 0, 0, 0]),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let some = vec![];
    let mut calls = some;
    calls.extend([
        // Files.
        ("openat", libc::SYS_openat, [here, path, 0, 0, 0, 0]),
        ("openat2", libc::SYS_openat2, [here, path, limits, 24, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [here, none, 0, 0, 0, 0]),
        ("newfstatat", libc::SYS_newfstatat, [here, path, limits, 0, 0, 0]),
        ("statx", libc::SYS_statx, [here, path, 0, 0, limits, 0]),
        ("faccessat", libc::SYS_faccessat, [here, path, 0, 0, 0, 0]),
        ("readlinkat", libc::SYS_readlinkat, [here, path, none, 0, 0, 0]),
        ("unlinkat", libc::SYS_unlinkat, [here, none, 0, 0, 0, 0]),
        ("renameat2", libc::SYS_renameat2, [here, none, here, none, 0, 0]),
        ("linkat", libc::SYS_linkat, [here, none, here, none, 0, 0]),
        ("getdents64", libc::SYS_getdents64, [input, none, 0, 0, 0, 0]),
        ("memfd_create", libc::SYS_memfd_create, [path, 0, 0, 0, 0, 0]),
        ("read of another file", libc::SYS_pread64, [0, none, 0, 0, 0, 0]),
        ("read", libc::SYS_read, [input, none, 0, 0, 0, 0]),
        ("write to another file", libc::SYS_write, [input, path, 0, 0, 0, 0]),
        ("writev to another file", libc::SYS_writev, [input, none, 0, 0, 0, 0]),
        ("pwrite64", libc::SYS_pwrite64, [input, path, 0, 0, 0, 0]),
        ("sendfile", libc::SYS_sendfile, [input, input, none, 0, 0, 0]),
        ("splice", libc::SYS_splice, [input, none, input, none, 0, 0]),
        ("dup", libc::SYS_dup, [input, 0, 0, 0, 0, 0]),
        ("fcntl", libc::SYS_fcntl, [input, libc::F_DUPFD.into(), 0, 0, 0, 0]),
        ("fcntl of a lease", libc::SYS_fcntl, [input, libc::F_SETLEASE.into(), 0, 0, 0, 0]),
        ("ioctl", libc::SYS_ioctl, [input, 0, 0, 0, 0, 0]),
        ("chdir", libc::SYS_chdir, [path, 0, 0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [none; 6]),
        // The network.
        ("socket", libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0, 0, 0, 0]),
        ("local socket", libc::SYS_socket, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, 0, 0, 0]),
        ("netlink socket", libc::SYS_socket, [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0, 0, 0, 0]),
        ("socketpair", libc::SYS_socketpair, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, limits, 0, 0]),
        ("connect", libc::SYS_connect, [input, none, 0, 0, 0, 0]),
        ("sendmsg", libc::SYS_sendmsg, [2, none, 0, 0, 0, 0]),
        ("recvmsg", libc::SYS_recvmsg, [2, none, 0, 0, 0, 0]),
        // Processes and threads.
        ("execve", libc::SYS_execve, [path, none, none, 0, 0, 0]),
        ("execveat", libc::SYS_execveat, [here, path, none, none, 0, 0]),
        ("clone", libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0, 0]),
        ("clone of a thread", libc::SYS_clone, [(libc::CLONE_VM | libc::CLONE_THREAD).into(), 0, 0, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [none, 64, 0, 0, 0, 0]),
        ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0, 0]),
        ("setns", libc::SYS_setns, [input, 0, 0, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [libc::PTRACE_TRACEME.into(), 0, 0, 0, 0, 0]),
        ("ptrace of the parent", libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), parent, 0, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [parent, none, 0, none, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [parent, none, 0, none, 0, 0]),
        ("process_madvise", libc::SYS_process_madvise, [0; 6]),
        ("pidfd_open", libc::SYS_pidfd_open, [parent, 0, 0, 0, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [input, 0, 0, 0, 0, 0]),
        ("kcmp", libc::SYS_kcmp, [own, parent, 0, 0, 0, 0]),
        // Signals, without one.
        ("kill of the parent", libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
        ("kill of the group", libc::SYS_kill, [0; 6]),
        ("kill of all", libc::SYS_kill, [-1, 0, 0, 0, 0, 0]),
        ("kill of its group", libc::SYS_kill, [-own, 0, 0, 0, 0, 0]),
        ("tgkill of the parent", libc::SYS_tgkill, [parent, parent, 0, 0, 0, 0]),
        ("tkill of the parent", libc::SYS_tkill, [parent, 0, 0, 0, 0, 0]),
        ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [own, 0, none, 0, 0, 0]),
        ("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo, [own, own, 0, none, 0, 0]),
        ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [input, 0, none, 0, 0, 0]),
        // Memory.
        ("executable memory", libc::SYS_mmap, [0, page, execute, anonymous, -1, 0]),
        ("memory of a file", libc::SYS_mmap, [0, page, read, private, input, 0]),
        ("mprotect to executable", libc::SYS_mprotect, [0, page, execute, 0, 0, 0]),
        ("pkey_mprotect", libc::SYS_pkey_mprotect, [0, page, execute, -1, 0, 0]),
        ("shmget", libc::SYS_shmget, [0, page, 0o1000, 0, 0, 0]),
        ("shmat", libc::SYS_shmat, [0; 6]),
        ("poison of a page", libc::SYS_madvise, [0, page, libc::MADV_HWPOISON.into(), 0, 0, 0]),
        ("mlockall", libc::SYS_mlockall, [0; 6]),
        ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
        // Limits, identity and the kernel.
        ("prlimit64 of the parent", libc::SYS_prlimit64, [parent, 0, 0, limits, 0, 0]),
        ("prlimit64 with a new limit", libc::SYS_prlimit64, [0, 0, limits, 0, 0, 0]),
        ("setpriority", libc::SYS_setpriority, [0; 6]),
        ("sched_setaffinity", libc::SYS_sched_setaffinity, [0, 8, limits, 0, 0, 0]),
        ("setuid", libc::SYS_setuid, [0; 6]),
        ("capset", libc::SYS_capset, [none; 6]),
        ("prctl", libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0, 0]),
        ("seccomp", libc::SYS_seccomp, [1, 0, none, 0, 0, 0]),
        ("personality", libc::SYS_personality, [0; 6]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, limits, 0, 0, 0, 0]),
        ("io_setup", libc::SYS_io_setup, [1, limits, 0, 0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0; 6]),
        ("perf_event_open", libc::SYS_perf_event_open, [none; 6]),
        ("keyctl", libc::SYS_keyctl, [0; 6]),
        ("add_key", libc::SYS_add_key, [none; 6]),
        ("init_module", libc::SYS_init_module, [none; 6]),
        ("reboot", libc::SYS_reboot, [0; 6]),
        ("inotify_init1", libc::SYS_inotify_init1, [0; 6]),
        ("epoll_create1", libc::SYS_epoll_create1, [0; 6]),
        ("timerfd_create", libc::SYS_timerfd_create, [0; 6]),
    ]);
    calls
}

/// Does what a compiler does.
fn work(mut output: &File) {
    let mut bytes = vec![1_u8; 64 << 20];
    bytes.extend_from_within(..);
    let seeded: HashMap<usize, usize> = (0..1000).map(|key| (key, key)).collect();
    let began = Instant::now();
    output.write_all(&bytes[..seeded.len()]).expect("allowed");
    assert!(began.elapsed().as_secs() < 60 && std::panic::catch_unwind(|| panic!("on purpose")).is_err());
    writeln!(io::stderr(), "worked").expect("allowed");
}

#[expect(unconditional_recursion, reason = "it overflows the stack")]
fn overflow(depth: usize) -> usize {
    std::hint::black_box(overflow(std::hint::black_box(depth + 1))) + 1
}

#[test]
fn forbidden_system_calls_return_eperm() {
    let reported = reported(&run("forbidden"));
    assert!(reported.len() > 80, "{reported:?}");
    let others: Vec<_> = reported.iter().filter(|(_, number)| **number != libc::EPERM).collect();
    assert!(others.is_empty(), "these return another error, or none: {others:?}");
}

#[test]
fn unlisted_system_calls_return_eperm() {
    let reported = reported(&run("all"));
    assert_eq!(reported.len(), unlisted().count());
    let others: Vec<_> = reported.iter().filter(|(_, number)| **number != libc::EPERM).collect();
    assert!(others.is_empty(), "these return another error, or none: {others:?}");
}

#[test]
fn confined_process_can_work() {
    let output = run("work");
    let text = stderr(&output);
    assert!(output.status.success() && text.contains("on purpose") && text.ends_with("worked\n"), "{text}");
}

#[test]
fn confined_process_can_end_itself() {
    for (task, signal, message) in [
        ("abort", Signal::ABORT, ""),
        ("overflow", Signal::ABORT, "has overflowed its stack"),
        ("memory", Signal::ABORT, "memory allocation of 2147483648 bytes failed"),
        ("kill", Signal::KILL, ""),
    ] {
        let output = run(task);
        let text = stderr(&output);
        assert_eq!(output.status.signal(), Some(signal.as_raw()), "{task}: {text}");
        assert!(text.contains(message), "{task}: {text}");
    }
}
