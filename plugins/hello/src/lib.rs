//! The plugin to copy: counts its greetings.

use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "hello" since plugin;
    /// Greetings since the plugin was loaded.
    GREETINGS: counter "greetings_total" in "1";
}

struct Hello {
    greetings: u64,
}

impl Plugin for Hello {
    const ABOUT: About =
        About { version: env!("CARGO_PKG_VERSION"), description: "Says hello.", settings: &[], metrics: METRICS };
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self { greetings: 0 })
    }

    fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        self.greetings += 1;
        sample.set(GREETINGS, self.greetings);
        Ok(())
    }
}

gauged_plugin::export!(Hello);

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Harness, Host, assert_readme_metrics};

    use super::*;

    #[test]
    fn greetings_grow_by_one_per_tick() {
        let mut hello = Harness::<Hello>::start(Host::new(), "{}").expect("no configuration");
        assert_eq!(hello.tick().expect("a sample")["hello.greetings_total"], 1);
        assert_eq!(hello.tick().expect("a sample")["hello.greetings_total"], 2);
    }

    #[test]
    fn readme_lists_the_metrics() {
        assert_readme_metrics::<Hello>();
    }
}
