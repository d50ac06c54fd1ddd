//! Expositions as programs write them, and damaged ones.

mod random;

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::testing::{Harness, Host};
use crate::{About, Error, NoConfig, Plugin, Sample, Tick};

/// An exposition as text, one line for a metric.
fn render(exposition: &Exposition<'_>) -> String {
    let mut text = String::new();
    for Metric { name, family, labels, reading } in exposition.metrics() {
        let labels: Vec<String> = labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        let _ = write!(text, "{:?} {name}{{{}}} ", family.kind, labels.join(","));
        let _ = match reading {
            Reading::Number(number) => write!(text, "{number}"),
            Reading::Histogram(Histogram { bounds, counts, sum }) => write!(text, "{bounds:?} {counts:?} sum {sum:?}"),
            Reading::Summary(Summary { quantiles, sum, count }) => {
                let quantiles: Vec<_> = quantiles.iter().map(|quantile| (quantile.share, quantile.value)).collect();
                write!(text, "{quantiles:?} sum {sum:?} count {count:?}")
            }
        };
        text.push('\n');
    }
    for SkippedLine { line, word, why, lost, .. } in exposition.skipped() {
        let _ = writeln!(text, "line {line}: {word:?} {why}, without {lost}");
    }
    text
}

fn check(format: Format, text: &str, expected: &Expect) {
    expected.assert_eq(&render(&Exposition::read(text.as_bytes(), format, Limits::default())));
}

