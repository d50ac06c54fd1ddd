//! Tests of the encoder.

mod calls;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::batch::{MAX_POINTS, unpack};
use super::*;
use crate::naming::Naming;
use crate::sample::{
    AGENT, CollectorVersion, Label, Labels, Module, ModuleSource, ModuleWriter, NativeMetric, SeriesAccount, Values,
};

/// The only metric with a kind.
const METRICS: &[NativeMetric] = &[NativeMetric::counter("disk", "reads_total", "{operation}", "Reads.", "a test")];

fn tag(name: &str, value: &str) -> Label {
    Label { name: name.to_owned().into(), value: value.into() }
}

fn settings(tags: &[(&str, &str)]) -> Arc<NumericSettings> {
    Arc::new(NumericSettings {
        series: Arc::default(),
        naming: Naming::OpenFalcon,
        prefix: "gauged".into(),
        tags: tags.iter().map(|(name, value)| tag(name, value)).collect(),
        host: "web-1".into(),
    })
}

fn writer(name: &'static str, step: Duration) -> ModuleWriter {
    let collector = CollectorVersion::native("test");
    let source = ModuleSource { module: name.into(), collector, step, is_verbatim: false };
    ModuleWriter::new(source, METRICS, &SeriesAccount::standalone())
}

fn write(writer: &mut ModuleWriter, time: Duration, fill: impl FnOnce(&mut Values<'_>)) -> Arc<Module> {
    writer.write(time, fill).0
}

fn sample(tick: Duration, modules: Vec<Arc<Module>>) -> Sample {
    Sample { tick, interval: Duration::from_secs(10), modules, ..Sample::default() }
}

fn points(request: &Request) -> Vec<Value> {
    let text = unpack(&request.body).expect("a body");
    let points: Vec<Value> = serde_json::from_slice(&text).expect("an array");
    assert_eq!(points.len(), request.points as usize);
    points
}

fn encoded(encoder: &mut Encoder, settings: &Arc<NumericSettings>, sample: &Sample) -> Vec<Request> {
    let mut requests = Vec::new();
    encoder.encode(sample, settings, &mut requests);
    for (at, request) in requests.iter().enumerate() {
        assert_eq!(request.is_last, at + 1 == requests.len());
    }
    requests
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn samples_become_arrays_of_points() {
    let (settings, mut disk) = (settings(&[("rack", "b4"), ("dc", "fra1")]), writer("disk", seconds(30)));
    let labels: Labels = [("device", "sda"), ("bus", "x,y")].into();
    let module = write(&mut disk, seconds(100), |values| {
        values.push_labelled("reads_total", &labels, 7_u64);
        values.push("busy", 0.25);
        values.push("name", "text");
        values.push("missing", None::<u64>);
    });
    let requests = encoded(&mut Encoder::new(Arc::clone(&settings)), &settings, &sample(seconds(110), vec![module]));
    let counts: Vec<_> = requests.iter().map(|request| (request.points, request.time)).collect();
    assert_eq!(counts, [(2, seconds(100)), (1, seconds(110))]);
    let expected = json!([
        {"metric": "disk.io.read_requests", "endpoint": "web-1", "counterType": "COUNTER",
         "tags": "bus=x_y,dc=fra1,device=sda,rack=b4", "value": 7, "step": 30, "timestamp": 100},
        {"metric": "disk.busy", "endpoint": "web-1", "counterType": "GAUGE",
         "tags": "dc=fra1,rack=b4", "value": 0.25, "step": 30, "timestamp": 100},
        {"metric": "agent.alive", "endpoint": "web-1", "counterType": "GAUGE",
         "tags": "dc=fra1,rack=b4", "value": 1, "step": 10, "timestamp": 110},
    ]);
    assert_eq!(Value::from(requests.iter().flat_map(points).collect::<Vec<_>>()), expected);
}

#[test]
fn times_have_requests_of_their_own() {
    let (settings, mut disk, mut swap) = (settings(&[]), writer("disk", seconds(10)), writer("swap", seconds(10)));
    let one = |values: &mut Values<'_>| values.push("a", 1_u64);
    let modules = vec![write(&mut disk, seconds(20), one), write(&mut swap, seconds(10), one)];
    let requests = encoded(&mut Encoder::new(Arc::clone(&settings)), &settings, &sample(seconds(20), modules));
    let times: Vec<u64> = requests.iter().map(|request| request.time.as_secs()).collect();
    assert_eq!(times, [10, 20]);
    let alive = |request| points(request).iter().filter(|point| point["metric"] == ALIVE).count();
    assert_eq!(requests.iter().map(alive).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn large_samples_are_split() {
    let (settings, mut disk) = (settings(&[]), writer("disk", seconds(10)));
    let names: Vec<String> = (0..2 * MAX_POINTS).map(|at| format!("m{at}")).collect();
    let module = write(&mut disk, seconds(10), |values| names.iter().for_each(|name| values.push(name, 1_u64)));
    let requests = encoded(&mut Encoder::new(Arc::clone(&settings)), &settings, &sample(seconds(10), vec![module]));
    let counts: Vec<u32> = requests.iter().map(|request| request.points).collect();
    assert_eq!(counts, [MAX_POINTS, MAX_POINTS, 1]);
    assert_eq!(points(&requests[2])[0]["metric"], ALIVE);
}

#[test]
fn sub_second_intervals_send_a_point_a_second() {
    let (settings, mut disk) = (settings(&[]), writer("disk", Duration::from_millis(200)));
    let mut encoder = Encoder::new(Arc::clone(&settings));
    let mut sent = Vec::new();
    for tick in 0..11 {
        let time = Duration::from_millis(tick * 200);
        let module = write(&mut disk, time, |values| values.push("a", tick));
        let interval = Duration::from_millis(200);
        for request in encoded(&mut encoder, &settings, &Sample { interval, ..sample(time, vec![module]) }) {
            sent.extend(points(&request).iter().map(|point| {
                assert_eq!(point["step"], 1);
                (point["timestamp"].as_u64(), point["value"].as_u64())
            }));
        }
    }
    let expected = [(0, 0), (0, 1), (1, 5), (1, 1), (2, 10), (2, 1)];
    assert_eq!(sent, expected.map(|(second, value)| (Some(second), Some(value))));
}

#[test]
fn changed_host_name_is_the_endpoint() {
    let (settings, mut agent) = (settings(&[]), writer(AGENT, seconds(10)));
    let mut encoder = Encoder::new(Arc::clone(&settings));
    for (tick, name) in [(10, "web-2"), (20, "web\"3")] {
        let module = write(&mut agent, seconds(tick), |values| {
            values.push("hostname", name);
            values.push("series", 1_u64);
        });
        let requests = encoded(&mut encoder, &settings, &sample(seconds(tick), vec![module]));
        let expected = name.replace('"', "_");
        assert!(points(&requests[0]).iter().all(|point| point["endpoint"] == *expected), "{name}");
    }
}

#[test]
fn nameless_hosts_send_nothing() {
    let settings = Arc::new(NumericSettings { host: "".into(), ..NumericSettings::clone(&settings(&[])) });
    let module = write(&mut writer("disk", seconds(10)), seconds(10), |values| values.push("a", 1_u64));
    assert_eq!(encoded(&mut Encoder::new(Arc::clone(&settings)), &settings, &sample(seconds(10), vec![module])), []);
}

#[test]
fn series_that_transfers_reject_are_left_out() {
    let (settings, mut disk) = (settings(&[]), writer("disk", seconds(10)));
    let settings = NumericSettings { naming: Naming::Gauged, ..NumericSettings::clone(&settings) };
    let names: Labels = (0..10).map(|at| tag(&format!("{at}{}", "n".repeat(100)), "v")).collect();
    let settings = Arc::new(NumericSettings { prefix: "p".repeat(500).into(), ..NumericSettings::clone(&settings) });
    let mut encoder = Encoder::new(Arc::clone(&settings));
    let module = write(&mut disk, seconds(10), |values| values.push_labelled("a", &names, 1_u64));
    let requests = encoded(&mut encoder, &settings, &sample(seconds(10), vec![module]));
    assert_eq!((requests[0].points, encoder.left_out()), (1, 1));
}

/// Series of one metric that differ in a tag only, in a naming: the tags of their points, and how many series are left out.
fn tags_of(naming: Naming, values: &[&str]) -> (Vec<String>, usize) {
    let settings = Arc::new(NumericSettings { naming, ..NumericSettings::clone(&settings(&[])) });
    let module = write(&mut writer("disk", seconds(10)), seconds(10), |to| {
        for value in values {
            to.push_labelled("a", &[("k", *value)].into(), 1_u64);
        }
    });
    let mut encoder = Encoder::new(Arc::clone(&settings));
    let requests = encoded(&mut encoder, &settings, &sample(seconds(10), vec![module]));
    let points = requests.iter().flat_map(points).filter(|point| point["metric"] != ALIVE);
    (points.map(|point| point["tags"].as_str().expect("a text").to_owned()).collect(), encoder.left_out())
}

#[test]
fn series_alike_without_forbidden_characters_collide() {
    for naming in [Naming::OpenFalcon, Naming::Gauged] {
        let (tags, left_out) = tags_of(naming, &["a b", "a_b", "a'b", "a\tb", "ab"]);
        assert_eq!((tags, left_out), (vec!["k=a_b".to_owned(), "k=ab".to_owned()], 3), "{naming:?}");
    }
}

proptest! {
    /// No two points of a sample have one name and the same tags, and each series without a point is counted.
    #[test]
    fn points_of_a_sample_differ(
        naming in prop::sample::select(vec![Naming::OpenFalcon, Naming::Gauged]),
        values in prop::collection::btree_set("[ab ,='\">\t\\\\_]{1,3}|x{500}[ab]", 1..20),
    ) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (tags, left_out) = tags_of(naming, &values);
        prop_assert_eq!(tags.iter().collect::<std::collections::BTreeSet<_>>().len(), tags.len());
        prop_assert_eq!(tags.len() + left_out, values.len());
    }

    #[test]
    fn any_values_are_read_as_they_were(values in prop::collection::btree_map("[a-z]{1,5}", prop_oneof![
        any::<u64>().prop_map(crate::sample::Value::from),
        any::<i64>().prop_map(crate::sample::Value::Signed),
        any::<f64>().prop_map(crate::sample::Value::from),
        (-1000_i32..1000).prop_map(|whole| crate::sample::Value::from(f64::from(whole))),
    ], 0..20)) {
        let (settings, mut disk) = (settings(&[]), writer("disk", seconds(10)));
        let module = write(&mut disk, seconds(10), |to| {
            for (name, value) in &values {
                to.push(name, value.clone());
            }
        });
        let expected: Vec<_> = module.values().iter().filter_map(|value| crate::naming::Scale::Unchanged.number(value)).collect();
        let requests = encoded(&mut Encoder::new(Arc::clone(&settings)), &settings, &sample(seconds(10), vec![module]));
        let points: Vec<Value> = requests.iter().flat_map(points).collect();
        prop_assert_eq!(points.len(), expected.len() + 1);
        for (point, number) in points.iter().zip(expected) {
            let value = &point["value"];
            let is_equal = match number {
                Number::Unsigned(number) => value.as_u64() == Some(number),
                Number::Signed(number) => value.as_i64() == Some(number),
                Number::Float(number) => value.as_f64() == Some(number)
                    && (number.fract() != 0.0 || number.abs() >= 1e17 || value.is_u64() || value.is_i64()),
            };
            prop_assert!(is_equal, "{} {:?}", value, number);
        }
    }
}
