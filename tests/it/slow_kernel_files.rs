//! Plugins that read files of the kernel which take their time: only the first reading holds up the guest thread.

use std::fs;
use std::time::Duration;

use crate::capabilities::{FILE_TIMEOUT, file_guest_as};
use crate::fuse::Service;
use crate::guest::Guest;
use crate::harness::{Sample, plugin_metric, value};
use crate::namespaces::run_in_namespaces;
use crate::run::assert_ends_in_time;
use crate::slow::setup_with_mounted;

/// The file that the plugin reads. No native collector does.
const FILE: &str = "proc/diskstats";

#[test]
fn slow_kernel_file_is_read_on_the_pool() {
    run_in_namespaces("slow_kernel_files::slow_kernel_file_is_read_on_the_pool", || {
        let slow = Service::DelaysReads(Duration::from_millis(50));
        let (setup, mount) = setup_with_mounted(FILE, "slow\n", slow)?;
        let configuration = "interval = \"200ms\"\n[plugins.reader]\ntimeout = \"500ms\"\nread = [\"/remote/*\"]\n";
        fs::write(setup.path("gauged.toml"), configuration).expect("written");
        Guest::new("able").install(&setup.plugin("able.wasm"));
        file_guest_as("reader", "read", &format!("/{FILE}")).install(&setup.plugin("reader.wasm"));
        let mut agent = setup.start(&["--root", "host"]);
        agent.wait(|sample| value(sample, "reader") == Some("slow\n".into()) && value(sample, "able").is_some());
        // A reading that hangs would hold up everything on the guest thread. Here it hangs on another one.
        mount.set(Service::HangsInReads);
        let hangs = |sample: &Sample| {
            value(sample, "reader") == Some(FILE_TIMEOUT.into())
                && plugin_metric(sample, "plugin_stuck_operations", "reader") == Some(1.0)
        };
        for _ in 0..4 {
            agent.wait(|sample| hangs(sample) && value(sample, "able").is_some());
        }
        mount.set(slow);
        agent.wait(|sample| value(sample, "reader") == Some("slow\n".into()));
        agent.assert_undisturbed(&["able"]);
        assert_ends_in_time(agent);
        Ok(())
    });
}
