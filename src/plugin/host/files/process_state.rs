//! The state of another process at the price of the system calls that any reader needs: plugins read those of hundreds of
//! processes at each tick. That it is not the agent's shows in the content, since all threads of a process are in its session.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::retry_on_intr;

use super::access::READING;
use crate::plugin::grants::{Basis, Grants};
use crate::plugin::host::own_tasks::is_number;

/// A file with the state of a process.
#[derive(Debug, Clone, Copy)]
enum StateFile {
    Stat,
    Status,
}

impl StateFile {
    /// The file of a path below `/proc`.
    fn find(path: &str) -> Option<Self> {
        match path.split_once('/')? {
            (process, "stat") if is_number(process) => Some(Self::Stat),
            (process, "status") if is_number(process) => Some(Self::Status),
            _ => None,
        }
    }

    /// The session of the process with this state.
    fn session(self, content: &[u8]) -> Option<u32> {
        let word = match self {
            // The name may have any characters; state, parent and group follow it.
            Self::Stat => {
                let name_end = content.iter().rposition(|&byte| byte == b')')?;
                content[name_end..].split(|&byte| byte == b' ').nth(4)?
            }
            // By namespace, from that of this `/proc` inwards. The name has no line ends here.
            Self::Status => {
                let mut lines = content.split(|&byte| byte == b'\n');
                let sessions = lines.find_map(|line| line.strip_prefix(b"NSsid:\t"))?;
                sessions.split(|&byte| byte == b'\t').next()?
            }
        };
        std::str::from_utf8(word).ok()?.parse().ok()
    }
}

/// The agent's process file system.
struct ProcessFiles {
    directory: OwnedFd,
    /// The agent's session, which it never leaves.
    own_session: u32,
}

impl ProcessFiles {
    fn open() -> Option<Self> {
        let directory = openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let own = openat(&directory, "self/stat", READING, Mode::empty()).ok()?;
        let mut content = [0; 1024];
        let length = retry_on_intr(|| rustix::io::read(&own, &mut content)).ok()?;
        Some(Self { own_session: StateFile::Stat.session(&content[..length])?, directory })
    }
}

