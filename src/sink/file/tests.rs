//! Tests of the file with real files: what others do to it, rotations, and any history of them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod errors;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A directory with a file of these settings, which are never rotated unless a test changes that.
struct Place {
    directory: TempDir,
    settings: FileSettings,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let settings = FileSettings {
            rotate_size: None,
            compress: false,
            keep: 1000,
            ..FileSettings::new(directory.path().join("samples.ndjson"))
        };
        Self { directory, settings }
    }

    fn path(&self) -> &Path {
        &self.settings.path
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("text")
    }

    fn writer(&self) -> FileWriter {
        FileWriter::open(self.settings.clone()).expect("opened")
    }

    /// The other files, the oldest first.
    fn rotated(&self) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(self.directory.path()).expect("readable").map(|entry| entry.expect("readable").path());
        let mut others: Vec<PathBuf> = entries.filter(|path| path != self.path()).collect();
        others.sort();
        others
    }

    /// The content of all files, in their order.
    fn all_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for path in self.rotated().iter().map(PathBuf::as_path).chain([self.path()]) {
            let Ok(file) = File::open(path) else { continue };
            if path.extension().is_some_and(|end| end == "gz") {
                GzDecoder::new(file).read_to_end(&mut text).expect("complete");
            } else {
                { file }.read_to_end(&mut text).expect("readable");
            }
        }
        text
    }
}

fn write(writer: &mut FileWriter, line: &str, now: SystemTime) {
    writer.write_line(format!("{line}\n").as_bytes(), now).expect("written");
}

fn wait_until(condition: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(std::time::Instant::now() < until, "never");
        // Compressions are nice: they get nothing beside a test that is busy.
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn opening_leaves_the_file_as_it_is() {
    let place = Place::new();
    fs::write(place.path(), "{\"torn").expect("written");
    fs::write(place.directory.path().join("samples.ndjson-20261126T180824.123Z.gz.tmp"), "x").expect("written");
    let writer = place.writer();
    assert_eq!((place.text().as_str(), place.rotated().len()), ("{\"torn", 1));
    writer.close();
    assert_eq!(place.text(), "{\"torn");
}

#[test]
fn new_file_is_for_the_group_only() {
    let place = Place::new();
    place.writer();
    let mode = fs::metadata(place.path()).expect("there").permissions().mode();
    assert_eq!((mode & 0o137, mode & 0o600), (0, 0o600), "{mode:o}");
}

#[test]
fn special_files_are_refused() {
    let mut place = Place::new();
    fs::write(place.directory.path().join("target"), "").expect("written");
    symlink("target", place.path()).expect("linked");
    let error = |place: &Place| FileWriter::open(place.settings.clone()).expect_err("refused");
    assert!(error(&place).text.ends_with("is a symbolic link, and no regular file"), "{:?}", error(&place));
    fs::remove_file(place.path()).expect("removed");
    fs::create_dir(place.path()).expect("created");
    assert!(error(&place).text.ends_with("is a directory, and no regular file"), "{:?}", error(&place));
    fs::remove_dir(place.path()).expect("removed");
    let _listener = std::os::unix::net::UnixListener::bind(place.path()).expect("bound");
    assert!(error(&place).text.ends_with("is a socket, and no regular file"), "{:?}", error(&place));
    fs::remove_file(place.path()).expect("removed");
    #[cfg(target_os = "linux")]
    {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, place.path(), rustix::fs::FileType::Fifo, mode, 0).expect("made");
        assert!(error(&place).text.ends_with("is a pipe, and no regular file"), "{:?}", error(&place));
    }
    place.settings.path = "/dev/null".into();
    assert_eq!(error(&place).text, "/dev/null is a device, and no regular file");
    assert_eq!(error(&place).reason, ErrorReason::NotAFile);
}

#[test]
fn missing_directory_is_an_error_until_made() {
    let mut place = Place::new();
    let directory = place.directory.path().join("logs");
    place.settings.path = directory.join("samples.ndjson");
    let error = FileWriter::open(place.settings.clone()).expect_err("no directory");
    assert_eq!(error.reason, ErrorReason::NotFound);
    let mut writer = FileWriter::closed(place.settings.clone());
    let now = SystemTime::now();
    assert_eq!(writer.write_line(b"1\n", now).expect_err("no directory").reason, ErrorReason::NotFound);
    fs::create_dir(&directory).expect("created");
    write(&mut writer, "2", now);
    assert_eq!(place.text(), "2\n");
    fs::remove_dir_all(&directory).expect("removed");
    assert_eq!(writer.write_line(b"3\n", now).expect_err("no directory").reason, ErrorReason::NotFound);
    fs::create_dir(&directory).expect("created");
    write(&mut writer, "4", now);
    assert_eq!(place.text(), "4\n");
}

