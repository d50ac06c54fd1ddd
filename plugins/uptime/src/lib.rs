//! The module `uptime`: time since boot and idle time of all CPUs, from `/proc/uptime`.

use gauged_plugin::bounds::{COUNT, UPTIME_SECONDS};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick, about};

gauged_plugin::metrics! {
    module "uptime" since boot;
    /// Time since boot, including suspension; falls when the host restarts.
    SECONDS: gauge "seconds" in "s";
    /// Idle time of all CPUs together since boot.
    IDLE: counter "idle_seconds_total" in "s";
}

struct Uptime {
    skipped: Skipped,
}

impl Plugin for Uptime {
    const ABOUT: About = about!("Time since boot.", settings: &[]);
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self { skipped: Skipped::default() })
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        let skipped = &mut self.skipped;
        if let Some(file) = skipped.read("/proc/uptime", "the time since boot") {
            let mut fields = file.fields();
            let seconds = fields.bounded::<f64>("seconds since boot", &UPTIME_SECONDS);
            sample.set(SECONDS, skipped.keep(seconds, SECONDS.name));
            // Of all CPUs together, so beyond the time since boot.
            let idle = fields.bounded::<f64>("seconds spent idle", &COUNT);
            sample.set(IDLE, skipped.keep(idle, IDLE.name));
        }
        skipped.finish(sample)
    }
}

gauged_plugin::export!(Uptime);

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Harness, Host, assert_damage_is_contained, assert_readme};

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
    fn unreadable_field_costs_only_its_metric() {
        for (text, kept, why) in [
            ("5312.75\n", "uptime.seconds 5312.75\n", "missing seconds spent idle"),
            ("5312.75 nan\n", "uptime.seconds 5312.75\n", "nan is not a number (seconds spent idle)"),
            ("-5.00 9020.10\n", "uptime.idle_seconds_total 9020.1\n", "-5.00 is impossible (seconds since boot)"),
            // Containers of lxcfs whose first process is not found: lxc/lxcfs#165 and #732, lxc/lxc#755.
            ("0.0 0.0\n", "uptime.idle_seconds_total 0\n", "0.0 is impossible (seconds since boot)"),
            ("-2147483648.00 0.00\n", "uptime.idle_seconds_total 0\n", "is impossible (seconds since boot)"),
            ("18446744073.70 7.00\n", "uptime.idle_seconds_total 7\n", "is impossible (seconds since boot)"),
        ] {
            let mut uptime = uptime(text);
            assert_eq!(uptime.tick().expect("a sample").render(), kept, "{text:?}");
            assert!(uptime.host().messages()[0].contains(why), "{text:?}: {why}");
        }
    }

    #[test]
    fn unreadable_uptime_is_an_error() {
        assert_eq!(uptime("").tick(), Err(Error::Failed("/proc/uptime: is empty".to_owned())));
        assert!(uptime("inf nan\n").tick().is_err());
        assert_damage_is_contained::<Uptime>(uptime("5312.75 9020.10\n").host(), "{}", |_| &["*"]);
    }

    #[test]
    fn readme_lists_metrics_and_settings() {
        assert_readme::<Uptime>();
    }
}
