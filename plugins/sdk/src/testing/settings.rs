//! Compares the table of a plugin's settings with the type that reads them, so that operators are shown the settings that there are.

use std::collections::BTreeSet;

use crate::config::defaults::filled;
use crate::{Configuration, Error, Plugin, Setting};

/// A key that no plugin has.
const UNKNOWN: &str = "?";

/// The beginning of the message about an unknown key, before those that there are.
const KNOWN: &str = "unknown key; remove it, or use one of ";

/// Asserts that the declared settings are those that the configuration reads, at each level of nesting, and that it accepts their
/// defaults. `required` is the JSON of the required settings: `{}` where there are none.
///
/// A configuration that denies unknown fields can be compared; one that reads a table in its own way is not.
///
/// # Panics
///
/// They differ.
pub fn assert_settings<P: Plugin>(required: &str) {
    let settings = P::ABOUT.settings;
    let prefixes: BTreeSet<&str> = settings.iter().flat_map(|setting| prefixes(setting.key)).collect();
    for prefix in prefixes {
        let Some(read) = keys_read::<P::Config>(prefix) else { continue };
        assert_eq!(declared(settings, prefix), read, "the keys of {prefix:?}: those declared, and those read");
    }
    // The defaults are JSON, and of the types that the configuration has.
    if let Err(error) = read_config::<P>(required) {
        panic!("{required} is not accepted with the defaults: {error:?}");
    }
}

/// The configuration that a plugin gets from JSON, with the declared defaults.
///
/// ```
/// use gauged_plugin::testing::read_config;
/// use gauged_plugin::{About, Error, Plugin, Sample, Tick, about};
///
/// gauged_plugin::metrics! {
///     module "m";
///     /// A level.
///     LEVEL: gauge "level" in "1";
/// }
/// gauged_plugin::settings! {
///     /// The level.
///     "level": "integer" = "7";
/// }
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Settings {
///     level: u64,
/// }
///
/// struct Level(u64);
///
/// impl Plugin for Level {
///     const ABOUT: About = about!("A level.");
///     type Config = Settings;
///
///     fn configure(settings: Settings) -> Result<Self, Error> {
///         Ok(Self(settings.level))
///     }
///
///     fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
///         sample.set(LEVEL, self.0);
///         Ok(())
///     }
/// }
///
/// assert_eq!(read_config::<Level>("{}")?.level, 7);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
///
/// That of the configuration.
pub fn read_config<P: Plugin>(json: &str) -> Result<P::Config, Error> {
    P::Config::from_json(&filled(json, P::ABOUT.settings))
}

/// The tables that a key is in, the outermost one first.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    let ends = key.match_indices('.').map(|(at, _)| at);
    std::iter::once(0).chain(ends).map(|end| &key[..end])
}

/// The names in a table that are declared.
fn declared(settings: &[Setting], prefix: &str) -> BTreeSet<String> {
    let within = |setting: &Setting| {
        let rest = if prefix.is_empty() { setting.key } else { setting.key.strip_prefix(prefix)?.strip_prefix('.')? };
        let name = rest.split('.').next().unwrap_or_default();
        Some(name.trim_end_matches("[]").to_owned())
    };
    settings.iter().filter_map(within).collect()
}

/// The names that the configuration reads in a table, by its own words about an unknown one. None if it has none: the table is read in
/// another way, or its keys are the operator's.
fn keys_read<C: Configuration>(prefix: &str) -> Option<BTreeSet<String>> {
    let mut json = format!("{{{UNKNOWN:?}: 0}}");
    for name in prefix.rsplit('.').filter(|name| !name.is_empty()) {
        let lists = name.matches("[]").count();
        let name = if name.starts_with('*') { "any" } else { name.trim_end_matches("[]") };
        json = format!("{{{name:?}: {}{json}{}}}", "[".repeat(lists), "]".repeat(lists));
    }
    let Err(Error::InvalidConfig(errors)) = C::from_json(&json) else { return None };
    let names = errors.iter().find_map(|error| error.message.strip_prefix(KNOWN))?;
    Some(names.split(", ").map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::{About, Sample, Tick};

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "shown by Debug")]
    struct Settings {
        name: String,
        #[serde(default = "port")]
        port: u16,
        #[serde(default)]
        servers: Vec<Server>,
        #[serde(default)]
        mounts: crate::select::Selection,
    }

    fn port() -> u16 {
        80
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "shown by Debug")]
    struct Server {
        address: String,
    }

    /// A plugin with one of the tables below.
    struct Tested<const TABLE: usize>;

    const GOOD: [Setting; 5] = [
        Setting::new("name", "text", "It.").required(),
        Setting::new("port", "integer", "It.").with_default("80"),
        Setting::new("servers[].address", "text", "It.").required(),
        Setting::new("mounts.include", "list of patterns", "It.").with_default("[]"),
        Setting::new("mounts.exclude", "list of patterns", "It.").with_default("[]"),
    ];
    const TABLES: [&[Setting]; 4] = [
        &GOOD,
        &[GOOD[0], GOOD[1]],
        &[GOOD[0], Setting::new("port", "integer", "It.").with_default("\"http\""), GOOD[2], GOOD[3], GOOD[4]],
        &[GOOD[0], GOOD[1], Setting::new("servers[].port", "integer", "It."), GOOD[3], GOOD[4]],
    ];

    impl<const TABLE: usize> Plugin for Tested<TABLE> {
        const ABOUT: About = About { version: "1", description: "It.", settings: TABLES[TABLE], metrics: &[] };
        type Config = Settings;

        fn configure(_: Settings) -> Result<Self, Error> {
            Ok(Self)
        }

        fn collect(&mut self, _: Tick, _: &mut Sample) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn declared_settings_are_compared_with_those_read() {
        const REQUIRED: &str = r#"{"name": "x"}"#;
        let why = |check: fn(&str)| {
            let panic = catch_unwind(|| check(REQUIRED)).expect_err("they differ");
            *panic.downcast::<String>().expect("a text")
        };
        assert_settings::<Tested<0>>(REQUIRED);
        assert!(why(assert_settings::<Tested<1>>).contains("the keys of \"\""));
        assert!(why(assert_settings::<Tested<2>>).contains("is not accepted with the defaults"));
        assert!(why(assert_settings::<Tested<3>>).contains("the keys of \"servers[]\""));
    }
}