#[test]
fn renamed_file_is_not_written_any_more() {
    // With a signal, and without: a compressor may read the old file at once.
    for is_reopened in [true, false] {
        let place = Place::new();
        let mut writer = place.writer();
        write(&mut writer, "1", SystemTime::now());
        let moved = place.directory.path().join("samples.ndjson.1");
        fs::rename(place.path(), &moved).expect("renamed");
        if is_reopened {
            writer.reopen().expect("opened");
            assert_eq!(place.text(), "");
        }
        write(&mut writer, "2", SystemTime::now());
        assert_eq!((fs::read_to_string(&moved).expect("text").as_str(), place.text().as_str()), ("1\n", "2\n"));
    }
}

#[test]
fn created_successor_is_appended_to() {
    let place = Place::new();
    let mut writer = place.writer();
    write(&mut writer, "1", SystemTime::now());
    fs::rename(place.path(), place.directory.path().join("samples.ndjson.1")).expect("renamed");
    fs::write(place.path(), "created").expect("written");
    let inode = fs::metadata(place.path()).expect("there").ino();
    write(&mut writer, "2", SystemTime::now());
    assert_eq!(place.text(), "created\n2\n");
    assert_eq!(fs::metadata(place.path()).expect("there").ino(), inode);
}

#[test]
fn emptied_file_is_small_and_young_again() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(10);
    place.settings.rotate_age = Some(HOUR);
    let mut writer = place.writer();
    let now = SystemTime::now();
    for minute in 0..4 {
        write(&mut writer, "12345678", now + HOUR * minute / 2);
        File::options().write(true).truncate(true).open(place.path()).expect("emptied");
    }
    assert_eq!(place.rotated(), Vec::<PathBuf>::new());
    write(&mut writer, "1", now + HOUR * 2);
    assert_eq!(place.text(), "1\n", "without zeros before it");
    write(&mut writer, "2", now + HOUR * 3);
    assert_eq!((place.text().as_str(), place.rotated().len()), ("2\n", 1));
}

#[test]
fn file_has_at_most_its_size() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(10);
    let mut writer = place.writer();
    let now = SystemTime::now();
    for line in ["1234", "5678", "9", "a line by itself", "10", "11"] {
        write(&mut writer, line, now);
    }
    let texts: Vec<String> = place.rotated().iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    assert_eq!(texts, ["1234\n5678\n", "9\n", "a line by itself\n"]);
    assert_eq!(place.text(), "10\n11\n");
}

#[test]
fn age_outlasts_a_restart() {
    let mut place = Place::new();
    place.settings.rotate_age = Some(HOUR);
    let now = SystemTime::now();
    write(&mut place.writer(), "1", now);
    let mut writer = place.writer();
    write(&mut writer, "2", now + HOUR - Duration::from_secs(10));
    // The clock was wrong for a while.
    write(&mut writer, "3", now - HOUR);
    assert!(place.rotated().is_empty());
    let mut writer = place.writer();
    write(&mut writer, "4", now + HOUR + Duration::from_secs(10));
    assert_eq!((place.text().as_str(), place.rotated().len()), ("4\n", 1));
    // Without a line.
    writer.rotate_if_due(now + HOUR * 3).expect("rotated");
    assert_eq!((place.text().as_str(), place.rotated().len()), ("", 2));
    writer.rotate_if_due(now + HOUR * 5).expect("nothing");
    assert_eq!(place.rotated().len(), 2, "there is no empty one");
}

#[test]
fn reader_of_the_old_file_reads_all() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(100);
    place.settings.keep = 1;
    let mut writer = place.writer();
    let mut reader = File::open(place.path()).expect("opened");
    for line in 1000..1100 {
        write(&mut writer, &line.to_string(), SystemTime::now());
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    let lines: Vec<i32> = text.lines().map(|line| line.parse().expect("a whole line")).collect();
    assert_eq!(lines, (1000..1020).collect::<Vec<_>>());
    assert_eq!((text.len(), reader.metadata().expect("known").nlink()), (100, 0), "it is removed");
}

