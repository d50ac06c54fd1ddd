//! The module `uptime`: how long the host has been up, and how much of that its CPUs were idle, from `/proc/uptime`.

use gauged_plugin::kernel::File;
use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "uptime";
    /// Time since boot, suspension included; falls when the host restarts.
    SECONDS: gauge "seconds" in "s";
    /// Time that all CPUs together have spent idle since boot.
    IDLE: counter "idle_seconds_total" in "s";
}

struct Uptime;

impl Plugin for Uptime {
    const ABOUT: About =
        About { version: env!("CARGO_PKG_VERSION"), description: "How long the host has been up.", metrics: METRICS };
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self)
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let file = File::read("/proc/uptime")?;
        let mut fields = file.fields();
        sample.set(SECONDS, fields.number::<f64>("seconds since boot")?);
        sample.set(IDLE, fields.number::<f64>("seconds spent idle")?);
        Ok(())
    }
}

gauged_plugin::export!(Uptime);

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Host, Running, hold_readme};

    use super::*;

    fn uptime(text: &str) -> Running<Uptime> {
        let mut host = Host::new();
        host.file("/proc/uptime", text);
        Running::start(host, "{}").expect("it has no configuration")
    }

    #[test]
    fn reads_both_numbers() {
        let sample = uptime("5312.75 9020.10\n").tick().expect("a sample");
        assert_eq!(sample.render(), "uptime.idle_seconds_total 9020.1\nuptime.seconds 5312.75\n");
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for (text, why) in [
            ("", "/proc/uptime: ends before seconds since boot"),
            ("5312.75\n", "/proc/uptime: ends before seconds spent idle"),
            ("inf nan\n", "/proc/uptime: inf is not a number (seconds since boot)"),
        ] {
            assert_eq!(uptime(text).tick(), Err(Error::Internal(why.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn the_readme_tells_what_is_measured() {
        hold_readme::<Uptime>();
    }
}
