//! The plugin to copy: greets names, and shows a setting, a label, a rate and an error.

use gauged_plugin::rates::Rates;
use gauged_plugin::{About, Error, Plugin, Sample, Tick, about};

gauged_plugin::metrics! {
    module "hello" by {"name": "A name of the settings"} since plugin;
    /// Greetings since the plugin was loaded.
    GREETINGS: counter "greetings_total" in "1";
    /// Greetings per second over the tick.
    GREETING_RATE: gauge "greetings_per_second" in "{greeting}/s";
}

gauged_plugin::settings! {
    /// Names to greet, at least one.
    "names": "list of texts" = r#"["world"]"#;
}

/// The settings: `config = { names = ["…"] }` under `[plugins.hello]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    names: Vec<String>,
}

struct Hello {
    names: Vec<String>,
    greetings: u64,
    rates: Rates<1>,
}

impl Plugin for Hello {
    const ABOUT: About = about!("Says hello.");
    type Config = Settings;

    fn configure(Settings { names }: Settings) -> Result<Self, Error> {
        if names.is_empty() {
            return Err(Error::invalid("names", "list at least one, or remove the key"));
        }
        Ok(Self { names, greetings: 0, rates: Rates::default() })
    }

    fn collect(&mut self, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
        self.greetings += 1;
        for name in &self.names {
            let change = self.rates.change(tick, name, [self.greetings]);
            let mut row = sample.labelled(&[("name", name)]);
            row.set(GREETINGS, self.greetings).set(GREETING_RATE, change.map(|change| change.per_second()[0]));
        }
        Ok(())
    }
}

gauged_plugin::export!(Hello);

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Harness, Host, assert_readme, assert_settings};

    use super::*;

    #[test]
    fn greetings_grow_by_one_per_tick() {
        let mut hello = Harness::<Hello>::start(Host::new(), r#"{"names": ["a", "b"]}"#).expect("valid settings");
        assert_eq!(hello.tick().expect("a sample").len(), 2, "no rates yet");
        let second = hello.tick().expect("a sample");
        assert_eq!(second[r#"hello.greetings_total{name="b"}"#], 2);
        assert_eq!(second[r#"hello.greetings_per_second{name="a"}"#], 0.1);
    }

    #[test]
    fn empty_names_are_rejected() {
        let error = Harness::<Hello>::start(Host::new(), r#"{"names": []}"#).expect_err("invalid settings");
        assert_eq!(error, Error::invalid("names", "list at least one, or remove the key"));
    }

    #[test]
    fn settings_are_declared_with_their_defaults() {
        assert_settings::<Hello>("{}");
    }

    #[test]
    fn readme_lists_metrics_and_settings() {
        assert_readme::<Hello>();
    }
}