#[test]
fn oldest_files_are_removed_and_others_left_alone() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(1);
    place.settings.keep = 3;
    let foreign = ["samples.ndjson-20261126", "samples.ndjson-20200101T000000.000Z.bz2", "samples.ndjson.1", "x-1.gz"];
    for name in foreign {
        fs::write(place.directory.path().join(name), "").expect("written");
    }
    // A directory is somebody else's, whatever its name.
    fs::create_dir(place.directory.path().join("samples.ndjson-20200101T000000.000Z")).expect("created");
    for day in 1..=5 {
        fs::write(place.directory.path().join(format!("samples.ndjson-2020010{day}T000000.001Z.gz")), "")
            .expect("written");
    }
    let ours = |place: &Place| {
        let is_ours = |path: &&PathBuf| path.is_file() && !foreign.iter().any(|name| path.ends_with(name));
        place.rotated().iter().filter(is_ours).map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let mut writer = place.writer();
    write(&mut writer, "1", SystemTime::now());
    assert!(ours(&place).len() == 3 && ours(&place)[0].ends_with("20200103T000000.001Z.gz"), "{:?}", ours(&place));
    for line in 2..6 {
        write(&mut writer, &line.to_string(), SystemTime::now());
    }
    let texts: Vec<String> = ours(&place).iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    assert_eq!(texts, ["2\n", "3\n", "4\n"]);
    assert_eq!(place.rotated().len(), 3 + foreign.len() + 1);
    assert_eq!(writer.problem(), None);
}

#[test]
fn failed_rotation_goes_on_with_the_old_file() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(1);
    // After the last name there is no later one.
    let last = place.directory.path().join("samples.ndjson-99991231T235959.999Z");
    fs::write(&last, "foreign").expect("written");
    let mut writer = place.writer();
    let now = SystemTime::now();
    for line in ["1", "2", "3"] {
        write(&mut writer, line, now);
    }
    assert_eq!((place.text().as_str(), fs::read_to_string(&last).expect("text").as_str()), ("1\n2\n3\n", "foreign"));
    let problem = writer.problem().expect("one");
    assert!(problem.text.starts_with("failed to rename ") && problem.text.contains("exists"), "{problem:?}");
    fs::remove_file(&last).expect("removed");
    write(&mut writer, "4", now + RETRY_ROTATION / 2);
    assert_eq!(place.rotated().len(), 0, "it is too early");
    write(&mut writer, "5", now + RETRY_ROTATION);
    assert_eq!((place.text().as_str(), place.rotated().len(), writer.problem()), ("5\n", 1, None));
}

#[test]
fn rotated_names_stay_ordered_when_clock_goes_back() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(1);
    let mut writer = place.writer();
    let now = SystemTime::now();
    for (line, moment) in [now, now, now - HOUR, now - HOUR * 2, now + HOUR, SystemTime::UNIX_EPOCH].iter().enumerate()
    {
        write(&mut writer, &line.to_string(), *moment);
    }
    assert_eq!(String::from_utf8_lossy(&place.all_text()), "0\n1\n2\n3\n4\n5\n");
}

#[test]
fn rotated_files_are_compressed_in_order() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(1000);
    place.settings.compress = true;
    // Left over from an agent that was killed: once while it compressed, and once before it removed the plain file.
    let leftover = |end: &str| place.directory.path().join(format!("samples.ndjson-20200101T000000.000Z{end}"));
    fs::write(leftover(""), "left\n").expect("written");
    fs::set_permissions(leftover(""), fs::Permissions::from_mode(0o604)).expect("set");
    let times = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + HOUR);
    File::options().write(true).open(leftover("")).and_then(|file| file.set_times(times)).expect("set");
    fs::write(leftover(".gz"), "old").expect("written");
    fs::write(leftover(".gz.tmp"), "half").expect("written");
    let mut writer = place.writer();
    let mut expected = "left\n".to_owned();
    for line in 0..1000 {
        write(&mut writer, &line.to_string(), SystemTime::now());
        expected.extend([line.to_string().as_str(), "\n"]);
    }
    wait_until(|| place.rotated().iter().all(|path| path.extension().is_some_and(|end| end == "gz")));
    assert_eq!(String::from_utf8_lossy(&place.all_text()), expected);
    assert_eq!((place.rotated().len(), writer.problem()), (4, None));
    let metadata = fs::metadata(leftover(".gz")).expect("there");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o604);
    assert_eq!(metadata.modified().expect("known"), SystemTime::UNIX_EPOCH + HOUR);
}

