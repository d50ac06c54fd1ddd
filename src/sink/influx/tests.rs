//! Tests of the lines, which a reader reads that knows nothing of the encoder, and of verdicts.

mod decoder;

use proptest::prelude::*;

use self::decoder::{decode, text};
use super::super::fixture::{self, Machine, sample, settings, tags, time};
use super::super::verdict::Retry;
use super::*;
use crate::naming::Naming;
use crate::sample::{Labels, Value};

fn encoder(settings: &Arc<NumericSettings>) -> Encoder {
    Encoder::new(Arc::clone(settings))
}

fn encoded(encoder: &mut Encoder, sample: &Sample) -> Vec<Request> {
    let (settings, mut requests) = (Arc::clone(encoder.series.settings()), Vec::new());
    encoder.encode(sample, &settings, &mut requests);
    requests
}

/// The lines of all requests.
fn lines(requests: &[Request]) -> String {
    requests.iter().map(|request| text(&request.body)).collect()
}

#[test]
fn series_with_the_same_tags_share_a_line() {
    let mut machine = Machine::default();
    let disk = machine.module("disk", 0, |values| {
        for metric in ["reads", "busy_ratio"] {
            for device in ["sda", "s d,b"] {
                values.push_labelled(metric, &[("device", device)].into(), if metric == "reads" { 1.5 } else { 0.0 });
            }
        }
        values.push("is_up", Value::Boolean(true));
        values.push("model", "text");
        values.push("bytes", u64::MAX);
    });
    let settings = Arc::new(NumericSettings { tags: tags([("dc", "fra1")]), ..settings() });
    let requests = encoded(&mut encoder(&settings), &sample(0, &[disk, machine.plain_module("memory", 0, &["free"])]));
    assert_eq!(
        lines(&requests),
        "gauged_disk,dc=fra1,device=sda,host=web-1 reads=1.5,busy_ratio=0 1795000000000000000\n\
         gauged_disk,dc=fra1,device=s\\ d\\,b,host=web-1 reads=1.5,busy_ratio=0 1795000000000000000\n\
         gauged_disk,dc=fra1,host=web-1 is_up=1,bytes=18446744073709551615 1795000000000000000\n\
         gauged_memory,dc=fra1,host=web-1 free=1 1795000000000000000\n"
    );
    assert_eq!((requests.len(), requests[0].points, requests[0].time), (1, 7, time(0)));
    assert!(requests[0].is_last);
}

#[test]
fn lines_have_the_time_of_their_module() {
    let (mut machine, settings) = (Machine::default(), Arc::new(settings()));
    let mut encoder = encoder(&settings);
    let results: Vec<_> = (0..20).map(|seconds| machine.plain_module("push_5", seconds * 1000, &["a"])).collect();
    let requests = encoded(&mut encoder, &sample(19_000, &results));
    let line = |seconds| format!("gauged_push_5,host=web-1 a=1 {}000000000\n", fixture::START + seconds);
    assert_eq!(lines(&requests), (0..20).map(line).collect::<Vec<_>>().concat(), "the oldest ones in one request");
    assert!(requests.len() > 1 && requests[0].points > 1, "{requests:?}");
    assert!(requests.iter().rev().skip(1).all(|request| !request.is_last) && requests[requests.len() - 1].is_last);
    assert!(requests.is_sorted_by_key(|request| request.time));
    assert_eq!(requests[0].time, time((u64::from(requests[0].points) - 1) * 1000), "the newest of its points");
    assert_eq!(encoded(&mut encoder, &sample(40_000, &[])), [], "no point, no request");
    encoder.end(time(50_000), &mut Vec::new());
    assert_eq!(
        lines(&encoded(&mut encoder, &sample(0, &results[..1]))),
        "gauged_push_5,host=web-1 a=1 1795000000000000000\n"
    );
}

