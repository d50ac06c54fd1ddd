//! JSON-RPC 1.0 as Go's `net/rpc/jsonrpc` has it: objects one after the other on a connection, each call with one parameter. Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::sink::verdict::words;

/// The beginnings of errors that a server sends which does not have the method: it is another kind of server.
const UNKNOWN_METHOD: [&str; 2] = ["rpc: can't find ", "rpc: service/method "];

/// The beginning of errors about the form of a parameter: the same call fails for ever.
const UNREADABLE: &str = "json: ";

/// The text of a call before its parameter, of which Go's server reads one only …
pub(super) fn call_head(method: &str, id: u64) -> String {
    format!("{{\"method\":\"{method}\",\"id\":{id},\"params\":[")
}

/// … and the text after it.
pub(super) const CALL_TAIL: &[u8] = b"]}\n";

/// A response to a call.
#[derive(Debug, PartialEq)]
pub(super) enum Reply<T> {
    Result(T),
    /// The server refuses the call, in its words.
    Error(ReplyError),
}

/// An error that a server responds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReplyError {
    /// It does not have the method.
    UnknownMethod(String),
    /// It cannot read the parameter.
    Unreadable(String),
    Other(String),
}

#[derive(Deserialize)]
struct Response<T> {
    #[serde(default)]
    id: Value,
    #[serde(default = "none")]
    result: Option<T>,
    #[serde(default)]
    error: Value,
}

fn none<T>() -> Option<T> {
    None
}

impl ReplyError {
    fn new(error: &Value) -> Self {
        let text = words(error.as_str().map_or_else(|| error.to_string(), str::to_owned).as_bytes());
        if UNKNOWN_METHOD.iter().any(|beginning| text.starts_with(beginning)) {
            Self::UnknownMethod(text)
        } else if text.starts_with(UNREADABLE) {
            Self::Unreadable(text)
        } else {
            Self::Other(text)
        }
    }
}

/// Reads the response to the call with this number.
///
/// # Errors
///
/// When it is none, or that to another call.
pub(super) fn parse_response<T: DeserializeOwned>(text: &[u8], id: u64) -> Result<Reply<T>, String> {
    let response: Response<T> =
        serde_json::from_slice(text).map_err(|error| format!("sends a malformed response ({error})"))?;
    if response.id.as_u64() != Some(id) {
        let other = words(response.id.to_string().as_bytes());
        return Err(format!("sends a response to the call {other}, which is not under way"));
    }
    match (response.error, response.result) {
        (Value::Null, Some(result)) => Ok(Reply::Result(result)),
        (Value::Null, None) => Err("sends a response without a result".to_owned()),
        (error, _) => Ok(Reply::Error(ReplyError::new(&error))),
    }
}

/// The way to the end of an object, as its bytes come.
#[derive(Debug, Default)]
pub(super) struct ObjectScanner {
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
}

/// Where an object ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectEnd {
    /// Further on.
    Later,
    /// After so many of the bytes.
    At(usize),
    /// It does not begin.
    NoObject,
}

impl ObjectScanner {
    /// Goes on with the bytes that came.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> ObjectEnd {
        for (at, byte) in bytes.iter().enumerate() {
            if self.is_in_text {
                self.is_in_text = self.is_escaped || *byte != b'"';
                self.is_escaped = !self.is_escaped && *byte == b'\\';
                continue;
            }
            match byte {
                b'{' => self.depth += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.depth == 0 => return ObjectEnd::NoObject,
                b'"' => self.is_in_text = true,
                b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return ObjectEnd::At(at + 1);
                    }
                }
                _ => {}
            }
        }
        ObjectEnd::Later
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> Result<Reply<u64>, String> {
        parse_response(text.as_bytes(), 7)
    }

    #[test]
    fn responses_have_a_result_or_an_error() {
        assert_eq!(parsed(r#"{"id":7,"result":3,"error":null}"#), Ok(Reply::Result(3)));
        let error = |text: &str| parsed(&format!(r#"{{"id":7,"result":null,"error":{text}}}"#));
        let unknown = "rpc: can't find service Transfer.Update";
        for (text, expected) in [
            (json!(unknown), ReplyError::UnknownMethod(unknown.to_owned())),
            (json!("json: cannot unmarshal"), ReplyError::Unreadable("json: cannot unmarshal".to_owned())),
            (json!("too\nbusy"), ReplyError::Other("too busy".to_owned())),
            (json!({"code": 1}), ReplyError::Other(r#"{"code":1}"#.to_owned())),
        ] {
            assert_eq!(error(&text.to_string()), Ok(Reply::Error(expected)));
        }
    }

    #[test]
    fn malformed_responses_are_rejected() {
        for text in [
            "",
            "null",
            "{}",
            r#"{"id":7}"#,
            r#"{"id":7,"result":null,"error":null}"#,
            r#"{"id":7,"result":"3","error":null}"#,
            r#"{"id":8,"result":3,"error":null}"#,
            r#"{"id":"7","result":3,"error":null}"#,
            r#"{"id":7,"id":7,"result":3,"error":null}"#,
            r#"{"id":-7,"result":3}"#,
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn objects_end_where_they_are_closed() {
        let scanned = |text: &str| ObjectScanner::default().scan(text.as_bytes());
        assert_eq!(scanned(" \n{} {"), ObjectEnd::At(4));
        assert_eq!(scanned(r#"{"a":"}\"}\\"}x"#), ObjectEnd::At(14));
        assert_eq!(scanned(r#"{"a":{"b":[{}]}"#), ObjectEnd::Later);
        for garbage in ["garbage", "[{}]", "}", "\"{}\"", "\0"] {
            assert_eq!(scanned(garbage), ObjectEnd::NoObject, "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn any_object_is_found_in_any_pieces(name in any::<String>(), text in any::<String>(), piece in 1_usize..9) {
            let object = json!({"id": 1, "result": {name: [text, {}]}}).to_string();
            let (sent, mut scanner, mut end) = (format!("{object}\n{{"), ObjectScanner::default(), None);
            for (at, piece_bytes) in sent.as_bytes().chunks(piece).enumerate() {
                if let ObjectEnd::At(inside) = scanner.scan(piece_bytes) {
                    end = Some(at * piece + inside);
                    break;
                }
            }
            prop_assert_eq!(end, Some(object.len()));
        }

        #[test]
        fn any_bytes_are_an_object_or_none(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[ \n]{0,2}[{}\"\\\\x]{0,9}".prop_map(String::into_bytes),
                " ?\\{(\"id\":[12],?)?(\"result\":[0-9]{1,3})?\\}?".prop_map(String::into_bytes),
            ],
        ) {
            let first = bytes.iter().find(|byte| !b" \t\r\n".contains(byte));
            let end = ObjectScanner::default().scan(&bytes);
            prop_assert_eq!(end == ObjectEnd::NoObject, first.is_some_and(|first| *first != b'{'));
            if let ObjectEnd::At(length) = end {
                prop_assert_eq!(bytes[..length].last(), Some(&b'}'));
            }
            if parse_response::<u64>(&bytes, 1).is_ok() {
                let response: Value = serde_json::from_slice(&bytes).expect("JSON");
                prop_assert_eq!(&response["id"], 1);
                prop_assert!(matches!(end, ObjectEnd::At(_)));
            }
        }
    }
}