#[test]
fn failed_compression_keeps_the_plain_file() {
    let mut place = Place::new();
    place.settings.rotate_size = Some(1);
    place.settings.compress = true;
    let blocked = place.directory.path().join("samples.ndjson-20200101T000000.000Z");
    fs::write(&blocked, "left\n").expect("written");
    // It can be neither replaced nor removed.
    let directory = place.directory.path().join("samples.ndjson-20200101T000000.000Z.gz.tmp");
    fs::create_dir(&directory).expect("created");
    let mut writer = place.writer();
    write(&mut writer, "1", SystemTime::now());
    wait_until(|| writer.problem().is_some());
    let problem = writer.problem().expect("one");
    assert!(problem.text.starts_with(&format!("failed to compress {}: ", blocked.display())), "{problem:?}");
    assert_eq!(fs::read_to_string(&blocked).expect("text"), "left\n");
    fs::remove_dir(&directory).expect("removed");
    write(&mut writer, "2", SystemTime::now());
    wait_until(|| writer.problem().is_none() && place.rotated().iter().all(|path| path.extension().is_some()));
    wait_until(|| place.rotated().iter().all(|path| path.extension().is_some_and(|end| end == "gz")));
    assert_eq!(String::from_utf8_lossy(&place.all_text()), "left\n1\n2\n");
}

/// An event in the life of a file.
#[derive(Debug, Clone)]
enum Event {
    /// A line of one of two agents.
    Line(Vec<u8>, bool),
    /// The agent is killed, after part of a line was written.
    Kill(Vec<u8>),
    /// Somebody renames the file, and tells the agent or does not.
    Rename(bool),
    Reopen,
    /// The clock is set.
    Clock(u32),
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("it would be two lines", |byte| *byte != b'\n');
    proptest::collection::vec(byte, 1..40)
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => (any_line(), proptest::bool::weighted(0.2)).prop_map(|(line, is_other)| Event::Line(line, is_other)),
        1 => any_line().prop_map(Event::Kill),
        1 => any::<bool>().prop_map(Event::Rename),
        1 => Just(Event::Reopen),
        1 => (0..1_000_000_u32).prop_map(Event::Clock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn torn_files_have_whole_lines_afterwards(
        lines in proptest::collection::vec(any_line(), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = lines.join(&b'\n');
        stream.push(b'\n');
        let content = &stream[..cut.index(stream.len() + 1)];
        let place = Place::new();
        fs::write(place.path(), content).expect("written");
        let mut writer = place.writer();
        write(&mut writer, "new", SystemTime::now());
        write(&mut writer, "newer", SystemTime::now());
        let text = fs::read(place.path()).expect("readable");
        let (kept, added) = text.split_at(content.len());
        prop_assert_eq!(kept, content, "a reader may have it");
        let is_whole = content.is_empty() || content.ends_with(b"\n");
        let expected: &[u8] = if is_whole { b"new\nnewer\n" } else { b"\nnew\nnewer\n" };
        prop_assert_eq!(added, expected);
    }

    #[test]
    fn no_history_loses_or_splits_a_line(
        events in proptest::collection::vec(any_event(), 1..60),
        size in 1_u64..200,
    ) {
        let mut place = Place::new();
        place.settings.rotate_size = Some(size);
        place.settings.rotate_age = Some(Duration::from_secs(1000));
        let mut now = SystemTime::now();
        let (mut writer, mut other, mut expected) = (place.writer(), place.writer(), Vec::new());
        let mut renamed = 0;
        for event in events {
            match event {
                Event::Line(mut line, is_other) => {
                    line.push(b'\n');
                    let writer = if is_other { &mut other } else { &mut writer };
                    writer.write_line(&line, now).expect("written");
                    line.pop();
                    expected.push(line);
                }
                Event::Kill(part) => {
                    let mut file = File::options().append(true).create(true).open(place.path()).expect("opened");
                    file.write_all(&part).expect("written");
                    expected.push(part);
                    writer = place.writer();
                    // Two parts in a row would be one line.
                    writer.write_line(b"started\n", now).expect("written");
                    expected.push(b"started".to_vec());
                }
                Event::Rename(is_told) => {
                    renamed += 1;
                    // Its name is in the order of those of rotated files.
                    let name = format!("samples.ndjson-{}", format_moment(now, renamed));
                    let is_last = place.rotated().last().is_none_or(|last| *last < place.directory.path().join(&name));
                    if !is_last || !place.path().exists() {
                        continue;
                    }
                    fs::rename(place.path(), place.directory.path().join(name)).expect("renamed");
                    if is_told {
                        writer.reopen().expect("opened");
                    }
                }
                Event::Reopen => writer.reopen().expect("opened"),
                Event::Clock(seconds) => now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + u64::from(seconds)),
            }
        }
        let text = place.all_text();
        let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        if text.is_empty() || text.ends_with(b"\n") {
            lines.pop();
        }
        prop_assert_eq!(lines, expected);
    }
}

/// A moment as in the names of rotated files, so many milliseconds later.
fn format_moment(now: SystemTime, millis: u64) -> String {
    humantime::format_rfc3339_millis(now + Duration::from_millis(millis)).to_string().replace(['-', ':'], "")
}