/// Reads the state of a process that a plugin may read into a buffer, and returns its length. None for other files, for processes
/// in the agent's session, and for all that fails: whoever asks has a longer way that tells why.
pub(super) fn read_state(grants: &Grants, path: &str, buffer: &mut [u8]) -> Option<usize> {
    static FILES: OnceLock<Option<ProcessFiles>> = OnceLock::new();
    let below = path.strip_prefix("/proc/")?;
    let kind = StateFile::find(below)?;
    if grants.root() != Path::new("/") || grants.reads_by_text(path) != Some(Basis::Configuration) {
        return None;
    }
    let files = FILES.get_or_init(ProcessFiles::open).as_ref()?;
    // Nothing is mounted over it. A number and a name do not lead out of the directory.
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = openat2(&files.directory, below, READING, Mode::empty(), resolve).ok()?;
    let length = retry_on_intr(|| rustix::io::read(&file, &mut *buffer)).ok()?;
    // The kernel writes it in one piece, so that it is whole where there is room left.
    let is_whole = length < buffer.len();
    let is_of_another = kind.session(buffer.get(..length)?)? != files.own_session;
    (is_whole && is_of_another).then_some(length)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::hostpath::Pattern;
    use crate::plugin::grants::network::Network;

    fn granted(root: &str, patterns: &[&str]) -> Grants {
        let read: Vec<Pattern> = patterns.iter().map(|&path| Pattern::new(path).expect(path)).collect();
        Grants::new(Path::new(root), &read, &[], Network::default())
    }

    fn read(grants: &Grants, path: &str) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 8 << 10];
        read_state(grants, path, &mut buffer).map(|length| buffer[..length].to_vec())
    }

    /// A process in a session of its own.
    struct Stranger(Child);

    impl Stranger {
        #[expect(clippy::disallowed_methods, reason = "a process of another session")]
        fn start() -> Self {
            let child = Command::new("setsid").args(["sleep", "1000"]).spawn().expect("setsid starts");
            let comm = format!("/proc/{}/comm", child.id());
            while std::fs::read_to_string(&comm).expect("it runs").trim() != "sleep" {
                thread::sleep(Duration::from_millis(1));
            }
            Self(child)
        }
    }

    impl Drop for Stranger {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    #[test]
    fn state_of_another_session_is_read() {
        let stranger = Stranger::start();
        let grants = granted("/", &["/proc/*/stat*"]);
        let path = |file: &str| format!("/proc/{}/{file}", stranger.0.id());
        for file in ["stat", "status"] {
            let expected = std::fs::read(path(file)).expect("readable");
            let content = read(&grants, &path(file)).expect("of another session");
            // Times may differ.
            let beginning = expected.iter().position(|byte| b"S\n".contains(byte)).expect("a state");
            assert_eq!(content[..beginning], expected[..beginning], "{file}");
            assert_eq!(read_state(&grants, &path(file), &mut [0; 64]), None, "there may be more");
        }
        assert_eq!(read(&grants, &path("statm")), None, "another file");
        assert_eq!(read(&granted("/", &["/proc/*/statm"]), &path("stat")), None, "not granted");
        assert_eq!(read(&granted("/tmp", &["/proc/*/stat"]), &path("stat")), None, "of another host");
    }

    #[test]
    fn own_session_takes_the_longer_way() {
        let grants = granted("/", &["/proc/*/stat*"]);
        let (process, thread) = (std::process::id(), rustix::thread::gettid().as_raw_nonzero());
        for own in [process.to_string(), thread.to_string(), "self".to_owned(), "thread-self".to_owned()] {
            for file in ["stat", "status"] {
                assert_eq!(read(&grants, &format!("/proc/{own}/{file}")), None, "{own}");
            }
        }
    }

    #[test]
    fn session_is_found_in_either_file() {
        for process in [1.to_string(), std::process::id().to_string()] {
            let session = |kind: StateFile, file: &str| {
                kind.session(&std::fs::read(format!("/proc/{process}/{file}")).expect("readable"))
            };
            let of_stat = session(StateFile::Stat, "stat");
            assert!(of_stat.is_some());
            assert_eq!(session(StateFile::Status, "status"), of_stat);
        }
        for (kind, content, expected) in [
            (StateFile::Stat, "7 (a) S 1 2 3 4", Some(3)),
            (StateFile::Stat, "7 (a) S 1 2 9) S 1 2 3 4", Some(3)),
            (StateFile::Stat, "7 (a) S 1 2", None),
            (StateFile::Stat, "7 a S 1 2 3", None),
            (StateFile::Status, "Name:\ta\nNSsid:\t5\t1\nVmRSS:\t1 kB\n", Some(5)),
            (StateFile::Status, "Name:\tNSsid:\t5\n", None),
        ] {
            assert_eq!(kind.session(content.as_bytes()), expected, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn session_of_any_content_is_in_it(
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "(7 \\(a\\) S )?[0-9a-z) ]{0,20}".prop_map(String::into_bytes),
                "(a:\t1\n)?NSsid:[\t0-9\n-]{0,9}".prop_map(String::into_bytes),
            ],
        ) {
            for session in [StateFile::Stat, StateFile::Status].into_iter().filter_map(|kind| kind.session(&content)) {
                prop_assert!(String::from_utf8_lossy(&content).contains(&session.to_string()), "{}", session);
            }
        }

        /// Whatever a process is called, its session is found.
        #[test]
        fn name_does_not_hide_the_session(name in "[a-z0-9 ()]{0,15}", session in any::<u32>()) {
            let content = format!("814 ({name}) S 812 812 {session} 0 -1 4194624\n");
            prop_assert_eq!(StateFile::Stat.session(content.as_bytes()), Some(session));
        }
    }
}
