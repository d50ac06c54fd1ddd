//! Lines in pairs, one of names and one of values, as in `/proc/net/snmp` and `/proc/net/netstat`.

use super::{Error, File, Line, Number};

/// A value and what it is called.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// What both lines begin with: `TcpExt`.
    pub group: &'a str,
    /// `SyncookiesSent`.
    pub name: &'a str,
    value: &'a str,
    line: Line<'a>,
}

impl Pair<'_> {
    /// The value.
    ///
    /// # Errors
    ///
    /// It is not such a number.
    pub fn number<T: Number>(&self) -> Result<T, Error> {
        let Self { name, value, .. } = self;
        T::parse(value).ok_or_else(|| self.line.error(format_args!("{value} is not a number ({name})")))
    }
}

impl File {
    /// All values of a file in which lines of names and of values alternate.
    ///
    /// # Errors
    ///
    /// Two lines do not belong together, or not as many values as names are there.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/1/net/snmp", "Tcp: MaxConn InErrs\nTcp: -1 7\n");
    /// let pairs = file.paired()?;
    /// let names: Vec<_> = pairs.iter().map(|pair| (pair.group, pair.name)).collect();
    /// assert_eq!(names, [("Tcp", "MaxConn"), ("Tcp", "InErrs")]);
    /// assert_eq!(pairs[0].number(), Ok(-1_i64));
    /// # Ok::<(), gauged_plugin::Error>(())
    /// ```
    pub fn paired(&self) -> Result<Vec<Pair<'_>>, Error> {
        let mut pairs = Vec::new();
        let mut lines = self.lines();
        while let Some(line) = lines.next() {
            let (group, names) = line.keyed();
            let line = lines.next().ok_or_else(|| line.error(format_args!("the values of {group} are missing")))?;
            let (same, mut values) = line.keyed();
            if same != group {
                return Err(line.error(format_args!("has values of {same} where those of {group} belong")));
            }
            for name in names {
                pairs.push(Pair { group, name, value: values.word(name)?, line });
            }
            if let Some(value) = values.next() {
                return Err(line.error(format_args!("{value} has no name")));
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_do_not_match_are_told() {
        let error = |text: &str| File::new("/f", text).paired().expect_err(text).to_string();
        assert_eq!(error("Tcp: A B\nTcp: 1\n"), "/f line 2: ends before B");
        assert_eq!(error("Tcp: A\nTcp: 1 2\n"), "/f line 2: 2 has no name");
        assert_eq!(error("Tcp: A\nUdp: 1\n"), "/f line 2: has values of Udp where those of Tcp belong");
        assert_eq!(error("Tcp: A\n"), "/f line 1: the values of Tcp are missing");
        let file = File::new("/f", "Tcp: A\nTcp: x\n");
        let error = file.paired().expect("pairs")[0].number::<u64>().expect_err("no number");
        assert_eq!(error.to_string(), "/f line 2: x is not a number (A)");
    }
}
