//! The verdict on a response: whether a request was delivered, can never be, or is sent again. Each protocol has its own rules; the
//! words of receivers and their wishes are read here.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};

use super::error::ErrorReason;
use crate::escape::printable;

/// The most characters of a receiver's words: its first sentence.
const MAX_WORDS: usize = 300;

/// The longest wait that a receiver may ask for. One that asks for more is asked again after this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The verdict on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its points are stored, but for `rejected` ones, about which the receiver says this.
    Delivered { rejected: u64, text: Option<String> },
    /// It can never be accepted.
    Rejected { text: String },
    /// It is sent again.
    Retry(Retry),
}

/// Why a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retry {
    /// The receiver's wish how long to wait.
    pub(super) after: Option<Duration>,
    pub(super) reason: ErrorReason,
    pub(super) text: String,
    /// The action for the operator.
    pub(super) remedy: &'static str,
    /// Whether the failure may be about this request, and not about the receiver: a request that keeps failing so while others pass is
    /// given up.
    pub(super) is_about_request: bool,
}

impl Verdict {
    /// All points of the request are stored.
    pub(super) const DELIVERED: Self = Self::Delivered { rejected: 0, text: None };

    /// By the status alone. A client error is about the points, unless it is about the settings of sender or receiver, or about the
    /// moment: those concern each request, and are over once somebody has corrected them.
    pub(super) fn from_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        match status {
            _ if status.is_success() => Self::DELIVERED,
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS => Self::retry(status, headers, body),
            _ if status.is_client_error() => Self::rejected(status, body),
            _ => Self::retry(status, headers, body),
        }
    }

    /// The request is rejected, in the receiver's words.
    pub(super) fn rejected(status: StatusCode, body: &[u8]) -> Self {
        Self::Rejected { text: answer(status, body) }
    }

    /// The request is sent again.
    pub(super) fn retry(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "correct token_file, or username and password_file",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "correct the path of the URL",
            _ if status.is_redirection() => "write the URL to which it redirects",
            _ => "see the receiver's log",
        };
        Self::Retry(Retry {
            after: retry_after(headers, SystemTime::now()),
            reason: ErrorReason::Status,
            text: answer(status, body),
            remedy,
            is_about_request: status == StatusCode::INTERNAL_SERVER_ERROR,
        })
    }
}

/// A response as a text: its status, and the receiver's words.
fn answer(status: StatusCode, body: &[u8]) -> String {
    let words = words(body);
    if words.is_empty() {
        format!("the receiver responds {status}")
    } else {
        format!("the receiver responds {status}: {words}")
    }
}

/// The words of a receiver: the beginning of a text, on one line.
pub(super) fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = printable(&line);
    match line.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

/// How long the receiver asks to wait: a number of seconds, or a time.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_words_are_one_short_line() {
        assert_eq!(words(b" out of\r\n  order sample\n"), "out of order sample");
        let long = words("ä".repeat(1000).as_bytes());
        assert_eq!(long.chars().count(), MAX_WORDS + 2);
        assert!(!words(b"\x1b[31mred\xff").contains('\x1b'));
    }

    #[test]
    fn receivers_wish_to_wait_is_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let wait = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        for (text, expected) in [
            ("7", Some(7)),
            ("99999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(wait(text), expected, "{text}");
        }
    }

    #[test]
    fn overload_does_not_blame_the_request() {
        for (status, expected) in [(429, false), (503, false), (500, true), (502, false), (504, false), (401, false)] {
            let status = StatusCode::from_u16(status).expect("a status");
            let Verdict::Retry(retry) = Verdict::retry(status, &HeaderMap::new(), b"busy") else { panic!("no retry") };
            assert_eq!(retry.is_about_request, expected, "{status}");
            assert!(retry.text.ends_with(": busy"));
        }
    }
}
