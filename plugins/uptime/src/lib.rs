//! The module `uptime`: how long the host has been up, and how much of that its CPUs were idle, from `/proc/uptime`.

use gauged_plugin::{About, Error, Metric, Module, Plugin, Tick, files};

struct Uptime;

impl Plugin for Uptime {
    fn about() -> About {
        About::new(env!("CARGO_PKG_VERSION"), "How long the host has been up.")
            .gauge("uptime", "seconds", "s", "Time since boot, suspension included; falls when the host restarts.")
            .counter("uptime", "idle_seconds_total", "s", "Time that all CPUs together have spent idle since boot.")
    }

    fn configure(_config: &str) -> Result<Self, Error> {
        Ok(Self)
    }

    fn collect(&mut self, _tick: Tick) -> Result<Vec<Module>, Error> {
        let text = files::read_text("/proc/uptime")?;
        let module = parse(&text).ok_or_else(|| Error::Internal(format!("/proc/uptime has no numbers: {text:?}")))?;
        Ok(vec![module])
    }
}

gauged_plugin::export!(Uptime);

fn parse(text: &str) -> Option<Module> {
    let mut numbers =
        text.split_ascii_whitespace().map(|word| word.parse::<f64>().ok().filter(|number| number.is_finite()));
    let (up, idle) = (numbers.next()??, numbers.next()??);
    Some(Module::new("uptime", [Metric::new("seconds", up), Metric::new("idle_seconds_total", idle)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_numbers() {
        let expected =
            Module::new("uptime", [Metric::new("seconds", 5312.75), Metric::new("idle_seconds_total", 9020.1)]);
        assert_eq!(parse("5312.75 9020.10\n"), Some(expected));
        for nonsense in ["", "5312.75\n", "a b\n", "inf nan\n"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn describes_what_it_returns() {
        let about = Uptime::about();
        let module = parse("1 2").expect("two numbers");
        assert!(module.metrics.iter().all(|metric| about.describes(&module.name, &metric.name)));
    }
}
