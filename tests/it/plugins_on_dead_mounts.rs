//! Plugins, their directory and the artifact cache on file systems that fail or do not respond: the agent reports that
//! once, goes on with everything else, and uses them when they respond again.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};

use rustix::io::Errno;

use crate::fuse::{DeadMount, SERVED_FILE, ServedMount, Service};
use crate::guest::Guest;
use crate::harness::{Agent, Setup, fault_count, parse, value, wait_until};
use crate::namespaces::{Refused, run_in_namespaces};
use crate::run::assert_ends_in_time;

/// A setup with the plugin `near`, and `far`, which is a link to a file on a mount with this service.
fn setup_with_far(configuration: &str, service: Service) -> Result<(Setup, ServedMount), Refused> {
    let setup = Setup::with_config(&format!("interval = \"200ms\"\n{configuration}"));
    Guest::new("near").install(&setup.plugin("near.wasm"));
    fs::create_dir(setup.path("remote")).expect("created");
    let mount = ServedMount::over(&setup.path("remote"), Guest::new("far").module(), service)?;
    symlink(setup.path("remote").join(SERVED_FILE), setup.plugin("far.wasm")).expect("linked");
    Ok((setup, mount))
}

/// Installs another plugin and waits until it is loaded: the directory was scanned again by then.
fn load_another(setup: &Setup, agent: &mut Agent, name: &str) {
    Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
    agent.wait(|sample| value(sample, name).is_some());
}

/// Takes a single sample, which has the plugin `near`. Returns the exit code and the log.
fn single_sample(setup: &Setup) -> (Option<i32>, String) {
    let output = setup.run(&["--once"]);
    let log = String::from_utf8(output.stderr).expect("text");
    let sample = parse(&String::from_utf8(output.stdout).expect("text"));
    assert!(sample["cpu"]["percent"].as_f64().is_some() && value(&sample, "near").is_some(), "{log}");
    // It did not wait for as long as it may.
    assert!(!log.contains("sample taken before all plugins are loaded"), "{log}");
    (output.status.code(), log)
}

#[test]
fn unreadable_file_is_reported_once_per_reason() {
    run_in_namespaces("plugins_on_dead_mounts::unreadable_file_is_reported_once_per_reason", || {
        let (setup, mount) = setup_with_far("", Service::FailsReads(Errno::IO))?;
        let mut agent = setup.start(&[]);
        let (mut reads, mut other) = (0, 0);
        for (count, (error, reason)) in (1..).zip([
            (Errno::IO, "Input/output error (os error 5)"),
            (Errno::STALE, "Stale file handle (os error 116)"),
            (Errno::IO, "Input/output error (os error 5)"),
        ]) {
            mount.set(Service::FailsReads(error));
            for _ in 0..3 {
                mount.touch();
                load_another(&setup, &mut agent, &format!("other{other}"));
                other += 1;
                wait_until("another attempt to read the file", || mount.reads() > reads);
                reads = mount.reads();
            }
            let lines = agent.wait_plugin_log("far", count);
            assert_eq!(lines.len(), count, "{lines:#?}");
            let expected = format!(
                " WARN plugin rejected plugin=far file=plugins/far.wasm reason=\"cannot be read: {reason}\" \
                 remedy=\"check the disk or the mount; the file is read again every 30 s\" \
                 consequence=\"no version is running\""
            );
            assert!(lines[count - 1].ends_with(&expected), "{}", lines[count - 1]);
            let sample = agent.next();
            assert_eq!(fault_count(&sample, "far", "load"), count as f64, "{sample:?}");
        }
        // Nothing shows that it can be read now: the agent tries again by itself.
        mount.set(Service::Responds);
        agent.wait(|sample| value(sample, "far") == Some(1.into()));
        agent.assert_undisturbed(&["near"]);
        Ok(())
    });
}

