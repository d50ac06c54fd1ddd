//! How many plugins are in each state, for the line that a service manager shows.

use std::fmt;

use crate::plugin::supervisor::state::PluginState;

/// The states in the order of the line. Rejected files come after them.
const STATES: [PluginState; 6] = [
    PluginState::Up,
    PluginState::Loading,
    PluginState::Unavailable,
    PluginState::Failed,
    PluginState::Disabled,
    PluginState::Idle,
];

/// What is known of the plugins together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Roster {
    /// There is no thread that could call them.
    Stopped,
    /// The plugins directory was not scanned yet.
    Unscanned,
    /// The states of all plugins.
    Counted(Tally),
}

impl fmt::Display for Roster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => formatter.write_str("plugins not called"),
            Self::Unscanned => formatter.write_str("loading plugins"),
            Self::Counted(tally) => tally.fmt(formatter),
        }
    }
}

/// How many plugins are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    states: [u32; STATES.len()],
    /// Those whose file was rejected; an earlier version may serve.
    rejected: u32,
}

impl Tally {
    /// Counts one plugin.
    pub(crate) fn add(&mut self, state: PluginState, has_rejected_file: bool) {
        if let Some(at) = STATES.iter().position(|&known| known == state) {
            self.states[at] += 1;
        }
        self.rejected += u32::from(has_rejected_file || state == PluginState::Rejected);
    }
}

/// "12 plugins up, 1 loading, 1 rejected", or "loading 3 plugins" when that is all.
impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins = |count| if count == 1 { "plugin" } else { "plugins" };
        let names = STATES.iter().map(|state| state.name()).chain(["rejected"]);
        let counts = names.zip(self.states.into_iter().chain([self.rejected])).filter(|&(_, count)| count > 0);
        for (at, (name, count)) in counts.clone().enumerate() {
            match at {
                0 if name == "loading" && counts.clone().count() == 1 => {
                    write!(formatter, "loading {count} {}", plugins(count))?;
                }
                0 => write!(formatter, "{count} {} {name}", plugins(count))?,
                _ => write!(formatter, ", {count} {name}")?,
            }
        }
        if counts.count() == 0 { formatter.write_str("no plugins") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(plugins: &[(PluginState, bool)]) -> String {
        let mut tally = Tally::default();
        for &(state, has_rejected_file) in plugins {
            tally.add(state, has_rejected_file);
        }
        tally.to_string()
    }

    #[test]
    fn tally_names_states_that_there_are() {
        use PluginState::{Failed, Idle, Loading, Rejected, Up};
        assert_eq!(text(&[]), "no plugins");
        assert_eq!(text(&[(Loading, false); 3]), "loading 3 plugins");
        assert_eq!(text(&[(Loading, false)]), "loading 1 plugin");
        assert_eq!(text(&[(Rejected, true)]), "1 plugin rejected");
        assert_eq!(text(&[(Rejected, false), (Up, true)]), "1 plugin up, 2 rejected");
        let all = [(Loading, false), (Up, false), (Up, false), (Idle, false), (Failed, false)];
        assert_eq!(text(&all), "2 plugins up, 1 loading, 1 failed, 1 idle");
    }
}
