//! The parser for `/proc/1/net/dev`: a header with column names, and a line per interface. The file of process 1 shows the
//! host's network namespace rather than the agent's. The name of an interface may have colons before Linux 4.20, so that it ends at
//! the last one: `eth0:1:4046496815`.

use std::collections::BTreeSet;

use gauged_plugin::bounds::COUNT;
use gauged_plugin::kernel::{Error, Fields, File, Line};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{Descriptor, Row};

use super::{METRICS, RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES, SENT_PACKETS};

/// The counters with rates.
const RATE_COUNTERS: [Descriptor; 4] = [RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES, SENT_PACKETS];

/// The number of header lines.
const HEADER_LINES: usize = 2;

/// The interfaces of a file, and the metrics of its columns; `None` for columns of later kernels.
pub(crate) struct Table<'a> {
    columns: Vec<Option<Descriptor>>,
    /// Names and lines, each name once.
    pub(crate) interfaces: Vec<(&'a str, Fields<'a>)>,
    /// The number of lines that were not understood: each may be any interface.
    pub(crate) unread: usize,
}

impl<'a> Table<'a> {
    /// Reads the header and the names.
    pub(crate) fn new(file: &'a File, skipped: &mut Skipped) -> Result<Self, Error> {
        let header = file.lines().nth(HEADER_LINES - 1).ok_or_else(|| file.truncated("has no header"))?;
        let mut columns = Vec::with_capacity(METRICS.len());
        for (direction, names) in ["receive", "transmit"].into_iter().zip(header.text().split('|').skip(1)) {
            columns.extend(names.split_ascii_whitespace().map(|name| find_metric(direction, name)));
        }
        if let Some(missing) = RATE_COUNTERS.into_iter().find(|metric| !columns.contains(&Some(*metric))) {
            return Err(header.error(format_args!("has no column {}", missing.source)));
        }
        let (mut interfaces, mut unread) = (Vec::new(), 0);
        let mut names = BTreeSet::new();
        for line in file.lines().skip(HEADER_LINES) {
            let interface = skipped.keep(interface(line, columns.len()), "an interface");
            unread += usize::from(interface.is_none());
            interfaces.extend(interface.filter(|(name, _)| names.insert(*name)));
        }
        Ok(Self { columns, interfaces, unread })
    }

    /// The names of the interfaces.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.interfaces.iter().map(|(name, _)| *name)
    }

    /// Sets each counter of an interface, and returns the counters with rates. One that is unreadable is left out.
    pub(crate) fn set_counters(
        &self,
        name: &str,
        fields: &Fields<'a>,
        row: &mut Row<'_>,
        skipped: &mut Skipped,
    ) -> [Option<u64>; 4] {
        let mut fields = fields.clone();
        let mut rated = [None; RATE_COUNTERS.len()];
        for metric in &self.columns {
            let Some(metric) = metric else {
                fields.next();
                continue;
            };
            let count =
                skipped.keep(fields.bounded::<u64>(metric.source, &COUNT), format_args!("{} of {name}", metric.name));
            if let Some(at) = RATE_COUNTERS.iter().position(|rated| rated.name == metric.name) {
                rated[at] = count;
            }
            row.set(*metric, count);
        }
        rated
    }
}

/// The name and the counters of an interface. A line with fewer columns than the header is none.
fn interface(line: Line<'_>, columns: usize) -> Result<(&str, Fields<'_>), Error> {
    let (name, fields) = line.last_key_values().ok_or_else(|| line.error("has no colon after the name"))?;
    if name.is_empty() || name.contains(|character: char| character.is_ascii_whitespace()) {
        return Err(line.malformed(name, format_args!("{name} is not the name of an interface")));
    }
    if fields.clone().count() < columns {
        return Err(line.truncated(format_args!("has fewer than {columns} columns")));
    }
    Ok((name, fields))
}

fn find_metric(direction: &str, column: &str) -> Option<Descriptor> {
    METRICS.iter().copied().find(|metric| metric.source.split_once(' ') == Some((direction, column)))
}
