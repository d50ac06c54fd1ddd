//! Reads an exposition line by line, and puts the samples of a histogram or summary together, wherever they are. What runs for each
//! line is inlined: a plugin that reads many is optimised for speed by its own profile, and others stay small.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::distribution::{BOUND, Distribution, QUANTILE};
use super::family::Role;
use super::line::{self, Comment, Malformed, Names, Sample};
use super::{Exposition, Family, FamilyKind, Format, Label, Limits, Reading, SkippedLine, Stored};
use crate::scan::{Name, find, is_same};
use crate::skipped::Reason;

/// The suffixes of samples whose family has a name without them.
const SUFFIXES: [&str; 8] = ["_total", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_created", "_info"];

/// The lengths of a line and a label, with its line's other parts, that are seldom exceeded: memory for a text of these is reserved.
const LINE_BYTES: usize = 128;
const LABEL_BYTES: usize = 64;

/// A histogram or summary that is being put together.
struct Group<'a> {
    /// The place of its metric.
    metric: usize,
    family: usize,
    line: u32,
    parts: Distribution,
    /// The other samples of a family are compared with it first.
    labels: Vec<Label<'a>>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The bytes, if all are UTF-8: they are checked once, and each line only where another one is at fault.
    text: Option<&'a str>,
    format: Format,
    limits: Limits,
    out: Exposition<'a>,
    samples: usize,
    line: u32,
    has_ended: bool,
    /// The places of families.
    by_name: BTreeMap<Name<'a>, usize>,
    /// The family of the line before.
    current: Option<usize>,
    names: Names<'a>,
    /// The name of the sample on the line before, its family and its part there.
    located: Option<(&'a str, usize, Role)>,
    groups: Vec<Group<'a>>,
    /// The places of groups by family and labels.
    by_labels: BTreeMap<(usize, String), usize>,
}

#[inline]
pub(super) fn read(text: &[u8], format: Format, limits: Limits) -> Exposition<'_> {
    let out = Exposition {
        families: Vec::new(),
        labels: Vec::with_capacity(text.len() / LABEL_BYTES),
        metrics: Vec::with_capacity(text.len() / LINE_BYTES),
        skipped: Vec::new(),
        skipped_lines: 0,
        left_out: 0,
        has_timestamps: false,
    };
    let mut reader = Reader {
        bytes: text,
        text: std::str::from_utf8(text).ok(),
        format,
        limits,
        out,
        samples: 0,
        line: 0,
        has_ended: false,
        by_name: BTreeMap::new(),
        current: None,
        names: Names::default(),
        located: None,
        groups: Vec::new(),
        by_labels: BTreeMap::new(),
    };
    let mut start = 0;
    while !reader.has_ended
        && let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty())
    {
        reader.line += 1;
        let Some(length) = find(rest, [b'\n']) else {
            reader.last_line(start);
            start = text.len();
            break;
        };
        reader.read_line(start, start + length);
        start += length + 1;
    }
    reader.finish(start)
}

impl<'a> Reader<'a> {
    fn skip(&mut self, Malformed { word, why }: Malformed<'a>, lost: &'a str) {
        self.skip_for(Reason::Malformed, word, why, lost);
    }

    fn skip_for(&mut self, reason: Reason, word: &'a str, why: &'static str, lost: &'a str) {
        let lost = if lost.is_empty() { "its metric" } else { lost };
        self.out.skip(SkippedLine {
            line: self.line,
            word: Cow::Borrowed(word),
            reason,
            why,
            lost: Cow::Borrowed(lost),
        });
    }

    /// A line without an end may be cut, also within its value. In OpenMetrics only the end of the text is complete without one.
    fn last_line(&mut self, start: usize) {
        let line = self.bytes.get(start..).unwrap_or_default();
        let is_comment = line.trim_ascii().first().is_none_or(|&first| first == b'#');
        let takes_sample = self.limits.takes_unended_line && self.format == Format::Text;
        if is_comment || takes_sample {
            self.read_line(start, self.bytes.len());
        } else {
            let lost = std::str::from_utf8(line).map_or("", name_of);
            self.skip_for(Reason::Truncated, "", "is without the end of its line", lost);
        }
    }

