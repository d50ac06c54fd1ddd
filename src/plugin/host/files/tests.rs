//! Files, directories and sizes on fixture trees, within and beyond the grants.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::Mode;

use super::access::FilesError;
use super::content::{FILE_BYTES, Reader, is_whole_group_file};
use super::directory::NAME_BYTES;
use super::*;
use crate::hostpath::Pattern;
use crate::plugin::grants::Basis;
use crate::plugin::grants::kind::{Denial, Grant, GrantKind};
use crate::plugin::grants::network::Network;
use crate::plugin::guest::bindings::gauged::plugin::files::FileType as Kind;
use crate::plugin::host::resolved_path::{OWN_PROCESS, PathError};

fn denied<T>(done: Result<T, FilesError>) -> Option<Denial> {
    match done {
        Err(FilesError::Path(PathError::Denied(denial))) => Some(denial),
        _ => None,
    }
}

fn missing(kind: GrantKind, path: &str) -> Denial {
    Denial::Missing(Grant::new(kind, path))
}

/// A root with `/data/open`, which is granted, and `/data/secret`, which is not.
fn host() -> (tempfile::TempDir, Grants) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let data = root.path().join("data");
    fs::create_dir_all(data.join("open")).expect("created");
    fs::write(data.join("open/a"), "a").expect("written");
    fs::write(data.join("secret"), "secret").expect("written");
    let granted = Pattern::new("/data/open/*").expect("a pattern");
    let grants = Grants::new(&root.path().canonicalize().expect("it is there"), &[granted], &[], Network::default());
    (root, grants)
}

#[test]
fn granted_files_are_read_and_listed() {
    let (root, grants) = host();
    assert_eq!(read(&grants, "/data/open/a").expect("granted"), b"a");
    assert_eq!(list(&grants, "/data/open").expect("granted"), [Entry { name: "a".to_owned(), kind: Kind::Regular }]);
    assert!(matches!(read(&grants, "/data/open/b"), Err(FilesError::Path(PathError::NotFound))));
    assert_eq!(denied(read(&grants, "/data/open")), Some(missing(GrantKind::Read, "/data/open")));
    fs::create_dir(root.path().join("data/open/dir")).expect("created");
    assert!(matches!(read(&grants, "/data/open/dir"), Err(FilesError::Path(PathError::WrongType))));
    assert!(matches!(list(&grants, "/data/open/a"), Err(FilesError::Path(PathError::WrongType))));
}

#[test]
fn links_do_not_lead_out_of_the_grants() {
    let (root, grants) = host();
    let open = root.path().join("data/open");
    symlink("../secret", open.join("out")).expect("linked");
    symlink("a", open.join("in")).expect("linked");
    symlink("..", open.join("up")).expect("linked");
    assert_eq!(denied(read(&grants, "/data/open/out")), Some(missing(GrantKind::Read, "/data/secret")));
    assert_eq!(read(&grants, "/data/open/in").expect("stays within"), b"a");
    assert_eq!(denied(list(&grants, "/data/open/up")), Some(missing(GrantKind::Read, "/data")));
}

#[test]
#[cfg(target_os = "linux")]
fn magic_links_are_refused_despite_grants() {
    let (root, _) = host();
    // What they lead to is granted, too.
    let patterns = ["/*", "/*/*", "/*/*/*", "/*/*/*/*", "/proc/*/fd/*", "/proc/*/root/*"];
    let granted = patterns.map(|pattern| Pattern::new(pattern).expect("a pattern"));
    let grants = Grants::new(Path::new("/"), &granted, &granted, Network::default());
    let file = File::open(root.path().join("data/open/a")).expect("open");
    let link = |name: &str, target: String| {
        let at = root.path().join(name);
        symlink(target, &at).expect("linked");
        at.to_str().expect("text").to_owned()
    };
    let to_file = link("file", format!("/proc/self/fd/{}", file.as_raw_fd()));
    let to_directory = link("directory", "/proc/self/cwd".to_owned());
    let within = format!("{to_directory}/Cargo.toml");
    let refusal = |path: &str| {
        Some(Denial::Final(format!(
            "\"{path}\" leads through a magic link to what a process has open (fd, cwd, root, exe …)"
        )))
    };
    for path in [&*to_file, &within, "/dev/stdin", "/dev/fd/0"] {
        assert_eq!(denied(read(&grants, path)), refusal(path));
    }
    assert_eq!(denied(list(&grants, &to_directory)), refusal(&to_directory));
    for path in [&*to_file, &to_directory, "/proc/self/root"] {
        assert_eq!(denied(usage(&grants, path)), refusal(path));
    }
    let grants = Grants::new(Path::new("/"), &[], &[], Network::default());
    assert_eq!(denied(usage(&grants, "/proc/self/root")), Some(missing(GrantKind::Usage, "/proc/self/root")));
}

