//! `/proc` mounted with `hidepid`, and an agent that is not root: the files of process 1 are refused or not even shown.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::geteuid;

use crate::capabilities::file_guest;
use crate::first_party::built;
use crate::harness::{Sample, Setup, parse, value};
use crate::namespaces::{Refused, run_in_namespaces};

/// Mounts `/proc` anew, in the namespace of the test.
fn mount_proc(option: &str) -> Result<(), Refused> {
    let output = Command::new("mount").args(["-t", "proc", "-o", option, "proc", "/proc"]).output();
    let output = output.map_err(|error| Refused(format!("failed to run mount: {error}")))?;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(Refused(why))
}

/// One sample of an agent without privileges, and its log.
fn sample_without_root(setup: &Setup) -> (Sample, String) {
    let output = setup.command_without_root(&["--once"]).output().expect("it runs");
    let [sample, log] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    (parse(&sample), log)
}

#[test]
fn hidden_processes_leave_networks_and_mounts() {
    run_in_namespaces("hidden_processes::hidden_processes_leave_networks_and_mounts", || {
        if !geteuid().is_root() {
            return Err(Refused("another user is needed".to_owned()));
        }
        // The namespace's own loopback is down, and listening on every address needs none.
        let listener = TcpListener::bind("[::]:0").expect("a port");
        let port = listener.local_addr().expect("known").port();
        for option in ["hidepid=1", "hidepid=2"] {
            mount_proc(option)?;
            let setup = Setup::with_config(&format!(
                "[plugins.process]\nread = [\"/proc/*/stat\"]\n[plugins.ports]\nread = [\"/proc/1/net/tcp\", \
                 \"/proc/1/net/tcp6\"]\nconfig = {{ listen = [\"tcp6:{port}\", \"tcp6:1\"] }}\n"
            ));
            for name in ["filesystem", "kernel", "netstat", "network", "ports", "process"] {
                fs::write(setup.plugin(&format!("{name}.wasm")), built(name)).expect("copied");
            }
            let (sample, log) = sample_without_root(&setup);
            for module in ["filesystem", "kernel", "netstat", "network"] {
                assert!(sample.get(module).is_some_and(|metrics| !metrics.is_empty()), "{option}: {module}\n{log}");
            }
            let listening = |port: u16| sample["ports"].get(&format!("listening{{port=\"{port}\",protocol=\"tcp6\"}}"));
            assert_eq!([listening(port), listening(1)], [Some(&true.into()), Some(&false.into())], "{option}\n{log}");
            assert_eq!(sample["process"].get("processes"), None, "{option}: only its own are shown\n{log}");
            let remedy = "run the agent as root, or in the group of the mount option gid";
            let line = format!(
                "WARN plugin values left out plugin=process file=/proc kind=\"not permitted\" reason=\"/proc is mounted \
                 with hidepid, or a security module denies it\" left_out=\"the states of processes, and the groups\" \
                 remedy=\"{remedy}\""
            );
            assert!(log.contains(&line), "{option}\n{log}");
            let own_view = "INFO own networks and mounts measured file=/proc/1/";
            assert_eq!(log.matches(own_view).count(), 1, "{option}\n{log}");
            let umount = Command::new("umount").arg("/proc").status().expect("it runs");
            assert!(umount.success());
        }
        Ok(())
    });
}

#[test]
fn missing_file_of_hidden_process_is_not_found() {
    run_in_namespaces("hidden_processes::missing_file_of_hidden_process_is_not_found", || {
        if !geteuid().is_root() {
            return Err(Refused("another user is needed".to_owned()));
        }
        mount_proc("hidepid=2")?;
        // The first as a kernel that has no IPv6; the second is not the same for every process.
        for (path, error) in [("/proc/1/net/none", 3), ("/proc/1/none", 4)] {
            let setup = Setup::with_config(&format!("[plugins.reader]\nread = [\"{path}\"]\n"));
            file_guest("read", path).install(&setup.plugin("reader.wasm"));
            let (sample, log) = sample_without_root(&setup);
            assert_eq!(value(&sample, "reader"), Some(error.into()), "{path}\n{log}");
        }
        Ok(())
    });
}

#[test]
fn mount_below_a_closed_directory_names_the_cause() {
    run_in_namespaces("hidden_processes::mount_below_a_closed_directory_names_the_cause", || {
        if !geteuid().is_root() {
            return Err(Refused("another user is needed".to_owned()));
        }
        // Then the agent reads its own mounts, which are those of the namespace.
        mount_proc("hidepid=2")?;
        let closed = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).expect("set");
        let mounted = closed.path().join("mounted");
        fs::create_dir(&mounted).expect("created");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&mounted).output();
        if !mount.is_ok_and(|output| output.status.success()) {
            return Err(Refused("a tmpfs cannot be mounted".to_owned()));
        }
        let setup = Setup::with_config("[plugins.filesystem]\nconfig = { fstypes = { include = [\"tmpfs\"] } }\n");
        fs::write(setup.plugin("filesystem.wasm"), built("filesystem")).expect("copied");
        let (sample, log) = sample_without_root(&setup);
        let path = mounted.display().to_string();
        let has_mount = |key: &String| key.contains(&path);
        assert!(!sample.get("filesystem").is_some_and(|metrics| metrics.keys().any(has_mount)), "{sample:?}");
        let line = format!(
            "WARN plugin values left out plugin=filesystem file={path} kind=\"not permitted\" reason=\"Permission \
             denied\" left_out=\"the sizes of {path}\" remedy=\"run the agent as a user that may\""
        );
        assert!(log.contains(&line) && !log.contains("access denied"), "{log}");
        Ok(())
    });
}
