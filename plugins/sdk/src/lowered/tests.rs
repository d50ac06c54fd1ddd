//! Reads results as the agent does: at the offsets of the canonical ABI, which depend on the size of an address only.

use std::ptr::with_exposed_provenance;

use super::Content;
use crate::bindings::gauged::plugin::metrics as wire;
use crate::descriptor::FoundMetric;
use crate::{Error, Histogram, Invalid, Kind, Need, Origin, Quantile, Sample, Summary, Value};

const ADDRESS: usize = size_of::<usize>();

/// An address in a result.
#[derive(Clone, Copy)]
struct At(usize);

impl At {
    fn read<T: Copy>(self, offset: usize) -> T {
        let address = with_exposed_provenance::<T>(self.0 + offset);
        assert!(address.is_aligned());
        // SAFETY: the tests read results that are kept, at the offsets of their types.
        unsafe { *address }
    }

    fn list<T>(self, offset: usize, size: usize, read: impl Fn(Self) -> T) -> Vec<T> {
        let (first, length) = (self.read::<usize>(offset), self.read::<usize>(offset + ADDRESS));
        (0..length).map(|place| read(Self(first + place * size))).collect()
    }

    fn text(self, offset: usize) -> String {
        String::from_utf8(self.list(offset, 1, |byte| byte.read(0))).expect("UTF-8")
    }

    fn texts(self, offset: usize) -> Vec<(String, String)> {
        self.list(offset, 4 * ADDRESS, |pair| (pair.text(0), pair.text(2 * ADDRESS)))
    }

    fn option<T: Copy>(self, offset: usize) -> Option<T> {
        match self.read::<u8>(offset) {
            0 => None,
            1 => Some(self.read(offset + 8)),
            other => panic!("{other}"),
        }
    }

    fn value(self) -> Value {
        match self.read::<u8>(0) {
            0 => Value::Natural(self.read(8)),
            1 => Value::Integer(self.read(8)),
            2 => Value::Number(self.read(8)),
            3 => Value::Boolean(self.read::<u8>(8) == 1),
            4 => Value::Text(self.text(8)),
            5 => Value::Histogram(Histogram {
                bounds: self.list(8, 8, |bound| bound.read(0)),
                counts: self.list(8 + 2 * ADDRESS, 8, |count| count.read(0)),
                sum: self.option(8 + 4 * ADDRESS),
            }),
            6 => Value::Summary(Summary {
                quantiles: self.list(8, 24, |it| Quantile { share: it.read(0), value: it.option(8) }),
                sum: self.option(8 + 2 * ADDRESS),
                count: self.option(24 + 2 * ADDRESS),
            }),
            other => panic!("{other}"),
        }
    }

    fn metric(self) -> wire::Metric {
        let labels = self.texts(2 * ADDRESS).into_iter().map(|(name, value)| wire::Label { name, value }).collect();
        wire::Metric { name: self.text(0), labels, value: Self(self.0 + 4 * ADDRESS).value() }
    }

    fn descriptor(self) -> wire::Descriptor {
        let labels = self.texts(9 * ADDRESS).into_iter();
        wire::Descriptor {
            module: self.text(0),
            name: self.text(2 * ADDRESS),
            kind: [Kind::Gauge, Kind::Counter, Kind::Histogram, Kind::Summary]
                [usize::from(self.read::<u8>(4 * ADDRESS))],
            counts_from: [Origin::Unknown, Origin::Boot, Origin::Plugin][usize::from(self.read::<u8>(4 * ADDRESS + 1))],
            unit: self.text(5 * ADDRESS),
            description: self.text(7 * ADDRESS),
            labels: labels.map(|(name, meaning)| wire::Dimension { name, meaning }).collect(),
        }
    }

    fn module(self) -> wire::Module {
        wire::Module {
            name: self.text(0),
            unix_ms: self.option(2 * ADDRESS),
            verbatim: self.read::<u8>(16 + 2 * ADDRESS) == 1,
            metrics: self.list(16 + 3 * ADDRESS, 40 + 6 * ADDRESS, Self::metric),
            descriptors: self.list(16 + 5 * ADDRESS, 11 * ADDRESS, Self::descriptor),
        }
    }

