//! The delivery thread's end: from the body of a request to points whose series are known, and to what its sender has to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::array::{ArrayError, elements};
use super::point::{CheckedPoint, Fault};
use super::queue::{Point, Queue, Refused};
use super::statistics::{Loss, Rejection, Statistics};
use crate::sample::{CounterOrigin, Descriptor, MetricKind, SeriesAccount, SeriesTable};

/// How many points a request may have: a host's program has some hundreds.
pub(super) const REQUEST_POINTS: usize = 10_000;

/// How many bad points an answer names, so that it is short whatever was sent.
const NAMED_POINTS: usize = 100;

/// How many series pushed points may have at a time, those of samples that wait in sinks included. A flood of names ends here, and
/// leaves the series of the agent and of the plugins alone.
pub(super) const SERIES: usize = 10_000;

/// The way of points to the tick thread.
#[derive(Debug)]
pub(crate) struct Inlet {
    account: Arc<SeriesAccount>,
    pub(super) queue: Queue,
    pub(super) statistics: Statistics,
}

/// What became of the points of a request.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) accepted: usize,
    /// The first bad points.
    pub(crate) rejected: Vec<RejectedPoint>,
    /// How many more there are.
    pub(crate) omitted: usize,
}

/// A bad point.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RejectedPoint {
    /// Its place in the array, from 0 on.
    pub(crate) index: usize,
    /// The cause and the remedy.
    pub(crate) reason: String,
}

/// Why no point of a request is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// The body is no array of points. The cause and the remedy.
    Body(String),
    /// It has too many points. The remedy.
    TooMany(String),
    /// There is no room before the next tick.
    Full,
    /// Points are not taken any more.
    Closed,
}

impl From<Refused> for PushError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Closed => Self::Closed,
        }
    }
}

impl Inlet {
    /// An inlet that takes nothing yet.
    pub(super) fn new(table: &Arc<SeriesTable>) -> Arc<Self> {
        Arc::new(Self {
            account: SeriesAccount::new(Arc::clone(table), SERIES),
            queue: Queue::default(),
            statistics: Statistics::default(),
        })
    }

    /// Takes the good points of a body at this moment. `own_name` is the name of this host.
    ///
    /// # Errors
    ///
    /// When nothing of it is taken.
    pub(crate) fn push(&self, body: &[u8], own_name: Option<&str>, now: Duration) -> Result<Outcome, PushError> {
        const REMEDY: &str =
            "send an array of points: [{\"metric\":\"a.b\",\"step\":60,\"value\":1,\"counterType\":\"GAUGE\"}]";
        let text = str::from_utf8(body).map_err(|error| {
            PushError::Body(format!("the body is not UTF-8 from byte {} on; {REMEDY}", error.valid_up_to()))
        })?;
        let elements = elements(text, REQUEST_POINTS).map_err(|error| match error {
            ArrayError::Other => PushError::Body(format!("the body is no JSON array; {REMEDY}")),
            ArrayError::Damaged(why) => PushError::Body(format!("the body is damaged: {why}; {REMEDY}")),
            ArrayError::TooMany => PushError::TooMany(format!(
                "there are more than {REQUEST_POINTS} points; send them in several requests"
            )),
        })?;
        let mut outcome = Outcome::default();
        let mut reasons = Vec::new();
        let mut points = Vec::new();
        let mut descriptors = HashMap::new();
        for (index, text) in elements.iter().enumerate() {
            let known = CheckedPoint::parse(text, own_name).and_then(|point| self.known(point, &mut descriptors, now));
            match known {
                Ok(point) => points.push(point),
                Err(Fault { reason, text }) => {
                    reasons.push(reason);
                    if outcome.rejected.len() < NAMED_POINTS {
                        outcome.rejected.push(RejectedPoint { index, reason: text });
                    } else {
                        outcome.omitted += 1;
                    }
                }
            }
        }
        outcome.accepted = points.len();
        self.queue.put(points).map_err(|refused| {
            if refused == Refused::Full {
                self.statistics.lose(Loss::QueueFull, outcome.accepted);
            }
            PushError::from(refused)
        })?;
        // A request that comes again counts once.
        for reason in reasons {
            self.statistics.reject(reason);
        }
        self.statistics.accept(outcome.accepted);
        Ok(outcome)
    }