#[test]
fn a_pipe_is_refused_without_waiting() {
    let (root, grants) = host();
    let pipe = root.path().join("data/open/pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).expect("made");
    assert!(matches!(read(&grants, "/data/open/pipe"), Err(FilesError::Path(PathError::WrongType))));
}

#[test]
#[cfg(target_os = "linux")]
fn links_are_those_of_the_measured_host() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    let (root, grants) = host();
    fs::write(outside.path().join("a"), "outside").expect("written");
    let link = |name: &str, target: &Path| symlink(target, root.path().join("data/open").join(name)).expect("linked");
    link("away", &outside.path().join("a"));
    link("absolute", Path::new("/data/open/a"));
    link("secret", Path::new("/data/secret"));
    symlink("/data/open", root.path().join("data/open/dir")).expect("linked");
    assert!(matches!(read(&grants, "/data/open/away"), Err(FilesError::Path(PathError::NotFound))));
    assert_eq!(read(&grants, "/data/open/absolute").expect("granted"), b"a");
    assert_eq!(denied(read(&grants, "/data/open/secret")), Some(missing(GrantKind::Read, "/data/secret")));
    assert_eq!(read_link(&grants, "/data/open/absolute").expect("the link is granted"), "/data/open/a");
    let inode = |path: &str| stat(&grants, path).expect("granted").inode;
    assert_eq!(inode("/data/open/absolute"), inode("/data/open/a"));
    let nested = [Pattern::new("/data/open/*/*").expect("a pattern"), Pattern::new("/data/open/*").expect("a pattern")];
    let nested = Grants::new(grants.root(), &nested, &[], Network::default());
    assert_eq!(list(&nested, "/data/open/dir").expect("granted"), list(&nested, "/data/open").expect("granted"));
}

#[test]
#[cfg(target_os = "linux")]
fn usage_follows_links_of_the_measured_host() {
    let (root, _) = host();
    let usages = [Pattern::new("/data/link").expect("a pattern"), Pattern::new("/data/away").expect("a pattern")];
    let grants = Grants::new(&root.path().canonicalize().expect("it is there"), &[], &usages, Network::default());
    symlink("/data/open", root.path().join("data/link")).expect("linked");
    symlink("/proc", root.path().join("data/away")).expect("linked");
    assert!(usage(&grants, "/data/link").is_ok());
    assert!(matches!(usage(&grants, "/data/away"), Err(FilesError::Path(PathError::NotFound))));
}

