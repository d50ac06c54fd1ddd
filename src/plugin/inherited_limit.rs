//! The resource limits that the agent was started with, by the names of those who set them: a failure under such a limit is not
//! the plugin's. Knows nothing of threads and processes, whose limits are in `thread`.

use std::fmt;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// A limit of the agent's own process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InheritedLimit {
    kind: &'static Kind,
    value: u64,
}

/// A kind of limit, with its names.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    resource: Resource,
    /// The end of "a limit on …".
    subject: &'static str,
    name: &'static str,
    remedy: &'static str,
    unit: Unit,
}

#[derive(Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Seconds,
    Count,
}

/// All kinds that a load or a call of a plugin can meet.
static KINDS: [Kind; 6] = [
    Kind {
        resource: Resource::As,
        subject: "address space",
        name: "RLIMIT_AS",
        remedy: "raise LimitAS of the unit, or ulimit -v",
        unit: Unit::Bytes,
    },
    Kind {
        resource: Resource::Data,
        subject: "memory for data",
        name: "RLIMIT_DATA",
        remedy: "raise LimitDATA of the unit, or ulimit -d",
        unit: Unit::Bytes,
    },
    Kind {
        resource: Resource::Stack,
        subject: "the stack",
        name: "RLIMIT_STACK",
        remedy: "raise LimitSTACK of the unit, or ulimit -s",
        unit: Unit::Bytes,
    },
    Kind {
        resource: Resource::Fsize,
        subject: "the size of a file",
        name: "RLIMIT_FSIZE",
        remedy: "raise LimitFSIZE of the unit, or ulimit -f",
        unit: Unit::Bytes,
    },
    Kind {
        resource: Resource::Cpu,
        subject: "processor time",
        name: "RLIMIT_CPU",
        remedy: "raise LimitCPU of the unit, or ulimit -t",
        unit: Unit::Seconds,
    },
    Kind {
        resource: Resource::Nofile,
        subject: "open files",
        name: "RLIMIT_NOFILE",
        remedy: "raise LimitNOFILE of the unit, or ulimit -n",
        unit: Unit::Count,
    },
];

impl InheritedLimit {
    /// The limit of a resource, if there is one.
    pub(crate) fn current(resource: Resource) -> Option<Self> {
        let kind = KINDS.iter().find(|kind| kind.resource == resource)?;
        Some(Self { kind, value: getrlimit(resource).current? })
    }

    /// The first of these limits that is lower than this.
    pub(crate) fn below(resources: &[Resource], needed: u64) -> Option<Self> {
        resources.iter().filter_map(|resource| Self::current(*resource)).find(|limit| limit.value < needed)
    }

    /// The limit that an error of a system call is due to, if it is due to one.
    pub(crate) fn behind(errno: Errno) -> Option<Self> {
        match errno {
            Errno::NOMEM => Self::current(Resource::As).or_else(|| Self::current(Resource::Data)),
            Errno::FBIG => Self::current(Resource::Fsize),
            Errno::MFILE => Self::current(Resource::Nofile),
            _ => None,
        }
    }

    /// The action for the operator.
    pub(crate) fn remedy(self) -> &'static str {
        self.kind.remedy
    }
}

/// The end of a sentence about what has reached it.
impl fmt::Display for InheritedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { subject, name, unit, .. } = self.kind;
        let value = match unit {
            Unit::Bytes => bytesize::ByteSize(self.value).to_string(),
            Unit::Seconds => humantime::format_duration(Duration::from_secs(self.value)).to_string(),
            Unit::Count => self.value.to_string(),
        };
        write!(f, "the agent's own limit of {value} on {subject} ({name})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_with_value_and_remedy() {
        let limit = |resource, value| {
            let kind = KINDS.iter().find(|kind| kind.resource == resource).expect("known");
            InheritedLimit { kind, value }
        };
        let space = limit(Resource::As, 1_024_000_000);
        assert_eq!(space.to_string(), "the agent's own limit of 976.6 MiB on address space (RLIMIT_AS)");
        assert_eq!(space.remedy(), "raise LimitAS of the unit, or ulimit -v");
        let text = limit(Resource::Cpu, 90).to_string();
        assert_eq!(text, "the agent's own limit of 1m 30s on processor time (RLIMIT_CPU)");
        let text = limit(Resource::Nofile, 8).to_string();
        assert_eq!(text, "the agent's own limit of 8 on open files (RLIMIT_NOFILE)");
    }

    #[test]
    fn limits_below_a_need_are_found() {
        let limit = InheritedLimit::current(Resource::Nofile);
        assert_eq!(InheritedLimit::below(&[Resource::Nofile], 0), None);
        assert_eq!(InheritedLimit::below(&[Resource::Nofile], u64::MAX), limit);
    }
}
