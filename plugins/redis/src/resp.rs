//! Redis's protocol, as much of it as a question and its answer take: commands as they are sent, and replies that are a
//! text or an error. Reads bytes that a server of any kind may have sent, and never more than is announced.

/// The longest line before a reply's text, errors included: the longest of Redis's own, of protected mode, has 900.
const LINE_BYTES: usize = 4096;

/// The longest text of a reply. INFO has 6 KB, and 50 bytes for each database that is in use.
pub(crate) const TEXT_BYTES: usize = 1 << 20;

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    /// It begins with a word in capitals that says what kind of error it is.
    Error(String),
}

/// Appends a command.
pub(crate) fn command(bytes: &mut Vec<u8>, words: &[&str]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Takes the first reply from what was read; none when more has to be read.
///
/// # Errors
///
/// Why this is not Redis.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Result<Option<Reply>, String> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !matches!(kind, b'+' | b'-' | b'$') {
        return Err(format!("a reply begins with the byte {kind:#04x}"));
    }
    let Some(end) = bytes.windows(2).take(LINE_BYTES).position(|window| window == b"\r\n") else {
        return if bytes.len() < LINE_BYTES { Ok(None) } else { Err("a reply's first line has no end".to_owned()) };
    };
    let line = String::from_utf8_lossy(bytes.get(1..end).unwrap_or_default()).into_owned();
    let mut length = end + 2;
    let reply = match kind {
        b'+' => Reply::Text(line),
        b'-' => Reply::Error(line),
        _ => {
            let announced = line.parse().ok().filter(|&announced: &usize| announced <= TEXT_BYTES);
            let announced = announced.ok_or_else(|| format!("a reply announces \"{line}\" bytes"))?;
            let Some(text) = bytes.get(length..length + announced + 2) else { return Ok(None) };
            let Some(text) = text.strip_suffix(b"\r\n") else {
                return Err(format!("a reply goes on after the {announced} bytes that it announces"));
            };
            length += announced + 2;
            Reply::Text(String::from_utf8_lossy(text).into_owned())
        }
    };
    bytes.drain(..length);
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_what_redis_reads() {
        let mut bytes = Vec::new();
        command(&mut bytes, &["AUTH", "pä ss\r\n"]);
        assert_eq!(bytes, "*2\r\n$4\r\nAUTH\r\n$8\r\npä ss\r\n\r\n".as_bytes());
    }

    #[test]
    fn replies_are_taken_one_after_the_other_and_in_any_pieces() {
        let sent = b"+OK\r\n-ERR no\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n";
        let text = |text: &str| Reply::Text(text.to_owned());
        let expected = [text("OK"), Reply::Error("ERR no".to_owned()), text("a\r\nbc"), text("")];
        for piece in 1..=sent.len() {
            let (mut bytes, mut replies) = (Vec::new(), Vec::new());
            for part in sent.chunks(piece) {
                bytes.extend_from_slice(part);
                while let Some(reply) = take(&mut bytes).expect("as Redis writes") {
                    replies.push(reply);
                }
            }
            assert_eq!((replies.as_slice(), bytes.len()), (expected.as_slice(), 0), "pieces of {piece}");
        }
    }

    #[test]
    fn what_redis_does_not_write_is_told() {
        let endless = vec![b'+'; LINE_BYTES];
        for (sent, why) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "begins with the byte 0x48"),
            (b"\0", "begins with the byte 0x00"),
            (b"*1\r\n", "begins with the byte 0x2a"),
            (b"$-1\r\n", "announces \"-1\" bytes"),
            (b"$1048577\r\n", "announces \"1048577\" bytes"),
            (b"$99999999999999999999\r\n", "announces"),
            (b"$x\r\n", "announces \"x\" bytes"),
            (b"$2\r\nabcd", "goes on after the 2 bytes"),
            (&endless, "has no end"),
        ] {
            let error = take(&mut sent.to_vec()).expect_err("it is not Redis");
            assert!(error.contains(why), "{error}");
        }
    }
}
