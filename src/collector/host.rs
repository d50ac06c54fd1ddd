//! The module `host`: which system the host runs, as labels of metrics that are 1. The files are read on the thread for slow
//! readings, since `/etc` may be on a mount that does not respond.

use std::sync::Arc;

use super::identity::Identity;
use super::slow::SlowReadings;
use super::{Collector, ReadError};
use crate::sample::{Labels, NativeMetric, Value, Values};

const KERNEL: &str = "/proc/sys/kernel, /etc/hostname";
const OS_RELEASE: &str = "/etc/os-release, otherwise /usr/lib/os-release";

/// The metrics of the module.
pub(super) const METRICS: &[NativeMetric] = &[
    NativeMetric::gauge(
        "host",
        "uname_info",
        "1",
        "1; its labels are the names and versions of kernel and host, as of `uname -a`.",
        KERNEL,
    ),
    NativeMetric::gauge("host", "os_info", "1", "1; its labels are the names and versions of the system.", OS_RELEASE),
    NativeMetric::gauge("host", "os_version", "1", "The first two parts of the system's version.", OS_RELEASE),
];

/// Collects the module `host`.
pub(super) struct Host {
    slow: Arc<SlowReadings>,
}

impl Host {
    pub(super) fn new(slow: &Arc<SlowReadings>) -> Self {
        Self { slow: Arc::clone(slow) }
    }
}

impl Collector for Host {
    fn collect(&mut self, _module: &str, values: &mut Values<'_>) -> Result<(), ReadError> {
        let Identity { uname, os, .. } = self.slow.identity();
        push(values, "uname_info", uname.map(|labels| (labels, 1_u64.into())));
        let (info, version) = os.map(|os| (os.info, os.version)).unzip();
        push(values, "os_info", info.map(|labels| (labels, 1_u64.into())));
        push(values, "os_version", version.flatten().map(|(labels, version)| (labels, version.into())));
        Ok(())
    }

    fn skipped_lines(&self) -> u64 {
        self.slow.identity().skipped_lines
    }
}

/// Appends a metric whose labels were measured as well; without them, and null, where they are not known.
fn push(values: &mut Values<'_>, name: &str, measured: Option<(Labels, Value)>) {
    match measured {
        Some((labels, value)) => values.push_labelled(name, &labels, value),
        None => values.push(name, Value::Null),
    }
}
