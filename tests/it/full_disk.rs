//! Files of samples on disks that are full, read-only, or nearly full when a file is compressed.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::harness::{Setup, parse, wait_until};
use crate::namespaces::{Refused, run_in_namespaces};

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one below a test's directory.
    fn mount(setup: &Setup, size: &str) -> Result<Self, Refused> {
        let path = setup.path("disk");
        fs::create_dir(&path).expect("created");
        let size = std::ffi::CString::new(format!("size={size}")).expect("text");
        mount("none", &path, "tmpfs", MountFlags::empty(), Some(size.as_c_str()))
            .map_err(|error| Refused(format!("mount: {error}")))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn set_read_only(&self, is_read_only: bool) {
        let flags = if is_read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(&self.0, flags, "").expect("mounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn configure(setup: &Setup, disk: &Disk, keys: &str) {
    let path = disk.path("samples.ndjson");
    let sinks = format!(
        "[sinks.stdout]\nkind = \"stdout\"\n[sinks.archive]\nkind = \"file\"\npath = \"{}\"\n{keys}",
        path.display()
    );
    fs::write(setup.path("gauged.toml"), format!("interval = \"100ms\"\n{sinks}\n")).expect("written");
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let (state, numbers) = (RandomState::new(), 0..length.div_ceil(8));
    numbers.flat_map(|number| state.hash_one(number).to_ne_bytes()).take(length).collect()
}

fn metric(sample: &crate::harness::Sample, name: &str, labels: &str) -> f64 {
    sample["agent"][&format!("{name}{{sink=\"archive\"{labels}}}")].as_f64().expect("a number")
}

/// The timestamps of the whole lines, and the number of the others.
fn lines(path: &Path) -> (Vec<String>, usize) {
    let text = fs::read_to_string(path).expect("text");
    assert!(text.ends_with('\n'));
    let (whole, broken): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    (whole.iter().map(|line| parse(line)["agent"]["timestamp"].to_string()).collect(), broken.len())
}

#[test]
fn full_disk_is_counted_and_survived() {
    run_in_namespaces("full_disk::full_disk_is_counted_and_survived", || {
        let setup = Setup::new();
        let disk = Disk::mount(&setup, "64k")?;
        configure(&setup, &disk, "");
        fs::write(disk.path("filler"), noise(40 << 10)).expect("written");
        let mut agent = setup.start(&[]);
        let full = |sample: &crate::harness::Sample| metric(sample, "sink_errors_total", ",reason=\"no_space\"");
        agent.wait(|sample| full(sample) >= 3.0);
        agent.wait_log("No space left on device");
        let reader = fs::read_to_string(disk.path("samples.ndjson")).expect("text");
        fs::remove_file(disk.path("filler")).expect("removed");
        agent.wait_log("file of samples writable again");
        agent.next();
        let last = agent.next();
        let (status, _) = agent.terminate();
        assert!(status.success(), "{status}\n{}", agent.log());
        assert_eq!(agent.log().matches("samples lost: file not writable").count(), 1, "{}", agent.log());
        assert!(fs::read_to_string(disk.path("samples.ndjson")).expect("text").starts_with(&reader));
        let (found, broken) = lines(&disk.path("samples.ndjson"));
        assert!(broken <= 1, "{broken}");
        let timestamps = agent.samples().iter().map(|sample| sample["agent"]["timestamp"].to_string());
        let until = last["agent"]["timestamp"].to_string();
        let missing =
            timestamps.take_while(|timestamp| *timestamp <= until).filter(|sample| !found.contains(sample)).count();
        assert_eq!(missing as f64, metric(&last, "sink_dropped_samples_total", ",reason=\"failed\""));
        agent.assert_no_gaps();
        Ok(())
    });
}

#[test]
fn nearly_full_disk_keeps_plain_files() {
    run_in_namespaces("full_disk::nearly_full_disk_keeps_plain_files", || {
        let setup = Setup::new();
        let disk = Disk::mount(&setup, "512k")?;
        configure(&setup, &disk, "rotate_size = \"16KiB\"\nkeep = 1000");
        let plain = disk.path("samples.ndjson-20200101T000000.000Z");
        fs::write(&plain, noise(200 << 10)).expect("written");
        fs::write(disk.path("filler"), noise(160 << 10)).expect("written");
        let mut agent = setup.start(&[]);
        agent.wait_log("rotated file not compressed");
        // It was not even tried, so that it took no space from the lines.
        agent.wait_log("less space than the plain file needs");
        agent.next();
        assert_eq!(fs::metadata(&plain).expect("there").len(), 200 << 10);
        fs::remove_file(disk.path("filler")).expect("removed");
        agent.wait_log("rotated files compressed again");
        wait_until("it is compressed", || !plain.exists());
        let last = agent.next();
        assert_eq!(metric(&last, "sink_errors_total", ",reason=\"no_space\""), 0.0);
        let (status, _) = agent.terminate();
        assert!(status.success(), "{status}\n{}", agent.log());
        assert_eq!(agent.log().matches("rotated file not compressed").count(), 1, "{}", agent.log());
        let mut content = Vec::new();
        let file = File::open(plain.with_added_extension("gz")).expect("opened");
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut content).expect("complete");
        assert_eq!(content.len(), 200 << 10);
        Ok(())
    });
}

#[test]
fn read_only_disk_is_an_error_until_writable() {
    run_in_namespaces("full_disk::read_only_disk_is_an_error_until_writable", || {
        let setup = Setup::new();
        let disk = Disk::mount(&setup, "1m")?;
        configure(&setup, &disk, "");
        disk.set_read_only(true);
        let mut agent = setup.start(&[]);
        agent.wait(|sample| metric(sample, "sink_errors_total", ",reason=\"read_only\"") >= 2.0);
        let line = agent.wait_log_lines("file not writable", 1).remove(0);
        assert!(line.contains("remedy=\"make the directory writable"), "{line}");
        disk.set_read_only(false);
        agent.wait_log("file of samples writable again");
        let (status, _) = agent.terminate();
        assert!(status.success(), "{status}\n{}", agent.log());
        assert_eq!(lines(&disk.path("samples.ndjson")).1, 0);
        Ok(())
    });
}
