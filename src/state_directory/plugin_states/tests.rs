//! Tests of the states of plugins, on real directories.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use proptest::prelude::*;
use rustix::process::geteuid;

use super::*;
use crate::state_directory::StateErrorKind;

/// A pause that no test waits for.
const LONG: Duration = Duration::from_secs(3600);

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("state").join(name)
    }

    fn directory(&self) -> StateDirectory {
        StateDirectory::new(Some(self.0.path().join("state")))
    }

    /// The state of a plugin in an agent of its own, which ends with it.
    fn state(&self, pause: Duration) -> PluginState {
        PluginState::new(&"a".into(), Some(self.directory()), pause)
    }

    fn on_disk(&self) -> Option<Vec<u8>> {
        let file = fs::read(self.path("plugins/a")).ok()?;
        let end = file.iter().position(|&byte| byte == b'\n').expect("a first line");
        Some(file[end + 1..].to_vec())
    }
}

fn content(bytes: &str) -> Content {
    Content::Saved(bytes.as_bytes().into())
}

#[test]
fn saved_state_is_read_by_the_next_agent() {
    let host = Host::new();
    {
        let state = host.state(LONG);
        assert_eq!(state.read().expect("read"), Content::Nothing);
        assert!(!host.path("running").exists(), "a state needs no marker");
        assert_eq!(state.save(b"one", Instant::now()), AfterSave::Write);
        state.write().expect("written");
        assert_eq!(state.known(Instant::now()), Ok(content("one")));
    }
    let state = host.state(LONG);
    assert_eq!(state.known(Instant::now()), Ok(Content::Unknown));
    assert_eq!(state.read().expect("read"), content("one"));
    let before = fs::metadata(host.path("plugins/a")).expect("there").ino();
    assert_eq!(state.save(b"one", Instant::now()), AfterSave::Nothing);
    state.write().expect("nothing to do");
    assert_eq!(fs::metadata(host.path("plugins/a")).expect("there").ino(), before, "the same is not written again");
}

#[test]
fn frequent_saves_are_written_once_a_pause() {
    let host = Host::new();
    let state = host.state(Duration::from_secs(60));
    let start = Instant::now();
    assert_eq!(state.save(b"1", start), AfterSave::Write);
    state.write().expect("written");
    let AfterSave::WriteAt(due) = state.save(b"2", start + Duration::from_secs(1)) else { panic!("it waits") };
    assert!(due >= start + Duration::from_secs(60), "a pause after the write");
    assert_eq!(state.save(b"3", start + Duration::from_secs(2)), AfterSave::Nothing, "one write is due");
    assert_eq!(state.known(Instant::now()), Ok(content("3")));
    assert_eq!(host.on_disk().as_deref(), Some(&b"1"[..]));
    assert_eq!(state.save(b"4", due + LATE), AfterSave::Write, "the write that was due has not come");
    state.write().expect("written");
    assert_eq!(host.on_disk().as_deref(), Some(&b"4"[..]));
    let later = Instant::now() + Duration::from_secs(60);
    assert_eq!(state.save(b"5", later), AfterSave::Write);
}

#[test]
fn end_writes_the_states_that_wait() {
    let host = Host::new();
    let states = PluginStates::in_directory(host.directory());
    let name: Arc<str> = "a".into();
    let state = states.state(&name);
    state.save(b"1", Instant::now());
    state.write().expect("written");
    assert!(!states.wait());
    assert!(matches!(state.save(b"2", Instant::now()), AfterSave::WriteAt(_)));
    drop(state);
    // The plugin is gone, its state is not.
    states.state(&"b".into());
    assert!(states.wait());
    states.write_waiting();
    assert!(!states.wait());
    assert_eq!(host.on_disk().as_deref(), Some(&b"2"[..]));
    states.state(&"b".into());
    assert_eq!(states.lock().by_plugin.len(), 1, "nobody asks for the first one any more");
}

#[test]
fn states_of_plugins_are_apart() {
    let host = Host::new();
    let states = PluginStates::in_directory(host.directory());
    let [first, second] = ["a", "a_b"].map(|name| states.state(&name.into()));
    first.save(b"1", Instant::now());
    first.write().expect("written");
    assert_eq!(second.read().expect("read"), Content::Nothing);
    assert!(Arc::ptr_eq(&first, &states.state(&"a".into())), "instances and versions share it");
}

#[test]
fn states_without_a_directory_are_in_memory() {
    let states = PluginStates::default();
    let state = states.state(&"a".into());
    assert_eq!(state.known(Instant::now()), Ok(Content::Nothing));
    assert_eq!(state.read(), Ok(Content::Nothing), "no disk is asked");
    assert_eq!(state.save(b"1", Instant::now()), AfterSave::Nothing);
    assert_eq!(state.known(Instant::now()), Ok(content("1")));
    assert!(!states.wait());
}

#[test]
fn damaged_state_is_moved_aside() {
    let host = Host::new();
    let state = host.state(LONG);
    state.save(b"one", Instant::now());
    state.write().expect("written");
    drop(state);
    let mut file = fs::read(host.path("plugins/a")).expect("there");
    *file.last_mut().expect("not empty") = b'x';
    fs::write(host.path("plugins/a"), &file).expect("written");
    let state = host.state(LONG);
    assert_eq!(state.read().expect("read"), Content::Nothing);
    let names = fs::read_dir(host.path("plugins")).expect("listed").map(|entry| entry.expect("there").file_name());
    let names: Vec<String> = names.map(|name| name.into_string().expect("text")).collect();
    assert!(
        matches!(&names[..], [name] if name.strip_prefix("a.").is_some_and(|name| name.contains(".aside"))),
        "{names:?}"
    );
    assert_eq!(fs::read(host.path("plugins").join(&names[0])).expect("there"), file);
}

