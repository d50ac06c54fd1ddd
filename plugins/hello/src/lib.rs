//! The plugin to copy: says hello, and counts how often.

use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick};

gauged_plugin::metrics! {
    module "hello";
    /// How often it has said hello since it was loaded.
    GREETINGS: counter "greetings_total" in "1";
}

struct Hello {
    greetings: u64,
}

impl Plugin for Hello {
    const ABOUT: About = About { version: env!("CARGO_PKG_VERSION"), description: "Says hello.", metrics: METRICS };
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
    use gauged_plugin::testing::{Host, Running, hold_readme};

    use super::*;

    #[test]
    fn counts_its_greetings() {
        let mut hello = Running::<Hello>::start(Host::new(), "{}").expect("it has no configuration");
        assert_eq!(hello.tick().expect("a sample")["hello.greetings_total"], 1);
        assert_eq!(hello.tick().expect("a sample")["hello.greetings_total"], 2);
    }

    #[test]
    fn the_readme_tells_what_is_measured() {
        hold_readme::<Hello>();
    }
}
