//! Pressure stall information: `/proc/pressure/cpu` and the `*.pressure` files of control groups.

use super::{Error, File, Line, Number};

/// The time that tasks waited for a resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// Time with at least one task waiting.
    pub some: Stall,
    /// Time with all non-idle tasks waiting at once. Missing for some kernels and resources.
    pub full: Option<Stall>,
}

/// The waiting time of one line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Microseconds since boot.
    pub total_us: u64,
}

impl File {
    /// Parses a file of pressure stall information.
    ///
    /// # Errors
    ///
    /// The line `some` or a value is missing.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/pressure/cpu", "some avg10=1.50 avg60=0.20 avg300=0.00 total=1234567\n");
    /// let pressure = file.pressure()?;
    /// assert_eq!((pressure.some.avg10, pressure.some.total_us), (1.5, 1_234_567));
    /// assert_eq!(pressure.full, None);
    /// # Ok::<(), gauged_plugin::Error>(())
    /// ```
    pub fn pressure(&self) -> Result<Pressure, Error> {
        let some = self.stall("some")?.ok_or_else(|| self.error("missing line some"))?;
        Ok(Pressure { some, full: self.stall("full")? })
    }

    /// Parses the line `some` or `full`. `None` if the file has no such line: `/proc/pressure/irq` has no `some`.
    ///
    /// # Errors
    ///
    /// A value is missing.
    ///
    /// ```
    /// use gauged_plugin::kernel::File;
    ///
    /// let file = File::new("/proc/pressure/irq", "full avg10=0.00 avg60=0.10 avg300=0.02 total=4711\n");
    /// assert_eq!(file.stall("some")?, None);
    /// assert_eq!(file.stall("full")?.map(|stall| stall.total_us), Some(4711));
    /// # Ok::<(), gauged_plugin::Error>(())
    /// ```
    pub fn stall(&self, name: &str) -> Result<Option<Stall>, Error> {
        self.lines().find(|line| line.key_values().0 == name).map(parse).transpose()
    }
}

fn parse(line: Line<'_>) -> Result<Stall, Error> {
    let avg10 = value(line, "avg10")?;
    Ok(Stall { avg10, avg60: value(line, "avg60")?, avg300: value(line, "avg300")?, total_us: value(line, "total")? })
}

fn value<T: Number>(line: Line<'_>, name: &str) -> Result<T, Error> {
    line.named_number(name)?.ok_or_else(|| line.error(format_args!("missing {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_pressure_values_are_errors() {
        let error = |text: &str| File::new("/f", text).pressure().expect_err(text).to_string();
        assert_eq!(error("full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"), "/f: missing line some");
        assert_eq!(error("some avg10=0.00 avg60=0.00 total=0\n"), "/f line 1: missing avg300");
        assert_eq!(error("some avg10=a\n"), "/f line 1: a is not a number (avg10)");
    }
}
