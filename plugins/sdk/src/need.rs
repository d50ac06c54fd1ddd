//! Needs: capabilities that a plugin uses outside the sandbox, each with a reason. The operator grants them or not.

use crate::{Capability, Need};

/// ```
/// use gauged_plugin::{Capability, Need};
///
/// let need = Need::connect("127.0.0.1:6379", "read the server's counters");
/// assert_eq!(need.capability, Capability::Connect("127.0.0.1:6379".to_owned()));
/// ```
impl Need {
    /// Reads or lists a path; `*` stands for any text within one segment. The reason completes the sentence "this plugin
    /// needs it to …".
    #[must_use]
    pub fn read(path: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Read(path.into()), reason: reason.to_owned() }
    }

    /// Reads the sizes of the file system at a path; `*` stands for any text within one segment.
    #[must_use]
    pub fn usage(path: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Usage(path.into()), reason: reason.to_owned() }
    }

    /// Connects to `host:port` or `unix:/path`.
    #[must_use]
    pub fn connect(address: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Connect(address.into()), reason: reason.to_owned() }
    }

    /// Fetches from `scheme://host:port`.
    #[must_use]
    pub fn fetch(origin: impl Into<String>, reason: &str) -> Self {
        Self { capability: Capability::Fetch(origin.into()), reason: reason.to_owned() }
    }
}

impl Capability {
    /// The configuration line that grants the capability.
    ///
    /// ```
    /// use gauged_plugin::Capability;
    ///
    /// assert_eq!(Capability::Usage("/data".to_owned()).grant_line(), "usage = [\"/data\"]");
    /// ```
    #[must_use]
    pub fn grant_line(&self) -> String {
        let (key, value) = match self {
            Self::Read(path) => ("read", path),
            Self::Usage(path) => ("usage", path),
            Self::Connect(address) => ("connect", address),
            Self::Fetch(origin) => ("fetch", origin),
        };
        format!("{key} = [\"{value}\"]")
    }
}

/// The value in a configuration line, such as the missing grant that an agent reports. It may differ from the requested
/// value, because links and names lead elsewhere.
pub(crate) fn granted_value(line: &str) -> Option<&str> {
    line.split_once(" = [\"")?.1.strip_suffix("\"]")
}
