//! Tests of plugins with an ordinary `cargo test`: a host that has what the test says, and a plugin that runs on it as it
//! would in the agent, held to the contract. Not there on wasm.
//!
//! A fixture machine is a directory with the files of a host, as in `fixtures/web-1/proc/uptime`, beside the plugin's
//! `Cargo.toml`. What it yields is compared with a file by [`hold_file`], or with an inline text by [`expect!`]; `UPDATE_EXPECT=1 cargo test` writes
//! both, to be read before they are committed.
//!
//! ```
//! use gauged_plugin::testing::{Host, Running, expect};
//! # use gauged_plugin::{About, Error, NoConfig, Plugin, Sample, Tick, kernel::File};
//! # gauged_plugin::metrics! {
//! #     module "uptime";
//! #     /// Time since boot.
//! #     SECONDS: gauge "seconds" in "s";
//! # }
//! # struct Uptime;
//! # impl Plugin for Uptime {
//! #     const ABOUT: About = About { version: "1.0.0", description: "How long the host is up.", metrics: METRICS };
//! #     type Config = NoConfig;
//! #     fn configure(_: NoConfig) -> Result<Self, Error> { Ok(Self) }
//! #     fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
//! #         sample.set(SECONDS, File::read("/proc/uptime")?.fields().number::<f64>("seconds")?);
//! #         Ok(())
//! #     }
//! # }
//!
//! // `Host::at("fixtures/web-1")` for a fixture machine.
//! let mut host = Host::new();
//! host.file("/proc/uptime", "12.50 40.00\n");
//!
//! let mut uptime = Running::<Uptime>::start(host, "{}")?;
//! let sample = uptime.tick()?;
//! assert_eq!(sample["uptime.seconds"], 12.5);
//! expect![[r#"
//!     uptime.seconds 12.5
//! "#]].assert_eq(&sample.render());
//!
//! uptime.host().file("/proc/uptime", "nonsense\n");
//! assert_eq!(uptime.tick(), Err(Error::Internal("/proc/uptime: nonsense is not a number (seconds)".to_owned())));
//! # Ok::<(), Error>(())
//! ```

mod contract;
mod conversation;
mod hold;
mod observed;
pub(crate) mod scripted;

pub use conversation::Conversation;
pub use expect_test::expect;
pub use hold::{hold_file, hold_readme, metrics_table};
pub use observed::Observed;
pub use scripted::{Host, response};

use std::fmt;
use std::time::Duration;

use self::contract::Contract;
use crate::{Error, Need, Plugin, Tick, component};

/// The time from one tick to the next, unless a test says otherwise.
const INTERVAL: Duration = Duration::from_secs(10);

/// When the first tick is, in seconds since the Unix epoch: a day in September 2026.
pub const FIRST_TICK_UNIX_SECONDS: u64 = 1_790_000_000;

/// What the clock that never goes backwards shows then.
const FIRST_MONOTONIC: Duration = Duration::from_secs(1_000);

/// A plugin that was configured, and the host that it runs on.
pub struct Running<P> {
    plugin: P,
    host: Host,
    contract: Contract,
    /// The time from the first tick to the last one, if there was any.
    elapsed: Option<Duration>,
}

impl<P: Plugin> Running<P> {
    /// Configures a plugin on this host, with a JSON object as the agent hands it; `{}` where nothing is configured.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    pub fn start(host: Host, config: &str) -> Result<Self, Error> {
        let mut host = host;
        let plugin = host.run(|| component::configure::<P>(config))?;
        Ok(Self { plugin, host, contract: Contract::new(P::ABOUT), elapsed: None })
    }

    /// Collects, 10 s after the tick before (the first time at [`FIRST_TICK_UNIX_SECONDS`]), and holds what comes back to the contract.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    ///
    /// # Panics
    ///
    /// The contract is broken: the plugin would fail in the agent, or metrics of it would be dropped. The message says
    /// how.
    pub fn tick(&mut self) -> Result<Observed, Error> {
        self.tick_after(INTERVAL)
    }

    /// Collects, so long after the tick before.
    ///
    /// # Errors
    ///
    /// As [`tick`](Self::tick).
    ///
    /// # Panics
    ///
    /// As [`tick`](Self::tick).
    pub fn tick_after(&mut self, interval: Duration) -> Result<Observed, Error> {
        let elapsed = self.elapsed.map_or(Duration::ZERO, |elapsed| elapsed + interval);
        self.elapsed = Some(elapsed);
        let whole = |duration: u128| u64::try_from(duration).expect("a test of less than 500 years");
        let tick = Tick {
            unix_ms: whole((Duration::from_secs(FIRST_TICK_UNIX_SECONDS) + elapsed).as_millis()),
            monotonic_ns: whole((FIRST_MONOTONIC + elapsed).as_nanos()),
            budget_ms: 1000,
        };
        let Self { plugin, host, contract, .. } = self;
        let (result, needs) = host.run(|| (component::collect(plugin, tick), plugin.needs()));
        contract::check_touched(&needs, &host.take_touched());
        Ok(contract.check(result?))
    }

    /// What is measured has restarted: at the next tick counters may begin anew.
    pub fn restarted(&mut self) {
        self.contract.forget_counters();
    }

    /// The host, to change it between ticks and to see what it was told.
    pub fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    /// The plugin itself, to look into it.
    #[must_use]
    pub fn plugin(&self) -> &P {
        &self.plugin
    }

    /// What the plugin says that it touches.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        self.host.clone().run(|| self.plugin.needs())
    }
}

impl<P> fmt::Debug for Running<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("host", &self.host).finish_non_exhaustive()
    }
}
