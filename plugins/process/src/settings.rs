//! Which groups of processes an operator wants to see.

use std::collections::BTreeMap;

use gauged_plugin::Error;
use gauged_plugin::select::Pattern;

/// The longest name that the kernel keeps of a process; of a longer one it keeps the beginning.
const NAME_BYTES: usize = 15;

/// As many groups as there are bits to remember which of them a process belongs to.
const GROUPS: usize = 64;

/// The configuration.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    groups: BTreeMap<String, Written>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    name: Option<String>,
    command: Option<Pattern>,
}

/// A group: the processes with such a name and such a command line.
#[derive(Debug)]
pub(crate) struct Group {
    /// What it is called.
    pub(crate) label: String,
    name: Option<Pattern>,
    pub(crate) command: Option<Pattern>,
}

impl Group {
    /// Whether a process of this name can be one of it.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

impl Settings {
    /// The groups, by what they are called.
    pub(crate) fn groups(self) -> Result<Vec<Group>, Error> {
        if self.groups.len() > GROUPS {
            return Err(Error::invalid("groups", format!("there are more than {GROUPS}; leave some out")));
        }
        let groups = self.groups.into_iter().map(|(label, Written { name, command })| {
            let key = |end: &str| format!("groups.{label}{end}");
            if name.is_none() && command.is_none() {
                return Err(Error::invalid(&key(""), "has neither a name nor a command; write at least one of them"));
            }
            // A pattern that is longer without its stars than any name would never match, and nobody would know why.
            let is_long = |name: &String| name.bytes().filter(|&byte| byte != b'*').count() > NAME_BYTES;
            if name.as_ref().is_some_and(is_long) {
                let why = "the kernel keeps 15 bytes of a name; write the beginning and *, or a command";
                return Err(Error::invalid(&key(".name"), why));
            }
            Ok(Group { label, name: name.as_deref().map(Pattern::new), command })
        });
        groups.collect()
    }
}
