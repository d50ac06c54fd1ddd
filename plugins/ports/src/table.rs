//! The parser for the listening sockets in the kernel's tables, `/proc/net/tcp` and the like, which takes a table in
//! pieces. Reads no file.

use std::ops::ControlFlow;

use gauged_plugin::files::PieceLines;
use gauged_plugin::skipped::{Reason, Skip};
use gauged_plugin::system::SocketTable;

/// Whether a table is of TCP, where the kernel lists listening sockets before all others, and their connections that wait.
pub(crate) fn is_tcp(table: SocketTable) -> bool {
    matches!(table, SocketTable::Tcp | SocketTable::Tcp6)
}

/// The state of a listening socket: `LISTEN` for TCP; `CLOSE` for UDP, which means bound without a peer.
fn listening_state(table: SocketTable) -> &'static str {
    if is_tcp(table) { "0A" } else { "07" }
}

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    /// The receive queue: for TCP, connections that wait to be accepted. `None` if it is malformed.
    pub(crate) waiting: Option<u64>,
}

/// A row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Listener(Listener),
    /// A connection that is being made: up to Linux 4.3 the kernel lists it after its listening socket, before the next one.
    Request,
    Other,
}

/// The states of connections that are being made: `SYN_RECV` and `NEW_SYN_RECV`.
const REQUEST_STATES: [&str; 2] = ["03", "0C"];

/// A table that is being read.
#[derive(Debug)]
pub(crate) struct Scan {
    table: SocketTable,
    pieces: PieceLines,
    lines: u32,
    /// Whether a listening socket was seen.
    has_listeners: bool,
    /// Whether a socket in another state was seen.
    has_others: bool,
    /// Whether all listening sockets so far, and at least one, came before the others.
    is_ordered: bool,
    /// The first line that is no socket, with its number; some sockets may be missing then.
    malformed: Option<(u32, &'static str)>,
}

impl Scan {
    pub(crate) fn new(table: SocketTable) -> Self {
        let (pieces, has_listeners, has_others) = (PieceLines::default(), false, false);
        Self { table, pieces, lines: 0, has_listeners, has_others, is_ordered: true, malformed: None }
    }

