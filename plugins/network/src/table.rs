//! The parser for `/proc/1/net/dev`: a header with column names, and a line per interface. The file of process 1 shows the
//! host's network namespace rather than the agent's.

use gauged_plugin::Descriptor;
use gauged_plugin::kernel::{Error, Fields, File, Line};

use super::{METRICS, RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES, SENT_PACKETS};

/// The counters with rates.
const RATE_COUNTERS: [Descriptor; 4] = [RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES, SENT_PACKETS];

/// The number of header lines.
const HEADER_LINES: usize = 2;

/// The file with the metrics of its columns; `None` for columns of later kernels.
pub(crate) struct Table<'a> {
    file: &'a File,
    columns: Vec<Option<Descriptor>>,
}

impl<'a> Table<'a> {
    /// Reads the header.
    pub(crate) fn new(file: &'a File) -> Result<Self, Error> {
        let header = file.lines().nth(HEADER_LINES - 1).ok_or_else(|| file.error("has no header"))?;
        let mut columns = Vec::with_capacity(METRICS.len());
        for (direction, names) in ["receive", "transmit"].into_iter().zip(header.text().split('|').skip(1)) {
            columns.extend(names.split_ascii_whitespace().map(|name| find_metric(direction, name)));
        }
        match RATE_COUNTERS.into_iter().find(|metric| !columns.contains(&Some(*metric))) {
            Some(missing) => Err(header.error(format_args!("has no column {}", missing.source))),
            None => Ok(Self { file, columns }),
        }
    }

    /// The interfaces with their columns.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = (&'a str, Fields<'a>)> + use<'a> {
        let file: &'a File = self.file;
        file.lines().skip(HEADER_LINES).map(Line::key_values)
    }

    /// The names of the interfaces.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.interfaces().map(|(name, _)| name)
    }

    /// Calls `set` with each counter of an interface, and returns the counters with rates.
    pub(crate) fn counters(
        &self,
        columns: &mut Fields<'a>,
        mut set: impl FnMut(Descriptor, u64),
    ) -> Result<[u64; 4], Error> {
        let mut rated = [0; RATE_COUNTERS.len()];
        for metric in &self.columns {
            let Some(metric) = metric else {
                columns.next();
                continue;
            };
            let count = columns.number(metric.source)?;
            if let Some(at) = RATE_COUNTERS.iter().position(|rated| rated.name == metric.name) {
                rated[at] = count;
            }
            set(*metric, count);
        }
        Ok(rated)
    }
}

fn find_metric(direction: &str, column: &str) -> Option<Descriptor> {
    METRICS.iter().copied().find(|metric| metric.source.split_once(' ') == Some((direction, column)))
}
