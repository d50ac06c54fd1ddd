//! Tests of plugins with `cargo test`: a scripted [`Host`], and a [`Harness`] that runs a plugin on it as the agent would
//! and checks the SDK rules. Not available on wasm.
//!
//! A fixture machine is a directory with the files of a host, such as `fixtures/web-1/proc/uptime`, beside the plugin's
//! `Cargo.toml`. Compare its sample with a file by [`assert_golden`] or with inline text by [`expect!`]. `UPDATE_EXPECT=1
//! cargo test` writes both; review them before you commit.
//!
//! Hosts and services differ from the ones at hand: [`assert_damage_is_contained`],
//! [`assert_line_damage_is_contained`] and [`assert_reply_damage_is_contained`] damage each file of a host, each line of a file and each
//! line of a reply, and check that other metrics stay the same.
//!
//! ```
//! use gauged_plugin::testing::{Harness, Host, expect};
//! # use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick, kernel::File};
//! # gauged_plugin::metrics! {
//! #     module "uptime";
//! #     /// Time since boot.
//! #     SECONDS: gauge "seconds" in "s";
//! # }
//! # struct Uptime;
//! # impl Plugin for Uptime {
//! #     const ABOUT: About = About { version: "1.0.0", description: "Time since boot.", settings: &[], metrics: METRICS };
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig) -> Result<Self, Error> { Ok(Self) }
//! #     fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
//! #         sample.set(SECONDS, File::read("/proc/uptime")?.fields().number::<f64>("seconds")?);
//! #         Ok(())
//! #     }
//! # }
//!
//! // `Host::from_fixture("fixtures/web-1")` for a fixture machine.
//! let mut host = Host::new();
//! host.file("/proc/uptime", "12.50 40.00\n");
//!
//! let mut uptime = Harness::<Uptime>::start(host, "{}")?;
//! let sample = uptime.tick()?;
//! assert_eq!(sample["uptime.seconds"], 12.5);
//! expect![[r#"
//!     uptime.seconds 12.5
//! "#]].assert_eq(&sample.render());
//!
//! uptime.host().file("/proc/uptime", "nonsense\n");
//! assert_eq!(uptime.tick(), Err(Error::Failed("/proc/uptime: nonsense is not a number (seconds)".to_owned())));
//! # Ok::<(), Error>(())
//! ```

// In suggested reading order.
pub(crate) mod scripted_host;
pub(crate) mod scripted_files;
pub(crate) mod scripted_net;
pub(crate) mod scripted_system;
mod scripted_connection;
mod scripted_datagrams;
mod sample_map;
mod rules;
mod default_grants;
mod golden;
mod failures;
mod settings;
mod damage;
mod reply_damage;

pub use damage::{
    assert_damage_is_contained, assert_damage_is_contained_for, assert_line_damage_is_contained,
    assert_lines_are_independent, assert_not_permitted, not_permitted,
};
pub use expect_test::expect;
pub use failures::{CONNECTION_FAILURES, FILE_FAILURES, REQUEST_FAILURES, assert_failures};
pub use golden::{assert_golden, assert_readme, metrics_table, settings_table};
pub use reply_damage::assert_reply_damage_is_contained;
pub use sample_map::SampleMap;
pub use scripted_connection::{ScriptedConnection, tls_channel};
pub use scripted_datagrams::ScriptedDatagrams;
pub use scripted_host::{Host, response};
pub use settings::{assert_settings, read_config};

use std::fmt;
use std::time::Duration;

use self::rules::Rules;
use crate::{Error, Need, Plugin, Sample, Tick, component};

/// The default time between two ticks.
const INTERVAL: Duration = Duration::from_secs(10);

/// The time of the first tick, in seconds since the Unix epoch: a day in September 2026.
pub const FIRST_TICK_UNIX_SECONDS: u64 = 1_790_000_000;

/// The monotonic clock at the first tick.
const FIRST_MONOTONIC: Duration = Duration::from_secs(1_000);