    /// Takes the next piece of the table, and calls `found` with its listening sockets. Breaks when no more are expected:
    /// the order of the whole piece shows whether the kernel keeps to its own, which gVisor does not.
    pub(crate) fn take(&mut self, piece: &[u8], mut found: impl FnMut(Listener)) -> ControlFlow<()> {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.take(piece, |line| self.take_line(line, &mut found));
        self.pieces = pieces;
        let is_over = is_tcp(self.table) && self.has_others && self.is_ordered;
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Ends a table: with its last line where it was read to its end, and without where `take` broke.
    ///
    /// # Errors
    ///
    /// The reason why listening sockets may be missing.
    pub(crate) fn end(mut self, last: ControlFlow<()>, mut found: impl FnMut(Listener)) -> Result<(), Skip> {
        if last.is_continue() {
            let rest = std::mem::take(&mut self.pieces).rest;
            self.take_line(&rest, &mut found);
        }
        let (line, reason, why) = match self.malformed {
            Some((line, why)) => (line, Reason::Malformed, why),
            None if self.lines == 0 => (0, Reason::Truncated, "is empty"),
            None => return Ok(()),
        };
        Err(Skip { line, reason, ..Skip::malformed(self.table.path(), "", why) })
    }

    fn take_line(&mut self, line: &[u8], found: &mut impl FnMut(Listener)) {
        if line.trim_ascii().is_empty() {
            return;
        }
        self.lines += 1;
        let line = String::from_utf8_lossy(line);
        match parse(self.table, &line) {
            Ok(Row::Listener(listener)) => {
                self.is_ordered &= !self.has_others;
                self.has_listeners = true;
                found(listener);
            }
            Ok(Row::Request) => {}
            Ok(Row::Other) => {
                // A table that begins with connections has no order, or no listening sockets.
                self.is_ordered &= self.has_listeners;
                self.has_others = true;
            }
            // The header.
            Err(_) if self.lines == 1 && line.contains("local_address") => {}
            Err(why) => {
                self.malformed.get_or_insert((self.lines, why));
            }
        }
    }
}

/// Parses `0: 0100007F:0CEA 00000000:0000 0A 00000000:00000003 …`: number, local address, remote address, state, send
/// and receive queue, in hexadecimal.
fn parse(table: SocketTable, line: &str) -> Result<Row, &'static str> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let address = fields.next().ok_or("missing the local address")?;
    let state = fields.nth(1).ok_or("missing the state")?;
    if state.len() != 2 || u8::from_str_radix(state, 16).is_err() {
        return Err("the state is not a number");
    }
    if state != listening_state(table) {
        return Ok(if REQUEST_STATES.contains(&state) { Row::Request } else { Row::Other });
    }
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
    let port = address.rsplit_once(':').and_then(|(_, port)| hexadecimal(port));
    let port = port.and_then(|port| u16::try_from(port).ok()).ok_or("the local address has no port")?;
    let waiting = fields.next().and_then(|queues| hexadecimal(queues.split_once(':')?.1));
    Ok(Row::Listener(Listener { port, waiting }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn row(number: usize, port: u16, state: &str) -> String {
        format!("{number:4}: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000003 00:00000000 00000000 0 0 1\n")
    }

    /// The ports found in a table given in pieces, the number of pieces taken, and the result.
    fn scan(table: SocketTable, text: &str, piece: usize) -> (Vec<u16>, usize, Result<(), Skip>) {
        let (mut scan, mut ports, mut taken) = (Scan::new(table), Vec::new(), 0);
        let mut last = ControlFlow::Continue(());
        for piece in text.as_bytes().chunks(piece) {
            taken += 1;
            last = scan.take(piece, |listener| ports.push(listener.port));
            if last.is_break() {
                break;
            }
        }
        let result = scan.end(last, |listener| ports.push(listener.port));
        (ports, taken, result)
    }

    #[test]
    fn tables_in_any_pieces_have_the_same_sockets() {
        let text = [HEADER, &row(0, 443, "0A"), &row(1, 3306, "0A"), &row(2, 443, "01"), &row(3, 443, "06")].concat();
        for piece in 1..=text.len() {
            assert_eq!(scan(SocketTable::Tcp, &text, piece).0, [443, 3306], "pieces of {piece}");
            assert_eq!(
                scan(SocketTable::Udp, &text.replace("0A", "07"), piece),
                (vec![443, 3306], text.len().div_ceil(piece), Ok(()))
            );
        }
    }

    #[test]
    fn long_table_is_read_until_the_first_connections() {
        let connections: String = (2..20_000).map(|number| row(number, 443, "01")).collect();
        let text = [HEADER, &row(0, 443, "0A"), &row(1, 3306, "0A"), &connections].concat();
        assert_eq!(scan(SocketTable::Tcp6, &text, 4096), (vec![443, 3306], 1, Ok(())));
        // UDP has no order.
        assert_eq!(scan(SocketTable::Udp6, &text.replace("0A", "07"), 4096).1, text.len().div_ceil(4096));
    }

    #[test]
    fn unordered_table_is_read_to_its_end() {
        let rows = [row(0, 443, "01"), row(1, 80, "0A"), row(2, 443, "01"), row(3, 22, "0A")].concat();
        let text = [HEADER, &rows, &row(4, 443, "01").repeat(1000), &row(5, 25, "0A")].concat();
        assert_eq!(scan(SocketTable::Tcp, &text, 4096).0, [80, 22, 25]);
    }

    /// Up to Linux 4.3 a listening socket is followed by the connections that are being made to it; a flood of them fills pieces.
    #[test]
    fn requests_between_listeners_do_not_end_a_table() {
        for state in REQUEST_STATES {
            let flood: String = (1..1000).map(|number| row(number, 443, state)).collect();
            let connections: String = (1001..3000).map(|number| row(number, 443, "01")).collect();
            let text = [HEADER, &row(0, 443, "0A"), &flood, &row(1000, 3306, "0A"), &connections].concat();
            let (ports, taken, result) = scan(SocketTable::Tcp, &text, 64 << 10);
            assert_eq!((ports, result), (vec![443, 3306], Ok(())), "{state}");
            assert_eq!(taken, 2, "no further than the first connections");
        }
    }

    /// gVisor has no order: the first piece may have connections only.
    #[test]
    fn listeners_after_a_piece_of_connections_are_found() {
        let connections: String = (0..1000).map(|number| row(number, 443, "01")).collect();
        let text = [HEADER, &connections, &row(1000, 443, "0A"), &row(1001, 3306, "0A")].concat();
        assert!(text.len() > 64 << 10);
        assert_eq!(scan(SocketTable::Tcp, &text, 64 << 10).0, [443, 3306]);
    }

    #[test]
    fn malformed_line_hides_only_its_socket() {
        for (line, why) in [
            ("nonsense\n", "missing the local address"),
            ("   1: 00000000:0050\n", "missing the state"),
            ("   1: 00000000:0050 00000000:0000 A\n", "the state is not a number"),
            ("   1: 00000000:0050 00000000:0000 LISTEN\n", "the state is not a number"),
            ("   1: 00000000 00000000 0A 0:0\n", "the local address has no port"),
            ("   1: 0:10000 0:0 0A 0:0\n", "the local address has no port"),
            ("\u{ff}\0 \u{ff}\0 \u{ff}\0 0A\n", "the local address has no port"),
        ] {
            // Also if the reading ends with the first connections.
            let text = [HEADER, &row(0, 443, "0A"), line, &row(2, 80, "0A"), &row(3, 80, "01")].concat();
            let (ports, taken, result) = scan(SocketTable::Tcp, &text, 1 << 20);
            assert_eq!((ports, taken), (vec![443, 80], 1), "{line:?}");
            assert!(result.is_err_and(|skip| (skip.line, &*skip.why) == (3, why)), "{line:?}");
        }
        assert!(scan(SocketTable::Tcp, "", 1).2.is_err_and(|skip| skip.reason == Reason::Truncated));
        assert!(scan(SocketTable::Tcp, "nonsense\n", 9).2.is_err(), "no header");
        assert_eq!(
            scan(SocketTable::Tcp, &row(0, 443, "0A"), 9),
            (vec![443], row(0, 443, "0A").len().div_ceil(9), Ok(()))
        );
    }

    #[test]
    fn malformed_queue_keeps_the_socket() {
        for queues in ["", "0", "0:x", "0:-1"] {
            let parsed = parse(SocketTable::Tcp, &format!("0: 0:50 0:0 0A {queues}"));
            assert_eq!(parsed, Ok(Row::Listener(Listener { port: 80, waiting: None })), "{queues:?}");
        }
    }
}