    fn result(self) -> Result<Vec<wire::Module>, Error> {
        if self.read::<u8>(0) == 0 {
            return Ok(self.list(ADDRESS, 24 + 6 * ADDRESS, Self::module));
        }
        let text = self.0 + 2 * ADDRESS;
        let text = |place: usize| Self(text).text(2 * ADDRESS * place);
        Err(match self.read::<u8>(ADDRESS) {
            0 => Error::Unsupported(text(0)),
            1 => {
                let errors = self.texts(2 * ADDRESS).into_iter();
                Error::InvalidConfig(errors.map(|(key, message)| Invalid { key, message }).collect())
            }
            2 => Error::Denied(Need {
                capability: crate::Capability { kind: text(0), target: text(1) },
                reason: text(2),
            }),
            3 => Error::Unavailable(text(0)),
            4 => Error::Failed(text(0)),
            other => panic!("{other}"),
        })
    }
}

fn fill(sample: &mut Sample) {
    let module = |name: &str| FoundMetric::gauge("first", name, "1", "Has a description.");
    let labelled = FoundMetric::counter("first", "labelled_total", "By", "Has labels.")
        .with_label("part", "Name of the part")
        .with_label("kind", "Its kind")
        .since(Origin::Plugin);
    sample.describe(&labelled);
    sample.describe(&FoundMetric::summary("second", "times", "s", ""));
    sample.keep_names("second");
    sample.set_time("second", 1_790_000_000_000);
    for part in ["", "a", "bc", "bc"] {
        let mut row = sample.labelled(&[("part", part), ("kind", "disk")]);
        row.set(&labelled, u64::MAX >> 1).set(module("same"), 1.5);
    }
    sample.set(module("same"), -7_i64);
    sample.set(module("state"), "rünning");
    sample.set(module("up"), true);
    sample.set(module("down"), false);
    for sum in [None, Some(2.5)] {
        let counts = vec![1, 2, u64::MAX];
        sample.set(module("sizes"), Histogram { bounds: vec![0.5, f64::MAX], counts, sum });
        let quantiles = [(0.5, Some(1.0)), (0.9, None)].map(|(share, value)| Quantile { share, value });
        let times = FoundMetric::summary("second", "times", "s", "");
        sample.set(&times, Summary { quantiles: quantiles.to_vec(), sum, count: sum.map(|_| 3) });
        sample.set(&times, Summary { quantiles: Vec::new(), sum: None, count: None });
    }
}

#[test]
fn result_in_memory_is_the_sample() {
    let mut sample = Sample::default();
    // The second time in the memory of the first.
    for _ in 0..2 {
        sample.clear();
        fill(&mut sample);
        let modules = sample.modules();
        assert_eq!((modules.len(), sample.len()), (2, 18));
        assert_eq!(modules[0].metrics[2].labels[0].value, "a");
        let address = sample.lower(Ok(())).expose_provenance();
        assert_eq!(At(address).result(), Ok(modules));
    }
    sample.clear();
    let address = sample.lower(Ok(())).expose_provenance();
    assert_eq!(At(address).result(), Ok(Vec::new()));
}

#[test]
fn error_in_memory_is_that_of_the_call() {
    let errors = [("a", "is missing"), ("b", "")];
    let errors = errors.map(|(key, message)| Invalid { key: key.to_owned(), message: message.to_owned() });
    let text = || "why".to_owned();
    for error in [
        Error::Unsupported(text()),
        Error::InvalidConfig(errors.to_vec()),
        Error::InvalidConfig(Vec::new()),
        Error::Denied(Need::read("/data/x", "try it")),
        Error::Unavailable(text()),
        Error::Failed(String::new()),
    ] {
        let mut content = Content::default();
        let address = content.lower(Err(error.clone())).expose_provenance();
        assert_eq!(At(address).result(), Err(error));
    }
}
