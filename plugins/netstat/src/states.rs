//! Numbers of TCP sockets by state, with the setting `tcp_states`: by a query, and from `/proc/1/net/tcp` and `/proc/1/net/tcp6` where
//! there is no such query, which needs grants and costs more.

use std::ops::ControlFlow;

use gauged_plugin::files::{self, Failure, PieceLines};
use gauged_plugin::skipped::Skipped;
use gauged_plugin::system::{self, SocketTable};
use gauged_plugin::{Need, Sample};

gauged_plugin::metrics! {
    module "netstat" by {"state": "State of the sockets, such as `established` or `listen`"};
    /// TCP sockets in the state, over IPv4 and IPv6; needs the setting `tcp_states`.
    SOCKETS: gauge "tcp_sockets" in "{socket}";
}

/// The states, at their numbers in the files less one. The last one has the name of the third: connections that are being made.
const STATES: [&str; 12] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "syn_recv",
];

/// The tables of TCP.
const TABLES: [SocketTable; 2] = [SocketTable::Tcp, SocketTable::Tcp6];

/// The grants for the files, where they are needed.
pub(crate) fn needs() -> Vec<Need> {
    let needs_file = TABLES.map(system::count_sockets).iter().any(Result::is_err);
    let need = |table: SocketTable| Need::read(table.path(), "count sockets by state");
    if needs_file { TABLES.map(need).to_vec() } else { Vec::new() }
}

/// Sets the metric of each state, also of those without sockets. None if a table cannot be counted.
pub(crate) fn set_metrics(sample: &mut Sample, skipped: &mut Skipped) {
    let mut counts = [0_u64; STATES.len()];
    for table in TABLES {
        let counted = match system::count_sockets(table) {
            Ok(counted) if !counted.truncated => {
                for counted in counted.states {
                    if let Some(at) = STATES.iter().position(|state| *state == counted.state) {
                        counts[at] += counted.count;
                    }
                }
                Some(())
            }
            Ok(_) | Err(_) => count_lines(table, &mut counts, skipped),
        };
        if counted.is_none() {
            return;
        }
    }
    // Those of the last number are of the third state.
    counts[2] += std::mem::take(&mut counts[STATES.len() - 1]);
    for (state, count) in STATES.iter().zip(counts).take(STATES.len() - 1) {
        sample.labelled(&[("state", state)]).set(SOCKETS, count);
    }
}

/// Counts the sockets in the file of a table. None if it cannot be read.
fn count_lines(table: SocketTable, counts: &mut [u64; STATES.len()], skipped: &mut Skipped) -> Option<()> {
    let mut lines = PieceLines::default();
    let read = files::read_pieces(table.path(), |piece| {
        lines.take(piece, |line| count_line(line, counts));
        ControlFlow::Continue(())
    });
    match read {
        Ok(_) => {
            count_line(&lines.rest, counts);
            Some(())
        }
        // The kernel has no IPv6.
        Err(Failure { error: files::Error::NotFound, .. }) if table.is_ipv6() => Some(()),
        Err(failure) => skipped.keep(Err(failure), SOCKETS.name),
    }
}

/// Counts the socket of a line such as `0: 0100007F:0CEA 00000000:0000 0A …`. The header and anything else is none.
fn count_line(line: &[u8], counts: &mut [u64; STATES.len()]) {
    let state = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(3);
    let number = match state {
        Some(&[b'0', digit]) => char::from(digit).to_digit(16),
        _ => None,
    };
    if let Some(count) = number.and_then(|number| counts.get_mut((number as usize).wrapping_sub(1))) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use gauged_plugin::testing::{Harness, Host, SampleMap};
    use gauged_plugin::{Capability, Error};

    use super::*;
    use crate::Netstat;

    const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

    /// A file with so many sockets in each state, by number.
    fn file(states: &[(u8, usize)]) -> String {
        let row = |state: u8| format!("   0: 0100007F:0050 00000000:0000 {state:02X} 00000000:00000000 00:00000000\n");
        let rows = states.iter().map(|&(state, count)| row(state).repeat(count));
        HEADER.to_owned() + &rows.collect::<String>()
    }

    fn start(host: &Host) -> Harness<Netstat> {
        Harness::start(host.clone(), r#"{"fields": {"include": ["Tcp_CurrEstab"]}, "tcp_states": true}"#)
            .expect("the configuration is right")
    }

    fn states(sample: &SampleMap) -> Vec<(String, gauged_plugin::Value)> {
        let is_state = |key: &&String| key.starts_with("netstat.tcp_sockets");
        sample.keys().filter(is_state).map(|key| (key.clone(), sample[key.as_str()].clone())).collect()
    }

    #[test]
    fn query_has_the_results_of_the_files() {
        let mut host = Host::new();
        host.sockets(SocketTable::Tcp, &[("established", 900), ("syn_recv", 5), ("time_wait", 40), ("listen", 3)]);
        host.sockets(SocketTable::Tcp6, &[("established", 1), ("listen", 2)]);
        let mut queried = start(&host);
        assert_eq!(queried.needs(), []);
        let queried = states(&queried.tick().expect("a sample"));
        assert_eq!(queried.len(), 11, "one for each state");
        let mut host = Host::new();
        host.file("/proc/1/net/tcp", file(&[(10, 3), (1, 900), (3, 1), (12, 4), (6, 40)]));
        host.file("/proc/1/net/tcp6", file(&[(10, 2), (1, 1)]).trim_end());
        let mut read = start(&host);
        assert_eq!(read.needs().len(), 2);
        assert_eq!(states(&read.tick().expect("a sample")), queried);
    }

    #[test]
    fn unreadable_table_leaves_the_states_out() {
        let mut host = Host::new();
        host.file("/proc/1/net/tcp", file(&[(10, 3)]));
        assert_eq!(states(&start(&host).tick().expect("a sample")).len(), 11, "without IPv6");
        host.file("/proc/1/net/sockstat", "sockets: used 7\n").deny(&Capability::read("/proc/1/net/tcp"));
        assert_eq!(states(&start(&host).tick().expect("a sample")), []);
        let alone = Host::new().deny(&Capability::read("/proc/1/net/tcp")).clone();
        assert!(matches!(start(&alone).tick(), Err(Error::Denied(_))));
    }

    #[test]
    fn states_are_off_by_default() {
        let mut host = Host::new();
        host.file("/proc/1/net/sockstat", "sockets: used 7\n").sockets(SocketTable::Tcp, &[("listen", 1)]);
        let sample = Harness::<Netstat>::start(host, "{}").expect("no configuration").tick().expect("a sample");
        assert_eq!(states(&sample), []);
    }
}
