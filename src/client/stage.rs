//! The stage of a request under way: an error of one that was late names it.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

use super::error::{ClientError, ClientErrorKind};

/// The stage of a request: the event that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    #[default]
    Resolution,
    Connection,
    Proxy,
    Tls,
    Response,
}

/// The stage, as it is set by the request and read when that is late.
#[derive(Debug, Default)]
pub(super) struct StageCell(Cell<Stage>);

impl StageCell {
    pub(super) fn set(&self, stage: Stage) {
        self.0.set(stage);
    }

    pub(super) fn get(&self) -> Stage {
        self.0.get()
    }
}

impl Stage {
    /// The error of a request to a peer that took this time.
    pub(super) fn late(self, peer: &impl Display, timeout: Duration) -> ClientError {
        let (missing, remedy) = match self {
            Self::Resolution => ("no address for its name", "check the name servers of this host"),
            Self::Connection => ("no connection", "check the address, and the firewalls on the way"),
            Self::Proxy => ("no connection by the proxy", "check the proxy, and the firewalls behind it"),
            Self::Tls => ("no TLS", "check that the peer speaks TLS at this port"),
            Self::Response => ("no whole response", "check the load of the peer, or raise timeout"),
        };
        let text = format!("{missing} from {peer} within {}", humantime::format_duration(timeout));
        ClientError::new(ClientErrorKind::Timeout, text, remedy)
    }
}
