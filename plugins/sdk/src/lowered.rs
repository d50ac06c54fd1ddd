//! The result of a call as it lies in the memory that the agent reads: the layout that the canonical ABI of components gives the types of
//! the WIT. Texts, labels and numbers are in one list each, and everything else has places in them, so that a sample of thousands of
//! metrics is a few pieces of memory, which are kept for the next one. The places become addresses at the end.
//!
//! The order of fields and cases is that of the WIT: a change there has to be made here, too. A test of `scaffold/generate` compares them.

#[cfg(not(target_family = "wasm"))]
mod lifted;
#[cfg(test)]
mod tests;

use crate::bindings::gauged::plugin::metrics as wire;
use crate::scan::begins_with;
use crate::{Error, Invalid, Need};

/// A text or a list: its place in the list of all, or its address, and its length.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Span {
    at: usize,
    length: usize,
}

/// A label, the meaning of one, or a rejected setting: two texts.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Pair {
    name: Span,
    value: Span,
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Metric {
    name: Span,
    labels: Span,
    value: Value,
}

#[derive(Debug)]
#[repr(C, u8)]
#[allow(dead_code, reason = "the agent reads it")]
enum Value {
    Natural(u64),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Text(Span),
    Histogram { bounds: Span, counts: Span, sum: Optional<f64> },
    Summary { quantiles: Span, sum: Optional<f64>, count: Optional<u64> },
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Quantile {
    share: f64,
    value: Optional<f64>,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, u8)]
enum Optional<T> {
    None,
    Some(T),
}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Descriptor {
    module: Span,
    name: Span,
    kind: wire::Kind,
    counts_from: wire::Origin,
    unit: Span,
    description: Span,
    labels: Span,
}

#[derive(Debug)]
#[repr(C)]
struct ModuleRecord {
    name: Span,
    unix_ms: Optional<u64>,
    verbatim: bool,
    metrics: Span,
    descriptors: Span,
}

#[derive(Debug)]
#[repr(C, u8)]
#[allow(dead_code, reason = "the agent reads it")]
enum Outcome {
    Sample(Span),
    Failure(Failure),
}

impl Default for Outcome {
    fn default() -> Self {
        Self::Sample(Span::default())
    }
}

#[derive(Debug)]
#[repr(C, u8)]
enum Failure {
    Unsupported(Span),
    InvalidConfig(Span),
    Denied { kind: Span, target: Span, reason: Span },
    Unavailable(Span),
    Failed(Span),
}

/// The sizes and some of the offsets that the canonical ABI has.
#[cfg(target_pointer_width = "32")]
const _: () = {
    assert!(size_of::<Metric>() == 64 && std::mem::offset_of!(Metric, value) == 16);
    assert!(size_of::<Descriptor>() == 44 && std::mem::offset_of!(Descriptor, unit) == 20);
    assert!(size_of::<ModuleRecord>() == 48 && std::mem::offset_of!(ModuleRecord, metrics) == 28);
    assert!(size_of::<Outcome>() == 32 && size_of::<Failure>() == 28 && size_of::<Quantile>() == 24);
};

impl Span {
    /// Makes the place in a list of all an address.
    fn address<T>(&mut self, all: &[T]) {
        self.at = all.as_ptr().expose_provenance() + self.at * size_of::<T>();
    }

    fn list<T>(list: &[T]) -> Self {
        Self { at: list.as_ptr().expose_provenance(), length: list.len() }
    }

    #[cfg(not(target_family = "wasm"))]
    fn range(self) -> std::ops::Range<usize> {
        self.at..self.at + self.length
    }
}

impl<T> From<Option<T>> for Optional<T> {
    fn from(option: Option<T>) -> Self {
        option.map_or(Self::None, Self::Some)
    }
}

/// The pieces of a sample: what its metrics and descriptors consist of.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    texts: String,
    pairs: Vec<Pair>,
    /// Bounds of histograms, as bits, and counts.
    numbers: Vec<u64>,
    quantiles: Vec<Quantile>,
}

