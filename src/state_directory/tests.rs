//! Tests of state directories, with several agents in one process: a lock is that of an open file.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use rustix::process::geteuid;

use super::*;

/// A directory in which the state directory is made.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.path().join("state") } else { self.0.path().join("state").join(name) }
    }

    fn agent(&self) -> StateDirectory {
        StateDirectory::new(Some(self.path("")))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        names.sort_unstable();
        names
    }
}

fn error(claimed: Result<SpoolClaim, StateError>) -> StateError {
    claimed.expect_err("refused")
}

#[test]
fn directory_is_made_when_something_is_kept() {
    let host = Host::new();
    let agent = host.agent();
    agent.examine();
    assert!(!host.path("").exists() && agent.with_spools(|_, _| ()).is_none());
    let claim = agent.claim_spool("vm.otlp").expect("claimed");
    assert_eq!(claim.path(), host.path("spool/vm.otlp"));
    assert_eq!(host.names(), ["lock", "running"]);
    assert_eq!(fs::metadata(host.path("")).expect("there").mode() & 0o7777, 0o700);
    assert_eq!(fs::read_to_string(host.path("lock")).expect("text"), format!("{}\n", std::process::id()));
    drop(claim);
    agent.end();
    assert_eq!(host.names(), [""; 0], "nothing is left after a clean end");
    agent.examine();
    assert_eq!(agent.unclean_end(), None);
}

#[tokio::test]
async fn end_is_on_a_thread_of_its_own() {
    let host = Host::new();
    let agent = host.agent();
    agent.claim_spool("vm.otlp").expect("claimed");
    agent.start_end().expect("started").await.expect("ended");
    assert_eq!(host.names(), [""; 0]);
}

#[test]
fn second_agent_keeps_nothing() {
    let host = Host::new();
    let first = host.agent();
    let _claim = first.claim_spool("a.otlp").expect("claimed");
    let second = host.agent();
    let refused = error(second.claim_spool("a.otlp"));
    assert_eq!(refused.kind, StateErrorKind::InUse);
    assert!(
        refused.text.ends_with(&format!("in use by another agent with process id {}", std::process::id())),
        "{refused:?}"
    );
    assert_eq!(error(second.claim_spool("b.otlp")), refused);
    assert!(second.with_spools(|_, _| ()).is_none());
    second.examine();
    assert_eq!(second.unclean_end(), None, "the first one still runs");
    second.end();
    assert_eq!(host.names(), ["lock", "running"], "the end of the second one leaves them");
    first.end();
    // The first attempt after a while.
    second.0.claim.lock().expect("whole").failure = None;
    second.claim_spool("a.otlp").expect("claimed");
}

#[test]
fn spool_has_one_owner() {
    let host = Host::new();
    let agent = host.agent();
    let claim = agent.claim_spool("a.otlp").expect("claimed");
    assert!(error(agent.claim_spool("a.otlp")).text.contains("the spool a.otlp is still in use"));
    agent.claim_spool("b.otlp").expect("another one");
    fs::create_dir_all(host.path("spool")).expect("created");
    let open = agent.with_spools(|_, open| open.clone());
    assert_eq!(open, Some(BTreeSet::from(["a.otlp".to_owned()])));
    drop(claim);
    agent.claim_spool("a.otlp").expect("free again");
}

#[test]
fn unclean_end_has_its_span() {
    let host = Host::new();
    let agent = host.agent();
    let claim = agent.claim_spool("a.otlp").expect("claimed");
    fs::create_dir_all(claim.path()).expect("created");
    fs::write(claim.path().join("1.seg"), "x").expect("written");
    let moment = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let set_written = |name: &str, at| fs::File::open(host.path(name)).expect("there").set_modified(at).expect("set");
    set_written("running", moment(1000));
    set_written("spool/a.otlp/1.seg", moment(2000));
    // As if it was killed: the kernel takes the lock back.
    (claim.state.0.claim.lock().expect("whole")).lock = None;
    let next = host.agent();
    next.examine();
    let end = next.unclean_end().expect("an unclean end");
    assert_eq!((end.since, end.is_after_boot), (moment(1998), Some(false)));
    assert!(end.until.elapsed().expect("before now") < Duration::from_secs(60));
    // The next one is killed, too, after all was delivered.
    next.note_delivered();
    fs::remove_dir_all(host.path("spool")).expect("removed");
    let text = fs::read_to_string(host.path("running")).expect("text");
    let boot = text.lines().find_map(|line| line.strip_prefix("boot ")).expect("a boot").to_owned();
    fs::write(host.path("running"), text.replace(&boot, "another")).expect("written");
    set_written("running", moment(3000));
    next.0.claim.lock().expect("whole").lock = None;
    let last = host.agent();
    last.claim_spool("a.otlp").expect("claimed");
    let end = last.unclean_end().expect("an unclean end");
    assert_eq!((end.since, end.is_after_boot), (moment(2998), Some(true)));
    // A marker of the future, or without content.
    fs::write(host.path("running"), "").expect("written");
    set_written("running", SystemTime::now() + Duration::from_secs(1 << 40));
    last.0.claim.lock().expect("whole").lock = None;
    let end = (host.agent().claim_spool("a.otlp").map(|claim| claim.state.unclean_end())).expect("claimed");
    assert!(end.is_some_and(|end| end.since == end.until && end.is_after_boot.is_none()), "{end:?}");
}

