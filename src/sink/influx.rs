//! The line protocol of `InfluxDB` over HTTP: samples as lines, and what a response means. Series with the same labels and the same beginning
//! of their names share a line, as its fields. Each number is a float, since a field whose type changes is refused. The protocol has no
//! end of a series.

mod escape;
mod field;
mod line;
mod batch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use self::batch::Batch;
use self::field::TIME;
use self::line::{Field, Lines};
use super::numeric::{NameRules, NumericSeries, NumericSettings, Part};
use super::request::Request;
use super::target_labels::{TargetLabel, TargetLabels};
use super::verdict::{Verdict, words};
use crate::sample::Sample;

/// The version of the requests' bodies in a spool.
pub(super) const VERSION: u16 = 1;

/// The tag with the name of the host, as other agents call it.
const HOST: &str = "host";

/// Makes requests of samples.
#[derive(Debug)]
pub(super) struct Encoder {
    target: TargetLabels,
    series: NumericSeries<Field>,
    lines: Lines,
    batch: Batch,
}

impl Encoder {
    pub(super) fn new(settings: Arc<NumericSettings>) -> Self {
        let target = target(&settings);
        let rules = NameRules { reserved: &[HOST, TIME], ..NameRules::default() };
        let series = NumericSeries::with_rules(settings, rules);
        Self { target, series, lines: Lines::default(), batch: Batch::default() }
    }

    /// Appends the requests of a sample, oldest first; none if it has no point. Follows other settings.
    pub(super) fn encode(&mut self, sample: &Sample, settings: &Arc<NumericSettings>, to: &mut Vec<Request>) {
        let first = to.len();
        self.follow(settings);
        let Self { target, series, lines, batch } = self;
        batch.begin();
        series.visit(
            sample,
            |named| lines.field(named, settings, target),
            |part| match part {
                Part::Group => batch.finish(to),
                Part::Module(module) => batch.set_time(module.time, to),
                Part::Point(field, number) => batch.push(field, number, to),
                Part::Ended(..) => {}
            },
        );
        batch.finish(to);
        if let Some(last) = to[first..].last_mut() {
            last.is_last = true;
        }
    }

    fn follow(&mut self, settings: &Arc<NumericSettings>) {
        if Arc::ptr_eq(self.series.settings(), settings) {
            return;
        }
        let target = target(settings);
        if target != self.target {
            // Their lines begin with another host name.
            self.series.end(|_| {});
            self.target = target;
        }
        self.series.follow(settings);
    }

    /// The end of all series: the protocol has none.
    pub(super) fn end(&mut self, _time: Duration, _to: &mut Vec<Request>) {
        self.series.end(|_| {});
    }

    /// How many series of the last sample were left out.
    pub(super) fn left_out(&self) -> usize {
        self.series.left_out() + self.batch.repeated()
    }
}

/// The labels of each series of a sink.
fn target(settings: &NumericSettings) -> TargetLabels {
    TargetLabels::new(settings, [TargetLabel { name: HOST, configured: None, default: &settings.host }])
}

/// The headers of a request.
pub(super) fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (CONTENT_ENCODING, HeaderValue::from_static("gzip")),
    ])
}

/// The meaning of a response.
pub(super) fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(body);
    let is_refusal = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    if is_refusal && text.contains("partial write") {
        return Verdict::Delivered { rejected: refused_lines(&text), text: Some(words(body)) };
    }
    match Verdict::from_status(status, headers, body) {
        Verdict::Retry(mut retry) if status == StatusCode::NOT_FOUND => {
            retry.remedy = "create the database or bucket, or correct the URL";
            Verdict::Retry(retry)
        }
        verdict => verdict,
    }
}

/// The number of refused lines in the words of a receiver: at least one. Version 1 and 2 name how many they have dropped, and each line
/// that they could not read; version 3 lists all of them.
fn refused_lines(text: &str) -> u64 {
    let dropped: u64 = text.rsplit_once("dropped=").map_or(0, |(_, rest)| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest[..digits].parse().unwrap_or(0)
    });
    let listed = text.matches("unable to parse").count().max(text.matches("\"error_message\"").count());
    u64::max(1, dropped.saturating_add(listed as u64))
}