#[test]
fn long_lines_and_requests_are_split() {
    let split = |metrics: usize, label_bytes: usize| {
        let labels: Labels = [("path", &*"x".repeat(label_bytes))].into();
        let module = Machine::default().module("disk", 0, |values| {
            (0..metrics).for_each(|number| values.push_labelled(&format!("m{number}"), &labels, 1_u64));
        });
        let requests = encoded(&mut encoder(&Arc::new(settings())), &sample(0, &[module]));
        let points: Vec<usize> = requests.iter().map(|request| decode(&request.body, "_").len()).collect();
        assert!(points.iter().zip(&requests).all(|(points, request)| *points == request.points as usize));
        assert_eq!(points.iter().sum::<usize>(), metrics);
        let text = lines(&requests);
        assert!(text.lines().all(|line| line.len() < label_bytes + 17_000));
        assert!(requests.iter().all(|request| self::text(&request.body).len() <= (1 << 20).max(label_bytes + 100)));
        (text.lines().count(), requests.len())
    };
    assert_eq!(split(1000, 1), (1, 1));
    assert_eq!(split(5000, 1), (3, 1));
    assert_eq!(split(100, 20_000), (100, 2), "by their bytes");
    assert_eq!(split(1, 2_000_000), (1, 1), "one line may be larger");
}

#[test]
fn host_is_a_tag_of_every_line() {
    let module = Machine::default().module("disk", 0, |values| {
        values.push_labelled("a", &[("host", "x"), ("time", "now"), ("mount", "C:\\")].into(), 1_u64);
    });
    let mut encoder = encoder(&Arc::new(settings()));
    let mut start = |settings: NumericSettings| {
        let mut requests = Vec::new();
        encoder.encode(&sample(0, &[Arc::clone(&module)]), &Arc::new(settings), &mut requests);
        lines(&requests).replace(" a=1 1795000000000000000\n", "")
    };
    let of_series = "gauged_disk,exported_host=x,exported_time=now";
    let mount = r"mount=C:\\\ ";
    assert_eq!(start(settings()), format!("{of_series},host=web-1,{mount}"));
    assert_eq!(
        start(NumericSettings { host: "web-2".into(), ..settings() }),
        format!("{of_series},host=web-2,{mount}")
    );
    let tagged = tags([("host", "db"), ("time", "x")]);
    assert_eq!(start(NumericSettings { tags: tagged, ..settings() }), format!("{of_series},host=db,{mount}"));
    assert_eq!(start(NumericSettings { host: "".into(), ..settings() }), format!("{of_series},{mount}"));
}

#[test]
fn second_field_value_is_left_out() {
    let mut machine = Machine::default();
    // Without a prefix, `m` and `m_value` both are the field `value` of the measurement `m`.
    let settings = Arc::new(NumericSettings { prefix: "".into(), ..settings() });
    let modules = [machine.plain_module("mm", 0, &["value", "_", "other"])];
    let mut encoder = encoder(&settings);
    let names: Vec<String> = (modules[0].schema().series().iter())
        .map(|series| settings.naming.name("", modules[0].schema().source(), series).expect("a name").name.to_string())
        .collect();
    assert_eq!(names, ["mm_value", "mm", "mm_other"]);
    assert_eq!(
        lines(&encoded(&mut encoder, &sample(0, &modules))),
        "mm,host=web-1 value=1,other=1 1795000000000000000\n"
    );
    assert_eq!(encoder.left_out(), 1);
    encoded(&mut encoder, &sample(10_000, &[]));
    assert_eq!(encoder.left_out(), 0);
}

#[test]
fn lines_without_series_are_forgotten() {
    let mut machine = Machine::default();
    let mut encoder = encoder(&Arc::new(settings()));
    for tick in 0..1000_u64 {
        let labels: Labels = [("id", &*tick.to_string())].into();
        let module = machine.module("disk", tick * 1000, |values| values.push_labelled("a", &labels, 1_u64));
        encoded(&mut encoder, &sample(tick * 1000, &[module]));
    }
    assert!(encoder.lines.len() < 200, "{}", encoder.lines.len());
}