impl Pieces {
    fn text(&mut self, text: &str) -> Span {
        let at = self.texts.len();
        self.texts.push_str(text);
        Span { at, length: text.len() }
    }

    /// A text that is often the same as an earlier one.
    #[inline]
    fn text_like(&mut self, earlier: Option<Span>, text: &str) -> Span {
        let is_equal = |span: &Span| {
            let rest = self.texts.as_bytes().get(span.at..).unwrap_or_default();
            span.length == text.len() && begins_with(rest, text.as_bytes())
        };
        earlier.filter(is_equal).unwrap_or_else(|| self.text(text))
    }

    /// The labels that are added from here on.
    pub(crate) fn begin_labels(&self) -> Span {
        Span { at: self.pairs.len(), length: 0 }
    }

    /// Adds a label to the last ones. Mostly one or both of its texts are those of the label with this place in the row before.
    #[inline]
    pub(crate) fn add_label(&mut self, labels: &mut Span, before: Span, name: &str, value: &str) {
        let like = self.pairs.get(before.at + labels.length).copied();
        let name = self.text_like(like.map(|like| like.name), name);
        let value = self.text_like(like.map(|like| like.value), value);
        self.pairs.push(Pair { name, value });
        labels.length += 1;
    }

    /// A metric. Mostly the metric before has the same name.
    pub(crate) fn metric(&mut self, before: Option<&Metric>, name: &str, labels: Span, value: wire::Value) -> Metric {
        Metric { name: self.text_like(before.map(|before| before.name), name), labels, value: self.value(value) }
    }

    fn value(&mut self, value: wire::Value) -> Value {
        match value {
            wire::Value::Natural(number) => Value::Natural(number),
            wire::Value::Integer(number) => Value::Integer(number),
            wire::Value::Number(number) => Value::Number(number),
            wire::Value::Boolean(is_true) => Value::Boolean(is_true),
            wire::Value::Text(text) => Value::Text(self.text(&text)),
            wire::Value::Histogram(wire::Histogram { bounds, counts, sum }) => Value::Histogram {
                bounds: self.numbers(bounds.into_iter().map(f64::to_bits)),
                counts: self.numbers(counts),
                sum: sum.into(),
            },
            wire::Value::Summary(wire::Summary { quantiles, sum, count }) => {
                let (at, length) = (self.quantiles.len(), quantiles.len());
                let quantiles = quantiles.into_iter();
                self.quantiles.extend(quantiles.map(|it| Quantile { share: it.share, value: it.value.into() }));
                Value::Summary { quantiles: Span { at, length }, sum: sum.into(), count: count.into() }
            }
        }
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) -> Span {
        let at = self.numbers.len();
        self.numbers.extend(numbers);
        Span { at, length: self.numbers.len() - at }
    }

    fn pairs<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Span {
        let at = self.pairs.len();
        for (name, value) in pairs {
            let pair = Pair { name: self.text(name), value: self.text(value) };
            self.pairs.push(pair);
        }
        Span { at, length: self.pairs.len() - at }
    }

    pub(crate) fn descriptor(&mut self, metric: &wire::Descriptor) -> Descriptor {
        Descriptor {
            module: self.text(&metric.module),
            name: self.text(&metric.name),
            kind: metric.kind,
            counts_from: metric.counts_from,
            unit: self.text(&metric.unit),
            description: self.text(&metric.description),
            labels: self.pairs(metric.labels.iter().map(|label| (&*label.name, &*label.meaning))),
        }
    }

