//! Which groups there are, and which files tell of each. A listing has only names: what is a group among them shows when
//! it is listed in turn, so names of the kernel's own files are passed over.

use std::collections::BTreeMap;

use gauged_plugin::Error;
use gauged_plugin::files::{self, Failure};
use gauged_plugin::kernel::File;
use gauged_plugin::select::Selection;

use crate::Once;
use crate::accounts::{Kind, Limits};

/// Where control groups are mounted, on every system that is likely to be met.
const ROOT: &str = "/sys/fs/cgroup";

/// How many directories deep below that all plugins may look: a container in a pod in a slice, under a controller.
const DEPTH: usize = 6;

/// How many directories are listed in a walk; a host with more has groups that nobody can look at.
const DIRECTORIES: usize = 5_000;

/// The controllers of version 1 that account something, as their hierarchies are called, alone or together
/// (`cpu,cpuacct`).
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "blkio", "pids"];

/// What the kernel's files in a group begin with, up to the point, and those that have none.
const OF_THE_KERNEL: [&str; 21] = [
    "blkio",
    "cgroup",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "dmem",
    "freezer",
    "hugetlb",
    "io",
    "irq",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
    "tasks",
    "notify_on_release",
];

/// How systemd's groups end, whatever they begin with.
const UNITS: [&str; 6] = [".service", ".scope", ".slice", ".mount", ".socket", ".swap"];

/// A group to be measured.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Its path below the root of its hierarchy, `system.slice/nginx.service`.
    pub(crate) label: String,
    /// The files that change all the time.
    pub(crate) files: Vec<(Kind, String)>,
    /// Those that hardly ever do were read when it was found.
    pub(crate) limits: Limits,
}

impl Group {
    pub(crate) fn labels(&self) -> [(&str, &str); 1] {
        [("cgroup", &self.label)]
    }
}

/// All groups that are picked, by label. In a hybrid layout a group is in several hierarchies, and has the files of all.
pub(crate) fn groups(selection: &Selection, strange: &mut Once) -> Result<Vec<Group>, Error> {
    let Some(names) = files::list_if_there(ROOT)? else {
        return Err(Error::Unsupported(format!("{ROOT} is not there: this host has no control groups")));
    };
    let roots = hierarchies(&names);
    if roots.is_empty() {
        return Err(Error::Unsupported(format!("{ROOT} has no control groups that account anything")));
    }
    let mut walk = Walk { selection, found: BTreeMap::new(), left: DIRECTORIES };
    for root in roots {
        walk.hierarchy(&root)?;
    }
    let mut groups = Vec::new();
    for (label, files) in walk.found {
        let (limits, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(kind, _)| kind.is_limit());
        // Version 2 beside version 1 accounts nothing before Linux 4.15. What tells nothing would pass for gone at each
        // tick, and have all looked for anew.
        if files.is_empty() {
            continue;
        }
        groups.push(Group { label, files, limits: read_limits(limits, strange)? });
    }
    Ok(groups)
}

/// The roots of the hierarchies: the mount itself in version 2; in version 1 a directory a controller, each once though
/// links lead to it by several names, and in a hybrid layout version 2 in a directory beside them, the last one, so that
/// controllers win over what it says without them.
fn hierarchies(names: &[String]) -> Vec<String> {
    if names.iter().any(|name| name == "cgroup.controllers") {
        return vec![ROOT.to_owned()];
    }
    let mut roots: Vec<&String> = Vec::new();
    for controller in CONTROLLERS {
        let has = |name: &&String| name.split(',').any(|part| part == controller);
        let root = names.iter().filter(has).max_by_key(|name| name.len());
        roots.extend(root.filter(|root| !roots.contains(root)));
    }
    roots.extend(names.iter().find(|name| *name == "unified"));
    roots.iter().map(|name| format!("{ROOT}/{name}")).collect()
}

struct Walk<'a> {
    selection: &'a Selection,
    found: BTreeMap<String, Vec<(Kind, String)>>,
    /// How many directories may still be listed.
    left: usize,
}

impl Walk<'_> {
    fn hierarchy(&mut self, root: &str) -> Result<(), Error> {
        // The root of a hierarchy is the host itself.
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            if self.left == 0 {
                return Ok(());
            }
            self.left -= 1;
            let names = match files::list(&directory) {
                Ok(names) => names,
                Err(Failure { error: files::Error::NotFound | files::Error::WrongType, .. }) => continue,
                Err(failure) => return Err(failure.into()),
            };
            let label = directory.strip_prefix(root).unwrap_or_default().trim_start_matches('/');
            if !label.is_empty() && self.selection.picks(label) {
                self.take(label, &directory, &names);
            }
            if directory.matches('/').count() < ROOT.matches('/').count() + DEPTH {
                let groups = names.iter().rev().filter(|name| may_be_group(name));
                open.extend(groups.map(|name| format!("{directory}/{name}")));
            }
        }
        Ok(())
    }

    fn take(&mut self, label: &str, directory: &str, names: &[String]) {
        let has = |name: &str| names.binary_search_by(|other| other.as_str().cmp(name)).is_ok();
        let files = self.found.entry(label.to_owned()).or_default();
        for (name, kind) in Kind::FILES {
            // The same of the group alone and of all below it: kernels have one of them, or both.
            let is_second = |suffix: &str| name.strip_suffix(suffix).is_none() && has(&[name, suffix].concat());
            let is_told = files.iter().any(|(_, path)| path.ends_with(&format!("/{name}")));
            if has(name) && !is_told && !is_second("_recursive") {
                files.push((kind, format!("{directory}/{name}")));
            }
        }
    }
}

fn may_be_group(name: &str) -> bool {
    let is_of_kernel = OF_THE_KERNEL.contains(&name.split('.').next().unwrap_or(name));
    UNITS.iter().any(|unit| name.ends_with(unit)) || !is_of_kernel
}

fn read_limits(files: Vec<(Kind, String)>, strange: &mut Once) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    for (kind, path) in files {
        match File::read(&path) {
            Ok(file) => limits.take(kind, &file).unwrap_or_else(|error| strange.warn_of(&error)),
            Err(failure) if failure.error == files::Error::Timeout => return Err(failure.into()),
            Err(_) => {}
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_by_name() {
        let roots = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let roots = hierarchies(&names);
            roots.iter().map(|root| root.trim_start_matches("/sys/fs/cgroup").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(roots(&["cgroup.controllers", "cgroup.procs", "cpu.stat", "memory", "unified"]), [""]);
        let linked =
            ["blkio", "cpu", "cpu,cpuacct", "cpuacct", "cpuset", "memory", "net_cls,net_prio", "pids", "systemd"];
        assert_eq!(roots(&linked), ["/cpu,cpuacct", "/memory", "/blkio", "/pids"]);
        assert_eq!(roots(&["cpu", "cpuacct", "memory", "unified"]), ["/cpu", "/cpuacct", "/memory", "/unified"]);
        assert_eq!(roots(&["systemd", "freezer"]), [""; 0]);
    }

    #[test]
    fn files_of_the_kernel_are_not_taken_for_groups() {
        for group in
            ["system.slice", "docker", "memory.service", "io.slice", "a.b", "kubepods", "lxc.payload.web", "cpus"]
        {
            assert!(may_be_group(group), "{group}");
        }
        for file in [
            "cpu.stat",
            "memory.current",
            "tasks",
            "notify_on_release",
            "cgroup.procs",
            "hugetlb.2MB.max",
            "irq.pressure",
        ] {
            assert!(!may_be_group(file), "{file}");
        }
    }
}