/// A configured plugin on a scripted host.
pub struct Harness<P> {
    plugin: P,
    host: Host,
    rules: Rules,
    /// The time from the first tick to the last one.
    elapsed: Option<Duration>,
}

impl<P: Plugin> Harness<P> {
    /// Configures a plugin on a host, with a JSON object as from the agent; `{}` without configuration.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    pub fn start(host: Host, config: &str) -> Result<Self, Error> {
        let mut host = host;
        let plugin = host.run(|| component::configure::<P>(config))?;
        let rules = Rules::new(P::ABOUT, plugin.metrics());
        Ok(Self { plugin, host, rules, elapsed: None })
    }

    /// Collects, 10 s after the previous tick (first at [`FIRST_TICK_UNIX_SECONDS`]), and checks the SDK rules.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    ///
    /// # Panics
    ///
    /// The sample breaks an SDK rule: in the agent the plugin would fail, or metrics would be dropped.
    pub fn tick(&mut self) -> Result<SampleMap, Error> {
        self.tick_after(INTERVAL)
    }

    /// Collects, `interval` after the previous tick.
    ///
    /// # Errors
    ///
    /// As [`tick`](Self::tick).
    ///
    /// # Panics
    ///
    /// As [`tick`](Self::tick).
    pub fn tick_after(&mut self, interval: Duration) -> Result<SampleMap, Error> {
        let elapsed = self.elapsed.map_or(Duration::ZERO, |elapsed| elapsed + interval);
        self.elapsed = Some(elapsed);
        let whole = |duration: u128| u64::try_from(duration).expect("a test of less than 500 years");
        let tick = Tick {
            unix_ms: whole((Duration::from_secs(FIRST_TICK_UNIX_SECONDS) + elapsed).as_millis()),
            monotonic_ns: whole((FIRST_MONOTONIC + elapsed).as_nanos()),
            budget_ms: 1000,
            interval_ms: whole(INTERVAL.as_millis()),
        };
        let Self { plugin, host, rules, .. } = self;
        let mut sample = Sample::default();
        let (result, needs) = host.run(|| (component::collect(plugin, tick, &mut sample), plugin.needs()));
        rules::check_needs(&needs, &host.take_accesses());
        result?;
        Ok(rules.check(sample.modules()))
    }

    /// Allows counters to restart at the next tick, as after a restart of their source.
    pub fn allow_counter_reset(&mut self) {
        self.rules.reset_counters();
    }

    /// Forgets the metrics that the plugin has described in samples, as the agent forgets those of a module beyond its limits: a
    /// histogram that is not described again breaks an SDK rule.
    pub fn forget_descriptions(&mut self) {
        self.rules.forget_found();
    }

    /// The host, to change it between ticks and to inspect its requests and messages.
    pub fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    /// The plugin itself.
    #[must_use]
    pub fn plugin(&self) -> &P {
        &self.plugin
    }

    /// The needs of the plugin.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        self.host.clone().run(|| component::needs(&self.plugin))
    }
}

impl<P> fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A session of TLS 1.3 with a certificate that is valid between these moments, in seconds since the Unix epoch.
///
/// ```
/// use gauged_plugin::http::Response;
/// use gauged_plugin::testing::{FIRST_TICK_UNIX_SECONDS, response, tls_session};
///
/// let now = FIRST_TICK_UNIX_SECONDS as i64;
/// let encrypted = Response { tls: Some(tls_session(now, now + 86_400)), ..response(200, "fine") };
/// assert_eq!(encrypted.certificate().map(|certificate| certificate.not_after), Some(now + 86_400));
/// ```
#[must_use]
pub fn tls_session(not_before: i64, not_after: i64) -> crate::TlsSession {
    let [subject, issuer] = ["CN=www.example.org", "CN=Example CA"].map(str::to_owned);
    crate::TlsSession {
        version: crate::http::TLS_1_3.to_owned(),
        certificate: crate::Certificate { not_before, not_after, subject, issuer },
    }
}
