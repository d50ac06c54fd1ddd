//! The requests of the service manager that started the agent, by environment variables (`sd_notify(3)`, `sd_watchdog_enabled(3)`).

use std::ffi::OsString;
use std::time::Duration;

/// The wishes of the service manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceManager {
    /// `$NOTIFY_SOCKET`: the unix socket for messages about the agent's state. None without a manager.
    pub notify_socket: Option<OsString>,
    /// `$WATCHDOG_USEC`: the time after which an agent without a sign of life is ended, if it is.
    pub watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads the variables. `pid` is the agent's process: a watchdog of another one is not meant.
    pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_meant = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|&micros| is_meant && micros > 0).map(Duration::from_micros);
        Self { notify_socket: variable("NOTIFY_SOCKET"), watchdog }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> ServiceManager {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        ServiceManager::read(value, 7)
    }

    #[test]
    fn watchdog_of_another_process_is_not_meant() {
        let minute = Some(Duration::from_secs(60));
        assert_eq!(read(&[]), ServiceManager::default());
        assert_eq!(read(&[("WATCHDOG_USEC", "60000000")]).watchdog, minute);
        assert_eq!(read(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "7")]).watchdog, minute);
        for other in ["8", "all", "-7"] {
            assert_eq!(read(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", other)]).watchdog, None);
        }
        for wrong in ["0", "-1", "1s"] {
            assert_eq!(read(&[("WATCHDOG_USEC", wrong)]).watchdog, None, "{wrong}");
        }
        assert_eq!(read(&[("NOTIFY_SOCKET", "@name")]).notify_socket, Some("@name".into()));
    }
}
