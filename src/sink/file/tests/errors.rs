//! Syncs of an open file, and errors that real files do not have at will: syncs that fail, and files that a server does not know
//! any more.

use std::io;

use super::*;

#[test]
fn lines_are_synced_as_configured() {
    let dirty_after = |fsync: Fsync, seconds: &[u64]| -> Vec<bool> {
        let mut place = Place::new();
        place.settings.fsync = fsync;
        let (mut writer, start) = (place.writer(), SystemTime::now());
        let mut dirty = Vec::new();
        for second in seconds {
            write(&mut writer, "1", start + Duration::from_secs(*second));
            dirty.push(writer.is_dirty);
        }
        writer.reopen().expect("opened");
        assert!(!writer.is_dirty);
        writer.close();
        dirty
    };
    assert_eq!(dirty_after(Fsync::Never, &[0, 9]), [true, true]);
    assert_eq!(dirty_after(Fsync::Rotation, &[0, 9]), [true, true]);
    assert_eq!(dirty_after(Fsync::EachLine, &[0, 0]), [false, false]);
    let interval = Fsync::Interval(Duration::from_secs(5));
    // The last one after the clock was set back.
    assert_eq!(dirty_after(interval, &[10, 11, 15, 16, 0]), [false, true, false, true, false]);
}

const IO_ERROR: i32 = rustix::io::Errno::IO.raw_os_error();

/// Has the open file's syncs fail.
fn fail_syncs(writer: &mut FileWriter) {
    writer.file.as_mut().expect("open").calls.sync = |_| Err(io::Error::from_raw_os_error(IO_ERROR));
}

#[test]
fn failed_sync_loses_no_line() {
    let mut place = Place::new();
    place.settings.fsync = Fsync::EachLine;
    let (mut writer, now) = (place.writer(), SystemTime::now());
    fail_syncs(&mut writer);
    write(&mut writer, "1", now);
    write(&mut writer, "2", now);
    assert_eq!((place.text().as_str(), writer.take_failed_syncs(), writer.take_failed_syncs()), ("1\n2\n", 2, 0));
    let problem = writer.problem().expect("one");
    assert_eq!(problem.reason, ErrorReason::Sync);
    assert!(problem.text.starts_with(&format!("failed to sync {}: ", place.path().display())), "{problem:?}");
    writer.reopen().expect("opened");
    write(&mut writer, "3", now);
    assert_eq!((place.text().as_str(), writer.problem(), writer.take_failed_syncs()), ("1\n2\n3\n", None, 0));
}

#[test]
fn failed_sync_of_renamed_file_loses_no_line() {
    let mut place = Place::new();
    place.settings.fsync = Fsync::Rotation;
    let (mut writer, now) = (place.writer(), SystemTime::now());
    write(&mut writer, "1", now);
    fail_syncs(&mut writer);
    fs::rename(place.path(), place.directory.path().join("moved")).expect("renamed");
    write(&mut writer, "2", now);
    assert_eq!((place.text().as_str(), writer.take_failed_syncs()), ("2\n", 1));
    let problem = writer.problem().expect("one");
    assert!(problem.text.starts_with("failed to sync the file that was at "), "{problem:?}");
}

#[test]
fn failed_sync_does_not_stop_a_rotation() {
    let mut place = Place::new();
    place.settings.fsync = Fsync::Rotation;
    place.settings.rotate_size = Some(1);
    let (mut writer, now) = (place.writer(), SystemTime::now());
    write(&mut writer, "1", now);
    fail_syncs(&mut writer);
    write(&mut writer, "2", now);
    assert_eq!((place.text().as_str(), place.rotated().len(), writer.take_failed_syncs()), ("2\n", 1, 1));
}

#[test]
fn stale_file_is_opened_again() {
    let place = Place::new();
    let (mut writer, now) = (place.writer(), SystemTime::now());
    write(&mut writer, "1", now);
    writer.file.as_mut().expect("open").calls.length = |_| Err(io::Error::from_raw_os_error(IO_ERROR));
    write(&mut writer, "2", now);
    assert_eq!(place.text(), "1\n2\n");
}

#[test]
fn missing_descriptors_have_their_own_remedy() {
    let error = failed("failed to open", Path::new("/x"), &rustix::io::Errno::MFILE.into());
    assert!(error.reason == ErrorReason::Descriptors && error.remedy.contains("LimitNOFILE"), "{error:?}");
}
