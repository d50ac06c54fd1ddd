//! Histograms and summaries: differences of buckets, and points that are left out.

use super::*;

/// A module with a histogram.
fn histogram(writer: &mut ModuleWriter, seconds: u64, bounds: &[f64], counts: &[u64]) -> Arc<Module> {
    let bounds = BucketBounds::new(bounds).expect("rising");
    module(writer, seconds, |values| {
        values.push_histogram("wait_ms", &Labels::default(), &bounds, counts, 7.0).expect("a histogram");
    })
}

/// A module with the series of a histogram, of which each may have any value.
fn series(counts: &[(&'static str, Option<u64>)]) -> Arc<Module> {
    let whole = histogram(&mut writer(), 100, &[5.0, 10.0], &[0, 0, 0]);
    let values = whole.metrics().map(|metric| {
        let le = metric.labels().iter().find(|label| *label.name == *"le").map(|label| label.value.clone());
        let key = le.as_deref().unwrap_or(metric.name());
        let count = counts.iter().find(|(name, _)| *name == key).map_or(Some(9), |(_, count)| *count);
        count.into()
    });
    Arc::new(Module::new(whole.time, Arc::clone(whole.schema()), values.collect()))
}

/// The points of modules, and how many series are left out.
fn sent(modules: &[&Arc<Module>]) -> (Vec<String>, usize) {
    let mut encoder = encoder();
    let points = all_points(&requests(&mut encoder, &sample(100, modules)));
    (points, encoder.left_out())
}

#[test]
fn buckets_are_differences() {
    let (points, left_out) = sent(&[&series(&[("5", Some(2)), ("10", Some(2)), ("+Inf", Some(9))])]);
    assert_eq!(points, ["gauged_app_wait_seconds{} 100 9 sum Some(0.009) [2, 0, 7] [0.005, 0.01]"]);
    assert_eq!(left_out, 0);
}

#[test]
fn falling_buckets_are_left_out() {
    let (points, left_out) = sent(&[&series(&[("5", Some(3)), ("10", Some(2)), ("+Inf", Some(9))])]);
    assert_eq!((points, left_out), (Vec::new(), 5));
}

#[test]
fn histogram_without_a_bucket_is_left_out() {
    for missing in ["5", "10", "+Inf", "wait_ms_sum", "wait_ms_count"] {
        let counts: Vec<_> = [("5", Some(1)), ("10", Some(2))]
            .into_iter()
            .filter(|(name, _)| *name != missing)
            .chain([(missing, None)])
            .collect();
        assert_eq!(sent(&[&series(&counts)]), (Vec::new(), 5), "{missing}");
    }
}

#[test]
fn excluded_bucket_makes_a_coarser_histogram() {
    let exclude = vec![SeriesPattern::parse(r#"app.wait_ms{le="5"}"#).expect("a pattern")];
    let selected = SeriesSettings { own: Selection { exclude, ..Selection::default() }, ..SeriesSettings::default() };
    let settings = NumericSettings { series: Arc::new(selected), ..settings() };
    let mut encoder = Encoder::new(Arc::new(settings), HostFacts::default());
    let module = histogram(&mut writer(), 100, &[5.0, 10.0], &[2, 3, 4]);
    let points = all_points(&requests(&mut encoder, &sample(100, &[&module])));
    assert_eq!(points, ["gauged_app_wait_seconds{} 100 9 sum Some(0.007) [5, 4] [0.01]"]);
}

#[test]
fn changed_bounds_change_the_point() {
    let (mut encoder, mut writer) = (encoder(), writer());
    let mut at = |seconds, bounds: &[f64], counts: &[u64]| {
        let module = histogram(&mut writer, seconds, bounds, counts);
        let points = all_points(&requests(&mut encoder, &sample(seconds, &[&module])));
        (points, encoder.left_out())
    };
    let name = "gauged_app_wait_seconds{}";
    assert_eq!(at(100, &[5.0], &[1, 2]), (vec![format!("{name} 100 3 sum Some(0.007) [1, 2] [0.005]")], 0));
    let both = format!("{name} 110 6 sum Some(0.007) [1, 2, 3] [0.005, 0.01]");
    assert_eq!(at(110, &[5.0, 10.0], &[1, 2, 3]), (vec![both], 0));
    let other = format!("{name} 120 3 sum Some(0.007) [1, 2] [0.01]");
    assert_eq!(at(120, &[10.0], &[1, 2]), (vec![other], 0));
    let same = format!("{name} 130 5 sum Some(0.007) [1, 4] [0.01]");
    assert_eq!(at(130, &[10.0], &[1, 4]), (vec![same], 0));
}

#[test]
fn histogram_ends_with_its_bounds() {
    let (mut encoder, mut writer) = (encoder(), writer());
    let first = histogram(&mut writer, 100, &[5.0, 10.0], &[1, 2, 3]);
    requests(&mut encoder, &sample(100, &[&first]));
    let next = module(&mut writer, 110, |values| values.push("queue_length", 1_u64));
    let next = all_points(&requests(&mut encoder, &sample(110, &[&next])));
    let ended = "gauged_app_wait_seconds{} 109 0 sum None [0, 0, 0] [0.005, 0.01] flags 1";
    assert_eq!(next, [ended, "gauged_app_queue_length{} 110 1"]);
    let mut ends = Vec::new();
    encoder.end(Duration::from_secs(120), &mut ends);
    assert_eq!(all_points(&read(ends)), ["gauged_app_queue_length{} 120 flags 1"], "it has ended once");
}

#[test]
fn distributions_end_when_other_series_do() {
    let (mut encoder, mut writer) = (encoder(), writer());
    let (bounds, quantiles) = (BucketBounds::new(&[5.0]).expect("rising"), Quantiles::new(&[0.5]).expect("rising"));
    let all = module(&mut writer, 100, |values| {
        let none = Labels::default();
        values.push("queue_length", 1_u64);
        values.push_histogram("wait_ms", &none, &bounds, &[1, 2], 7.0).expect("a histogram");
        values.push_summary("size_bytes", &none, &quantiles, &[None], (0.0, 0)).expect("a summary");
    });
    requests(&mut encoder, &sample(100, &[&all]));
    let next = module(&mut writer, 130, |values| values.push("requests", 1_u64));
    // A later result of the module may be of 110.
    let expected = [
        "gauged_app_queue_length{} 109 flags 1",
        "gauged_app_wait_seconds{} 109 0 sum None [0, 0] [0.005] flags 1",
        "gauged_app_size_bytes{} 109 0 sum 0 [] flags 1",
        "gauged_app_requests_total{} 130 1",
    ];
    assert_eq!(all_points(&requests(&mut encoder, &sample(130, &[&next]))), expected);
}

#[test]
fn summary_without_observations_has_no_quantiles() {
    let quantiles = Quantiles::new(&[0.5, 0.9]).expect("rising");
    let summary = |values: &[Option<f64>], sum| {
        module(&mut writer(), 100, |written| {
            written.push_summary("size_bytes", &Labels::default(), &quantiles, values, (sum, 0)).expect("a summary");
        })
    };
    assert_eq!(sent(&[&summary(&[None, None], 0.0)]).0, ["gauged_app_size_bytes{} 100 0 sum 0 []"]);
    assert_eq!(sent(&[&summary(&[Some(1.0), None], 2.0)]).0, ["gauged_app_size_bytes{} 100 0 sum 2 [(0.5, 1.0)]"]);
    assert_eq!(sent(&[&summary(&[Some(1.0), None], f64::NAN)]), (Vec::new(), 4), "the sum is missing");
}

/// Two histograms with one name.
static ALIKE: [NativeMetric; 2] = [
    NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("x", "y_wait_ms", "ms", "Waits.", "a source") },
    NativeMetric { kind: MetricKind::Histogram, ..NativeMetric::gauge("x_y", "wait_ms", "ms", "Waits.", "a source") },
];

#[test]
fn histograms_of_one_name_do_not_mix() {
    let write = |name: &'static str, metric: &str, bounds: &[f64]| {
        let bounds = BucketBounds::new(bounds).expect("rising");
        module(&mut writer_of(name, "1", &ALIKE), 100, |values| {
            values.push_histogram(metric, &Labels::default(), &bounds, &[1, 2, 3], 7.0).expect("a histogram");
        })
    };
    let modules = [write("x", "y_wait_ms", &[5.0, 10.0]), write("x_y", "wait_ms", &[2.5, 10.0])];
    let (points, left_out) = sent(&modules.each_ref());
    assert_eq!(points, ["gauged_x_y_wait_seconds{} 5..100 6 sum Some(0.007) [1, 2, 3] [0.005, 0.01]"]);
    assert_eq!(left_out, 5, "four have the name of another one, and one is no histogram");
}

proptest! {
    /// Sums of the buckets' own counts are the cumulative ones again.
    #[test]
    fn histograms_are_restored(
        counts in prop::collection::vec(0_u64..1_000_000, 1..20),
    ) {
        let bounds: Vec<f64> = (1..counts.len()).map(|bound| bound as f64).collect();
        let module = histogram(&mut writer(), 100, &bounds, &counts);
        let (_, message) = &requests(&mut encoder(), &sample(100, &[&module]))[0];
        let metric = &message.resource_metrics[0].scope_metrics[0].metrics[0];
        let Some(Data::Histogram(Histogram { data_points, .. })) = &metric.data else { panic!("a histogram") };
        let HistogramDataPoint { count, bucket_counts, explicit_bounds, .. } = &data_points[0];
        prop_assert_eq!(*count, counts.iter().sum::<u64>());
        if bounds.is_empty() {
            prop_assert!(bucket_counts.is_empty() && explicit_bounds.is_empty());
        } else {
            prop_assert_eq!(bucket_counts, &counts);
            prop_assert_eq!(explicit_bounds.len(), bounds.len());
        }
    }
}
