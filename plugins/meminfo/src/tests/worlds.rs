//! Hosts that were reported to other agents. Each has its source, and the right values with their reason.

use super::*;

/// A container of LXC whose swap space was made smaller than what it uses: the difference wrapped. Reported in lxc/lxcfs#695. Right: all
/// other fields, and one warning.
#[test]
fn wrapped_swap_of_lxcfs_is_left_out() {
    let mut meminfo = start(host("SwapTotal: 0 kB\nSwapFree:       18446744073709346016 kB\nDirty: 8 kB\n"), "{}");
    let sample = meminfo.tick().expect("a sample");
    assert_eq!(sample.render(), "meminfo.Dirty_bytes 8192\nmeminfo.SwapTotal_bytes 0\n");
    assert_eq!(meminfo.host().warnings().len(), 1);
}

/// Sandboxes of gVisor write `SwapCache` where Linux writes `SwapCached` (google/gvisor, `pkg/sentry/fsimpl/proc`). Right: the
/// name that is there, since nobody knows that it is the same.
#[test]
fn field_of_gvisor_keeps_its_name() {
    let sample = start(host("MemTotal: 2097152 kB\nSwapCache: 0 kB\n"), "{}").tick().expect("a sample");
    assert_eq!(sample["meminfo.SwapCache_bytes"], 0);
}
