//! The files that the agent lets every plugin read, from the agent's own list.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Capability;
use crate::component::covers;

/// The list, which the agent has, too.
const TEXT: &str = include_str!("../default_grants.txt");

/// The deepest group that `**` stands for.
const GROUP_DEPTH: usize = 6;

/// The default grants by the beginning of their paths: a test that reads each of a thousand processes compares with few.
static DEFAULT: LazyLock<HashMap<&str, Vec<Capability>>> = LazyLock::new(|| {
    let mut grants: HashMap<&str, Vec<Capability>> = HashMap::new();
    for path in TEXT.lines().filter(|line| line.starts_with('/')).filter_map(|line| line.split(' ').next()) {
        grants.entry(beginning(path)).or_default().extend(expand(path).into_iter().map(Capability::read));
    }
    grants
});

/// The first two segments, which no pattern of the list has a wildcard in.
fn beginning(path: &str) -> &str {
    path.match_indices('/').nth(2).map_or(path, |(end, _)| &path[..end])
}

/// The patterns that a path of the list stands for.
fn expand(path: &str) -> Vec<String> {
    match path.split_once("/**") {
        Some((before, after)) => {
            (0..=GROUP_DEPTH).map(|depth| format!("{before}{}{after}", "/*".repeat(depth))).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// Whether every plugin has a capability: to read a file, or to list a directory of such files. The sizes of mounted file systems
/// are open; which ones are mounted is not scripted.
pub(super) fn is_granted(capability: &Capability, is_list: bool) -> bool {
    match &*capability.kind {
        Capability::READ => {
            let mut grants = DEFAULT.get(beginning(&capability.target)).into_iter().flatten();
            grants.any(|granted| covers(granted, capability) || (is_list && may_list(granted, capability)))
        }
        kind => kind == Capability::USAGE,
    }
}

/// Whether a read grant includes listing a directory: it does if its next segment is a pattern.
pub(super) fn may_list(granted: &Capability, directory: &Capability) -> bool {
    if granted.kind != Capability::READ || directory.kind != Capability::READ {
        return false;
    }
    let directory = directory.target.trim_end_matches('/');
    let depth = directory.matches('/').count() + 1;
    let mut segments = granted.target.split('/');
    let parent: Vec<&str> = segments.by_ref().take(depth).collect();
    let parent = Capability::read(parent.join("/"));
    let is_open = segments.next().is_some_and(|next| next.contains('*'));
    is_open && covers(&parent, &Capability::read(directory))
}

/// The path of the same file of process 1, as the agent reads it: `/proc/net` and `/proc/mounts` would be those of the agent's
/// own process.
pub(super) fn first_process_path(path: &str) -> Cow<'_, str> {
    let rest = path.strip_prefix("/proc/").filter(|rest| {
        *rest == "mounts" || rest.strip_prefix("net").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    rest.map_or(Cow::Borrowed(path), |rest| Cow::Owned(format!("/proc/1/{rest}")))
}

/// The same capability with a path of process 1.
pub(super) fn capability_of_first_process(capability: &Capability) -> Cow<'_, Capability> {
    match first_process_path(&capability.target) {
        Cow::Owned(path) if capability.kind == Capability::READ => Cow::Owned(Capability::read(path)),
        _ => Cow::Borrowed(capability),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Error, list, read, read_link, read_many, stat};
    use crate::testing::Host;

    #[test]
    fn grants_are_those_of_the_agent() {
        let read = |path: &str, is_list| is_granted(&Capability::read(path), is_list);
        for open in [
            "/proc/stat",
            "/proc/1/net/dev",
            "/proc/sys/vm/swappiness",
            "/sys/class/net/eth0/mtu",
            "/sys/fs/cgroup/memory.pressure",
            "/sys/fs/cgroup/a/b/memory.current",
        ] {
            assert!(read(open, false), "{open}");
        }
        for closed in
            ["/proc/1/net/tcp", "/proc/7/stat", "/proc/cmdline", "/sys/class/dmi/id/board_serial", "/etc/hosts"]
        {
            assert!(!read(closed, false), "{closed}");
        }
        assert!(read("/sys/class/net", true) && read("/sys/fs/cgroup/a", true) && !read("/sys/class", true));
        assert!(!read("/proc", true) && !read("/sys/class/dmi", true));
    }

    #[test]
    fn networks_and_mounts_are_those_of_process_1() {
        for (path, first) in [
            ("/proc/net", "/proc/1/net"),
            ("/proc/net/dev", "/proc/1/net/dev"),
            ("/proc/mounts", "/proc/1/mounts"),
            ("/proc/network", "/proc/network"),
            ("/proc/2/net/dev", "/proc/2/net/dev"),
        ] {
            assert_eq!(first_process_path(path), first);
        }
    }

    #[test]
    fn network_is_that_of_process_1() {
        let mut host = Host::new();
        host.file("/proc/net/dev", "eth0").file("/proc/1/net/snmp", "Ip");
        host.link("/proc/mounts", "7/mounts").deny(&Capability::read("/proc/net/arp"));
        host.run(|| {
            assert_eq!(read("/proc/1/net/dev").expect("there"), b"eth0");
            assert_eq!(read("/proc/net/snmp").expect("there"), b"Ip");
            assert_eq!(list("/proc/net").expect("there"), ["dev", "snmp"]);
            assert!(matches!(read("/proc/net/arp").expect_err("denied").error, Error::Denied(_)));
            let both = read_many(&["/proc/net/snmp".to_owned(), "/proc/1/net/dev".to_owned()], 4096);
            assert_eq!(both, [Ok(b"Ip".to_vec()), Ok(b"eth0".to_vec())]);
            assert_eq!(stat("/proc/net/snmp").map(|status| status.size), Ok(2));
            assert_eq!(read_link("/proc/1/mounts").expect("there"), "7/mounts");
        });
    }
}
