//! Where the socket is. The agent and those who ask it look in the same places.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The socket's name in its directory.
const SOCKET: &str = "status.sock";

/// The directory of an agent that root runs.
const ROOT_DIRECTORY: &str = "/run/gauged";

/// The agent's directory in that of a user's runtime files.
const USER_DIRECTORY: &str = "gauged";

/// The places where the socket may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketPlaces {
    is_root: bool,
    /// The socket that the command line names.
    named: Option<PathBuf>,
    /// The directory that the service manager has made for the agent.
    service: Option<PathBuf>,
    /// The directory of this user's runtime files.
    user: Option<PathBuf>,
}

/// The place of an agent's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketPlace {
    pub(crate) socket: PathBuf,
    /// Whether the command line names it: then it is missed.
    pub(crate) is_named: bool,
    /// Whether its directory is to be made: nobody else would.
    pub(crate) makes_directory: bool,
}

impl SocketPlaces {
    /// The places for a user: the socket that is named, and those by the environment's `RUNTIME_DIRECTORY`, of which systemd
    /// separates several by colons, and `XDG_RUNTIME_DIR`. A relative path counts as unset, by the XDG specification.
    pub(crate) fn new(named: Option<PathBuf>, environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Self {
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        let first = |paths: OsString| {
            let first = paths.as_bytes().split(|&byte| byte == b':').next()?;
            absolute(PathBuf::from(OsStr::from_bytes(first)))
        };
        Self {
            is_root,
            named,
            service: environment("RUNTIME_DIRECTORY").and_then(first),
            user: environment("XDG_RUNTIME_DIR").and_then(|path| absolute(path.into())),
        }
    }

    /// The place for the socket of an agent; none where there is no such directory. `exists` says whether a directory does.
    pub(crate) fn place(&self, exists: impl Fn(&Path) -> bool) -> Option<SocketPlace> {
        let place = |directory: &Path, makes_directory| SocketPlace {
            socket: directory.join(SOCKET),
            is_named: false,
            makes_directory,
        };
        if let Some(named) = &self.named {
            return Some(SocketPlace { socket: named.clone(), is_named: true, makes_directory: false });
        }
        if let Some(service) = &self.service {
            return exists(service).then(|| place(service, false));
        }
        let root = Some(Path::new(ROOT_DIRECTORY)).filter(|root| self.is_root && exists(root));
        let user = || self.user.as_ref().filter(|user| exists(user));
        root.map(|root| place(root, false)).or_else(|| user().map(|user| place(&user.join(USER_DIRECTORY), true)))
    }

    /// The sockets to try, one after the other, for somebody who looks for an agent.
    pub(crate) fn candidates(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let user = self.user.as_ref().map(|user| user.join(USER_DIRECTORY));
        let root = Some(PathBuf::from(ROOT_DIRECTORY));
        let others = if self.is_root { [root, user] } else { [user, root] };
        let mut sockets: Vec<PathBuf> =
            self.service.iter().cloned().chain(others.into_iter().flatten()).map(|path| path.join(SOCKET)).collect();
        sockets.dedup();
        sockets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(named: Option<&str>, set: &[(&str, &str)], is_root: bool) -> SocketPlaces {
        let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        SocketPlaces::new(named.map(PathBuf::from), value, is_root)
    }

    #[test]
    fn agent_takes_the_first_place_that_exists() {
        let both = [("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let socket = |places: &SocketPlaces, missing: &[&str]| {
            let place = places.place(|path| !missing.iter().any(|missing| path == Path::new(missing)));
            place.map(|place| (place.socket.display().to_string(), place.makes_directory))
        };
        let found = |path: &str, makes_directory| Some((path.to_owned(), makes_directory));
        assert_eq!(socket(&places(Some("x/s"), &both, true), &[]), found("x/s", false));
        assert_eq!(socket(&places(None, &both, true), &[]), found("/run/a/status.sock", false));
        assert_eq!(socket(&places(None, &both, true), &["/run/a"]), None, "the service manager has none");
        let root = places(None, &both[1..], true);
        assert_eq!(socket(&root, &[]), found("/run/gauged/status.sock", false));
        assert_eq!(socket(&root, &["/run/gauged"]), found("/run/user/7/gauged/status.sock", true));
        let user = places(None, &both[1..], false);
        assert_eq!(socket(&user, &[]), found("/run/user/7/gauged/status.sock", true));
        assert_eq!(socket(&user, &["/run/user/7"]), None);
        assert_eq!(socket(&places(None, &[("XDG_RUNTIME_DIR", "here")], false), &[]), None);
        assert_eq!(socket(&places(None, &[], false), &[]), None);
    }

    #[test]
    fn candidates_are_those_of_the_agent() {
        let both = [("RUNTIME_DIRECTORY", "/run/gauged"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let candidates = |places: &SocketPlaces| {
            places.candidates().iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let (root, user) = ("/run/gauged/status.sock", "/run/user/7/gauged/status.sock");
        assert_eq!(candidates(&places(Some("x"), &both, false)), ["x"]);
        assert_eq!(candidates(&places(None, &both, true)), [root, user]);
        assert_eq!(candidates(&places(None, &both[1..], false)), [user, root]);
        assert_eq!(candidates(&places(None, &[], false)), [root], "it may be allowed to connect");
    }
}