    #[inline]
    fn read_line(&mut self, start: usize, end: usize) {
        let line = self.bytes.get(start..end).unwrap_or_default().trim_ascii_start();
        let start = end - line.len();
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return;
        }
        if line.len() > self.limits.line_bytes {
            return self.skip_for(Reason::Malformed, "", "is longer than a line may be", "");
        }
        let text = match self.text {
            Some(text) => text.get(start..start + line.len()),
            None => std::str::from_utf8(line).ok(),
        };
        let Some(line) = text else { return self.skip_for(Reason::Malformed, "", "is not UTF-8", "") };
        if !line.starts_with('#') {
            return self.read_sample(line);
        }
        match line::comment(line) {
            Ok(Comment::Type { name, word }) => self.declare(name, word),
            Ok(Comment::Help { name, text }) => {
                let help = line::unescaped(text, self.format);
                if let Some(family) = self.family(name)
                    && family.help.is_empty()
                {
                    family.help = help;
                }
            }
            Ok(Comment::Unit { name, unit }) => {
                if self.format == Format::OpenMetrics
                    && let Some(family) = self.family(name)
                    && family.unit.is_empty()
                {
                    family.unit = unit;
                }
            }
            Ok(Comment::End) => self.has_ended = self.format == Format::OpenMetrics,
            Ok(Comment::Other) => {}
            Err(malformed) => self.skip(malformed, ""),
        }
    }

    /// The family of a name, which becomes the current one. None if there are too many.
    fn family(&mut self, name: &'a str) -> Option<&mut Family<'a>> {
        let current = self.current.filter(|&at| self.out.families.get(at).is_some_and(|it| is_same(it.name, name)));
        let at = match current.or_else(|| self.by_name.get(&Name(name)).copied()) {
            Some(at) => at,
            None if self.out.families.len() >= self.limits.samples => return None,
            None => self.add_family(name),
        };
        (self.current, self.located) = (Some(at), None);
        self.out.families.get_mut(at)
    }

    fn add_family(&mut self, name: &'a str) -> usize {
        let at = self.out.families.len();
        self.out.families.push(Family::new(name, self.format));
        self.by_name.insert(Name(name), at);
        at
    }

    /// Declares the type of a family. The first one holds.
    fn declare(&mut self, name: &'a str, word: &'a str) {
        let kind = FamilyKind::parse(word, self.format);
        let Some(family) = self.family(name) else { return };
        let why = match kind {
            None => "is no type",
            Some(kind) if !family.is_declared && !family.has_samples => {
                (family.kind, family.is_declared) = (kind, true);
                return;
            }
            Some(kind) if family.kind == kind => return,
            Some(_) if family.is_declared => "is another type than that before",
            Some(_) => "is declared after a sample",
        };
        let word = Malformed { word, why };
        let lost = "its type";
        self.skip(word, lost);
    }

    #[inline]
    fn read_sample(&mut self, line: &'a str) {
        let first = self.out.labels.len();
        let sample = match line::sample(line, self.format, self.limits.labels, &mut self.names, &mut self.out.labels) {
            Ok(sample) => sample,
            Err(malformed) => {
                self.out.labels.truncate(first);
                return self.skip(malformed, name_of(line));
            }
        };
        self.out.has_timestamps |= sample.has_timestamp;
        if self.samples >= self.limits.samples {
            self.out.labels.truncate(first);
            self.out.left_out += 1;
            return;
        }
        let known =
            self.located.filter(|(name, ..)| is_same(name, sample.name)).map(|(_, family, role)| (family, role));
        let (family, role) = known.unwrap_or_else(|| self.locate(sample.name));
        (self.current, self.located) = (Some(family), Some((sample.name, family, role)));
        match role {
            Role::Created => self.out.labels.truncate(first),
            Role::Foreign | Role::Untyped => {
                let lost = if role == Role::Untyped { "its type" } else { sample.name };
                self.skip(Malformed { word: sample.name, why: "is no sample of its family's type" }, lost);
                if role == Role::Untyped {
                    let reading = Some(Reading::Number(sample.value));
                    self.push(sample.name, family, first, reading);
                } else {
                    self.out.labels.truncate(first);
                }
            }
            Role::Metric => {
                let reading = Some(Reading::Number(sample.value));
                self.push(sample.name, family, first, reading);
            }
            Role::Bucket | Role::Quantile | Role::Sum | Role::Count => self.add_part(family, role, sample, first),
        }
    }

    /// The family that a sample belongs to, and its part there: of the current one, else of one with its name, else of one with its
    /// name but for a suffix, else of a new one.
    #[inline]
    fn locate(&mut self, sample: &'a str) -> (usize, Role) {
        let role = |at: usize| Some((at, self.out.families.get(at)?.role(sample)?));
        if let Some(found) = self.current.and_then(role) {
            return found;
        }
        let known = |name: &str| self.by_name.get(&Name(name)).copied().and_then(role);
        let of_base = || SUFFIXES.iter().find_map(|suffix| sample.strip_suffix(suffix).and_then(known));
        match known(sample).or_else(of_base) {
            Some(found) => found,
            None => (self.add_family(sample), Role::Metric),
        }
    }

    #[inline]
    fn push(&mut self, name: &'a str, family: usize, first_label: usize, reading: Option<Reading>) {
        self.samples += 1;
        if let Some(family) = self.out.families.get_mut(family) {
            family.has_samples = true;
        }
        let labels = first_label..self.out.labels.len();
        self.out.metrics.push(Stored { name, family, labels, reading });
    }

    /// Adds a sample to its histogram or summary.
    #[inline]
    fn add_part(&mut self, family: usize, role: Role, sample: Sample<'a>, first_label: usize) {
        let key = match role {
            Role::Bucket => BOUND,
            Role::Quantile => QUANTILE,
            _ => "",
        };
        let own = self.out.labels.get(first_label..).unwrap_or_default();
        let part =
            own.iter().position(|label| is_same(label.name, key)).map(|at| self.out.labels.remove(first_label + at));
        let at = match self.group(family, first_label) {
            Some(at) => {
                self.out.labels.truncate(first_label);
                self.samples += 1;
                at
            }
            None => self.add_group(family, first_label),
        };
        let Some(group) = self.groups.get_mut(at) else { return };
        match role {
            Role::Sum => group.parts.set_sum(sample.value),
            Role::Count => group.parts.set_count(sample.value),
            _ => {
                if let Err(why) = group.parts.add_part(part.as_ref(), sample.value) {
                    self.skip(Malformed { word: sample.name, why }, sample.name);
                }
            }
        }
    }

    /// The group with these labels: mostly that of the line before.
    #[inline]
    fn group(&self, family: usize, first_label: usize) -> Option<usize> {
        let labels = self.out.labels.get(first_label..).unwrap_or_default();
        let last = self.groups.len().checked_sub(1)?;
        if self.groups.get(last).is_some_and(|group| group.family == family && group.labels == labels) {
            return Some(last);
        }
        self.by_labels.get(&(family, canonical(labels))).copied()
    }

    fn add_group(&mut self, family: usize, first_label: usize) -> usize {
        let labels = self.out.labels.get(first_label..).unwrap_or_default().to_vec();
        let at = self.groups.len();
        self.by_labels.insert((family, canonical(&labels)), at);
        let (metric, line) = (self.out.metrics.len(), self.line);
        self.groups.push(Group { metric, family, line, parts: Distribution::default(), labels });
        let name = self.out.families.get(family).map_or("", |family| family.name);
        self.push(name, family, first_label, None);
        at
    }

    fn finish(mut self, end: usize) -> Exposition<'a> {
        let rest = self.bytes.get(end..).unwrap_or_default();
        if self.format == Format::OpenMetrics {
            if !self.has_ended {
                self.skip_for(Reason::Truncated, "", "ends without its last line, # EOF", "what is after it");
            } else if !rest.trim_ascii().is_empty() {
                self.line += 1;
                self.skip_for(Reason::Malformed, "", "is after the last line, # EOF", "what is after it");
            }
        }
        for Group { metric, family, line, parts, .. } in std::mem::take(&mut self.groups) {
            let Some(family) = self.out.families.get(family) else { continue };
            let (kind, name) = (family.kind, family.name);
            let reading = if kind == FamilyKind::Histogram { parts.histogram() } else { parts.summary() };
            match reading {
                Ok(reading) => {
                    if let Some(metric) = self.out.metrics.get_mut(metric) {
                        metric.reading = Some(reading);
                    }
                }
                Err(why) => {
                    self.line = line;
                    self.skip(Malformed { word: name, why }, name);
                }
            }
        }
        self.out
    }
}

/// The name that a line begins with.
fn name_of(line: &str) -> &str {
    let end = line.bytes().position(|byte| !line::is_name_byte(byte)).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

/// The same text for the same labels, in whatever order they are.
fn canonical(labels: &[Label<'_>]) -> String {
    let mut sorted: Vec<&Label<'_>> = labels.iter().collect();
    sorted.sort_by_key(|label| label.name);
    let mut text = String::new();
    for Label { name, value } in sorted {
        // A length, since a value may have any text.
        for part in [*name, "=", &value.len().to_string(), ":", value] {
            text.push_str(part);
        }
    }
    text
}
