//! The verdict on a response, by the OTLP specification 1.11, "OTLP/HTTP Response".

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use prost::Message as _;
use serde::Deserialize;

use super::messages::{ExportMetricsServiceResponse, Status};
use crate::sink::verdict::{Verdict, words};

/// The verdict on a request after this response. Only four statuses may be retried; a part that was rejected never is.
pub(in crate::sink) fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let body = Body::new(headers, body);
    if status.is_success() {
        return body.success(status);
    }
    let message = body.error_message();
    let is_transient = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    // Nobody has refused the points that a redirection did not take.
    if is_transient || status.is_redirection() || status.is_informational() {
        Verdict::retry(status, headers, message.as_bytes())
    } else {
        Verdict::rejected(status, message.as_bytes())
    }
}

/// The body of a response, by its media type.
enum Body<'a> {
    Empty,
    Protobuf(&'a [u8]),
    Json(&'a [u8]),
    Text(&'a [u8]),
}

/// The response as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonResponse {
    #[serde(alias = "partial_success")]
    partial_success: Option<JsonPartialSuccess>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct JsonPartialSuccess {
    #[serde(alias = "rejected_data_points")]
    rejected_data_points: JsonNumber,
    #[serde(alias = "error_message")]
    error_message: String,
}

/// A number of 64 bits, which is a text in the JSON of protobuf.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum JsonNumber {
    Number(i64),
    Text(String),
}

impl Default for JsonNumber {
    fn default() -> Self {
        Self::Number(0)
    }
}

#[derive(Debug, Deserialize)]
struct JsonStatus {
    message: String,
}

impl<'a> Body<'a> {
    fn new(headers: &HeaderMap, body: &'a [u8]) -> Self {
        let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        let is_media = |names: &[&str]| names.iter().any(|name| media.eq_ignore_ascii_case(name));
        if body.is_empty() {
            Self::Empty
        } else if is_media(&["application/x-protobuf", "application/protobuf", ""]) {
            Self::Protobuf(body)
        } else if is_media(&["application/json"]) {
            Self::Json(body)
        } else {
            Self::Text(body)
        }
    }

    /// The verdict on a success: how many points were rejected all the same. A message without any is a warning.
    fn success(&self, status: StatusCode) -> Verdict {
        let partial = match self {
            Self::Empty => return Verdict::DELIVERED,
            Self::Protobuf(body) => ExportMetricsServiceResponse::decode(*body).ok().map(|response| {
                let partial = response.partial_success.unwrap_or_default();
                (partial.rejected_data_points, partial.error_message)
            }),
            Self::Json(body) => serde_json::from_slice::<JsonResponse>(body).ok().map(|response| {
                let JsonPartialSuccess { rejected_data_points, error_message } =
                    response.partial_success.unwrap_or_default();
                let rejected = match rejected_data_points {
                    JsonNumber::Number(number) => number,
                    JsonNumber::Text(text) => text.parse().unwrap_or(0),
                };
                (rejected, error_message)
            }),
            Self::Text(_) => None,
        };
        let Some((rejected, message)) = partial else {
            let words = words(self.bytes());
            let text = format!("the receiver responds {status}, and no message of OTLP; check the URL: {words}");
            return Verdict::Delivered { rejected: 0, text: Some(text) };
        };
        let message = words(message.as_bytes());
        match u64::try_from(rejected).unwrap_or(0) {
            0 => Verdict::Delivered { rejected: 0, text: Some(message).filter(|message| !message.is_empty()) },
            rejected if message.is_empty() => {
                Verdict::Delivered { rejected, text: Some("the receiver gives no reason".to_owned()) }
            }
            rejected => Verdict::Delivered { rejected, text: Some(message) },
        }
    }

    /// The receiver's words about an error: the message of a `google.rpc.Status`, or the text.
    fn error_message(&self) -> String {
        let message = match self {
            Self::Empty | Self::Text(_) => None,
            Self::Protobuf(body) => Status::decode(*body).ok().map(|status| status.message),
            Self::Json(body) => serde_json::from_slice(body).ok().map(|JsonStatus { message }| message),
        };
        message.unwrap_or_else(|| String::from_utf8_lossy(self.bytes()).into_owned())
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Empty => &[],
            Self::Protobuf(body) | Self::Json(body) | Self::Text(body) => body,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::messages::ExportMetricsPartialSuccess;
    use super::*;

    const PROTOBUF: &str = "application/x-protobuf";

    fn judged(status: u16, media: Option<&str>, body: &[u8]) -> Verdict {
        let media = media.map(|media| (CONTENT_TYPE, media.parse().expect("a value")));
        let status = StatusCode::from_u16(status).expect("a status");
        verdict(status, &HeaderMap::from_iter(media), body)
    }

    fn partial(rejected: i64, message: &str) -> Vec<u8> {
        let partial = ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message: message.to_owned() };
        ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    fn delivered(rejected: u64, text: Option<&str>) -> Verdict {
        Verdict::Delivered { rejected, text: text.map(str::to_owned) }
    }

    #[test]
    fn empty_success_is_delivered() {
        for status in [200, 202, 204] {
            assert_eq!(judged(status, None, b""), Verdict::DELIVERED);
        }
        assert_eq!(judged(200, Some("application/json; charset=utf-8"), b"{}"), Verdict::DELIVERED);
        let empty = ExportMetricsServiceResponse::default().encode_to_vec();
        assert_eq!(judged(200, Some(PROTOBUF), &empty), Verdict::DELIVERED);
    }

    #[test]
    fn partial_success_is_read() {
        assert_eq!(judged(200, Some(PROTOBUF), &partial(7, "too\nold")), delivered(7, Some("too old")));
        assert_eq!(judged(200, None, &partial(7, "")), delivered(7, Some("the receiver gives no reason")));
        assert_eq!(judged(200, Some(PROTOBUF), &partial(0, "deprecated")), delivered(0, Some("deprecated")));
        assert_eq!(judged(200, Some(PROTOBUF), &partial(-1, "")), Verdict::DELIVERED);
        for json in [
            r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"old"}}"#,
            r#"{"partial_success":{"rejected_data_points":3,"error_message":"old"},"other":[]}"#,
        ] {
            assert_eq!(judged(200, Some("application/json"), json.as_bytes()), delivered(3, Some("old")));
        }
    }

    #[test]
    fn foreign_success_is_a_warning() {
        for (media, body) in [(Some("text/html"), &b"<p>login"[..]), (None, b"OK"), (Some("application/json"), b"[")] {
            let Verdict::Delivered { rejected: 0, text: Some(text) } = judged(200, media, body) else {
                panic!("{media:?}")
            };
            assert!(text.contains("check the URL"), "{text}");
        }
    }

    #[test]
    fn four_statuses_are_retried() {
        for status in 400..600 {
            let is_retry = matches!(judged(status, None, b"busy"), Verdict::Retry(_));
            assert_eq!(is_retry, [429, 502, 503, 504].contains(&status), "{status}");
        }
        assert!(matches!(judged(307, None, b""), Verdict::Retry(_)));
    }

    #[test]
    fn error_messages_are_read() {
        let text = |media, body: &[u8]| match judged(400, media, body) {
            Verdict::Rejected { text } => text,
            other => panic!("{other:?}"),
        };
        let status = Status { code: 3, message: "a bad name".to_owned() }.encode_to_vec();
        for (media, body) in [
            (Some(PROTOBUF), &status[..]),
            (None, &status),
            (Some("application/json"), br#"{"code":3,"message":"a bad name","details":[]}"#),
            (Some("text/plain; charset=utf-8"), b"a bad name\n"),
            (Some(PROTOBUF), b"a bad name"),
        ] {
            assert_eq!(text(media, body), "the receiver responds 400 Bad Request: a bad name", "{media:?}");
        }
        assert_eq!(text(Some("application/json"), b"{"), "the receiver responds 400 Bad Request: {");
        assert_eq!(text(None, b""), "the receiver responds 400 Bad Request");
    }

    proptest! {
        #[test]
        fn any_response_has_a_verdict(
            status in 200_u16..600,
            media in prop::sample::select(vec![None, Some(PROTOBUF), Some("application/json"), Some("text/html")]),
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let verdict = judged(status, media, &body);
            let is_delivered = matches!(verdict, Verdict::Delivered { .. });
            prop_assert_eq!(is_delivered, status < 300);
        }
    }
}
