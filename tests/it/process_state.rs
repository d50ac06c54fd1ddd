//! The state of processes that do not end, for the message of a failed test: what their threads wait for, as far as the
//! system has a `/proc` and lets this user read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// A process and the processes in its mount namespace, where that is not the namespace of this process.
pub fn processes_beside(process: u32) -> Vec<u32> {
    let namespace =
        mount_namespace(process).filter(|found| Some(found) != mount_namespace(std::process::id()).as_ref());
    let is_beside = |other: u32| namespace.is_some() && mount_namespace(other) == namespace;
    numbers("/proc").into_iter().filter(|&other| other == process || is_beside(other)).collect()
}

/// The mount namespace of a process. Its main thread may have ended and left it while another thread still hangs.
fn mount_namespace(process: u32) -> Option<PathBuf> {
    let threads = format!("/proc/{process}/task");
    numbers(&threads).into_iter().find_map(|thread| fs::read_link(format!("{threads}/{thread}/ns/mnt")).ok())
}

/// The numbers that are names in a directory, in order: processes in `/proc`, threads in `/proc/PID/task`.
fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// A process and its threads: name, state, system call, function of the kernel, and stack in the kernel. Threads in the same
/// state are described once.
pub fn describe(process: u32) -> String {
    let mut states = BTreeMap::<String, Vec<u32>>::new();
    for thread in numbers(&format!("/proc/{process}/task")) {
        states.entry(thread_state(process, thread)).or_default().push(thread);
    }
    let mut text =
        format!("process {process}: {}\n", read(&format!("/proc/{process}/cmdline")).replace('\0', " ").trim());
    for (state, threads) in states {
        let _ = writeln!(text, "  threads {threads:?}: {state}");
    }
    text
}

/// The state of a thread, in several lines where its stack is readable.
fn thread_state(process: u32, thread: u32) -> String {
    let read = |file: &str| read(&format!("/proc/{process}/task/{thread}/{file}"));
    let status = read("status");
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or_default().trim();
    // Its arguments differ between threads that hang in the same place.
    let system_call = read("syscall").split(' ').next().unwrap_or_default().to_owned();
    let stack = read("stack").lines().fold(String::new(), |stack, frame| stack + "\n      " + frame);
    format!("{}, {state}, system call {system_call}, in {}{stack}", read("comm"), read("wchan"))
}

/// A file as text, without space at its end; empty when it cannot be read.
fn read(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).trim_end().to_owned()
}
