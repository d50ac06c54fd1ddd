//! The module `textfile`, and the metrics of the files `*.prom` in some directories, as `node_exporter`'s collector of this name has
//! them: programs that run from time to time write them, in Prometheus' text format. Their names are kept.
//!
//! A line that is not understood costs itself, where `node_exporter` leaves out the file; a file with timestamps is left out.

mod conflicts;
mod directory;

use std::collections::BTreeSet;
use std::time::Duration;

use conflicts::Conflicts;
use directory::{Directory, File};
use gauged_plugin::exposition::{Descriptions, Exposition, Format, Limits, Reading};
use gauged_plugin::skipped::{Reason, Skip};
use gauged_plugin::{About, Error, Need, Plugin, Sample, Tick, about};
use serde::Deserialize;

gauged_plugin::metrics! {
    module "textfile";
    /// Moment at which a file was written last, in seconds since the Unix epoch; of files that were read.
    MTIME: gauge "mtime_seconds" in "s" by {"file": "Path of the file"};
    /// Whether a directory or file was not read, or has lines that are not understood or contradict others.
    ERROR: gauge "scrape_error" in "1";
}

gauged_plugin::settings! {
    /// Directories whose files `*.prom` are read. Each needs a grant `read`.
    "directories": "list of paths", required;
    /// Whether the metrics of a file have the moment at which it was written, and end an hour later. Each file is a module then.
    "file_times": "boolean" = "false";
}

/// The module of all files, unless they have times of their own.
const MODULE: &str = "textfile_metrics";

/// The most directories: one for each program that writes files, and some more.
const MAX_DIRECTORIES: usize = 100;

/// The age up to which the agent takes the time of a module.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The most conflicts of a file that are reported, as many as lines that are not understood.
const MAX_CONFLICTS: usize = 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    directories: Vec<String>,
    file_times: bool,
}

struct Textfile {
    directories: Vec<Directory>,
    has_file_times: bool,
    descriptions: Descriptions,
}

impl Plugin for Textfile {
    const ABOUT: About = about!("Metrics in files that other programs write.");
    type Config = Settings;

    fn configure(Settings { directories, file_times }: Settings) -> Result<Self, Error> {
        if directories.is_empty() || directories.len() > MAX_DIRECTORIES {
            return Err(Error::invalid("directories", format!("list 1 to {MAX_DIRECTORIES} directories")));
        }
        for (number, path) in directories.iter().enumerate() {
            let invalid = |why: &str| Err(Error::invalid(&format!("directories[{number}]"), why));
            if !path.starts_with('/') || path.len() > 1 && path.ends_with('/') {
                return invalid("is no absolute path without a slash at its end, such as /var/lib/node_exporter");
            }
            if directories.iter().take(number).any(|other| other == path) {
                return invalid("is there twice; remove one");
            }
        }
        let directories = directories.into_iter().map(Directory::new).collect();
        Ok(Self { directories, has_file_times: file_times, descriptions: Descriptions::default() })
    }

    fn needs(&self) -> Vec<Need> {
        self.directories.iter().map(|directory| Need::read(directory.pattern(), "read its metrics")).collect()
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let mut files = Vec::new();
        let mut is_whole = true;
        let mut denied = None;
        for directory in &mut self.directories {
            match directory.find(&mut files) {
                Ok(is_all) => is_whole &= is_all,
                Err(error) => (is_whole, denied) = (false, denied.or(Some(error))),
            }
        }
        if let Some(denied) = denied
            && files.is_empty()
        {
            return Err(denied);
        }
        directory::name_modules(&mut files);
        let mut conflicts = Conflicts::default();
        directory::read(&files, |file, content| match content {
            Ok(text) => is_whole &= self.read(file, &text, tick, &mut conflicts, sample),
            Err(skip) => {
                skip.report("its metrics");
                is_whole = false;
            }
        });
        sample.set(ERROR, !is_whole);
        Ok(())
    }
}

gauged_plugin::export!(Textfile);

impl Textfile {
    /// Adds the metrics of a file. Returns whether it is understood as a whole.
    fn read(&mut self, file: &File, text: &[u8], tick: Tick, conflicts: &mut Conflicts, sample: &mut Sample) -> bool {
        let exposition = Exposition::read(text, Format::Text, Limits::default());
        if exposition.has_timestamps() {
            let skip = Skip::malformed(&file.path, "", "has timestamps");
            skip.with_remedy("write its values without them").report("its metrics");
            return false;
        }
        let mut is_whole = Self::report(file, &exposition);
        sample.labelled(&[("file", &file.path)]).set(MTIME, file.mtime_seconds());
        let module = if self.has_file_times { file.module.as_str() } else { MODULE };
        if self.has_file_times {
            let written_ms = file.mtime_ms();
            let age_ms = tick.unix_ms.saturating_sub(written_ms);
            if Duration::from_millis(age_ms) > MAX_AGE {
                return is_whole;
            }
            if written_ms <= tick.unix_ms {
                sample.set_time(module, written_ms);
            }
        }
        sample.keep_names(module);
        let (mut rejected, mut reports) = (BTreeSet::new(), 0);
        for family in exposition.families().iter().filter(|family| family.has_samples()) {
            match conflicts.check(family, &file.path) {
                // The agent leaves out modules beyond its limit, and then has not got the descriptors.
                Ok(_) if self.has_file_times => family.describe(module).for_each(|found| sample.describe(&found)),
                Ok(true) => _ = self.descriptions.describe(family, module, sample),
                Ok(false) => {}
                Err(conflict) => {
                    is_whole = false;
                    rejected.extend(conflict.is_type.then_some(family.name));
                    if reports < MAX_CONFLICTS {
                        conflict.report(family.name, &file.path);
                        reports += 1;
                    }
                }
            }
        }
        let mut has_odd_values = false;
        for metric in exposition.metrics() {
            if rejected.contains(metric.family.name) {
                continue;
            }
            has_odd_values |= matches!(metric.reading, Reading::Number(number) if !number.is_finite());
            let labels: Vec<(&str, &str)> = metric.labels.iter().map(|label| (label.name, &*label.value)).collect();
            sample.labelled(&labels).set(metric.in_module(module), metric.reading);
        }
        if has_odd_values {
            let skip = Skip::malformed(&file.path, "", "has values that are not finite, which samples cannot have");
            skip.report("these values");
        }
        is_whole
    }

    /// Reports the lines that are not understood. Returns whether there are none.
    fn report(file: &File, exposition: &Exposition<'_>) -> bool {
        for skipped in exposition.skipped() {
            skipped.to_skip(&file.path).report(&skipped.lost);
        }
        let is_whole = exposition.skipped_lines() == 0 && exposition.left_out() == 0;
        if exposition.left_out() > 0 {
            let limit = Limits::default().samples;
            let why = format!("has more than {limit} samples");
            Skip { reason: Reason::Truncated, ..Skip::malformed(&file.path, "", why) }.report("its other metrics");
        }
        is_whole
    }
}

#[cfg(test)]
mod tests;
