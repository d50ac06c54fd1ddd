//! The module `meminfo`: all fields of `/proc/meminfo`, by the kernel's own names; and `meminfo_numa`, those of each memory node.
//! Fields that are not described are measured, too. Computes nothing: the agent's module `memory` has used memory and shares.

mod fields;
mod host;
mod numa;

use fields::{Counts, Table};
use gauged_plugin::descriptor::join;
use gauged_plugin::select::Selection;
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Descriptor, Error, Plugin, Sample, Tick, about};

/// All described metrics: those of the host, then those of nodes.
const METRICS: &[Descriptor] = &join::<{ host::METRICS.len() + numa::METRICS.len() }>(&[host::METRICS, numa::METRICS]);

/// The file of the host.
const MEMINFO: &str = "/proc/meminfo";

gauged_plugin::settings! {
    /// Fields to measure, by their names in the file, all if it is empty; `*` stands for any text.
    "fields.include": "list of patterns" = "[]";
    /// Fields to leave out; it wins over `include`.
    "fields.exclude": "list of patterns" = "[]";
    /// Whether the fields of each memory node are measured, too, in the module `meminfo_numa`.
    "numa": "boolean" = "false";
}

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    fields: Selection,
    numa: bool,
}

struct Meminfo {
    settings: Settings,
    skipped: Skipped,
}

impl Plugin for Meminfo {
    const ABOUT: About = about!("Sizes of all kinds of memory, of the host and of its memory nodes.");
    type Config = Settings;

    fn configure(settings: Settings) -> Result<Self, Error> {
        Ok(Self { settings, skipped: Skipped::default() })
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let Self { settings: Settings { fields, numa }, skipped } = self;
        let (mut counts, mut of_nodes) = (Counts::default(), None);
        if let Some(file) = skipped.read(MEMINFO, "all fields of the host") {
            counts = Table { metrics: host::METRICS, labels: &[] }.measure(&file, fields, sample, skipped);
        }
        if *numa {
            of_nodes = Some(numa::measure(fields, sample, skipped));
        }
        // Of files that cannot be read nothing is known.
        let selects_none = |counts: Counts| matches!(counts, Counts { named: 1.., selected: 0 });
        if sample.is_empty() && selects_none(counts) && of_nodes.is_none_or(selects_none) {
            let message = "selects no field of /proc/meminfo; fields have names such as Active(anon)";
            return Err(Error::invalid("fields", message));
        }
        skipped.finish(sample)
    }
}

gauged_plugin::export!(Meminfo);

#[cfg(test)]
mod tests;
