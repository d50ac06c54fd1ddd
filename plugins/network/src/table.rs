//! `/proc/1/net/dev`: a heading that names the columns, and a line for each interface. It is that of the first process,
//! since the one of the reader's own namespace would be the agent's.

use gauged_plugin::Descriptor;
use gauged_plugin::kernel::{Error, Fields, File, Line};

use super::{METRICS, RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES, SENT_PACKETS};

/// Those from which rates are made.
const RATED: [Descriptor; 4] = [RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES, SENT_PACKETS];

/// How many lines the heading has.
const HEADING: usize = 2;

/// The file, and what its columns are; none is what a later kernel has added.
pub(crate) struct Table<'a> {
    file: &'a File,
    columns: Vec<Option<Descriptor>>,
}

impl<'a> Table<'a> {
    /// Reads the heading.
    pub(crate) fn new(file: &'a File) -> Result<Self, Error> {
        let heading = file.lines().nth(HEADING - 1).ok_or_else(|| file.error("has no heading"))?;
        let mut columns = Vec::with_capacity(METRICS.len());
        for (direction, names) in ["receive", "transmit"].into_iter().zip(heading.text().split('|').skip(1)) {
            columns.extend(names.split_ascii_whitespace().map(|name| metric(direction, name)));
        }
        match RATED.into_iter().find(|metric| !columns.contains(&Some(*metric))) {
            Some(missing) => Err(heading.error(format_args!("has no column {}", missing.source))),
            None => Ok(Self { file, columns }),
        }
    }

    /// Each interface, and its columns.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = (&'a str, Fields<'a>)> + use<'a> {
        let file: &'a File = self.file;
        file.lines().skip(HEADING).map(Line::keyed)
    }

    /// The names of the interfaces.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.interfaces().map(|(name, _)| name)
    }

    /// Hands over each counter of an interface, and returns those from which rates are made.
    pub(crate) fn counters(
        &self,
        columns: &mut Fields<'a>,
        mut set: impl FnMut(Descriptor, u64),
    ) -> Result<[u64; 4], Error> {
        let mut rated = [0; RATED.len()];
        for metric in &self.columns {
            let Some(metric) = metric else {
                columns.next();
                continue;
            };
            let count = columns.number(metric.source)?;
            if let Some(at) = RATED.iter().position(|rated| rated.name == metric.name) {
                rated[at] = count;
            }
            set(*metric, count);
        }
        Ok(rated)
    }
}

fn metric(direction: &str, column: &str) -> Option<Descriptor> {
    METRICS.iter().copied().find(|metric| metric.source.split_once(' ') == Some((direction, column)))
}
