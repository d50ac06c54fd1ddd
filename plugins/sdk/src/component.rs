//! The component around a [`Plugin`]: the three functions that the WIT demands, and the instance that is kept between
//! calls.

use std::cell::RefCell;

use crate::bindings::exports::gauged::plugin::collector::{self, Configured};
use crate::config::defaults::filled;
use crate::select::Pattern;
use crate::{About, Capability, Configuration as _, Error, Need, Plugin, Sample, Tick};

/// Exports a [`Plugin`] as this component: `gauged_plugin::export!(Entropy);`, once per `cdylib` crate. See the crate
/// documentation for a complete example.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: () = {
            type Component = $crate::Component<$plugin>;
    $crate::bindings::export_bindings!(Component with_types_in $crate::bindings);

            impl $crate::InstanceCell for $plugin {
                fn with_instance<T>(act: impl FnOnce(&mut Option<Self>) -> T) -> T {
                    ::std::thread_local! {
                        static PLUGIN: ::std::cell::RefCell<Option<$plugin>> =
                            const { ::std::cell::RefCell::new(None) };
                    }
                    PLUGIN.with_borrow_mut(act)
                }
            }
        };
    };
}

/// Storage for the only instance of a plugin. Implemented by [`export!`].
#[doc(hidden)]
pub trait InstanceCell: Plugin {
    /// Calls `act` with the instance; `None` before `configure`.
    fn with_instance<T>(act: impl FnOnce(&mut Option<Self>) -> T) -> T;
}

/// The type that [`export!`] exports.
#[doc(hidden)]
pub struct Component<P>(std::marker::PhantomData<P>);

impl<P: InstanceCell> collector::Guest for Component<P> {
    fn describe() -> collector::About {
        #[cfg(target_family = "wasm")]
        crate::panic::log_panics();
        let About { version, description, settings, metrics } = P::ABOUT;
        collector::About {
            version: version.to_owned(),
            description: description.to_owned(),
            settings: settings.iter().map(|setting| setting.to_wire()).collect(),
            metrics: metrics.iter().map(|metric| metric.to_wire()).collect(),
        }
    }

    fn configure(config: String) -> Result<Configured, Error> {
        #[cfg(target_family = "wasm")]
        crate::panic::log_panics();
        let plugin = configure::<P>(&config)?;
        let metrics = plugin.metrics().into_iter().map(|metric| metric.0).collect();
        let configured = Configured { needs: needs(&plugin), metrics };
        P::with_instance(|instance| *instance = Some(plugin));
        Ok(configured)
    }

    fn collect(tick: Tick) -> *const u8 {
        thread_local! {
            /// Kept until the next call: the agent reads it after this one.
            static SAMPLE: RefCell<Sample> = RefCell::default();
        }
        SAMPLE.with_borrow_mut(|sample| {
            sample.clear();
            let result = Self::collect_into(sample, tick);
            sample.lower(result)
        })
    }
}

impl<P: InstanceCell> Component<P> {
    fn collect_into(sample: &mut Sample, tick: Tick) -> Result<(), Error> {
        P::with_instance(|instance| match instance {
            Some(plugin) => collect(plugin, tick, sample),
            None => Err(Error::Failed("collect was called before configure".to_owned())),
        })
    }
}

pub(crate) fn configure<P: Plugin>(config: &str) -> Result<P, Error> {
    // Known at compile time: a plugin without settings has no reader of JSON.
    let settings = if const { P::ABOUT.settings.is_empty() } {
        P::Config::from_json(config)
    } else {
        P::Config::from_json(&filled(config, P::ABOUT.settings))
    };
    P::configure(settings?).map_err(|error| add_reason(error, Vec::new))
}

pub(crate) fn collect<P: Plugin>(plugin: &mut P, tick: Tick, sample: &mut Sample) -> Result<(), Error> {
    plugin.collect(tick, sample).map_err(|error| add_reason(error, || plugin.needs()))?;
    sample.finish(tick);
    Ok(())
}

/// The needs of a plugin, each capability once.
pub(crate) fn needs<P: Plugin>(plugin: &P) -> Vec<Need> {
    let mut needs = plugin.needs();
    let mut at = 0;
    while let Some(need) = needs.get(at) {
        let is_known = needs.iter().take(at).any(|known| known.capability == need.capability);
        if is_known { drop(needs.remove(at)) } else { at += 1 }
    }
    needs
}

/// Adds the plugin's own reason for a need to a denied access.
fn add_reason(error: Error, needs: impl FnOnce() -> Vec<Need>) -> Error {
    let Error::Denied(mut denied) = error else { return error };
    if denied.reason.is_empty() {
        let known = needs().into_iter().find(|need| covers(&need.capability, &denied.capability));
        denied.reason = known.map_or_else(|| "measure".to_owned(), |need| need.reason);
    }
    Error::Denied(denied)
}

