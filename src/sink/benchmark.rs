//! The network sinks, for benchmarks and tests: the encoders of protocols, and the senders of many hosts.

mod fleet;

use std::sync::Arc;

pub use self::fleet::{Fleet, FleetState};
use super::numeric::NumericSettings;
use super::request::Request;
use super::{influx, open_falcon, otlp, remote_write};
use crate::naming::Naming;
use crate::sample::{Label, Sample};

/// Makes the requests of a sample, and returns the number of their points and bytes.
pub type SampleEncoder = Box<dyn FnMut(&Sample) -> (usize, usize)>;

/// Makes the requests of a sample, and passes each on.
type RequestEncoder = Box<dyn FnMut(&Sample, &mut dyn FnMut(Request))>;

/// The encoder of a protocol with its default settings and one tag; none for an unknown one.
#[must_use]
pub fn encoder(protocol: &str) -> Option<SampleEncoder> {
    let mut encode = request_encoder(protocol)?;
    Some(Box::new(move |sample| {
        let (mut points, mut bytes) = (0, 0);
        encode(sample, &mut |request| {
            points += request.points as usize;
            bytes += request.body.len();
        });
        (points, bytes)
    }))
}

/// The bodies of a sample's requests with such an encoder; none for an unknown protocol.
#[must_use]
pub fn bodies(protocol: &str, sample: &Sample) -> Option<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    request_encoder(protocol)?(sample, &mut |request| bodies.push(request.body.to_vec()));
    Some(bodies)
}

fn request_encoder(protocol: &str) -> Option<RequestEncoder> {
    let tags: Arc<[Label]> = [Label { name: "dc".into(), value: "fra1".into() }].into();
    let settings = |naming| {
        let (prefix, host) = ("gauged".into(), "web-1.example".into());
        Arc::new(NumericSettings { series: Arc::default(), naming, prefix, tags: Arc::clone(&tags), host })
    };
    // Each encoder has the same face.
    macro_rules! boxed {
        ($encoder:expr, $settings:expr) => {{
            let (mut encoder, settings, mut requests) = ($encoder, $settings, Vec::new());
            Some(Box::new(move |sample, pass_on| {
                encoder.encode(sample, &settings, &mut requests);
                requests.drain(..).for_each(pass_on);
            }))
        }};
    }
    let gauged = settings(Naming::Gauged);
    match protocol {
        "remote_write" => {
            let own = remote_write::RemoteWriteSettings::default();
            boxed!(remote_write::Encoder::new(Arc::clone(&gauged), own), gauged)
        }
        "influx" => boxed!(influx::Encoder::new(Arc::clone(&gauged)), gauged),
        "open_falcon" => {
            let falcon = settings(Naming::OpenFalcon);
            boxed!(open_falcon::Encoder::new(Arc::clone(&falcon)), falcon)
        }
        "otlp" => {
            let otel = settings(Naming::Otel);
            boxed!(otlp::Encoder::new(Arc::clone(&otel), otlp::HostFacts::default()), otel)
        }
        _ => None,
    }
}