/// In both versions of control groups: those of the root directory, and in it those of the controllers or groups. The lists of
/// processes and threads are granted, since they are what comes in pieces.
#[test]
#[cfg(target_os = "linux")]
fn group_files_are_read_as_by_anyone() {
    let lists = ["*/cgroup.procs", "*/cgroup.threads", "*/tasks"].map(|list| format!("/sys/fs/cgroup/{list}"));
    let lists = lists.map(|list| Pattern::new(list).expect("a pattern"));
    let (grants, mut reader) = (Grants::new(Path::new("/"), &lists, &[], Network::default()), Reader::default());
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let root = Path::new("/sys/fs/cgroup");
    for file in entries(root).flat_map(|path| entries(&path).collect::<Vec<_>>().into_iter().chain([path])) {
        let path = file.to_str().expect("text");
        let basis = grants.reads_by_text(path);
        let status = basis.and_then(|_| fs::metadata(&file).ok());
        let Some(status) = status.filter(fs::Metadata::is_file) else { continue };
        let expected = fs::read(&file);
        let content = reader.read(&grants, path, FILE_BYTES);
        if basis == Some(Basis::Default) && !Mode::from_raw_mode(status.mode()).contains(Mode::ROTH) {
            assert_eq!(denied(content), Some(missing(GrantKind::Read, path)), "{path} is not for all");
            continue;
        }
        // Counters change meanwhile.
        match (expected, fs::read(&file)) {
            (Ok(expected), Ok(after)) if expected == after => assert_eq!(content.expect(path), expected, "{path}"),
            (Ok(_), Ok(_)) => assert!(content.is_ok(), "{path}: {content:?}"),
            _ => {}
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn only_short_group_files_are_whole_at_once() {
    let group = "/sys/fs/cgroup/a/cgroup.procs";
    assert!(is_whole_group_file(group, 0) && is_whole_group_file(group, 2047));
    // A list of processes ends its page before the last line that does not fit.
    assert!(!is_whole_group_file(group, 2048) && !is_whole_group_file(group, 4090));
    assert!(!is_whole_group_file("/proc/1/mountinfo", 100));
}

#[test]
fn default_grants_need_world_readable_files() {
    let (root, grants) = host();
    fs::create_dir(root.path().join("proc")).expect("created");
    let file = root.path().join("proc/uptime");
    fs::write(&file, "1 2").expect("written");
    assert!(read(&grants, "/proc/uptime").is_ok());
    rustix::fs::chmod(&file, Mode::from_raw_mode(0o600)).expect("changed");
    assert_eq!(denied(read(&grants, "/proc/uptime")), Some(missing(GrantKind::Read, "/proc/uptime")));
}

#[test]
fn new_threads_belong_to_the_agent() {
    let pattern = Pattern::new("/proc/*/status").expect("a pattern");
    let grants = Grants::new(Path::new("/"), &[pattern], &[], Network::default());
    let until = Instant::now() + Duration::from_secs(2);
    let starting = thread::spawn(move || {
        while Instant::now() < until {
            let started: [_; 4] = std::array::from_fn(|_| thread::spawn(|| thread::sleep(Duration::from_micros(300))));
            for thread in started {
                thread.join().expect("it does not panic");
            }
        }
    });
    let own = format!("\nTgid:\t{}\n", std::process::id());
    while Instant::now() < until {
        let load = fs::read_to_string("/proc/loadavg").expect("readable");
        let last = load.rsplit(' ').next().and_then(|last| last.trim().parse::<u32>().ok());
        let last = last.expect("the last process number");
        for next in last + 1..last + 16 {
            let status = read(&grants, &format!("/proc/{next}/status")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&status).contains(&own), "{next} was read");
        }
    }
    starting.join().expect("it does not panic");
}

#[test]
fn large_files_are_refused() {
    let (root, grants) = host();
    let file = File::create(root.path().join("data/open/big")).expect("created");
    file.set_len(FILE_BYTES as u64).expect("sized");
    assert_eq!(read(&grants, "/data/open/big").expect("just fits").len(), FILE_BYTES);
    file.set_len(FILE_BYTES as u64 + 1).expect("sized");
    assert!(matches!(read(&grants, "/data/open/big"), Err(FilesError::TooLarge(_))));
}

#[test]
fn buffer_serves_files_of_any_size() {
    let (root, grants) = host();
    let (mut reader, sizes) = (Reader::default(), [0, 1, 8191, 8192, 8193, 100_000, 5, 0]);
    for size in sizes {
        let content: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).expect("small")).collect();
        fs::write(root.path().join("data/open/a"), &content).expect("written");
        assert_eq!(reader.read(&grants, "/data/open/a", size).expect("just fits"), content);
        if size > 0 {
            let limited = reader.read(&grants, "/data/open/a", size - 1);
            assert!(matches!(limited, Err(FilesError::TooLarge(limit)) if limit == size as u64 - 1));
        }
    }
}

#[test]
fn entries_have_the_types_of_links_themselves() {
    let (root, grants) = host();
    let open = root.path().join("data/open");
    symlink("a", open.join("link")).expect("linked");
    fs::create_dir(open.join("sub")).expect("created");
    rustix::fs::mkfifoat(rustix::fs::CWD, open.join("pipe"), Mode::from_raw_mode(0o600)).expect("made");
    let _listener = std::os::unix::net::UnixListener::bind(open.join("socket")).expect("bound");
    let kinds: Vec<Kind> = list(&grants, "/data/open").expect("granted").into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Regular, Kind::SymbolicLink, Kind::Pipe, Kind::Socket, Kind::Directory]);
}

#[test]
fn state_is_that_of_the_file() {
    use std::os::unix::fs::MetadataExt as _;
    let (root, grants) = host();
    let file = root.path().join("data/open/a");
    rustix::fs::chmod(&file, Mode::from_raw_mode(0o4640)).expect("changed");
    symlink("a", root.path().join("data/open/link")).expect("linked");
    let expected = fs::metadata(&file).expect("it is there");
    for path in ["/data/open/a", "/data/open/link"] {
        let status = stat(&grants, path).expect("granted");
        assert_eq!((status.kind, status.permissions, status.size, status.links), (Kind::Regular, 0o4640, 1, 1));
        assert_eq!((status.inode, status.device), (expected.ino(), expected.dev()));
        assert_eq!((status.user, status.group), (expected.uid(), expected.gid()));
        assert_eq!(status.modified_ns, expected.mtime() * 1_000_000_000 + expected.mtime_nsec());
        assert_eq!(status.allocated_bytes, expected.blocks() * 512);
    }
    assert_eq!(stat(&grants, "/data/open").expect("it may be listed").kind, Kind::Directory);
    assert_eq!(denied(stat(&grants, "/data/secret")), Some(missing(GrantKind::Read, "/data/secret")));
    assert!(matches!(stat(&grants, "/data/open/none"), Err(FilesError::Path(PathError::NotFound))));
}