/// Whether a grant covers an access.
pub(crate) fn covers(granted: &Capability, touched: &Capability) -> bool {
    if granted.kind != touched.kind {
        return false;
    }
    let (mut pattern, mut text) = (&*granted.target, &*touched.target);
    // The methods of a unix socket.
    if granted.kind == Capability::FETCH {
        let (socket, methods) = pattern.split_once(' ').unwrap_or((pattern, "GET HEAD"));
        let (touched_socket, method) = text.split_once(' ').unwrap_or((text, "GET"));
        if methods.split(' ').all(|granted| granted != method) {
            return false;
        }
        (pattern, text) = (socket, touched_socket);
    }
    // A star stays within one segment, so both have the same number of segments.
    pattern.matches('/').count() == text.matches('/').count() && Pattern::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use collector::Guest;

    use super::*;
    use crate::bindings::gauged::plugin::metrics::Module;
    use crate::descriptor::FoundMetric;
    use crate::{Kind, Value};

    crate::metrics! {
        module "counter" by {"by": "Who calls"} since plugin;
        /// Calls of the plugin.
        CALLS: counter "calls_total" in "1";
    }

    crate::settings! {
        /// The number before the first call.
        "start": "integer", required;
    }

    #[derive(serde::Deserialize)]
    struct Settings {
        start: u64,
    }

    struct Counter(u64);

    impl Plugin for Counter {
        const ABOUT: About =
            About { version: "1.2.3", description: "Counts its calls.", settings: SETTINGS, metrics: METRICS };
        type Config = Settings;

        fn configure(settings: Settings) -> Result<Self, Error> {
            Ok(Self(settings.start))
        }

        fn needs(&self) -> Vec<Need> {
            vec![Need::read("/data/*", "count better"), Need::read("/data/*", "count twice")]
        }

        fn metrics(&self) -> Vec<FoundMetric> {
            vec![FoundMetric::gauge("counter", "start", "1", "The first number.")]
        }

        fn collect(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), Error> {
            self.0 += 1;
            sample.labelled(&[("by", "agent")]).set(CALLS, self.0);
            match self.0 {
                44 => Err(Error::Denied(Need::read("/data/x", ""))),
                45 => Err(Error::Denied(Need::read("/other", ""))),
                46 => Err(Error::Denied(Need::read("/data/x", "try it"))),
                _ => Ok(()),
            }
        }
    }

    impl InstanceCell for Counter {
        fn with_instance<T>(act: impl FnOnce(&mut Option<Self>) -> T) -> T {
            thread_local! {
                static PLUGIN: std::cell::RefCell<Option<Counter>> = const { std::cell::RefCell::new(None) };
            }
            PLUGIN.with_borrow_mut(act)
        }
    }

    type Exported = Component<Counter>;

    const TICK: Tick = Tick { unix_ms: 0, monotonic_ns: 0, budget_ms: 1000, interval_ms: 10_000 };

    fn collect() -> Result<Vec<Module>, Error> {
        let mut sample = Sample::default();
        Exported::collect_into(&mut sample, TICK).map(|()| sample.modules())
    }

    #[test]
    fn instance_exists_from_configure_on() {
        let about = Exported::describe();
        assert_eq!((about.version.as_str(), about.metrics[0].kind), ("1.2.3", Kind::Counter));
        assert_eq!((&*about.metrics[0].description, &*about.metrics[0].labels[0].name), ("Calls of the plugin.", "by"));
        assert_eq!((&*about.settings[0].key, about.settings[0].required), ("start", true));
        assert!(matches!(collect(), Err(Error::Failed(_))));
        assert_eq!(Exported::configure("{}".to_owned()), Err(Error::invalid("start", "is missing")));
        let configured = Exported::configure(r#"{"start": 41}"#.to_owned()).expect("a number");
        assert_eq!((configured.needs.len(), &*configured.metrics[0].name), (1, "start"));
        let modules = collect().expect("counts");
        assert_eq!(modules[0].metrics[0].value, Value::Natural(42));
        assert_eq!(modules[0].metrics[0].labels[0].value, "agent");
        assert_eq!(collect().expect("counts on")[0].metrics[0].value, Value::Natural(43));
    }

    #[test]
    fn denied_access_has_the_reason_of_its_need() {
        Exported::configure(r#"{"start": 43}"#.to_owned()).expect("a number");
        let denied = || collect().expect_err("denied");
        assert_eq!(denied(), Error::Denied(Need::read("/data/x", "count better")));
        assert_eq!(denied(), Error::Denied(Need::read("/other", "measure")));
        assert_eq!(denied(), Error::Denied(Need::read("/data/x", "try it")));
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        assert!(covers(&Capability::read("/proc/*/stat"), &Capability::read("/proc/12/stat")));
        assert!(!covers(&Capability::read("/proc/*/stat"), &Capability::read("/proc/12/task/12/stat")));
        assert!(!covers(&Capability::read("/data"), &Capability::usage("/data")));
        let fetches = |granted: &str, touched: &str| covers(&Capability::fetch(granted), &Capability::fetch(touched));
        assert!(fetches("http://a", "http://a"));
        assert!(fetches("unix:/run/*.sock", "unix:/run/a.sock") && fetches("unix:/run/*.sock", "unix:/run/a.sock GET"));
        assert!(fetches("unix:/run/*.sock GET POST", "unix:/run/a.sock POST"));
        assert!(!fetches("unix:/run/a.sock", "unix:/run/a.sock POST"));
        assert!(!fetches("unix:/run/a.sock POST", "unix:/run/a.sock"));
    }
}
