//! Open files of processes, counted by the kernel or by name.

use gauged_plugin::files::{FileStatus, FileType};

use super::*;

#[test]
fn unreadable_open_files_are_left_out() {
    let mut host = Host::from_fixture("fixtures/web-1");
    host.file_fails("/proc/814/fd", not_permitted());
    host.file_fails("/proc/815/fd", not_permitted());
    let mut plugin = start(host, WEB);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample.get(r#"process.group_open_fds{group="nginx"}"#), None);
    assert_eq!(sample[r#"process.group_open_fds{group="shop"}"#], 6);
    let why =
        "WARN without the open files of its groups: /proc/*/fd is not permitted: Permission denied; run it as root";
    assert_eq!(plugin.host().warnings(), [why]);

    let mut host = Host::from_fixture("fixtures/web-1");
    host.file_fails("/proc/1040/fd", not_permitted());
    host.file_fails("/proc/1040/cmdline", files::Error::TooLarge(1 << 20));
    let mut plugin = start(host, r#"{"groups": {"java": {"name": "java"}, "shop": {"command": "*shop*"}}}"#);
    let sample = plugin.tick().expect("a sample");
    assert_eq!(sample.get(r#"process.group_open_fds{group="java"}"#), None);
    assert_eq!(sample[r#"process.group_processes{group="shop"}"#], 0, "an oversized command line counts as empty");
    assert_eq!(plugin.host().warnings(), [why]);
}

#[test]
fn old_kernel_counts_open_files_by_name() {
    let empty = FileStatus { kind: FileType::Directory, ..FileStatus::PLAIN };
    let mut host = Host::from_fixture("fixtures/web-1");
    for pid in [812, 814, 815, 816, 1040, 1041] {
        host.status(&format!("/proc/{pid}/fd"), empty);
    }
    let sample = start(host.clone(), WEB).tick().expect("a sample");
    assert_eq!(sample[r#"process.group_open_fds{group="shop"}"#], 6);
    // A kernel that has counts has them for processes without open files, too, and is asked for no names.
    for pid in [1040, 1041] {
        host.status(&format!("/proc/{pid}/fd"), FileStatus { size: 9, ..empty });
    }
    let mut plugin = start(host, r#"{"groups": {"java": {"name": "java"}, "init": {"name": "systemd"}}}"#);
    plugin.tick().expect("a sample");
    for pid in [1040, 1041] {
        plugin.host().status(&format!("/proc/{pid}/fd"), empty);
    }
    assert_eq!(plugin.tick().expect("a sample")[r#"process.group_open_fds{group="java"}"#], 0);
}
