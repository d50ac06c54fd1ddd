//! The search for groups and their files.

use std::collections::BTreeMap;

use gauged_plugin::Error;
use gauged_plugin::files::{self, Entry, Failure, FileType};
use gauged_plugin::kernel::File;
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;

use crate::report::{InDirectory, InFile, ROOT};
use crate::usage::{FileKind, Limits};

/// The depth below the mount point that is open to all plugins: a container in a pod in a slice, under a controller.
const MAX_DEPTH: usize = 6;

/// The most directories listed in one walk, to bound its time.
const MAX_DIRECTORIES: usize = 5_000;

/// The number of limits that are read together: few calls of the agent, and little memory.
const LIMITS_PER_BATCH: usize = 500;

/// The controllers of version 1 with accounting; hierarchies have their names, alone or joined (`cpu,cpuacct`).
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "blkio", "pids"];

/// A selected group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The path below the root of the hierarchy: `system.slice/nginx.service`.
    pub(crate) label: String,
    /// The files read at each tick.
    pub(crate) files: Vec<(FileKind, String)>,
    /// The limits, read during the walk.
    pub(crate) limits: Limits,
}

impl Group {
    pub(crate) fn labels(&self) -> [(&str, &str); 1] {
        [("cgroup", &self.label)]
    }
}

/// Finds the selected groups, sorted by label. In a hybrid layout a group has the files of several hierarchies.
pub(crate) fn find_groups(selection: &Selection, skipped: &mut Skipped) -> Result<Vec<Group>, Error> {
    let Some(names) = files::list_if_exists(ROOT)? else {
        return Err(Error::Unsupported(format!("{ROOT} does not exist: no control groups are mounted there")));
    };
    let roots = hierarchy_roots(&names);
    if roots.is_empty() {
        return Err(Error::Unsupported(format!("{ROOT} has no control groups with accounting")));
    }
    let mut walk = Walk { selection, found: BTreeMap::new(), left: MAX_DIRECTORIES, refused: None };
    for root in roots {
        walk.walk_hierarchy(&root, skipped)?;
    }
    // No groups were seen, which does not mean that there are none.
    if let (Some(failure), true) = (walk.refused, walk.found.is_empty()) {
        return Err(failure.into());
    }
    let (mut groups, mut limits) = (Vec::new(), Vec::new());
    for (label, files) in walk.found {
        let (of_limits, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(kind, _)| kind.is_limit());
        // Before Linux 4.15, version 2 beside version 1 has no accounting. A group without files would count as gone at
        // each tick and cause a new walk.
        if files.is_empty() {
            continue;
        }
        limits.extend(of_limits.into_iter().map(|(kind, path)| (groups.len(), kind, path)));
        groups.push(Group { label, files, limits: Limits::default() });
    }
    read_limits(&mut groups, &limits, skipped);
    Ok(groups)
}

/// The roots of the hierarchies:
///
/// - version 2: the mount point itself, which has files such as `cgroup.controllers`;
/// - version 1: one directory per controller, without duplicates by links;
/// - hybrid: the directory `unified` of version 2 last, so that the controllers of version 1 win.
fn hierarchy_roots(names: &[String]) -> Vec<String> {
    if names.iter().any(|name| name.starts_with("cgroup.")) {
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
    found: BTreeMap<String, Vec<(FileKind, String)>>,
    /// The number of directories left until the limit.
    left: usize,
    /// Why the root of a hierarchy could not be listed.
    refused: Option<Failure>,
}

impl Walk<'_> {
    fn walk_hierarchy(&mut self, root: &str, skipped: &mut Skipped) -> Result<(), Error> {
        // The root of a hierarchy is the host itself, not a group.
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            if self.left == 0 {
                return Ok(());
            }
            self.left -= 1;
            let entries = match files::entries(&directory) {
                Ok(entries) => entries,
                Err(Failure { error: files::Error::NotFound | files::Error::WrongType, .. }) => continue,
                // A list of groups that ends here would make groups come and go.
                Err(failure) if failure.error == files::Error::Timeout => return Err(failure.into()),
                Err(failure) => {
                    if directory == root {
                        self.refused = Some(failure.clone());
                        skipped.lose(failure, "the groups below");
                    } else {
                        skipped.lose(InDirectory(failure), "the groups below");
                    }
                    continue;
                }
            };
            let label = directory.strip_prefix(root).unwrap_or_default().trim_start_matches('/');
            if !label.is_empty() && self.selection.includes(label) {
                self.add_group(label, &directory, &entries);
            }
            if directory.matches('/').count() < ROOT.matches('/').count() + MAX_DEPTH {
                let groups = entries.iter().rev().filter(|entry| entry.kind == FileType::Directory);
                pending.extend(groups.map(|entry| [&directory, "/", &entry.name].concat()));
            }
        }
        Ok(())
    }

    fn add_group(&mut self, label: &str, directory: &str, entries: &[Entry]) {
        let has = |name: &str| entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).is_ok();
        let files = self.found.entry(label.to_owned()).or_default();
        for (name, kind) in FileKind::FILES {
            // Kernels have the file without descendants, the recursive one, or both.
            let is_second = |suffix: &str| name.strip_suffix(suffix).is_none() && has(&[name, suffix].concat());
            let is_known = |path: &str| path.rsplit_once('/').is_some_and(|(_, known)| known == name);
            if has(name) && !files.iter().any(|(_, path)| is_known(path)) && !is_second("_recursive") {
                files.push((kind, [directory, "/", name].concat()));
            }
        }
    }
}

/// Reads the limits of groups from files, each with the place of its group.
fn read_limits(groups: &mut [Group], files: &[(usize, FileKind, String)], skipped: &mut Skipped) {
    for batch in files.chunks(LIMITS_PER_BATCH) {
        let paths: Vec<String> = batch.iter().map(|(_, _, path)| path.clone()).collect();
        for ((group, kind, _), read) in batch.iter().zip(File::read_many(&paths)) {
            let limit = kind.limit_name();
            if let (Some(group), Some(file)) = (groups.get_mut(*group), skipped.keep(read.map_err(InFile), limit)) {
                skipped.keep(group.limits.parse(*kind, &file).map_err(InFile), limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchy_roots_are_found_by_name() {
        let roots = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let roots = hierarchy_roots(&names);
            roots.iter().map(|root| root.trim_start_matches("/sys/fs/cgroup").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(roots(&["cgroup.controllers", "cgroup.procs", "cpu.stat", "memory", "unified"]), [""]);
        let linked =
            ["blkio", "cpu", "cpu,cpuacct", "cpuacct", "cpuset", "memory", "net_cls,net_prio", "pids", "systemd"];
        assert_eq!(roots(&linked), ["/cpu,cpuacct", "/memory", "/blkio", "/pids"]);
        assert_eq!(roots(&["cpu", "cpuacct", "memory", "unified"]), ["/cpu", "/cpuacct", "/memory", "/unified"]);
        assert_eq!(roots(&["systemd", "freezer"]), [""; 0]);
    }
}