#[test]
fn links_are_read_without_being_followed() {
    let (root, grants) = host();
    let open = root.path().join("data/open");
    symlink("../secret", open.join("out")).expect("linked");
    symlink("..", open.join("up")).expect("linked");
    assert_eq!(read_link(&grants, "/data/open/out").expect("the link is granted"), "../secret");
    assert!(matches!(read_link(&grants, "/data/open/a"), Err(FilesError::Path(PathError::WrongType))));
    let beyond =
        Grants::new(grants.root(), &[Pattern::new("/data/open/*/*").expect("a pattern")], &[], Network::default());
    symlink("open/a", root.path().join("data/link")).expect("linked");
    // The way to a link has to be granted like the link.
    assert_eq!(denied(read_link(&beyond, "/data/open/up/link")), Some(missing(GrantKind::Read, "/data/link")));
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    symlink(name, open.join("bytes")).expect("linked");
    let error = read_link(&grants, "/data/open/bytes").expect_err("no guest could name it");
    assert!(matches!(error, FilesError::Path(PathError::Io(error)) if error.code == "EILSEQ"));
}

#[test]
#[cfg(target_os = "linux")]
fn states_of_the_agents_own_process_are_closed() {
    let granted = ["/proc/*/fd", "/proc/*/stat", "/proc/*/exe"].map(|path| Pattern::new(path).expect("a pattern"));
    let grants = Grants::new(Path::new("/"), &granted, &[], Network::default());
    let own = std::process::id();
    let thread = rustix::thread::gettid().as_raw_nonzero();
    let expected = Some(Denial::Expected(OWN_PROCESS.to_owned()));
    for path in [format!("/proc/{own}/fd"), format!("/proc/{thread}/fd"), format!("/proc/{own}/stat")] {
        assert_eq!(denied(stat(&grants, &path)), expected, "{path}");
    }
    assert_eq!(denied(read_link(&grants, &format!("/proc/{own}/exe"))), expected);
    let parent = rustix::process::getppid().expect("it has one").as_raw_nonzero();
    assert!(stat(&grants, &format!("/proc/{parent}/fd")).is_ok());
    assert_eq!(
        denied(stat(&Grants::none(), &format!("/proc/{parent}/fd"))).map(|denial| denial.missing().is_some()),
        Some(true)
    );
}

#[test]
fn long_names_of_a_directory_are_refused() {
    let (root, grants) = host();
    let listed = |grants: &Grants| list(grants, "/data/open");
    // Each takes as many bytes as a name may have.
    let name = |number: usize| format!("{number:0255}");
    let fitting = (NAME_BYTES - 1) / 255;
    (0..fitting).for_each(|number| fs::write(root.path().join("data/open").join(name(number)), "").expect("written"));
    assert_eq!(listed(&grants).expect("just fits").len(), fitting + 1);
    fs::write(root.path().join("data/open").join(name(fitting)), "").expect("written");
    assert!(matches!(listed(&grants), Err(FilesError::TooLarge(limit)) if limit == NAME_BYTES as u64));
}

#[test]
fn usage_of_mounts_needs_no_grant() {
    let grants = Grants::new(Path::new("/"), &[], &[], Network::default());
    let mount = usage(&grants, "/").expect("the root of all mounts");
    assert!(mount.total_bytes >= mount.free_bytes && mount.free_bytes >= mount.available_bytes);
    for path in ["/etc", "/no/such/place"] {
        assert_eq!(denied(usage(&grants, path)), Some(missing(GrantKind::Usage, path)));
    }
    let granted = [Pattern::new("/etc").expect("a pattern"), Pattern::new("/no/such/place").expect("a pattern")];
    let grants = Grants::new(Path::new("/"), &[], &granted, Network::default());
    assert!(usage(&grants, "/etc").is_ok());
    assert!(matches!(usage(&grants, "/no/such/place"), Err(FilesError::Path(PathError::NotFound))));
}