#[test]
fn text_of_the_documentation_is_read() {
    let text = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds{quantile="0.99"} NaN
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"#;
    check(
        Format::Text,
        text,
        &expect![[r#"
            Counter http_requests_total{method="post",code="200"} 1027
            Counter http_requests_total{method="post",code="400"} 3
            Unknown msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1458255915
            Unknown metric_without_timestamp_and_labels{} 12.47
            Unknown something_weird{problem="division by zero"} inf
            Histogram http_request_duration_seconds{} [0.05, 0.1] [24054, 9390, 110876] sum Some(53423.0)
            Summary rpc_duration_seconds{} [(0.01, Some(3102.0)), (0.99, None)] sum Some(17560473.0) count Some(2693)
        "#]],
    );
}

#[test]
fn openmetrics_of_every_type_is_read() {
    let text = r#"# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's \"HTTP\" request router.
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
# TYPE go_goroutines gauge
go_goroutines 69 1520879607.789
# TYPE foo histogram
foo_bucket{le="0.01"} 0
foo_bucket{le="0.1"} 8 # {} 0.054
foo_bucket{le="1.0"} 11 # {trace_id="KOO5S4vxi0o"} 0.67 1520879607.789
foo_bucket{le="+Inf"} 17 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
foo_count 17
foo_sum 324789.3
foo_created 1520430000.123
# TYPE requests counter
requests_total{code="200"} 17.0 # {trace_id="x } 3"} 1.0
requests_created{code="200"} 1520430000.123
# TYPE size gaugehistogram
size_bucket{le="1.0"} 3
size_bucket{le="+Inf"} 4
size_gcount 4
size_gsum 12.5
# TYPE build info
build_info{version="1.2"} 1
# TYPE mode stateset
mode{mode="on"} 1
mode{mode="off"} 0
# TYPE other unknown
other 7
# EOF
"#;
    check(
        Format::OpenMetrics,
        text,
        &expect![[r#"
            Summary acme_http_router_request_seconds{path="/api/v1",method="GET"} [] sum Some(9036.32) count Some(807283)
            Gauge go_goroutines{} 69
            Histogram foo{} [0.01, 0.1, 1.0] [0, 8, 3, 6] sum Some(324789.3)
            Counter requests_total{code="200"} 17
            GaugeHistogram size_bucket{le="1.0"} 3
            GaugeHistogram size_bucket{le="+Inf"} 4
            GaugeHistogram size_gcount{} 4
            GaugeHistogram size_gsum{} 12.5
            Info build_info{version="1.2"} 1
            StateSet mode{mode="on"} 1
            StateSet mode{mode="off"} 0
            Unknown other{} 7
        "#]],
    );
    let exposition = Exposition::read(text.as_bytes(), Format::OpenMetrics, Limits::default());
    let described: Vec<_> = exposition.families().iter().flat_map(|family| family.describe("m")).collect();
    let units: Vec<_> =
        described.iter().map(|found| (&*found.0.name, found.0.kind, &*found.0.unit, &*found.0.description)).collect();
    let help = "Latency though all of ACME's \"HTTP\" request router.";
    assert_eq!(units[0], ("acme_http_router_request_seconds", crate::Kind::Summary, "s", help));
    let names: Vec<_> = units.iter().map(|(name, ..)| *name).collect();
    let rest =
        ["go_goroutines", "foo", "requests_total", "size_bucket", "size_gsum", "size_gcount", "build_info", "mode"];
    assert_eq!(names[1..], rest);
}

#[test]
fn odd_line_costs_only_itself() {
    check(
        Format::Text,
        "good 1\n{a=\"b\"} 1\n9x 1\nvalue\nvalue{ 1\nvalue{a} 1\nvalue{a=b} 1\nvalue{a=\"b} 1\nvalue{a=\"b\" c=\"d\"} 1\n\
         value{a=\"b\",a=\"c\"} 1\nvalue{a=\"b\"} one\nvalue 1 2 3\nvalue 1 1.5\nvalue 1_0\nvalue 1 # {} 2\nvalue-x 1\n\
         # TYPE good rainbow\n# TYPE 9x gauge\nname.with.dots 1\ngood{  a = \"b\"\t,} \t2\t 5 \r\n",
        &expect![[r##"
            Unknown good{} 1
            Unknown good{a="b"} 2
            line 2: "{a=\"b\"}" is no name of a metric, without its metric
            line 3: "9x" is no name of a metric, without 9x
            line 4: "" is neither labels nor a value, without value
            line 5: "1" is no name of a label, without value
            line 6: "a" is a label without a value, without value
            line 7: "a" is a label whose value is not in quotes, without value
            line 8: "b} 1" is a value without its last quote, without value
            line 9: "c=\"d\"} 1" is not the end of the labels, without value
            line 10: "a" is a label that is there twice, without value
            line 11: "one" is not a number, without value
            line 12: "3" is after the value, without value
            line 13: "1.5" is not a timestamp, without value
            line 14: "1_0" is not a number, without value
            line 15: "# {} 2" is after the value, without value
            line 16: "-x 1" is neither labels nor a value, without value
            line 17: "rainbow" is no type, without its type
            line 18: "9x" is no name of a metric, without its metric
            line 19: ".with.dots 1" is neither labels nor a value, without name
        "##]],
    );
}

#[test]
fn nearly_equal_names_in_successive_lines_are_distinguished() {
    let text = r#"a{x="1",yy="2"} 1
a{x="1",yy="3"} 2
a{yy="1",x="3"} 3
a{yy="1",yy="3"} 4
a{yy="1",x="4",yy="3"} 5
a{yy = "1",x ="5"} 6
a{yyy="1",x="6"} 7
a{y="1"} 8
ab{y="1",x="7"} 9
a 10
a{y="1",x="7"} 11
# TYPE a_sum summary
a_sum{y="1"} 12
a{y="1"} 13
a_sum_sum{y="1"} 14
"#;
    check(
        Format::Text,
        text,
        &expect![[r#"
            Unknown a{x="1",yy="2"} 1
            Unknown a{x="1",yy="3"} 2
            Unknown a{yy="1",x="3"} 3
            Unknown a{yy="1",x="5"} 6
            Unknown a{yyy="1",x="6"} 7
            Unknown a{y="1"} 8
            Unknown ab{y="1",x="7"} 9
            Unknown a{} 10
            Unknown a{y="1",x="7"} 11
            Summary a_sum{y="1"} [] sum Some(14.0) count None
            Unknown a{y="1"} 13
            line 4: "yy" is a label that is there twice, without a
            line 5: "yy" is a label that is there twice, without a
            line 13: "a_sum" is without a number in the label `le` or `quantile`, without a_sum
        "#]],
    );
}

#[test]
fn odd_distributions_are_left_out() {
    check(
        Format::Text,
        "# TYPE h histogram\nh 1\nh_bucket 2\nh_bucket{le=\"x\"} 3\nh_sum{of=\"sum\"} 4\n\
         h_bucket{of=\"falls\",le=\"1\"} 5\nh_bucket{of=\"falls\",le=\"+Inf\"} 4\n\
         h_bucket{of=\"halves\",le=\"1\"} 0.5\nh_count{of=\"halves\"} 7\n\
         h_bucket{of=\"twice\",le=\"1\"} 1\nh_bucket{of=\"twice\",le=\"1.0\"} 3\nh_count{of=\"twice\"} 7\n\
         h_bucket{of=\"below\",le=\"-Inf\"} 1\nh_count{of=\"below\"} 7\n\
         h_bucket{of=\"good\",le=\"1\"} 1\nh_count{of=\"good\"} 7\nh_sum{of=\"good\"} NaN\n\
         # TYPE s summary\ns{of=\"share\",quantile=\"2\"} 1\ns{of=\"twice\",quantile=\"1\"} 1\n\
         s{of=\"twice\",quantile=\"1\"} 9\ns_count{of=\"halves\"} 0.5\ns_count{of=\"good\"} 3\n",
        &expect![[r#"
            Histogram h{of="twice"} [1.0] [1, 6] sum None
            Histogram h{of="good"} [1.0] [1, 6] sum None
            Summary s{of="twice"} [(1.0, Some(1.0))] sum None count None
            Summary s{of="good"} [] sum None count Some(3)
            line 2: "h" is no sample of its family's type, without h
            line 3: "h_bucket" is without a number in the label `le` or `quantile`, without h_bucket
            line 4: "h_bucket" is without a number in the label `le` or `quantile`, without h_bucket
            line 3: "h" has neither a last bucket nor a count, without h
            line 5: "h" has neither a last bucket nor a count, without h
            line 6: "h" has counts that fall, without h
            line 8: "h" has a count that is no whole number, without h
            line 13: "h" has a bound that is not finite, without h
            line 19: "s" has a quantile that is not from 0 to 1, without s
            line 22: "s" has a count that is no whole number, without s
        "#]],
    );
}

#[test]
fn summary_without_any_value_is_left_out() {
    check(
        Format::Text,
        "# TYPE s summary\ns 5\ns_sum{of=\"none\"} NaN\ns_sum{of=\"sum\"} 5\n",
        &expect![[r#"
        Summary s{of="sum"} [] sum Some(5.0) count None
        line 2: "s" is without a number in the label `le` or `quantile`, without s
        line 2: "s" has neither quantiles nor a sum or count, without s
        line 3: "s" has neither quantiles nor a sum or count, without s
    "#]],
    );
}

#[test]
fn sample_of_no_type_is_kept_without_one() {
    let text = "# TYPE a counter\na{b=\"1\"} 5\na_total 6\n# TYPE c info\nc 1\n# TYPE d gaugehistogram\nd 2\n\
                # TYPE e histogram\ne 3\n# EOF\n";
    check(
        Format::OpenMetrics,
        text,
        &expect![[r#"
        Counter a{b="1"} 5
        Counter a_total{} 6
        Info c{} 1
        GaugeHistogram d{} 2
        line 2: "a" is no sample of its family's type, without its type
        line 5: "c" is no sample of its family's type, without its type
        line 7: "d" is no sample of its family's type, without its type
        line 9: "e" is no sample of its family's type, without e
    "#]],
    );
}

#[test]
fn samples_of_a_family_may_be_apart() {
    check(
        Format::Text,
        "# TYPE h histogram\n# TYPE h_count gauge\nh_bucket{a=\"1\",b=\"2\",le=\"+Inf\"} 3\nother 1\n\
         h_sum{b=\"2\",a=\"1\"} 4\n# TYPE h counter\n# TYPE other counter\nh_count 9\n# TYPE h histogram\n\
         # HELP h First.\n# HELP h Second.\n",
        &expect![[r#"
            Histogram h{a="1",b="2"} [] [3] sum Some(4.0)
            Unknown other{} 1
            Gauge h_count{} 9
            line 6: "counter" is another type than that before, without its type
            line 7: "counter" is declared after a sample, without its type
        "#]],
    );
}

#[test]
fn ends_are_checked() {
    let text = Format::Text;
    check(
        text,
        "a 1\nb 12",
        &expect![[r#"
        Unknown a{} 1
        line 2: "" is without the end of its line, without b
    "#]],
    );
    check(
        text,
        "a 1\n# EOF\nb 2\n# c",
        &expect![["
        Unknown a{} 1
        Unknown b{} 2
    "]],
    );
    let open = Format::OpenMetrics;
    check(
        open,
        "a 1\n",
        &expect![[r#"
        Unknown a{} 1
        line 1: "" ends without its last line, # EOF, without what is after it
    "#]],
    );
    check(
        open,
        "a 1\n# EOF",
        &expect![["
        Unknown a{} 1
    "]],
    );
    check(
        open,
        "a 1\n# EOF\nb 2\nc 3\n",
        &expect![[r#"
        Unknown a{} 1
        line 3: "" is after the last line, # EOF, without what is after it
    "#]],
    );
    check(text, "", &expect![""]);
}

#[test]
fn last_line_without_its_end_may_be_taken() {
    let limits = Limits { takes_unended_line: true, ..Limits::default() };
    for (format, text, expected) in [
        (Format::Text, "a 1\nb 12", "Unknown a{} 1\nUnknown b{} 12\n"),
        (Format::Text, "a 1\nb", "Unknown a{} 1\nline 2: \"\" is neither labels nor a value, without b\n"),
        (
            Format::OpenMetrics,
            "a 1",
            "line 1: \"\" is without the end of its line, without a\n\
             line 1: \"\" ends without its last line, # EOF, without what is after it\n",
        ),
    ] {
        assert_eq!(render(&Exposition::read(text.as_bytes(), format, limits)), expected, "{text}");
    }
}

#[test]
fn invalid_utf8_costs_its_line() {
    let exposition = Exposition::read(b"a 1\nb{c=\"\xff\"} 2\nd 3\n\xff", Format::Text, Limits::default());
    let expected = expect![[r#"
        Unknown a{} 1
        Unknown d{} 3
        line 2: "" is not UTF-8, without its metric
        line 4: "" is without the end of its line, without its metric
    "#]];
    expected.assert_eq(&render(&exposition));
}

#[test]
fn limits_bound_lines_labels_and_samples() {
    let limits = Limits { line_bytes: 30, labels: 2, samples: 3, ..Limits::default() };
    let text = "a 1\nb{a=\"1\",b=\"2\"} 2\nb{a=\"1\",b=\"2\",c=\"3\"} 2\nb{a=\"12345678901234567890\"} 123\n# TYPE h histogram\n\
                h_count 1\nh_sum 1\nc 1\nd 1\n# TYPE x gauge\n# TYPE y gauge\n";
    let exposition = Exposition::read(text.as_bytes(), Format::Text, limits);
    let expected = expect![[r#"
        Unknown a{} 1
        Unknown b{a="1",b="2"} 2
        Histogram h{} [] [1] sum None
        line 3: "c" is one label too many, without b
        line 4: "" is longer than a line may be, without its metric
    "#]];
    expected.assert_eq(&render(&exposition));
    assert_eq!((exposition.left_out(), exposition.families().len()), (3, 3));
    let text = "?\n".repeat(1000);
    let exposition = Exposition::read(text.as_bytes(), Format::Text, limits);
    assert_eq!((exposition.skipped().len(), exposition.skipped_lines()), (MAX_SKIPPED, 1000));
}

#[test]
fn long_descriptions_are_cut() {
    let text = format!("# HELP a {}\na 1\n# HELP b \\\\ \\n \\x\\\n# TYPE b gauge\nb 1\n", "ä".repeat(600));
    let exposition = Exposition::read(text.as_bytes(), Format::Text, Limits::default());
    let described: Vec<_> = exposition.families().iter().flat_map(|family| family.describe("m")).collect();
    assert_eq!((described[0].0.description.len(), &*described[1].0.description), (1024, "\\ \n \\x\\"));
}

/// A plugin that returns an exposition.
struct Scraped;

/// Every kind of value and label that samples have.
const SCRAPED: &str = "# TYPE a:b_total counter\n# HELP a:b_total Things.\na:b_total{x=\"1\"} 3\nnone NaN\nendless -Inf\n\
    # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\n";

impl Plugin for Scraped {
    const ABOUT: About = About { version: "1", description: "Tests.", settings: &[], metrics: &[] };
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<Self, Error> {
        Ok(Self)
    }

    fn collect(&mut self, _: Tick, sample: &mut Sample) -> Result<(), Error> {
        sample.keep_names("m");
        let exposition = Exposition::read(SCRAPED.as_bytes(), Format::Text, Limits::default());
        exposition.families().iter().flat_map(|family| family.describe("m")).for_each(|found| sample.describe(&found));
        for metric in exposition.metrics() {
            let labels: Vec<_> = metric.labels.iter().map(|label| (label.name, &*label.value)).collect();
            sample.labelled(&labels).set(metric.in_module("m"), metric.reading);
        }
        Ok(())
    }
}

#[test]
fn expositions_are_samples_by_the_sdk_rules() {
    let mut scraped = Harness::<Scraped>::start(Host::new(), "{}").expect("no settings");
    expect![[r#"
        m.a:b_total{x="1"} 3
        m.h bounds [1.0] counts [1, 1] sum None
        m.s quantiles [(0.5, Some(1.0))] sum None count None
    "#]]
    .assert_eq(&scraped.tick().expect("a sample").render());
}