    /// A point with its series.
    fn known(
        &self,
        point: CheckedPoint,
        descriptors: &mut HashMap<(String, MetricKind), Arc<Descriptor>>,
        now: Duration,
    ) -> Result<Point, Fault> {
        let CheckedPoint { metric, labels, kind, value, step_seconds, timestamp } = point;
        let descriptor = descriptors.entry((metric, kind)).or_insert_with_key(|(metric, kind)| {
            let (name, unit, description) = (metric.clone().into(), "".into(), "".into());
            Arc::new(Descriptor { name, kind: *kind, origin: CounterOrigin::Unknown, unit, description })
        });
        let (identity, series) = self.account.pushed(descriptor, &labels).ok_or_else(|| Fault {
            reason: Rejection::Series,
            text: format!(
                "there are too many different series, {SERIES} of pushed points at most; push fewer, or wait for two steps"
            ),
        })?;
        let time = Duration::from_secs(timestamp.unwrap_or(now.as_secs()));
        Ok(Point { series, identity, value, step_seconds, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Labels, Value};

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn inlet() -> Arc<Inlet> {
        let inlet = Inlet::new(&Arc::default());
        inlet.queue.open();
        inlet
    }

    fn taken(inlet: &Inlet) -> Vec<Vec<Point>> {
        let mut taken = Vec::new();
        inlet.queue.take(&mut taken);
        taken
    }

    fn array(points: impl IntoIterator<Item = String>) -> Vec<u8> {
        format!("[{}]", points.into_iter().collect::<Vec<_>>().join(",")).into_bytes()
    }

    fn point(metric: &str) -> String {
        format!(r#"{{"metric":"{metric}","step":60,"value":1,"counterType":"GAUGE"}}"#)
    }

    #[test]
    fn good_points_beside_bad_ones_are_taken() {
        let inlet = inlet();
        let body = array([point("a"), "5".to_owned(), point("b"), r#"{"metric":"c"}"#.to_owned()]);
        let outcome = inlet.push(&body, None, NOW).expect("taken");
        assert_eq!((outcome.accepted, outcome.omitted), (2, 0));
        assert_eq!(outcome.rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [1, 3]);
        let taken = taken(&inlet);
        let times: Vec<Duration> = taken.iter().flatten().map(|point| point.time).collect();
        assert_eq!(times, [NOW; 2]);
        assert_eq!(taken[0][0].value, Value::Unsigned(1));
        assert_eq!(inlet.push(b" [] ", None, NOW), Ok(Outcome::default()));
    }

    #[test]
    fn bad_points_in_the_answer_are_bounded() {
        let outcome = inlet().push(&array((0..500).map(|_| "0".to_owned())), None, NOW).expect("an array");
        assert_eq!((outcome.accepted, outcome.rejected.len(), outcome.omitted), (0, NAMED_POINTS, 400));
    }

    #[test]
    fn damaged_bodies_are_refused_as_a_whole() {
        let inlet = inlet();
        for (body, why) in [
            (&b"{}"[..], "the body is no JSON array; send an array"),
            (b"", "no JSON array"),
            (b"[{\"metric\":\"\xff\"}]", "not UTF-8 from byte 12 on; send an array"),
            (b"[1,", "damaged: it ends too early, at byte 3; send an array"),
        ] {
            let Err(PushError::Body(text)) = inlet.push(body, None, NOW) else { panic!("{why}") };
            assert!(text.contains(why), "{text}");
        }
        let many = array((0..=REQUEST_POINTS).map(|_| "0".to_owned()));
        assert!(matches!(inlet.push(&many, None, NOW), Err(PushError::TooMany(_))));
        assert!(taken(&inlet).is_empty());
    }

    #[test]
    fn flood_of_series_leaves_those_of_others() {
        let table = Arc::<SeriesTable>::default();
        let inlet = Inlet::new(&table);
        inlet.queue.open();
        let push = |round: usize| {
            let points = (0..REQUEST_POINTS).map(|number| point(&format!("m{round}.{number}")));
            inlet.push(&array(points), None, NOW).expect("taken")
        };
        assert_eq!(push(1).accepted, SERIES);
        let flood = push(2);
        assert_eq!((flood.accepted, flood.omitted), (0, REQUEST_POINTS - NAMED_POINTS));
        assert!(flood.rejected[0].reason.contains("too many different series"), "{flood:?}");
        assert_eq!(push(1).accepted, SERIES, "they are known");
        assert_eq!(inlet.push(&array([point("m1.0")]), None, NOW), Err(PushError::Full));
        assert_eq!(inlet.statistics.lost(Loss::QueueFull), 1);
        let own = Arc::new(Descriptor {
            name: "own".into(),
            kind: MetricKind::Gauge,
            origin: CounterOrigin::Unknown,
            unit: "".into(),
            description: "".into(),
        });
        assert!(SeriesAccount::unlimited(&table).pushed(&own, &Labels::default()).is_some());
    }
}
