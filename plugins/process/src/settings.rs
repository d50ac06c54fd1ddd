//! The settings: groups of processes.

use std::collections::BTreeMap;

use gauged_plugin::Error;
use gauged_plugin::select::Pattern;

/// The length to which the kernel cuts the name of a process.
const MAX_NAME_BYTES: usize = 15;

/// The most groups: membership is kept in 64 bits per process.
const MAX_GROUPS: usize = 64;

gauged_plugin::settings! {
    /// Groups of processes by the name of the group, at most 64.
    "groups": "table of tables" = "{}";
    /// The name of its processes, as in `ps -o comm`; `*` stands for any text.
    "groups.*.name": "pattern";
    /// The command line of its processes, as in `ps -o args`.
    "groups.*.command": "pattern";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    groups: BTreeMap<String, GroupSettings>,
}

/// A group as configured.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupSettings {
    name: Option<String>,
    command: Option<Pattern>,
}

/// A group: the processes with such a name and such a command line.
#[derive(Debug)]
pub(crate) struct Group {
    /// The name of the group in the output.
    pub(crate) label: String,
    name: Option<Pattern>,
    pub(crate) command: Option<Pattern>,
}

impl Group {
    /// Whether a process name matches the group.
    pub(crate) fn matches_name(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

impl Settings {
    /// The groups, sorted by name.
    pub(crate) fn groups(self) -> Result<Vec<Group>, Error> {
        if self.groups.len() > MAX_GROUPS {
            return Err(Error::invalid("groups", format!("has more than {MAX_GROUPS} groups; remove some")));
        }
        let groups = self.groups.into_iter().map(|(label, GroupSettings { name, command })| {
            let key = |end: &str| format!("groups.{label}{end}");
            if name.is_none() && command.is_none() {
                return Err(Error::invalid(&key(""), "has neither name nor command; set at least one"));
            }
            // A pattern with more plain characters than a name has could never match.
            let is_long = |name: &String| name.bytes().filter(|&byte| byte != b'*').count() > MAX_NAME_BYTES;
            if name.as_ref().is_some_and(is_long) {
                let why = "the kernel keeps 15 bytes of a name; use a prefix followed by *, or a command";
                return Err(Error::invalid(&key(".name"), why));
            }
            Ok(Group { label, name: name.as_deref().map(Pattern::new), command })
        });
        groups.collect()
    }
}
