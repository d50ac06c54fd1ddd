//! Systems other than Linux, which have no such queries.

use std::time::Instant;

use super::error::QueryError;
use crate::plugin::guest::bindings::gauged::plugin::system::{
    ClockStatus, DriverStatus, LinkStatus, Listeners, SocketCounts, SocketTable,
};

fn none<T>() -> Result<T, QueryError> {
    Err(QueryError::NotSupported("only Linux has this query".to_owned()))
}

pub(super) fn count(_table: SocketTable, _until: Instant) -> Result<SocketCounts, QueryError> {
    none()
}

pub(super) fn listeners(_table: SocketTable, _until: Instant) -> Result<Listeners, QueryError> {
    none()
}

pub(super) fn read_clock() -> Result<ClockStatus, QueryError> {
    none()
}

/// A network interface.
pub(super) struct Interface;

impl Interface {
    pub(super) fn find(_name: &str) -> Result<Self, QueryError> {
        none()
    }

    pub(super) fn link(&self) -> Result<LinkStatus, QueryError> {
        none()
    }

    pub(super) fn driver(&self) -> Result<DriverStatus, QueryError> {
        none()
    }
}
