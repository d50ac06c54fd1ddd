//! The part of Redis's protocol for INFO: encoding of commands, and parsing of text and error replies from untrusted bytes
//! with limits. Of RESP3, which proxies may choose, the forms of texts and errors are read, too.

/// The longest first line of a reply: Redis's longest error, for protected mode, has 900 bytes.
const MAX_LINE_BYTES: usize = 4096;

/// The longest text of a reply. INFO has 6 KB, and 50 bytes per database in use.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << 20;

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    /// An error; its first word, in capitals, is its kind.
    Error(String),
}

/// Appends a command.
pub(crate) fn append_command(bytes: &mut Vec<u8>, words: &[&str]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Removes the first reply from the bytes; `None` if it is incomplete.
///
/// # Errors
///
/// The bytes are not a reply of Redis.
pub(crate) fn take_reply(bytes: &mut Vec<u8>) -> Result<Option<Reply>, String> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !matches!(kind, b'+' | b'-' | b'$' | b'=' | b'!' | b'_') {
        return Err(format!("a reply starts with byte {kind:#04x}"));
    }
    let Some(end) = bytes.windows(2).take(MAX_LINE_BYTES).position(|window| window == b"\r\n") else {
        return if bytes.len() < MAX_LINE_BYTES {
            Ok(None)
        } else {
            Err("the first line of a reply is too long".to_owned())
        };
    };
    let line = String::from_utf8_lossy(bytes.get(1..end).unwrap_or_default()).into_owned();
    let mut length = end + 2;
    let reply = match kind {
        b'+' => Reply::Text(line),
        b'-' => Reply::Error(line),
        // Null, as a server replies that has nothing to report.
        b'_' => Reply::Text(String::new()),
        b'$' if line == "-1" => Reply::Text(String::new()),
        _ => {
            let announced = line.parse().ok().filter(|&announced: &usize| announced <= MAX_TEXT_BYTES);
            let announced = announced.ok_or_else(|| format!("a reply has the length \"{line}\""))?;
            let Some(text) = bytes.get(length..length + announced + 2) else { return Ok(None) };
            let Some(text) = text.strip_suffix(b"\r\n") else {
                return Err(format!("a reply is longer than its length of {announced} bytes"));
            };
            length += announced + 2;
            // A verbatim text begins with its format.
            let text = if kind == b'=' { text.strip_prefix(b"txt:").unwrap_or(text) } else { text };
            let text = String::from_utf8_lossy(text).into_owned();
            if kind == b'!' { Reply::Error(text) } else { Reply::Text(text) }
        }
    };
    bytes.drain(..length);
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_has_the_redis_encoding() {
        let mut bytes = Vec::new();
        append_command(&mut bytes, &["AUTH", "pä ss\r\n"]);
        assert_eq!(bytes, "*2\r\n$4\r\nAUTH\r\n$8\r\npä ss\r\n\r\n".as_bytes());
    }

    #[test]
    fn replies_parse_from_any_pieces() {
        let sent = b"+OK\r\n-ERR no\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n_\r\n=6\r\ntxt:ab\r\n!6\r\nERR no\r\n";
        let text = |text: &str| Reply::Text(text.to_owned());
        let error = || Reply::Error("ERR no".to_owned());
        let expected = [text("OK"), error(), text("a\r\nbc"), text(""), text(""), text(""), text("ab"), error()];
        for piece in 1..=sent.len() {
            let (mut bytes, mut replies) = (Vec::new(), Vec::new());
            for part in sent.chunks(piece) {
                bytes.extend_from_slice(part);
                while let Some(reply) = take_reply(&mut bytes).expect("as Redis writes") {
                    replies.push(reply);
                }
            }
            assert_eq!((replies.as_slice(), bytes.len()), (expected.as_slice(), 0), "pieces of {piece}");
        }
    }

    #[test]
    fn malformed_reply_is_an_error() {
        let endless = vec![b'+'; MAX_LINE_BYTES];
        for (sent, why) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "starts with byte 0x48"),
            (b"\0", "starts with byte 0x00"),
            (b"*1\r\n", "starts with byte 0x2a"),
            (b"$-2\r\n", "has the length \"-2\""),
            (b"=-1\r\n", "has the length \"-1\""),
            (b"$1048577\r\n", "has the length \"1048577\""),
            (b"$99999999999999999999\r\n", "has the length"),
            (b"$x\r\n", "has the length \"x\""),
            (b"$2\r\nabcd", "is longer than its length of 2 bytes"),
            (&endless, "is too long"),
        ] {
            let error = take_reply(&mut sent.to_vec()).expect_err("it is not Redis");
            assert!(error.contains(why), "{error}");
        }
    }
}
