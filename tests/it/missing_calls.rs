//! Kernels and sandboxes without a system call that the agent uses: it goes on without what needs it, and says so once.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::guest::{Guest, install};
use crate::harness::{Agent, Setup, value};

/// Starts an agent in whose process a system call fails with this error, as in those that it starts.
fn start_without(call: i64, error: Errno, command: Command) -> Agent {
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
