//! Nightingale's `/openfalcon/push` over HTTP: the headers of a request, and what a response means. Pure.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::status::StatusCode;
use serde::Deserialize;

use crate::sink::error::ErrorReason;
use crate::sink::verdict::{Retry, Verdict, words};

/// A response.
#[derive(Debug, Deserialize)]
struct Received {
    succ: u64,
    fail: u64,
    #[serde(default)]
    msg: String,
}

/// The headers of a request.
pub(in crate::sink) fn headers() -> HeaderMap {
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let gzip = (CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    [json, gzip].into_iter().collect()
}

/// The verdict on a response.
pub(in crate::sink) fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    match status {
        StatusCode::OK => received(body),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Verdict::rejected(status, body),
        // Among them 499, with which a Nightingale refuses whose queues are full.
        _ => Verdict::retry(status, headers, body),
    }
}

/// The verdict on the body of a response with status 200.
fn received(body: &[u8]) -> Verdict {
    match serde_json::from_slice(body) {
        Ok(Received { fail: 0, .. }) => Verdict::DELIVERED,
        Ok(Received { succ, fail, msg }) => {
            let points = succ.saturating_add(fail);
            let text = format!("the receiver rejects {fail} of {points} points: {}", words(msg.as_bytes()));
            Verdict::Delivered { rejected: fail, text: Some(text) }
        }
        Err(_) => Verdict::Retry(Retry {
            after: None,
            reason: ErrorReason::Protocol,
            text: format!("the response is not Nightingale's: {}", words(body)),
            remedy: "correct the URL; it ends with /openfalcon/push",
            is_about_request: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Verdict {
        verdict(StatusCode::from_u16(status).expect("a status"), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn failed_points_are_counted() {
        assert_eq!(judged(200, r#"{"succ":3,"fail":0,"msg":"received"}"#), Verdict::DELIVERED);
        let text = "the receiver rejects 2 of 3 points: received".to_owned();
        let expected = Verdict::Delivered { rejected: 2, text: Some(text) };
        assert_eq!(judged(200, r#"{"succ":1,"fail":2,"msg":"received"}"#), expected);
    }

    #[test]
    fn foreign_servers_are_not_taken_for_nightingale() {
        for body in
            ["", "<html>", "{}", r#"{"succ":1}"#, r#"{"succ":1,"fail":-1}"#, r#"{"code":0,"message":"success"}"#]
        {
            let Verdict::Retry(retry) = judged(200, body) else { panic!("no retry: {body}") };
            assert_eq!((retry.reason, retry.is_about_request), (ErrorReason::Protocol, false), "{body}");
        }
    }

    #[test]
    fn malformed_requests_are_not_sent_again() {
        for status in [400, 413, 415, 422] {
            assert!(matches!(judged(status, "parse error"), Verdict::Rejected { .. }), "{status}");
        }
        for (status, is_about_request) in
            [(499, false), (429, false), (503, false), (500, true), (404, false), (204, false)]
        {
            let Verdict::Retry(retry) = judged(status, "") else { panic!("no retry: {status}") };
            assert_eq!(retry.is_about_request, is_about_request, "{status}");
        }
    }

    #[test]
    fn bodies_are_announced_as_gzip() {
        assert_eq!(headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(headers()[CONTENT_TYPE], "application/json");
    }
}
