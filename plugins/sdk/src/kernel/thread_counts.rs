//! The numbers of threads, from `/proc/loadavg`.

use super::{Error, File, Line, Number as _};
use crate::bounds::COUNT;
use crate::skipped::Reason;

/// The numbers of threads. Each is an error of its own if it is missing or impossible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadCounts {
    /// Threads that run or wait for a CPU.
    pub runnable: Result<u64, Error>,
    /// Threads of all processes.
    pub all: Result<u64, Error>,
}

impl File {
    /// The numbers of threads in `0.05 0.10 0.15 2/1234 5678`, here 2 and 1234. A host without any thread is one that does not
    /// count them: a sandbox of gVisor has `0/0`.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let counts = File::new("/proc/loadavg", "0.05 0.10 0.15 2/1234 5678\n").thread_counts();
    /// assert_eq!((counts.runnable, counts.all), (Ok(2), Ok(1234)));
    /// let counts = File::new("/proc/loadavg", "0.00 0.00 0.00 0/0 0\n").thread_counts();
    /// assert!(counts.runnable.is_err() && counts.all.is_err());
    /// ```
    #[must_use]
    pub fn thread_counts(&self) -> ThreadCounts {
        let line = self.whole();
        let Some(word) = line.fields().nth(3) else {
            let missing = self.truncated("missing the number of threads");
            return ThreadCounts { runnable: Err(missing.clone()), all: Err(missing) };
        };
        let Some((runnable, all)) = word.split_once('/') else {
            let error = line.malformed(word, format_args!("{word} is not a number of threads"));
            return ThreadCounts { runnable: Err(error.clone()), all: Err(error) };
        };
        let (runnable, all) = (count(line, runnable), count(line, all));
        if all == Ok(0) {
            let uncounted = Error { reason: Reason::Missing, ..self.error("counts no threads") };
            return ThreadCounts { runnable: Err(uncounted.clone()), all: Err(uncounted) };
        }
        ThreadCounts { runnable, all }
    }
}

fn count(line: Line<'_>, word: &str) -> Result<u64, Error> {
    let count = u64::parse(word).and_then(|count| COUNT.check(count));
    count.ok_or_else(|| line.malformed(word, format_args!("{word} is not a number of threads")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_thread_count_costs_only_itself() {
        let known = |text: &str| {
            let ThreadCounts { runnable, all } = File::new("/proc/loadavg", text).thread_counts();
            (runnable.ok(), all.ok())
        };
        assert_eq!(known("0 0 0 2/345 6789\n"), (Some(2), Some(345)));
        assert_eq!(known("0 0 0 -1/345 6789\n"), (None, Some(345)));
        assert_eq!(known("0 0 0 0/18446744073709551615 1\n"), (Some(0), None));
        for text in ["", "0 0 0\n", "0 0 0 5 6\n", "0 0 0 / 6\n", "0 0 0 0/0 0\n", "0 0 0 1/0 0\n"] {
            assert_eq!(known(text), (None, None), "{text:?}");
        }
    }
}