#[test]
fn removed_directory_is_claimed_again() {
    let host = Host::new();
    let agent = host.agent();
    let claim = agent.claim_spool("a.otlp").expect("claimed");
    fs::remove_dir_all(host.path("")).expect("removed");
    claim.renew().expect("claimed again");
    assert_eq!(host.names(), ["lock", "running"]);
    assert_eq!(agent.unclean_end(), None);
    assert!(error(host.agent().claim_spool("a.otlp")).text.contains("in use"));
}

#[test]
fn links_replacing_files_are_not_followed() {
    for name in ["lock", "running"] {
        let host = Host::new();
        fs::create_dir(host.path("")).expect("created");
        fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o700)).expect("set");
        let other = host.0.path().join("other");
        fs::write(&other, "mine").expect("written");
        std::os::unix::fs::symlink(&other, host.path(name)).expect("linked");
        let refused = error(host.agent().claim_spool("a.otlp"));
        assert!(matches!(refused.kind, StateErrorKind::System(_)), "{refused:?}");
        assert_eq!(fs::read_to_string(&other).expect("text"), "mine");
    }
}

#[test]
fn shared_and_foreign_directories_are_refused() {
    let host = Host::new();
    fs::create_dir(host.path("")).expect("created");
    let set_mode = |mode| fs::set_permissions(host.path(""), fs::Permissions::from_mode(mode)).expect("set");
    for mode in [0o777, 0o1777, 0o702] {
        set_mode(mode);
        let refused = error(host.agent().claim_spool("a.otlp"));
        assert_eq!(refused.kind, StateErrorKind::Refused);
        assert!(refused.text.contains("can be written by everybody") && refused.remedy.contains("700"), "{refused:?}");
        assert!(host.names().is_empty());
    }
    for mode in [0o755, 0o750, 0o700] {
        set_mode(mode);
        let agent = host.agent();
        agent.claim_spool("a.otlp").expect("claimed");
        agent.end();
    }
    if geteuid().is_root() {
        chown(host.path(""), Some(65533), None).expect("given away");
        assert!(error(host.agent().claim_spool("a.otlp")).text.contains("belongs to user 65533"));
    }
}

#[test]
fn unusable_directories_have_remedies() {
    let host = Host::new();
    assert_eq!(error(StateDirectory::new(None).claim_spool("a.otlp")).kind, StateErrorKind::None);
    fs::write(host.path(""), "a file").expect("written");
    let agent = host.agent();
    let refused = error(agent.claim_spool("a.otlp"));
    assert!(refused.text.starts_with("failed to make ") && refused.remedy.contains("remove the file"), "{refused:?}");
    fs::remove_file(host.path("")).expect("removed");
    // It is not tried at each sample.
    assert_eq!(error(agent.claim_spool("a.otlp")), refused);
    agent.0.claim.lock().expect("whole").failure = None;
    agent.claim_spool("a.otlp").expect("usable again");
}

#[test]
fn spools_are_locked_for_an_operation() {
    let host = Host::new();
    fs::create_dir_all(host.path("spool/a.otlp")).expect("created");
    let other = host.agent();
    let seen = host.agent().with_spools(|spools, _| {
        assert_eq!(error(other.claim_spool("a.otlp")).kind, StateErrorKind::InUse);
        spools.to_owned()
    });
    assert_eq!((seen, host.names()), (Some(host.path("spool")), vec!["spool".to_owned()]));
}
