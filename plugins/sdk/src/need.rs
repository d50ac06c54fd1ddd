//! What a plugin touches outside the sandbox, and what for: told to the operator, who grants it or does not.

use crate::{Capability, Need};

/// ```
/// use gauged_plugin::{Capability, Need};
///
/// let need = Need::connect("127.0.0.1:6379", "ask the server for its counters");
/// assert_eq!(need.capability, Capability::Connect("127.0.0.1:6379".to_owned()));
/// ```
impl Need {
    /// To read or list a path; `*` stands for any text within one segment. The reason completes the sentence "this
    /// plugin needs it to …".
    #[must_use]
    pub fn read(path: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Read(path.into()), reason: reason.to_owned() }
    }

    /// To see the sizes of the file system at a path; `*` stands for any text within one segment.
    #[must_use]
    pub fn usage(path: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Usage(path.into()), reason: reason.to_owned() }
    }

    /// To connect to `host:port` or `unix:/path`.
    #[must_use]
    pub fn connect(address: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Connect(address.into()), reason: reason.to_owned() }
    }

    /// To fetch from `scheme://host:port`.
    #[must_use]
    pub fn fetch(origin: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Fetch(origin.into()), reason: reason.to_owned() }
    }
}

impl Capability {
    /// The line of configuration that grants it.
    ///
    /// ```
    /// use gauged_plugin::Capability;
    ///
    /// assert_eq!(Capability::Usage("/data".to_owned()).grant(), "usage = [\"/data\"]");
    /// ```
    #[must_use]
    pub fn grant(&self) -> String {
        let (key, what) = match self {
            Self::Read(path) => ("read", path),
            Self::Usage(path) => ("usage", path),
            Self::Connect(address) => ("connect", address),
            Self::Fetch(origin) => ("fetch", origin),
        };
        format!("{key} = [\"{what}\"]")
    }
}

/// What a line of configuration grants, such as the one that an agent answers when a grant is missing: not always what
/// was asked for, since links and names may lead elsewhere.
pub(crate) fn granted_by(line: &str) -> Option<&str> {
    line.split_once(" = [\"")?.1.strip_suffix("\"]")
}
