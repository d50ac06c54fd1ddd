//! Answers of a script's host.

use rustix::io::Errno;

use crate::config::script::system::{
    ScriptedClock, ScriptedDuplex, ScriptedInterface, ScriptedLeapSecond, ScriptedListener, ScriptedSockets,
    SystemAnswer, SystemError, Table,
};
use crate::plugin::guest::bindings::gauged::plugin::system::{
    ClockStatus, DriverStatus, Duplex, Error, LeapSecond, LinkStatus, Listener, Listeners, SocketCounts, SocketTable,
    StateCount, Statistic,
};
use crate::plugin::host::os_error::{os_error, permission_error};

/// The name of a table, which is that of its file.
pub(super) fn name(table: SocketTable) -> &'static str {
    match table {
        SocketTable::Tcp => "tcp",
        SocketTable::Tcp6 => "tcp6",
        SocketTable::Udp => "udp",
        SocketTable::Udp6 => "udp6",
    }
}

impl From<SocketTable> for Table {
    fn from(table: SocketTable) -> Self {
        match table {
            SocketTable::Tcp => Self::Tcp,
            SocketTable::Tcp6 => Self::Tcp6,
            SocketTable::Udp => Self::Udp,
            SocketTable::Udp6 => Self::Udp6,
        }
    }
}

fn answer<T>(scripted: SystemAnswer<T>) -> Result<T, Error> {
    match scripted {
        SystemAnswer::Answer(answer) => Ok(answer),
        SystemAnswer::Failure(failure) => Err(match failure.error {
            SystemError::NotSupported => Error::NotSupported("by the script".to_owned()),
            SystemError::NotPermitted => Error::NotPermitted(permission_error(Errno::PERM, "change the script")),
            SystemError::NotFound => Error::NotFound,
            SystemError::Timeout => Error::Timeout,
            SystemError::Io => Error::Io(os_error(Errno::IO)),
        }),
    }
}

pub(super) fn counts(scripted: SystemAnswer<ScriptedSockets>) -> Result<SocketCounts, Error> {
    let ScriptedSockets { counts, truncated, listeners: _ } = answer(scripted)?;
    let states = counts.into_iter().map(|(state, count)| StateCount { state, count });
    Ok(SocketCounts { states: states.collect(), truncated })
}

pub(super) fn listeners(scripted: SystemAnswer<ScriptedSockets>) -> Result<Listeners, Error> {
    let ScriptedSockets { listeners, truncated, counts: _ } = answer(scripted)?;
    let sockets = listeners.into_iter().map(|listener| {
        let ScriptedListener { address, port, device, queued, queue_limit, user, inode } = listener;
        Listener { address, port, device, queued, queue_limit, user, inode }
    });
    Ok(Listeners { sockets: sockets.collect(), truncated })
}

pub(super) fn clock(scripted: SystemAnswer<ScriptedClock>) -> Result<ClockStatus, Error> {
    let ScriptedClock {
        synchronised,
        leap,
        status,
        offset_ns,
        frequency_ppm,
        tolerance_ppm,
        maximum_error_ns,
        estimated_error_ns,
        time_constant,
        tick_ns,
        tai_offset_s,
    } = answer(scripted)?;
    let leap = match leap {
        ScriptedLeapSecond::None => LeapSecond::None,
        ScriptedLeapSecond::Added => LeapSecond::Added,
        ScriptedLeapSecond::Removed => LeapSecond::Removed,
        ScriptedLeapSecond::UnderWay => LeapSecond::UnderWay,
        ScriptedLeapSecond::Over => LeapSecond::Over,
    };
    Ok(ClockStatus {
        synchronised,
        leap,
        status,
        offset_ns,
        frequency_ppm,
        tolerance_ppm,
        maximum_error_ns,
        estimated_error_ns,
        time_constant,
        tick_ns,
        tai_offset_s,
    })
}

pub(super) fn link(scripted: SystemAnswer<ScriptedInterface>) -> Result<LinkStatus, Error> {
    let ScriptedInterface { up, bits_per_second, duplex, autonegotiation, .. } = answer(scripted)?;
    let duplex = duplex.map(|duplex| match duplex {
        ScriptedDuplex::Half => Duplex::Half,
        ScriptedDuplex::Full => Duplex::Full,
    });
    Ok(LinkStatus { up, bits_per_second, duplex, autonegotiation })
}

pub(super) fn driver(scripted: SystemAnswer<ScriptedInterface>) -> Result<DriverStatus, Error> {
    let ScriptedInterface { driver, version, firmware, bus, statistics, truncated, .. } = answer(scripted)?;
    let Some(driver) = driver else { return Err(Error::NotSupported("the script has no driver".to_owned())) };
    let statistics = statistics.into_iter().map(|(name, value)| Statistic { name, value }).collect();
    Ok(DriverStatus { driver, version, firmware, bus, statistics, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_seconds_are_those_of_the_script() {
        let leap = |text: &str| {
            let scripted: ScriptedClock = toml::from_str(&format!("synchronised = true\n{text}")).expect("valid");
            clock(SystemAnswer::Answer(scripted)).expect("no failure").leap
        };
        for (text, expected) in [
            ("", LeapSecond::None),
            ("leap = \"none\"", LeapSecond::None),
            ("leap = \"added\"", LeapSecond::Added),
            ("leap = \"removed\"", LeapSecond::Removed),
            ("leap = \"under-way\"", LeapSecond::UnderWay),
            ("leap = \"over\"", LeapSecond::Over),
        ] {
            assert_eq!(leap(text), expected, "{text:?}");
        }
    }

    #[test]
    fn drivers_are_truncated_as_the_script_says() {
        for (text, expected) in [("", false), ("truncated = true", true)] {
            let scripted: ScriptedInterface = toml::from_str(&format!("driver = \"ixgbe\"\n{text}")).expect("valid");
            let driver = driver(SystemAnswer::Answer(scripted)).expect("no failure");
            assert_eq!((&*driver.driver, driver.truncated), ("ixgbe", expected));
        }
    }
}
