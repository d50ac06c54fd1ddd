//! The plugin to copy: says hello, and counts how often.

use gauged_plugin::{About, Error, Metric, Module, Plugin, Tick};

struct Hello(u64);

impl Plugin for Hello {
    fn about() -> About {
        About::new(env!("CARGO_PKG_VERSION"), "Says hello.").counter(
            "hello",
            "greetings_total",
            "1",
            "How often it has said hello since it was loaded.",
        )
    }

    fn configure(_config: &str) -> Result<Self, Error> {
        Ok(Self(0))
    }

    fn collect(&mut self, _tick: Tick) -> Result<Vec<Module>, Error> {
        self.0 += 1;
        Ok(vec![Module::new("hello", [Metric::new("greetings_total", self.0)])])
    }
}

gauged_plugin::export!(Hello);
