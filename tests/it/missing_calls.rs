//! Kernels and sandboxes without a system call that the agent uses: it goes on without what needs it, and says so once.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::guest::{Guest, install};
use crate::harness::{Agent, Setup, value};

/// Starts an agent in whose process a system call fails with this error, as in those that it starts.
pub fn start_without(call: i64, error: Errno, command: Command) -> Agent {
    let denied = SeccompAction::Errno(error.raw_os_error().cast_unsigned());
    let target = TargetArch::try_from(ARCH).expect("a processor with such filters");
    let filter = SeccompFilter::new(BTreeMap::from([(call, Vec::new())]), SeccompAction::Allow, denied, target);
    let program: BpfProgram = filter.and_then(SeccompFilter::try_into).expect("valid");
    // The filter is that of one thread, and of the processes that it starts.
    let started = thread::spawn(move || {
        apply_filter(&program).expect("such filters");
        Agent::start(command)
    });
    started.join().expect("it starts")
}

#[test]
fn kernel_without_seccomp_compiles_unconfined() {
    let setup = Setup::new();
    for name in ["one", "other"] {
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    let mut agent = start_without(libc::SYS_seccomp, Errno::NOSYS, setup.command(&["--interval", "200ms"]));
    agent.wait(|sample| value(sample, "one").is_some() && value(sample, "other").is_some());
    let line = agent.wait_log_lines(" WARN compiler not confined ", 1).remove(0);
    assert!(line.contains("reason=\"") && line.contains("Function not implemented"), "{line}");
    assert!(line.contains("remedy=\"run the agent on a kernel with seccomp filters"), "{line}");
    // Rejections are reported as before.
    let module = Guest::new("bad").module();
    install(&module[..module.len() - 100], &setup.plugin("bad.wasm"));
    agent.wait_log("reason=\"is truncated\" remedy=\"copy it again\"");
    assert_eq!(agent.log().matches("compiler not confined").count(), 1, "{}", agent.log());
}

#[test]
fn host_without_memory_files_has_no_plugins() {
    let setup = Setup::with_config("interval = \"200ms\"\n[plugins.one]\n");
    for name in ["one", "other"] {
        Guest::new(name).install(&setup.plugin(&format!("{name}.wasm")));
    }
    // Old kernels do not know it, and sandboxes deny it.
    for error in [Errno::NOSYS, Errno::PERM] {
        let mut agent = start_without(libc::SYS_memfd_create, error, setup.command(&[]));
        let line = agent.wait_log_lines(" ERROR plugins not started ", 1).remove(0);
        for part in [
            &format!("reason=\"files in memory (memfd_create): {}\"", io::Error::from(error)),
            "remedy=\"run the agent on Linux 3.17 or later with /proc, and let its sandbox allow memfd_create(2)",
            "consequence=\"only native metrics until then; it is tried again every 10 s\"",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        for _ in 0..5 {
            let sample = agent.next();
            for native in ["cpu", "load", "memory", "swap"] {
                assert!(sample.get(native).is_some_and(|metrics| metrics.len() > 2), "no {native} in {sample:?}");
            }
        }
        let (status, _) = agent.terminate();
        assert!(status.success(), "{status}");
        assert_eq!(
            agent.log().matches(" WARN ").count() + agent.log().matches(" ERROR ").count(),
            1,
            "{}",
            agent.log()
        );
    }
}

#[test]
fn single_runs_without_memory_files_end() {
    let setup = Setup::with_config("[plugins.one]\n");
    Guest::new("one").install(&setup.plugin("one.wasm"));
    let mut agent = start_without(libc::SYS_memfd_create, Errno::NOSYS, setup.command(&["--once"]));
    assert!(agent.next().contains_key("cpu"));
    let (status, _) = agent.wait_exit();
    assert_eq!(status.code(), Some(1), "the plugin is missing: {}", agent.log());
    agent.wait_log(" ERROR sample incomplete missing=one ");
    assert!(!agent.log().contains("before all plugins are loaded"), "it has not waited: {}", agent.log());

    let mut command = start_without(libc::SYS_memfd_create, Errno::NOSYS, setup.command(&["plugin", "list"]));
    let (status, _) = command.wait_exit();
    assert_eq!(status.code(), Some(1), "{}", command.log());
    assert!(command.log().contains("files in memory (memfd_create): Function not implemented"), "{}", command.log());
}
