//! From when counters count.

use super::named::CounterOrigin;
use crate::sample::AGENT;

/// The modules whose counters are the kernel's and count from boot: native ones, and those of the first-party plugins that measure
/// the host. Not among them: `cgroup`, whose groups come and go, and `process`, since a group of processes does as well.
const KERNEL_MODULES: [&str; 8] = ["cpu", "swap", "disk", "kernel", "netstat", "network", "pressure", "uptime"];

/// From when the counters of a module count; a verbatim module's are somebody else's.
pub(super) fn origin(module: &str, is_verbatim: bool) -> CounterOrigin {
    match module {
        _ if is_verbatim => CounterOrigin::Unknown,
        AGENT => CounterOrigin::Agent,
        module if KERNEL_MODULES.contains(&module) => CounterOrigin::Boot,
        _ => CounterOrigin::Unknown,
    }
}
