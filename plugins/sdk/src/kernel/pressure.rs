//! Pressure stall information, as in `/proc/pressure/cpu` and in the `*.pressure` files of control groups.

use super::{Error, File, Line, Number};

/// For how long tasks had to wait for a resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks that were not idle waited at the same time. Not told by some kernels for some resources.
    pub full: Option<Stall>,
}

/// Of how much time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stall {
    /// In percent of the last 10 seconds.
    pub avg10: f64,
    /// In percent of the last minute.
    pub avg60: f64,
    /// In percent of the last five minutes.
    pub avg300: f64,
    /// Since the beginning, in microseconds.
    pub total_us: u64,
}

impl File {
    /// Reads a file of pressure stall information.
    ///
    /// # Errors
    ///
    /// There is no line `some`, or a value is missing.
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
        let some = self.stall("some")?.ok_or_else(|| self.error("has no line some"))?;
        Ok(Pressure { some, full: self.stall("full")? })
    }

    /// Reads the line `some` or `full` of a file of pressure stall information, if it has that one: `/proc/pressure/irq`
    /// has no `some`.
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
    pub fn stall(&self, which: &str) -> Result<Option<Stall>, Error> {
        self.lines().find(|line| line.keyed().0 == which).map(parse).transpose()
    }
}

fn parse(line: Line<'_>) -> Result<Stall, Error> {
    let avg10 = value(line, "avg10")?;
    Ok(Stall { avg10, avg60: value(line, "avg60")?, avg300: value(line, "avg300")?, total_us: value(line, "total")? })
}

fn value<T: Number>(line: Line<'_>, name: &str) -> Result<T, Error> {
    line.named(name)?.ok_or_else(|| line.error(format_args!("has no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let error = |text: &str| File::new("/f", text).pressure().expect_err(text).to_string();
        assert_eq!(error("full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"), "/f: has no line some");
        assert_eq!(error("some avg10=0.00 avg60=0.00 total=0\n"), "/f line 1: has no avg300");
        assert_eq!(error("some avg10=a\n"), "/f line 1: a is not a number (avg10)");
    }
}