#[test]
fn responses_have_their_verdicts() {
    let verdict = |status, body: &str| match verdict(
        StatusCode::from_u16(status).expect("a status"),
        &HeaderMap::new(),
        body.as_bytes(),
    ) {
        Verdict::Delivered { rejected, text } => format!("delivered but for {rejected}: {}", text.unwrap_or_default()),
        Verdict::Rejected { text } => format!("rejected: {text}"),
        Verdict::Retry(Retry { text, remedy, .. }) => format!("retry: {text}; {remedy}"),
    };
    assert_eq!(verdict(204, ""), "delivered but for 0: ");
    assert_eq!(verdict(200, ""), "delivered but for 0: ");
    let conflict = r#"{"error":"partial write: field type conflict: input field \"f\" on measurement \"ok\" is type float, already exists as type integer dropped=12"}"#;
    assert_eq!(verdict(400, conflict), format!("delivered but for 12: {conflict}"));
    assert_eq!(verdict(422, conflict), format!("delivered but for 12: {conflict}"), "version 2");
    let unread = r#"{"error":"partial write: unable to parse 'a,v f=1': missing tag value\nunable to parse 'c,v=1 f=': missing field value dropped=0"}"#;
    assert!(verdict(400, unread).starts_with("delivered but for 2: "));
    let third = r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"x","line_number":1,"error_message":"e"}]}"#;
    assert!(verdict(400, third).starts_with("delivered but for 1: "));
    assert!(verdict(400, r#"{"error":"partial write"}"#).starts_with("delivered but for 1: "));
    assert!(
        verdict(400, r#"{"error":"unable to parse 'x'"}"#)
            .starts_with("rejected: the receiver responds 400 Bad Request: ")
    );
    assert!(verdict(413, "").starts_with("rejected: "));
    for status in [401, 429, 500, 503] {
        assert!(verdict(status, "partial write").starts_with("retry: "), "{status}");
    }
    assert_eq!(
        verdict(404, r#"{"error":"database not found: \"nope\""}"#),
        "retry: the receiver responds 404 Not Found: {\"error\":\"database not found: \\\"nope\\\"\"}; \
         create the database or bucket, or correct the URL"
    );
}

#[test]
fn headers_name_gzip() {
    assert_eq!(
        (&headers()[CONTENT_ENCODING], &headers()[CONTENT_TYPE]),
        (&"gzip".parse().expect("a value"), &"text/plain; charset=utf-8".parse().expect("a value"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// With any names, tags and values, each point is in the lines once, at its time, in order. A tag has `\n` for a newline, and
    /// a space after a backslash at its end.
    #[test]
    fn decoded_lines_are_the_points(modules in fixture::results(), is_ours: bool) {
        let prefix = if is_ours { "gauged" } else { "" };
        let settings = Arc::new(NumericSettings { prefix: prefix.into(), naming: Naming::Gauged, ..settings() });
        let mut encoder = encoder(&settings);
        let requests = encoded(&mut encoder, &sample(2000, &modules));
        let decoded: Vec<fixture::Point> = requests.iter().flat_map(|request| decode(&request.body, "_")).collect();
        prop_assert!(decoded.is_sorted_by_key(|point| point.time));
        let mut expected = fixture::points(&modules, &settings, &[("host", "web-1")], &["host", "time"]);
        for point in &mut expected {
            for value in point.labels.values_mut() {
                let end = if value.ends_with('\\') { " " } else { "" };
                *value = format!("{}{end}", value.replace('\n', "\\n"));
            }
            let is_field = |(at, _): (usize, &str)| at > 0 && !matches!(&point.name[at + 1..], "" | "time");
            if !point.name.match_indices('_').any(is_field) {
                point.name.push_str("_value");
            }
            // A series without a field may have that field of the same line.
            point.is_certain &= !point.name.ends_with("_value");
            // Text has no negative zero.
            point.value += 0.0;
        }
        fixture::check(&decoded, &expected);
        prop_assert_eq!(requests.iter().map(|request| request.points as usize).sum::<usize>(), decoded.len());
        prop_assert_eq!(requests.iter().rposition(|request| !request.is_last), requests.len().checked_sub(2));
    }
}