#[test]
fn link_to_dead_mount_delays_no_other_plugin() {
    run_in_namespaces("plugins_on_dead_mounts::link_to_dead_mount_delays_no_other_plugin", || {
        let (setup, mount) = setup_with_far("", Service::Hangs)?;
        let named = " WARN plugin files do not respond directory=plugins count=1 files=far.wasm remedy=";
        // First, and not beside an agent: a process cannot end while it waits for the same look-up as another one.
        let (code, log) = single_sample(&setup);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(named) && log.contains("sample incomplete missing=far.wasm"), "{log}");

        let mut agent = setup.start(&[]);
        agent.wait(|sample| value(sample, "near").is_some());
        agent.wait_log(named);
        for round in 0..3 {
            load_another(&setup, &mut agent, &format!("other{round}"));
        }
        assert_eq!(agent.log().matches(named).count(), 1, "{}", agent.log());

        mount.set(Service::Responds);
        // The thread that hung in it is free a moment later.
        let mut round = 0;
        while value(agent.samples().last().expect("seen"), "far").is_none() {
            load_another(&setup, &mut agent, &format!("later{round}"));
            round += 1;
        }
        agent.wait_log(" INFO plugin files respond again directory=plugins count=1 files=far.wasm");
        assert_eq!(single_sample(&setup).0, Some(0));
        agent.assert_undisturbed(&["near", "other0"]);
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn dead_link_is_ignored_while_plugin_is_off() {
    run_in_namespaces("plugins_on_dead_mounts::dead_link_is_ignored_while_plugin_is_off", || {
        let (setup, _mount) = setup_with_far("[plugins.far]\nenabled = false\n", Service::Hangs)?;
        let (code, log) = single_sample(&setup);
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        Ok(())
    });
}

#[test]
fn many_dead_links_delay_no_other_plugin() {
    run_in_namespaces("plugins_on_dead_mounts::many_dead_links_delay_no_other_plugin", || {
        let (setup, _mount) = setup_with_far("", Service::Hangs)?;
        for number in 1..20 {
            symlink(setup.path("remote").join(number.to_string()), setup.plugin(&format!("far{number}.wasm")))
                .expect("linked");
        }
        let (code, log) = single_sample(&setup);
        assert_eq!(code, Some(1), "{log}");
        let named =
            " WARN plugin files do not respond directory=plugins count=20 files=\"far.wasm, far1.wasm, far10.wasm";
        assert!(log.contains(named) && log.contains("sample incomplete missing="), "{log}");
        Ok(())
    });
}

#[test]
fn hanging_plugin_file_delays_no_other_plugin() {
    run_in_namespaces("plugins_on_dead_mounts::hanging_plugin_file_delays_no_other_plugin", || {
        let (setup, mount) = setup_with_far("[plugins.far]\n", Service::HangsInReads)?;
        let mut agent = setup.start(&[]);
        agent.wait(|sample| value(sample, "near").is_some());
        let reason = "reason=\"cannot be read: its file system does not respond\" remedy=\"check the file system; the file \
                      is read again every 30 s\"";
        agent.wait_log(&format!(" WARN plugin rejected plugin=far file=plugins/far.wasm {reason}"));
        let threads = agent.status("Threads");
        for round in 0..3 {
            load_another(&setup, &mut agent, &format!("other{round}"));
        }
        let sample = agent.next();
        assert_eq!(fault_count(&sample, "far", "load"), 1.0, "{sample:?}");
        assert_eq!(agent.plugin_log("far").len(), 1, "{}", agent.log());
        assert_eq!(mount.reads(), 1, "one thread hangs in it");
        assert!(agent.status("Threads") <= threads + 10, "{}", agent.status("Threads"));

        let (code, log) = single_sample(&setup);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(reason) && log.contains("sample incomplete missing=far "), "{log}");

        mount.set(Service::Responds);
        let mut round = 0;
        while value(agent.samples().last().expect("seen"), "far").is_none() {
            mount.touch();
            load_another(&setup, &mut agent, &format!("later{round}"));
            round += 1;
        }
        agent.assert_undisturbed(&["near", "other0"]);
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn dead_plugins_directory_fails_a_single_sample() {
    run_in_namespaces("plugins_on_dead_mounts::dead_plugins_directory_fails_a_single_sample", || {
        let setup = Setup::new();
        fs::create_dir(setup.path("dead")).expect("created");
        let _mount = DeadMount::over(&setup.path("dead"))?;
        let output = setup.run(&["--once", "--plugins", "dead"]);
        let log = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{log}");
        let sample = parse(&String::from_utf8(output.stdout).expect("text"));
        assert!(sample["cpu"]["percent"].as_f64().is_some(), "{log}");
        let named = " WARN plugins directory not readable directory=dead reason=\"its file system does not respond\"";
        assert!(log.contains(named) && log.contains("sample incomplete missing="), "{log}");
        assert!(!log.contains("sample taken before all plugins are loaded"), "{log}");
        Ok(())
    });
}

#[test]
fn dead_default_plugins_directory_fails_a_single_sample() {
    run_in_namespaces("plugins_on_dead_mounts::dead_default_plugins_directory_fails_a_single_sample", || {
        let setup = Setup::with_config("[plugins.one]\n");
        let _mount = DeadMount::over(&setup.path("plugins"))?;
        let output = setup.run(&["--once"]);
        let log = String::from_utf8(output.stderr).expect("text");
        assert!(parse(&String::from_utf8(output.stdout).expect("text")).contains_key("cpu"), "{log}");
        assert_eq!(output.status.code(), Some(1), "{log}");
        let named =
            " WARN plugins directory not readable directory=plugins reason=\"its file system does not respond\"";
        assert!(log.contains(named) && log.contains("sample incomplete missing=\"one, "), "{log}");
        Ok(())
    });
}

#[test]
fn dead_plugins_directory_keeps_loaded_plugins_running() {
    run_in_namespaces("plugins_on_dead_mounts::dead_plugins_directory_keeps_loaded_plugins_running", || {
        let setup = Setup::with_config("interval = \"200ms\"\n");
        Guest::new("kept").install(&setup.plugin("kept.wasm"));
        let mut agent = setup.start(&[]);
        agent.wait(|sample| value(sample, "kept").is_some());
        // A version that has nothing to measure is retried soon, which causes scans.
        Guest::new("kept").version("2.0.0").error(3, "not yet").install(&setup.plugin("kept.wasm"));
        agent.wait_log("has nothing to measure: not yet");
        let mount = DeadMount::over(&setup.path("plugins"))?;
        let named = "plugins directory not readable directory=plugins reason=\"its file system does not respond\" \
                     remedy=\"check its mount; it is scanned again every 30 s\"";
        agent.wait_log(named);
        for _ in 0..5 {
            assert!(value(&agent.next(), "kept").is_some());
        }
        drop(mount);
        Guest::new("late").install(&setup.plugin("late.wasm"));
        agent.wait(|sample| value(sample, "late").is_some());
        agent.wait_log("plugins directory readable again");
        agent.assert_undisturbed(&["kept"]);
        assert_eq!(agent.log().matches(named).count(), 1, "{}", agent.log());
        assert_ends_in_time(agent);
        Ok(())
    });
}

#[test]
fn plugins_directory_dead_at_start_is_used_later() {
    run_in_namespaces("plugins_on_dead_mounts::plugins_directory_dead_at_start_is_used_later", || {
        let setup = Setup::new();
        Guest::new("one").install(&setup.plugin("one.wasm"));
        let mount = DeadMount::over(&setup.path("plugins"))?;
        // It is in the working directory, and is examined once it responds.
        let mut agent = setup.start(&["--interval", "200ms"]);
        agent.wait_log("plugins directory not readable directory=plugins reason=\"its file system does not respond\"");
        assert!(agent.next().contains_key("cpu"));
        drop(mount);
        agent.wait(|sample| value(sample, "one").is_some());
        agent.assert_undisturbed(&[]);
        Ok(())
    });
}

#[test]
fn slow_cache_is_used_once_it_responds() {
    run_in_namespaces("plugins_on_dead_mounts::slow_cache_is_used_once_it_responds", || {
        let setup = Setup::with_config("interval = \"200ms\"\n");
        fs::DirBuilder::new().mode(0o700).create(setup.cache()).expect("created");
        Guest::new("one").install(&setup.plugin("one.wasm"));
        let mount = DeadMount::over(&setup.cache())?;
        let mut agent = setup.start(&[]);
        agent.wait_log("artifact cache problem");
        let line = agent.wait_log_lines("problem=\"does not respond\"", 1).remove(0);
        assert!(
            line.contains(" WARN artifact cache problem cache=") && line.contains("remedy=\"check its disk or mount\"")
        );
        // Plugins are compiled meanwhile, and wait for the cache once.
        agent.wait(|sample| value(sample, "one").is_some());
        let (sample, log) = setup.once();
        assert!(value(&sample, "one").is_some(), "{log}");
        assert!(!log.contains("sample taken before all plugins are loaded"), "{log}");
        drop(mount);
        Guest::new("two").install(&setup.plugin("two.wasm"));
        agent.wait(|sample| value(sample, "two").is_some());
        wait_until("an entry", || fs::read_dir(setup.cache()).expect("readable").count() > 0);
        agent.terminate();
        assert_eq!(agent.log().matches("problem=\"does not respond\"").count(), 1, "{}", agent.log());
        let (sample, log) = setup.once();
        assert!(sample["agent"]["cache_hits_total"].as_u64() >= Some(1), "{log}");
        Ok(())
    });
}
