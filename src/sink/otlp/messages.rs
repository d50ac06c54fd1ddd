//! Messages of OTLP 1.x and their field numbers, as in `opentelemetry/proto/*/v1/*.proto`: those that are written once for many
//! requests, and those of receivers. A test compares them with these files. The points of requests are written field by field
//! (`wire`); tests read them as messages.

use prost::{Message, Oneof};

use crate::naming::otel::INTEGER_ATTRIBUTE;
use crate::sample::Label;

/// The attributes of a sender.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

/// The program, or the part of one, that measures.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InstrumentationScope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

impl KeyValue {
    /// An attribute with a text.
    pub(super) fn text(key: &str, value: &str) -> Self {
        Self::new(key, Value::StringValue(value.to_owned()))
    }

    fn new(key: &str, value: Value) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

impl From<&Label> for KeyValue {
    fn from(label: &Label) -> Self {
        let number = Some(label).filter(|label| *label.name == *INTEGER_ATTRIBUTE);
        match number.and_then(|label| label.value.parse().ok()) {
            Some(number) => Self::new(&label.name, Value::IntValue(number)),
            None => Self::text(&label.name, &label.value),
        }
    }
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    pub(super) value: Option<Value>,
}

/// The types of values that attributes of ours have.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    StringValue(String),
    #[prost(int64, tag = "3")]
    IntValue(i64),
}

/// The response to a request.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportMetricsServiceResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<ExportMetricsPartialSuccess>,
}

/// The part of a request that was rejected.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportMetricsPartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_data_points: i64,
    /// With none rejected, a warning.
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// `google.rpc.Status`, the body of an error.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}
