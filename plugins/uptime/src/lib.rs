//! The module `uptime`: time since boot and idle time of all CPUs, from `/proc/uptime`.

use gauged_plugin::kernel::File;
use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "uptime";
    /// Time since boot, including suspension; falls when the host restarts.
    SECONDS: gauge "seconds" in "s";
    /// Idle time of all CPUs together since boot.
    IDLE: counter "idle_seconds_total" in "s";
}

struct Uptime;

impl Plugin for Uptime {
    const ABOUT: About =
        About { version: env!("CARGO_PKG_VERSION"), description: "Time since boot.", metrics: METRICS };
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
    use gauged_plugin::testing::{Harness, Host, assert_readme_metrics};

    use super::*;

    fn uptime(text: &str) -> Harness<Uptime> {
        let mut host = Host::new();
        host.file("/proc/uptime", text);
        Harness::start(host, "{}").expect("no configuration")
    }

    #[test]
    fn uptime_and_idle_time_are_read() {
        let sample = uptime("5312.75 9020.10\n").tick().expect("a sample");
        assert_eq!(sample.render(), "uptime.idle_seconds_total 9020.1\nuptime.seconds 5312.75\n");
    }

    #[test]
    fn malformed_uptime_is_an_internal_error() {
        for (text, why) in [
            ("", "/proc/uptime: missing seconds since boot"),
            ("5312.75\n", "/proc/uptime: missing seconds spent idle"),
            ("inf nan\n", "/proc/uptime: inf is not a number (seconds since boot)"),
        ] {
            assert_eq!(uptime(text).tick(), Err(Error::Internal(why.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn readme_lists_the_metrics() {
        assert_readme_metrics::<Uptime>();
    }
}