    fn failure(&mut self, error: &Error) -> Failure {
        match error {
            Error::Unsupported(why) => Failure::Unsupported(self.text(why)),
            Error::InvalidConfig(errors) => {
                Failure::InvalidConfig(self.pairs(errors.iter().map(|Invalid { key, message }| (&**key, &**message))))
            }
            Error::Denied(Need { capability, reason }) => Failure::Denied {
                kind: self.text(&capability.kind),
                target: self.text(&capability.target),
                reason: self.text(reason),
            },
            Error::Unavailable(why) => Failure::Unavailable(self.text(why)),
            Error::Failed(why) => Failure::Failed(self.text(why)),
        }
    }
}

/// A module that is being filled.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) unix_ms: Option<u64>,
    pub(crate) verbatim: bool,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) descriptors: Vec<Descriptor>,
}

/// The content of a sample and, after a call, the result that the agent reads until it calls again.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) modules: Vec<Module>,
    pub(crate) pieces: Pieces,
    /// The memory of the last sample's metrics, that of the first module at the end.
    spare: Vec<Vec<Metric>>,
    records: Vec<ModuleRecord>,
    outcome: Outcome,
}

impl Content {
    /// Adds a module without metrics; returns its place.
    pub(crate) fn add_module(&mut self, name: &str) -> usize {
        let metrics = self.spare.pop().unwrap_or_default();
        let (unix_ms, verbatim, descriptors) = (None, false, Vec::new());
        self.modules.push(Module { name: name.to_owned(), unix_ms, verbatim, metrics, descriptors });
        self.modules.len() - 1
    }

    /// Forgets everything, and keeps the memory of metrics and pieces.
    pub(crate) fn clear(&mut self) {
        let Self { modules, pieces: Pieces { texts, pairs, numbers, quantiles }, spare, .. } = self;
        spare.clear();
        spare.extend(modules.drain(..).rev().map(|mut module| {
            module.metrics.clear();
            module.metrics
        }));
        texts.clear();
        pairs.clear();
        numbers.clear();
        quantiles.clear();
    }

    /// The address of the result of a call: of this or an error. Afterwards it has to be [cleared](Self::clear).
    pub(crate) fn lower(&mut self, result: Result<(), Error>) -> *const u8 {
        let Self { modules, pieces, records, outcome, .. } = self;
        let mut failure = result.err().map(|error| pieces.failure(&error));
        // From here on nothing grows, so that everything keeps its address.
        let Pieces { texts, pairs, numbers, quantiles } = pieces;
        let texts = texts.as_bytes();
        for Pair { name, value } in &mut *pairs {
            name.address(texts);
            value.address(texts);
        }
        for module in &mut *modules {
            for Metric { name, labels, value } in &mut module.metrics {
                name.address(texts);
                labels.address(pairs);
                match value {
                    Value::Natural(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => {}
                    Value::Text(text) => text.address(texts),
                    Value::Histogram { bounds, counts, .. } => {
                        bounds.address(numbers);
                        counts.address(numbers);
                    }
                    Value::Summary { quantiles: own, .. } => own.address(quantiles),
                }
            }
            for Descriptor { module, name, unit, description, labels, .. } in &mut module.descriptors {
                for text in [module, name, unit, description] {
                    text.address(texts);
                }
                labels.address(pairs);
            }
        }
        match &mut failure {
            Some(Failure::Unsupported(why) | Failure::Unavailable(why) | Failure::Failed(why)) => why.address(texts),
            Some(Failure::InvalidConfig(errors)) => errors.address(pairs),
            Some(Failure::Denied { kind, target, reason }) => {
                for text in [kind, target, reason] {
                    text.address(texts);
                }
            }
            None => {}
        }
        records.clear();
        records.extend(modules.iter().map(|module| ModuleRecord {
            name: Span::list(module.name.as_bytes()),
            unix_ms: module.unix_ms.into(),
            verbatim: module.verbatim,
            metrics: Span::list(&module.metrics),
            descriptors: Span::list(&module.descriptors),
        }));
        *outcome = failure.map_or_else(|| Outcome::Sample(Span::list(records)), Outcome::Failure);
        (&raw const *outcome).cast()
    }
}