#[test]
fn second_agent_keeps_no_states() {
    let host = Host::new();
    let first = host.state(LONG);
    first.read().expect("read");
    let second = host.state(LONG);
    assert_eq!(second.read().expect_err("in use").kind, StateErrorKind::InUse);
    second.save(b"1", Instant::now());
    assert_eq!(second.write().expect_err("in use").kind, StateErrorKind::InUse);
    assert_eq!(host.on_disk(), None);
}

#[test]
fn samples_and_states_share_the_lock() {
    let host = Host::new();
    let directory = host.directory();
    let state = PluginState::new(&"a".into(), Some(directory.clone()), LONG);
    state.read().expect("read");
    assert!(host.path("lock").exists() && !host.path("running").exists());
    let spool = directory.claim_spool("vm.otlp").expect("claimed");
    assert!(host.path("running").exists(), "samples are marked");
    state.save(b"1", Instant::now());
    state.write().expect("written");
    drop(spool);
    directory.end();
    assert!(!host.path("lock").exists() && !host.path("running").exists());
    assert_eq!(host.on_disk().as_deref(), Some(&b"1"[..]), "a state stays");
}

#[test]
fn unwritable_directory_is_an_error_until_writable() {
    let host = Host::new();
    let state = host.state(LONG);
    state.save(b"1", Instant::now());
    state.write().expect("written");
    // A file in the place of the directory, since root may write everywhere.
    fs::rename(host.path("plugins"), host.path("kept")).expect("moved");
    fs::write(host.path("plugins"), "").expect("written");
    state.save(b"2", Instant::now() + LONG);
    let error = state.write().expect_err("not a directory");
    assert!(error.text.contains("failed to write the state in"), "{error:?}");
    assert_eq!(state.save(b"2", Instant::now() + RETRY), AfterSave::Write, "a failed write is no write");
    fs::remove_file(host.path("plugins")).expect("removed");
    state.write().expect("written");
    assert_eq!(host.on_disk().as_deref(), Some(&b"2"[..]));
    if !geteuid().is_root() {
        fs::set_permissions(host.path("plugins"), fs::Permissions::from_mode(0o500)).expect("set");
        state.save(b"3", Instant::now() + 2 * LONG);
        assert!(matches!(state.write().expect_err("read only").kind, StateErrorKind::System(Some(_))));
    }
}

#[test]
fn failed_write_is_tried_again_after_a_pause() {
    let host = Host::new();
    let state = host.state(LONG);
    state.read().expect("read");
    fs::remove_dir(host.path("plugins")).expect("removed");
    fs::write(host.path("plugins"), "").expect("written");
    assert_eq!(state.save(b"1", Instant::now()), AfterSave::Write);
    let error = state.write().expect_err("not a directory");
    assert_eq!(state.save(b"2", Instant::now()), AfterSave::Report(error), "the disk is not asked");
    fs::remove_file(host.path("plugins")).expect("removed");
    assert!(state.memory().write_failure.is_some() && state.memory().read_failure.is_none());
    // The end of the agent does not wait.
    state.write().expect("written");
    assert_eq!(host.on_disk().as_deref(), Some(&b"2"[..]));
    assert!(state.memory().write_failure.is_none());
    assert_eq!(state.save(b"3", Instant::now() + LONG), AfterSave::Write);
}

#[test]
fn failed_read_is_tried_again_after_a_pause() {
    let host = Host::new();
    let first = host.state(LONG);
    first.save(b"1", Instant::now());
    first.write().expect("written");
    drop(first);
    fs::rename(host.path("plugins"), host.path("kept")).expect("moved");
    fs::write(host.path("plugins"), "").expect("written");
    let state = host.state(LONG);
    let error = state.read().expect_err("not a directory");
    assert_eq!(state.known(Instant::now()), Err(error));
    assert_eq!(state.known(Instant::now() + RETRY), Ok(Content::Unknown), "the disk is asked again");
    // A failed write is another failure, and a success of one ends only its own.
    state.save(b"2", Instant::now());
    state.write().expect_err("not a directory");
    assert!(state.memory().write_failure.is_some() && state.memory().read_failure.is_some());
    assert_eq!(state.known(Instant::now()), Ok(content("2")), "it is in memory");
    fs::remove_file(host.path("plugins")).expect("removed");
    state.write().expect("written");
    assert!(state.memory().write_failure.is_none() && state.memory().read_failure.is_some());
}

proptest! {
    #[test]
    fn last_save_is_on_disk_at_the_end(saves in prop::collection::vec((0_u8..4, 0_u64..100, any::<bool>()), 1..20)) {
        let host = Host::new();
        let state = host.state(Duration::from_secs(60));
        let (mut now, mut last) = (Instant::now(), 0);
        for (byte, seconds, is_write_due) in saves {
            now += Duration::from_secs(seconds);
            let after = state.save(&[byte], now);
            if after == AfterSave::Write || is_write_due {
                state.write().expect("written");
                prop_assert_eq!(host.on_disk(), Some(vec![byte]));
            }
            last = byte;
        }
        state.write().expect("written");
        prop_assert_eq!(host.on_disk(), Some(vec![last]));
        prop_assert!(!state.waits());
    }
}

#[test]
fn states_of_many_gone_plugins_are_dropped() {
    let states = PluginStates::default();
    let name = |number: usize| -> Arc<str> { format!("plugin{number}").into() };
    let kept: Vec<Arc<PluginState>> = (0..1000).map(|number| states.state(&name(number))).collect();
    assert_eq!(states.lock().by_plugin.len(), 1000);
    drop(kept);
    for number in 1000..4000 {
        drop(states.state(&name(number)));
    }
    assert!(states.lock().by_plugin.len() <= FEW + 1);
}
