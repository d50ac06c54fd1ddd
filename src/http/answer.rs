//! Answers, and their way onto a connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::activity::{Activity, Phase};
use super::events::EventStream;
use super::statistics::Rejection;

/// An answer to a request.
pub(super) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content,
    /// Why it is not what was asked for.
    pub(super) rejection: Option<Rejection>,
}

/// The content of an answer.
pub(super) enum Content {
    Text(Bytes),
    Events(EventStream),
}

impl Answer {
    pub(super) fn new(content_type: &'static str, content: Content) -> Self {
        Self { status: StatusCode::OK, content_type, headers: Vec::new(), content, rejection: None }
    }

    pub(super) fn text(content_type: &'static str, text: Bytes) -> Self {
        Self::new(content_type, Content::Text(text))
    }

    /// The reason and the remedy, in plain text.
    pub(super) fn rejected(status: StatusCode, rejection: Rejection, why: &str) -> Self {
        let text = Bytes::from(format!("{why}\n"));
        Self { status, rejection: Some(rejection), ..Self::text("text/plain; charset=utf-8", text) }
    }

    /// A request for something that is not there, or that is not one.
    pub(super) fn invalid(status: StatusCode, why: &str) -> Self {
        Self::rejected(status, Rejection::Invalid, why)
    }

    /// A request that would be answered later on.
    pub(super) fn unavailable(seconds: u64, why: &str) -> Self {
        Self::rejected(StatusCode::SERVICE_UNAVAILABLE, Rejection::Unavailable, why)
            .with(RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let why = format!("this method is not allowed here; use {allowed}");
        Self::invalid(StatusCode::METHOD_NOT_ALLOWED, &why).with(ALLOW, HeaderValue::from_static(allowed))
    }

    pub(super) fn unauthorized() -> Self {
        let why = "a valid bearer token is missing; send the header Authorization: Bearer with the content of http.token_file";
        Self::rejected(StatusCode::UNAUTHORIZED, Rejection::Unauthorized, why)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gauged\""))
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The response on a connection with this activity.
    pub(super) fn into_response(self, activity: &Rc<Activity>) -> Response<AnswerBody> {
        let phase = match &self.content {
            Content::Text(_) => Phase::Response,
            Content::Events(_) => Phase::Stream,
        };
        activity.enter(phase, Instant::now());
        let content = match self.content {
            Content::Text(text) => BodyContent::Text(Some(text)),
            Content::Events(events) => BodyContent::Events(events),
        };
        let mut response = Response::new(AnswerBody { content, activity: Rc::clone(activity) });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        // A proxy may not give it to others, who may see less.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

/// The body of a response. The connection drops it when it has taken all of it, or the peer is gone.
pub(super) struct AnswerBody {
    content: BodyContent,
    activity: Rc<Activity>,
}

enum BodyContent {
    Text(Option<Bytes>),
    Events(EventStream),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let is_ending = self.activity.is_ending();
        let Self { content, activity } = &mut *self;
        match content {
            BodyContent::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            // It would go on for as long as the peer likes.
            BodyContent::Events(_) if is_ending => Poll::Ready(None),
            // A newer one may replace it by then. The connection is woken when the peer reads.
            BodyContent::Events(_) if activity.is_blocked() => Poll::Pending,
            BodyContent::Events(events) => events.poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, BodyContent::Text(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodyContent::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            BodyContent::Events(_) => SizeHint::default(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.activity.handed_over();
    }
}
