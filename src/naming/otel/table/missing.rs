//! Conventions without a counterpart.

use super::super::super::row::{Row, missing, similar};

pub(super) const ROWS: &[Row] = &[
    missing("system.disk.limit", "not collected yet; `/sys/block/*/size` is open to every plugin"),
    missing("system.filesystem.lock.count", "not collected yet; a plugin needs a grant for `/proc/locks`"),
    similar(
        "system.network.connection.count",
        "netstat.Tcp_CurrEstab",
        "the states `established` and `close_wait` together; `netstat.sockstat_TCP_tw` has `time_wait` and a part of `fin_wait_2`",
    ),
];
