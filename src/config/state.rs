//! Where the state directory is when the configuration names none: the one that systemd has set aside, otherwise the host's for root,
//! and one among the user's own for everybody else. None where there is no such place.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// That of the host.
const HOST: &str = "/var/lib/gauged";

pub(super) fn directory(environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> Option<PathBuf> {
    // A relative path counts as unset, by the XDG specification.
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd separates several directories by colons.
    let first = |path: PathBuf| {
        let first = path.as_os_str().as_bytes().split(|&byte| byte == b':').next()?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    };
    let service = absolute("STATE_DIRECTORY").and_then(first);
    // The variables may be another user's under sudo.
    let host = || is_root.then(|| PathBuf::from(HOST));
    let xdg = || absolute("XDG_STATE_HOME").map(|states| states.join("gauged"));
    let home = || absolute("HOME").map(|home| home.join(".local/state/gauged"));
    service.or_else(host).or_else(xdg).or_else(home)
}

/// Where the directory comes from that [`directory`] returns.
pub(super) fn source(environment: impl Fn(&str) -> Option<OsString>, is_root: bool) -> &'static str {
    let is_set = |name: &str| environment(name).is_some_and(|path| Path::new(&path).is_absolute());
    if is_set("STATE_DIRECTORY") {
        "$STATE_DIRECTORY"
    } else if !is_root && is_set("XDG_STATE_HOME") {
        "$XDG_STATE_HOME"
    } else {
        "default"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_directory_follows_service_manager_then_user() {
        let environment = [("STATE_DIRECTORY", "/a:/b"), ("XDG_STATE_HOME", "/states"), ("HOME", "/home/me")];
        let found = |set: &[(&str, &str)], is_root: bool| {
            let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            let directory = directory(value, is_root).map(|path| path.display().to_string());
            (directory.unwrap_or_default(), source(value, is_root))
        };
        assert_eq!(found(&environment, true), ("/a".to_owned(), "$STATE_DIRECTORY"));
        assert_eq!(found(&environment[1..], true), ("/var/lib/gauged".to_owned(), "default"));
        assert_eq!(found(&environment[1..], false), ("/states/gauged".to_owned(), "$XDG_STATE_HOME"));
        assert_eq!(found(&environment[2..], false), ("/home/me/.local/state/gauged".to_owned(), "default"));
        assert_eq!(found(&[("XDG_STATE_HOME", "here"), ("STATE_DIRECTORY", "")], false), (String::new(), "default"));
    }
}
