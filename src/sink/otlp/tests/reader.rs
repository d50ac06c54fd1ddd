//! Requests as messages, and those as texts.

use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use prost::Message as _;

use super::super::messages::{KeyValue, Value as AttributeValue};
use super::super::metric_messages::*;
use super::super::{Encoder, Request};
use crate::sample::Sample;

/// The requests of a sample, as bytes and as messages.
pub(super) fn requests(encoder: &mut Encoder, sample: &Sample) -> Vec<(Request, ExportMetricsServiceRequest)> {
    let (mut requests, settings) = (Vec::new(), Arc::clone(&encoder.settings));
    encoder.encode(sample, &settings, &mut requests);
    read(requests)
}

pub(super) fn read(requests: Vec<Request>) -> Vec<(Request, ExportMetricsServiceRequest)> {
    let read = |request: Request| {
        let plain = plain(&request);
        let message = ExportMetricsServiceRequest::decode(&*plain).expect("a request");
        let points = points(&message);
        // Nothing is lost, fields are in their order, and lengths are right. Only zeros are written that could be left out.
        if !points.iter().any(|point| point.contains("} 100 0 sum") || point.contains("sum 0 ")) {
            assert_eq!(message.encode_to_vec(), plain);
        }
        assert_eq!(points.len(), request.points as usize);
        (request, message)
    };
    requests.into_iter().map(read).collect()
}

pub(super) fn plain(request: &Request) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(&*request.body).read_to_end(&mut plain).expect("gzip");
    plain
}

/// The attributes as `a=1,b=2`.
pub(super) fn attributes(attributes: &[KeyValue]) -> String {
    let text = |KeyValue { key, value }: &KeyValue| {
        let value = value.as_ref().and_then(|value| value.value.as_ref()).expect("a value");
        match value {
            AttributeValue::StringValue(value) => format!("{key}={value}"),
            AttributeValue::IntValue(value) => format!("{key}=#{value}"),
        }
    };
    attributes.iter().map(text).collect::<Vec<_>>().join(",")
}

/// The points of a request as texts, each with its metric's name.
pub(super) fn points(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let mut texts = Vec::new();
    let metrics = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    for Metric { name, data, .. } in metrics.flat_map(|scope| &scope.metrics) {
        let mut push = |point: (&[KeyValue], u64, u64, u32), value: String| {
            let (own, start, time, flags) = point;
            let start = if start == 0 { String::new() } else { format!("{}..", start / 1_000_000_000) };
            let flags = if flags == 0 { String::new() } else { format!(" flags {flags}") };
            texts.push(format!("{name}{{{}}} {start}{}{value}{flags}", attributes(own), time / 1_000_000_000));
        };
        match data.as_ref().expect("data") {
            Data::Gauge(Gauge { data_points }) | Data::Sum(Sum { data_points, .. }) => {
                for NumberDataPoint { attributes, start_time_unix_nano, time_unix_nano, value, flags } in data_points {
                    let value = match value {
                        Some(PointValue::AsInt(number)) => format!(" {number}"),
                        Some(PointValue::AsDouble(number)) => format!(" {number:?}"),
                        None => String::new(),
                    };
                    push((attributes, *start_time_unix_nano, *time_unix_nano, *flags), value);
                }
            }
            Data::Histogram(Histogram { data_points, .. }) => {
                for point in data_points {
                    let HistogramDataPoint { count, sum, bucket_counts, explicit_bounds, .. } = point;
                    let value = format!(" {count} sum {sum:?} {bucket_counts:?} {explicit_bounds:?}");
                    let HistogramDataPoint { attributes, start_time_unix_nano, time_unix_nano, flags, .. } = point;
                    push((attributes, *start_time_unix_nano, *time_unix_nano, *flags), value);
                }
            }
            Data::Summary(Summary { data_points }) => {
                for point in data_points {
                    let SummaryDataPoint { count, sum, quantile_values, .. } = point;
                    let quantiles: Vec<_> = quantile_values.iter().map(|value| (value.quantile, value.value)).collect();
                    let SummaryDataPoint { attributes, start_time_unix_nano, time_unix_nano, flags, .. } = point;
                    let value = format!(" {count} sum {sum} {quantiles:?}");
                    push((attributes, *start_time_unix_nano, *time_unix_nano, *flags), value);
                }
            }
        }
    }
    texts
}

/// All points of some requests.
pub(super) fn all_points(requests: &[(Request, ExportMetricsServiceRequest)]) -> Vec<String> {
    requests.iter().flat_map(|(_, request)| points(request)).collect()
}

/// A request as text, apart from its points.
pub(super) fn outline(request: &ExportMetricsServiceRequest) -> String {
    let mut text = String::new();
    for ResourceMetrics { resource, scope_metrics, schema_url } in &request.resource_metrics {
        let resource = resource.as_ref().expect("a resource");
        writeln!(text, "{} {schema_url}", attributes(&resource.attributes)).expect("a string grows");
        for ScopeMetrics { scope, metrics, schema_url } in scope_metrics {
            let scope = scope.as_ref().expect("a scope");
            writeln!(text, "  {} {} ({schema_url})", scope.name, scope.version).expect("a string grows");
            for Metric { name, description, unit, data } in metrics {
                let kind = match data.as_ref().expect("data") {
                    Data::Gauge(_) => "gauge".to_owned(),
                    Data::Sum(Sum { aggregation_temporality, is_monotonic, .. }) => {
                        format!("sum {aggregation_temporality} {is_monotonic}")
                    }
                    Data::Histogram(Histogram { aggregation_temporality, .. }) => {
                        format!("histogram {aggregation_temporality}")
                    }
                    Data::Summary(_) => "summary".to_owned(),
                };
                writeln!(text, "    {name} [{unit}] {kind}: {description}").expect("a string grows");
            }
        }
    }
    text
}
