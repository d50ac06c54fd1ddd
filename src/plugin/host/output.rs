//! What a guest writes to WASI's standard output and error, as lines of its log: tracebacks, panics, `print`. A line is written when
//! it ends, or when the call does.

use crate::plugin::guest::bindings::gauged::plugin::log::Level;

/// The most bytes of a line that are kept: as many as the log shows, and one more, by which it sees that the line was longer.
const LINE_BYTES: usize = 1025;

/// A stream of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

impl OutputStream {
    pub(crate) const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The level of its lines. A guest explains its failures on standard error.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Stdout => Level::Info,
            Self::Stderr => Level::Warn,
        }
    }
}

/// The unfinished lines of a guest, one for each stream.
#[derive(Debug, Default)]
pub(crate) struct GuestOutput {
    lines: [Vec<u8>; OutputStream::ALL.len()],
}

impl GuestOutput {
    /// Adds bytes to a stream, and passes each line that ends in them to `write`. Empty lines are left out.
    pub(crate) fn push(&mut self, stream: OutputStream, bytes: &[u8], mut write: impl FnMut(&str)) {
        let line = &mut self.lines[stream as usize];
        let mut pieces = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            // The last piece has no end yet.
            if pieces.peek().is_some() {
                end(line, &mut write);
            }
        }
    }

    /// Passes the unfinished line of a stream to `write`.
    pub(crate) fn finish(&mut self, stream: OutputStream, mut write: impl FnMut(&str)) {
        end(&mut self.lines[stream as usize], &mut write);
    }
}

/// Ends a line, and gives its memory back: most guests write none.
fn end(line: &mut Vec<u8>, write: &mut impl FnMut(&str)) {
    let line = std::mem::take(line);
    let text = String::from_utf8_lossy(&line);
    let text = text.trim_end();
    if !text.is_empty() {
        write(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut output, mut lines) = (GuestOutput::default(), Vec::new());
        for piece in pieces {
            output.push(OutputStream::Stderr, piece, |line| lines.push(line.to_owned()));
        }
        output.finish(OutputStream::Stderr, |line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(
            lines(&[b"Traceback\n  in col", b"lect\r\n\nValue", b"Error: x"]),
            ["Traceback", "  in collect", "ValueError: x"]
        );
        assert_eq!(lines(&[b"a\n"]), ["a"]);
        assert_eq!(lines(&[b"\n", b"  \n", b""]), [""; 0]);
        assert_eq!(lines(&[b"gr\xc3", b"\xbcn \xff"]), ["gr\u{fc}n \u{fffd}"]);
    }

    #[test]
    fn streams_do_not_mix() {
        let (mut output, mut lines) = (GuestOutput::default(), Vec::new());
        output.push(OutputStream::Stdout, b"out", |line| lines.push(line.to_owned()));
        output.push(OutputStream::Stderr, b"err\n", |line| lines.push(line.to_owned()));
        output.push(OutputStream::Stdout, b"put\n", |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["err", "output"]);
    }

    proptest! {
        #[test]
        fn kept_bytes_are_bounded(pieces in prop::collection::vec(prop::collection::vec(0_u8..20, 0..3000), 0..5)) {
            let mut output = GuestOutput::default();
            for piece in &pieces {
                output.push(OutputStream::Stdout, piece, |line| assert!(line.len() <= 3 * LINE_BYTES && !line.contains('\n')));
                assert!(output.lines[0].len() <= LINE_BYTES);
            }
        }

        /// Where a guest cuts its output makes no difference.
        #[test]
        fn pieces_make_no_difference(text in "[a-c\n ]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..5)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut begin = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text.as_bytes()[begin..cut]);
                begin = cut;
            }
            prop_assert_eq!(lines(&pieces), lines(&[text.as_bytes()]));
        }
    }
}
