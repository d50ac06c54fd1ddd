//! Readings of the native collectors that may take any time, on measured hosts whose files hang: ticks, start and end do not
//! wait for them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::fuse::{SERVED_FILE, ServedMount, Service};
use crate::harness::{Agent, Sample, Setup, repository, wait_until};
use crate::namespaces::{Refused, run_in_namespaces};
use crate::natives::overlay;
use crate::run::assert_ends_in_time;

const FREQUENCIES: &str = "sys/devices/system/cpu/cpufreq";

/// How many samples are looked at while a reading hangs.
const SAMPLES: usize = 10;

/// A measured host, below `host`, of which one file is on a mount.
pub fn setup_with_mounted(file: &str, content: &str, service: Service) -> Result<(Setup, ServedMount), Refused> {
    let setup = Setup::with_config("interval = \"200ms\"\n");
    let host = setup.path("host");
    fs::create_dir_all(host.join("remote")).expect("created");
    fs::create_dir(host.join("etc")).expect("created");
    overlay(&repository().join("tests/fixtures/server"), &host);
    let mount = ServedMount::over(&host.join("remote"), content.into(), service)?;
    link_to_mount(&setup, file);
    Ok((setup, mount))
}

/// Replaces a file of the measured host by a link to the file on the mount.
pub fn link_to_mount(setup: &Setup, file: &str) {
    let path = setup.path("host").join(file);
    if path.exists() {
        fs::remove_file(&path).expect("removed");
    }
    fs::create_dir_all(path.parent().expect("a directory")).expect("created");
    // Relative, so that it leads to the mount also for readers that do not take the host's root for theirs.
    let to_root = "../".repeat(Path::new(file).components().count() - 1);
    symlink(format!("{to_root}remote/{SERVED_FILE}"), path).expect("linked");
}

/// Waits until the agent hangs in its next reading of the file, and asserts that samples go on with the same value.
fn assert_last_value_stays(agent: &mut Agent, mount: &ServedMount, value: impl Fn(&Sample) -> Value) {
    let before = value(&agent.next());
    let reads = mount.reads();
    mount.set(Service::HangsInReads);
    wait_until("another reading of the file", || mount.reads() > reads);
    let hangs_since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    agent.wait(|sample| sample["agent"]["timestamp"].as_f64() > Some(hangs_since));
    for _ in 0..SAMPLES {
        assert_eq!(value(&agent.next()), before);
    }
    assert_eq!(mount.reads(), reads + 1, "one thread hangs in it");
    agent.assert_undisturbed(&[]);
}

fn hostname(sample: &Sample) -> Value {
    sample["agent"]["hostname"].clone()
}

#[test]
fn hanging_frequency_keeps_its_last_value() {
    run_in_namespaces("slow::hanging_frequency_keeps_its_last_value", || {
        let file = format!("{FREQUENCIES}/policy0/scaling_cur_freq");
        let (setup, mount) = setup_with_mounted(&file, "2200000\n", Service::Responds)?;
        let mut agent = setup.start(&["--root", "host"]);
        assert_eq!(agent.next()["cpu"]["freq_current"], 2100.0);
        assert_last_value_stays(&mut agent, &mount, |sample| sample["cpu"]["freq_current"].clone());
        fs::write(setup.path("host").join(FREQUENCIES).join("policy1/scaling_cur_freq"), "3000000\n").expect("written");
        mount.set(Service::Responds);
        agent.wait(|sample| sample["cpu"]["freq_current"] == 2600.0);
        mount.set(Service::HangsInReads);
        agent.assert_undisturbed(&[]);
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn hanging_host_name_keeps_its_last_value() {
    run_in_namespaces("slow::hanging_host_name_keeps_its_last_value", || {
        let (setup, mount) = setup_with_mounted("etc/hostname", "web-1\n", Service::Responds)?;
        let mut agent = setup.start(&["--root", "host"]);
        assert_eq!(hostname(&agent.next()), "web-1");
        assert_last_value_stays(&mut agent, &mount, hostname);
        assert!(!agent.log().contains("host name"), "{}", agent.log());
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn hanging_host_name_is_null_until_read() {
    run_in_namespaces("slow::hanging_host_name_is_null_until_read", || {
        let (setup, mount) = setup_with_mounted("etc/hostname", "web-1\n", Service::HangsInReads)?;
        let (once, log) = setup.once_with(&["--root", "host"]);
        let warning = " WARN host name or CPUs not read yet waited_s=5 remedy=";
        assert_eq!((hostname(&once), log.matches(warning).count()), (Value::Null, 1), "{log}");
        assert_eq!(once["cpu"]["freq_current"], 1900.0, "other readings do not wait for it");

        let mut agent = setup.start(&["--root", "host"]);
        for _ in 0..SAMPLES {
            assert_eq!(hostname(&agent.next()), Value::Null);
        }
        mount.set(Service::Responds);
        agent.wait(|sample| hostname(sample) == "web-1");
        agent.assert_undisturbed(&[]);
        assert_eq!(agent.log().matches(warning).count(), 1, "{}", agent.log());
        assert!(!agent.log().contains("host name missing"), "{}", agent.log());
        Ok(())
    });
}

#[test]
fn start_that_hangs_can_be_ended() {
    run_in_namespaces("slow::start_that_hangs_can_be_ended", || {
        let (setup, mount) = setup_with_mounted("etc/hostname", "web-1\n", Service::HangsInReads)?;
        let agent = setup.start(&["--root", "host"]);
        wait_until("a reading of the file", || mount.reads() > 0);
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn changed_cpus_are_counted_again() {
    let (setup, machine) = (Setup::new(), repository().join("tests/fixtures/hotplug"));
    fs::create_dir(setup.path("host")).expect("created");
    overlay(&machine, &setup.path("host"));
    let mut agent = setup.start(&["--root", "host", "--interval", "100ms"]);
    assert_eq!(agent.next()["cpu"]["count_physical"], 3);
    // Nothing is read before the set of online CPUs changes.
    let cpu3 = setup.path("host/sys/devices/system/cpu/cpu3/topology");
    fs::create_dir_all(&cpu3).expect("created");
    fs::write(cpu3.join("core_cpus_list"), "3\n").expect("written");
    for _ in 0..5 {
        assert_eq!(agent.next()["cpu"]["count_physical"], 3);
    }
    let stat = fs::read_to_string(machine.join("proc/stat")).expect("readable");
    fs::write(setup.path("host/proc/stat"), stat.replace("intr", "cpu3 7 0 0 13 0 0 0 0 0 0\nintr")).expect("written");
    agent.wait(|sample| sample["cpu"]["count_physical"] == 4);
    agent.assert_no_gaps();
}
