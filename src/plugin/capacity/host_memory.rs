//! How much memory the agent could have: the host's, or what its control group and those around it are limited to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::procfs::leading_number;

/// Where the hierarchy of version 2 is mounted, and below which directories the controllers of version 1 are.
const GROUPS: &str = "sys/fs/cgroup";

/// The memory of the host whose root is here, or of the agent's control group there if that is less. None where the host does not tell.
pub(super) fn total_bytes(root: &Path) -> Option<u64> {
    let host = fs::read(root.join("proc/meminfo")).ok().and_then(|text| host_bytes(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| leading_number(&fs::read(root.join(file)).ok()?));
    host.into_iter().chain(limits).min()
}

/// The size of the memory in `/proc/meminfo`.
fn host_bytes(meminfo: &[u8]) -> Option<u64> {
    let line = meminfo.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"MemTotal:"))?;
    leading_number(line.trim_ascii_start())?.checked_mul(1024)
}

/// The files with the limits of a process's control group and all around it, by the text of its `/proc/self/cgroup`. In a
/// container some are not there, and the outermost is the container's. An unlimited group has `max`, or a number that is larger
/// than any memory.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let groups = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_memory = controllers.split(',').any(|controller| controller == "memory");
        let (directory, file) = match controllers {
            "" => (PathBuf::from(GROUPS), "memory.max"),
            _ if is_memory => (Path::new(GROUPS).join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        Some((directory, file, path))
    });
    let mut files = Vec::new();
    for (directory, file, path) in groups {
        let mut group = directory;
        files.push(group.join(file));
        for name in path.split('/').filter(|name| !name.is_empty() && *name != "..") {
            group.push(name);
            files.push(group.join(file));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn total(files: &[(&str, &str)]) -> Option<u64> {
        total_bytes(host(files).path())
    }

    #[test]
    fn host_memory_counts_without_a_limit() {
        let meminfo = ("proc/meminfo", "MemTotal:       16384 kB\nMemFree:            8 kB\n");
        assert_eq!(total(&[meminfo]), Some(16 << 20));
        assert_eq!(
            total(&[meminfo, ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")]),
            Some(16 << 20)
        );
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(total(&[meminfo, ("proc/self/cgroup", "5:cpu,memory:/\n"), unlimited]), Some(16 << 20));
        assert_eq!(total(&[]), None);
        assert_eq!(total(&[("proc/meminfo", "MemTotal: many\n")]), None);
    }

    #[test]
    fn smallest_control_group_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal: 16384 kB\n");
        let own = ("sys/fs/cgroup/system.slice/gauged.service/memory.max", "4194304\n");
        let around = ("sys/fs/cgroup/system.slice/memory.max", "2097152\n");
        let path = ("proc/self/cgroup", "0::/system.slice/gauged.service\n");
        assert_eq!(total(&[meminfo, path, own]), Some(4 << 20));
        assert_eq!(total(&[meminfo, path, own, around]), Some(2 << 20));
        // A container without a namespace of its own for control groups: the path is the host's, the mount the container's.
        let container = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
        assert_eq!(
            total(&[meminfo, ("proc/self/cgroup", "7:memory:/docker/0123\n2:cpu:/\n"), container]),
            Some(1 << 20)
        );
        assert_eq!(total(&[("proc/self/cgroup", "0::/../x:y\n"), ("sys/fs/cgroup/x:y/memory.max", "7\n")]), Some(7));
    }
}
