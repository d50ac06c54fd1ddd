//! Needs: capabilities that a plugin uses outside the sandbox, each with a reason. The operator grants them or not.

use crate::{Capability, Need};

/// ```
/// use gauged_plugin::{Capability, Need};
///
/// let need = Need::connect("127.0.0.1:6379", "read the server's counters");
/// assert_eq!(need.capability, Capability::connect("127.0.0.1:6379"));
/// ```
impl Need {
    /// Needs a capability. The reason completes the sentence "this plugin needs it to …".
    #[must_use]
    pub fn new(capability: Capability, reason: &str) -> Self {
        Self { capability, reason: reason.to_owned() }
    }

    /// Reads or lists a path; `*` stands for any text within one segment.
    #[must_use]
    pub fn read(path: impl Into<String>, reason: &str) -> Self {
        Self::new(Capability::read(path), reason)
    }

    /// Reads the sizes of the file system at a path; `*` stands for any text within one segment.
    #[must_use]
    pub fn usage(path: impl Into<String>, reason: &str) -> Self {
        Self::new(Capability::usage(path), reason)
    }

    /// Connects to `host:port` or `unix:/path`, or sends datagrams to `udp:host:port`.
    #[must_use]
    pub fn connect(address: impl Into<String>, reason: &str) -> Self {
        Self::new(Capability::connect(address), reason)
    }

    /// Fetches from `scheme://host:port`.
    #[must_use]
    pub fn fetch(origin: impl Into<String>, reason: &str) -> Self {
        Self::new(Capability::fetch(origin), reason)
    }

    /// Fetches from the unix socket at a path, with these methods: [`READING`](Capability::READING) is granted more readily than
    /// others, which may change something.
    #[must_use]
    pub fn fetch_unix(path: &str, methods: &[&str], reason: &str) -> Self {
        Self::new(Capability::fetch_unix(path, methods), reason)
    }
}

/// The kinds, with the constructors of capabilities of each.
///
/// ```
/// use gauged_plugin::Capability;
///
/// let capability = Capability::fetch("http://localhost:80");
/// assert_eq!((&*capability.kind, &*capability.target), (Capability::FETCH, "http://localhost:80"));
/// ```
impl Capability {
    /// Reading a file or listing a directory.
    pub const READ: &str = "read";

    /// The sizes of a file system.
    pub const USAGE: &str = "usage";

    /// A connection to an address, or datagrams to it.
    pub const CONNECT: &str = "connect";

    /// Requests to an HTTP server.
    pub const FETCH: &str = "fetch";

    /// The methods of requests to a unix socket that a grant without methods is for.
    pub const READING: &[&str] = &["GET", "HEAD"];

    fn new(kind: &str, target: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), target: target.into() }
    }

    /// Reads or lists a path.
    #[must_use]
    pub fn read(path: impl Into<String>) -> Self {
        Self::new(Self::READ, path)
    }

    /// Reads the sizes of the file system at a path.
    #[must_use]
    pub fn usage(path: impl Into<String>) -> Self {
        Self::new(Self::USAGE, path)
    }

    /// Connects to an address, or sends datagrams to it.
    #[must_use]
    pub fn connect(address: impl Into<String>) -> Self {
        Self::new(Self::CONNECT, address)
    }

    /// Fetches from an origin.
    #[must_use]
    pub fn fetch(origin: impl Into<String>) -> Self {
        Self::new(Self::FETCH, origin)
    }

    /// Fetches from the unix socket at a path with these methods; `*` stands for any text within one segment of the path, also for a
    /// blank.
    ///
    /// ```
    /// use gauged_plugin::Capability;
    ///
    /// let reading = Capability::fetch_unix("/run/docker.sock", Capability::READING);
    /// assert_eq!(reading.target, "unix:/run/docker.sock");
    /// assert_eq!(Capability::fetch_unix("/run/app.sock", &["GET", "POST"]).target, "unix:/run/app.sock GET POST");
    /// ```
    #[must_use]
    pub fn fetch_unix(path: &str, methods: &[&str]) -> Self {
        let mut target = format!("unix:{}", path.replace(' ', "*"));
        if methods != Self::READING {
            for method in methods {
                target.push(' ');
                target.push_str(method);
            }
        }
        Self::new(Self::FETCH, target)
    }

    /// The configuration line that grants the capability.
    ///
    /// ```
    /// use gauged_plugin::Capability;
    ///
    /// assert_eq!(Capability::usage("/data").grant_line(), "usage = [\"/data\"]");
    /// ```
    #[must_use]
    pub fn grant_line(&self) -> String {
        let Self { kind, target } = self;
        format!("{kind} = [\"{target}\"]")
    }
}
