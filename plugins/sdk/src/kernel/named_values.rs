//! Alternating lines of names and values, as in `/proc/net/snmp` and `/proc/net/netstat`.

use super::{Error, File, Line, Number};

/// A value with its group and name.
#[derive(Debug, Clone, Copy)]
pub struct NamedValue<'a> {
    /// The key of both lines: `TcpExt`.
    pub group: &'a str,
    /// The name: `SyncookiesSent`.
    pub name: &'a str,
    value: &'a str,
    line: Line<'a>,
}

impl NamedValue<'_> {
    /// The value as a number.
    ///
    /// # Errors
    ///
    /// The value is not a number of this type.
    pub fn number<T: Number>(&self) -> Result<T, Error> {
        let Self { name, value, .. } = self;
        T::parse(value).ok_or_else(|| self.line.not_a_number(value, name))
    }
}

impl File {
    /// All values of a file with alternating lines of names and values.
    ///
    /// # Errors
    ///
    /// Two lines have different groups, or different numbers of names and values.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/1/net/snmp", "Tcp: MaxConn InErrs\nTcp: -1 7\n");
    /// let pairs = file.named_values()?;
    /// let names: Vec<_> = pairs.iter().map(|pair| (pair.group, pair.name)).collect();
    /// assert_eq!(names, [("Tcp", "MaxConn"), ("Tcp", "InErrs")]);
    /// assert_eq!(pairs[0].number(), Ok(-1_i64));
    /// # Ok::<(), gauged_plugin::Error>(())
    /// ```
    pub fn named_values(&self) -> Result<Vec<NamedValue<'_>>, Error> {
        let mut pairs = Vec::new();
        let mut lines = self.lines();
        while let Some(line) = lines.next() {
            let (group, names) = line.key_values();
            let line = lines.next().ok_or_else(|| line.error(format_args!("the values of {group} are missing")))?;
            let (same, mut values) = line.key_values();
            if same != group {
                return Err(line.error(format_args!("has values of {same} instead of {group}")));
            }
            for name in names {
                pairs.push(NamedValue { group, name, value: values.word(name)?, line });
            }
            if let Some(value) = values.next() {
                return Err(line.error(format_args!("value {value} has no name")));
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatched_lines_are_rejected() {
        let error = |text: &str| File::new("/f", text).named_values().expect_err(text).to_string();
        assert_eq!(error("Tcp: A B\nTcp: 1\n"), "/f line 2: missing B");
        assert_eq!(error("Tcp: A\nTcp: 1 2\n"), "/f line 2: value 2 has no name");
        assert_eq!(error("Tcp: A\nUdp: 1\n"), "/f line 2: has values of Udp instead of Tcp");
        assert_eq!(error("Tcp: A\n"), "/f line 1: the values of Tcp are missing");
        let file = File::new("/f", "Tcp: A\nTcp: x\n");
        let error = file.named_values().expect("pairs")[0].number::<u64>().expect_err("no number");
        assert_eq!(error.to_string(), "/f line 2: x is not a number (A)");
    }
}
