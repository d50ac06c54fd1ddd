//! The result of a guest's `collect`, as it is taken out of the guest's memory. The types that are generated from the WIT have a
//! vector for each metric and two strings for each label, of which a plugin may have a hundred thousand; these have one string for
//! all. A benchmark with ten thousand series (`benches/scrape.rs`) spent half of its time in those strings.

use wasmtime::component::__internal::wasmtime_environ::component::StringEncoding;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, bad_type_info};
use wasmtime::component::{ComponentType, Lift};
use wasmtime::{Result, ValRaw, bail};

use crate::plugin::guest::bindings::gauged::plugin::metrics;
use crate::sample::{Label, LabelSet, Labels};

/// A module that a guest returned.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Module {
    pub(crate) name: String,
    #[component(name = "unix-ms")]
    pub(crate) unix_ms: Option<u64>,
    pub(crate) verbatim: bool,
    pub(crate) metrics: Metrics,
    pub(crate) descriptors: Vec<metrics::Descriptor>,
}

/// The metrics of a module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    /// The name of each metric, followed by the names and values of its labels, without anything in between.
    texts: String,
    /// Where each of these texts ends.
    ends: Vec<u32>,
    /// The number of each metric's labels, and its value.
    values: Vec<(usize, metrics::Value)>,
}

/// One of the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: MetricLabels<'a>,
    pub(crate) value: &'a metrics::Value,
}

/// The labels of one of the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MetricLabels<'a> {
    texts: &'a str,
    /// Where the first text begins.
    start: usize,
    /// Where each text ends.
    ends: &'a [u32],
}

impl LabelSet for MetricLabels<'_> {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let start = |at: usize| at.checked_sub(1).map_or(self.start, |before| self.ends[before] as usize);
        self.ends.chunks_exact(2).enumerate().map(move |(at, ends)| {
            let (name_end, value_end) = (ends[0] as usize, ends[1] as usize);
            (&self.texts[start(2 * at)..name_end], &self.texts[name_end..value_end])
        })
    }

    fn to_labels(&self) -> Labels {
        self.pairs().map(|(name, value)| Label { name: name.to_owned().into(), value: value.into() }).collect()
    }
}

impl Metrics {
    /// The number of metrics.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The metrics in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Metric<'_>> {
        let Self { texts, ends, values } = self;
        let (mut start, mut rest) = (0, &**ends);
        values.iter().map(move |(labels, value)| {
            let (own, after) = rest.split_at(1 + 2 * labels);
            let name_end = own[0] as usize;
            let name = &texts[start..name_end];
            let labels = MetricLabels { texts, start: name_end, ends: &own[1..] };
            (start, rest) = (own[own.len() - 1] as usize, after);
            Metric { name, labels, value }
        })
    }

    /// Takes a list of metrics out of the guest's memory. It uses up as much of the limit of results as the generated types do.
    fn lift(context: &mut LiftContext<'_>, ty: InterfaceType, [at, length]: [u32; 2]) -> Result<Self> {
        let InterfaceType::List(list) = ty else { bad_type_info() };
        let InterfaceType::Record(record) = context.types[list].element else { bad_type_info() };
        let Some(value_type) = context.types[record].fields.last().map(|field| field.ty) else { bad_type_info() };
        let list = elements::<metrics::Metric>(context, [at, length])?;
        let mut lifted = Self::default();
        let mut texts = Texts {
            is_utf_8: context.options().string_encoding == StringEncoding::Utf8,
            bytes: Vec::new(),
            ends: Vec::with_capacity(length as usize),
        };
        lifted.values.reserve_exact(length as usize);
        for metric in list.chunks_exact(metrics::Metric::SIZE32) {
            let (name, labels_and_value) = metric.split_at(String::SIZE32);
            let (labels, value) = labels_and_value.split_at(VALUE_AT - String::SIZE32);
            texts.push(context, name)?;
            let labels = elements::<metrics::Label>(context, pair(labels))?;
            // A label is its name and its value.
            for text in labels.chunks_exact(String::SIZE32) {
                texts.push(context, text)?;
            }
            let value = metrics::Value::linear_lift_from_memory(context, value_type, value)?;
            lifted.values.push((labels.len() / metrics::Label::SIZE32, value));
        }
        (lifted.texts, lifted.ends) = texts.finish()?;
        Ok(lifted)
    }
}

/// Where the value is in a metric: after the name and the list of labels.
const VALUE_AT: usize = String::SIZE32 + Vec::<metrics::Label>::SIZE32;

const _: () = assert!(VALUE_AT + metrics::Value::SIZE32 == metrics::Metric::SIZE32, "a metric ends with its value");
const _: () = assert!(2 * String::SIZE32 == metrics::Label::SIZE32, "a label is two texts");

/// Texts that are being taken out.
struct Texts {
    /// Whether the guest's strings are UTF-8.
    is_utf_8: bool,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    /// Appends the text that is at this place in the guest's memory.
    fn push(&mut self, context: &mut LiftContext<'_>, place: &[u8]) -> Result<()> {
        if self.is_utf_8 {
            let text = slice(context, pair(place), 1, "string")?;
            context.consume_fuel(text.len())?;
            self.bytes.extend_from_slice(text);
        } else {
            let text = String::linear_lift_from_memory(context, InterfaceType::String, place)?;
            self.bytes.extend_from_slice(text.as_bytes());
        }
        let Ok(end) = u32::try_from(self.bytes.len()) else { bail!("texts of more than 4 GiB") };
        self.ends.push(end);
        Ok(())
    }

    /// The texts in one, and their ends. An error if one of them is not UTF-8: all are looked at together, and each has to end where
    /// a character does.
    fn finish(self) -> Result<(String, Vec<u32>)> {
        // Without the bytes, which the error would keep.
        let text = String::from_utf8(self.bytes).map_err(|error| error.utf8_error())?;
        if !self.ends.iter().all(|&end| text.is_char_boundary(end as usize)) {
            bail!("incomplete utf-8 byte sequence at the end of a string");
        }
        Ok((text, self.ends))
    }
}

/// The address and the length of a string or list.
fn pair(bytes: &[u8]) -> [u32; 2] {
    let (words, _) = bytes.as_chunks();
    let word = |at: usize| words.get(at).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    [word(0), word(1)]
}

/// The bytes of a list's elements.
fn elements<'a, T: ComponentType>(context: &mut LiftContext<'a>, [at, length]: [u32; 2]) -> Result<&'a [u8]> {
    let list = slice(context, [at, length], T::SIZE32, "list")?;
    context.consume_fuel_array(length as usize, size_of::<T>())?;
    if at % T::ALIGN32 == 0 { Ok(list) } else { bail!("list pointer is not aligned") }
}

/// The bytes of `length` elements of `size` bytes in the guest's memory.
fn slice<'a>(context: &LiftContext<'a>, [at, length]: [u32; 2], size: usize, what: &str) -> Result<&'a [u8]> {
    let bytes = (length as usize).checked_mul(size);
    let found = bytes.and_then(|bytes| context.memory().get(at as usize..)?.get(..bytes));
    if let Some(found) = found { Ok(found) } else { bail!("{what} pointer/length out of bounds of memory") }
}

// SAFETY: all that these state is what a list of metrics states, which is checked to be the guest's type.
#[expect(unsafe_code, reason = "wasmtime has no safe way to take a list out in another form than a vector")]
unsafe impl ComponentType for Metrics {
    type Lower = <Vec<metrics::Metric> as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <Vec<metrics::Metric> as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <Vec<metrics::Metric> as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: every byte of the guest is read through slices of its memory, and texts are checked to be UTF-8.
#[expect(unsafe_code, reason = "wasmtime has no safe way to take a list out in another form than a vector")]
unsafe impl Lift for Metrics {
    fn linear_lift_from_flat(context: &mut LiftContext<'_>, ty: InterfaceType, source: &[ValRaw; 2]) -> Result<Self> {
        Self::lift(context, ty, [source[0].get_u32(), source[1].get_u32()])
    }

    fn linear_lift_from_memory(context: &mut LiftContext<'_>, ty: InterfaceType, bytes: &[u8]) -> Result<Self> {
        Self::lift(context, ty, pair(bytes))
    }
}

/// For tests, which have the generated types.
#[cfg(any(test, fuzzing))]
impl FromIterator<metrics::Metric> for Metrics {
    fn from_iter<I: IntoIterator<Item = metrics::Metric>>(all: I) -> Self {
        let mut metrics = Self::default();
        for metrics::Metric { name, labels, value } in all {
            let texts = labels.iter().flat_map(|label| [&label.name, &label.value]);
            for text in [&name].into_iter().chain(texts) {
                metrics.texts.push_str(text);
                metrics.ends.push(u32::try_from(metrics.texts.len()).expect("short texts"));
            }
            metrics.values.push((labels.len(), value));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmtime::component::{Component, Linker, TypedFunc};
    use wasmtime::{Engine, Store};

    use super::*;

    /// A guest that returns the metrics that it is given, in this encoding.
    fn echo(encoding: &str) -> String {
        format!(
            r#"(component
                (type $number (record (field "share" f64) (field "value" (option f64))))
                (export $quantile "quantile" (type $number))
                (type $pair (record (field "name" string) (field "value" string)))
                (export $label "label" (type $pair))
                (type $buckets (record (field "bounds" (list f64)) (field "counts" (list u64)) (field "sum" (option f64))))
                (export $histogram "histogram" (type $buckets))
                (type $quantiles (record
                    (field "quantiles" (list $quantile)) (field "sum" (option f64)) (field "count" (option u64))))
                (export $summary "summary" (type $quantiles))
                (type $any (variant
                    (case "natural" u64) (case "integer" s64) (case "number" f64) (case "boolean" bool) (case "text" string)
                    (case "histogram" $histogram) (case "summary" $summary)))
                (export $value "value" (type $any))
                (type $one (record (field "name" string) (field "labels" (list $label)) (field "value" $value)))
                (export $metric "metric" (type $one))
                (core module $module
                    (memory (export "memory") 4)
                    (global $heap (mut i32) (i32.const 16))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                        (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                        global.get $heap
                        (memory.copy (global.get $heap) (local.get 0) (local.get 1))
                        (global.set $heap (i32.add (global.get $heap) (local.get 3))))
                    (func (export "echo") (param i32 i32) (result i32)
                        (i32.store (i32.const 0) (local.get 0))
                        (i32.store (i32.const 4) (local.get 1))
                        i32.const 0))
                (core instance $guest (instantiate $module))
                (func (export "echo") (param "metrics" (list $metric)) (result (list $metric)) (canon lift
                    (core func $guest "echo") (memory (core memory $guest "memory")) (realloc (core func $guest "realloc"))
                    string-encoding={encoding})))"#
        )
    }

    fn call(encoding: &str, metrics: Vec<metrics::Metric>) -> Metrics {
        let engine = Engine::default();
        let component =
            Component::new(&engine, wat::parse_str(echo(encoding)).expect("right text")).expect("a component");
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate(&mut store, &component).expect("it has no imports");
        let echo: TypedFunc<(Vec<metrics::Metric>,), (Metrics,)> =
            instance.get_typed_func(&mut store, "echo").expect("the same type");
        echo.call(&mut store, (metrics,)).expect("it returns").0
    }

    fn any_metric() -> impl Strategy<Value = metrics::Metric> {
        let label = (".{0,3}", ".{0,9}").prop_map(|(name, value)| metrics::Label { name, value });
        let value = prop_oneof![
            any::<u64>().prop_map(metrics::Value::Natural),
            ".{0,5}".prop_map(metrics::Value::Text),
            (prop::collection::vec(-9.0..9.0, 0..3), prop::option::of(-9.0..9.0)).prop_map(|(bounds, sum)| {
                metrics::Value::Histogram(metrics::Histogram { counts: vec![7; bounds.len()], bounds, sum })
            }),
        ];
        (".{0,4}", prop::collection::vec(label, 0..4), value).prop_map(|(name, labels, value)| metrics::Metric {
            name,
            labels,
            value,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lifted_metrics_equal_the_lowered_ones(
            all in prop::collection::vec(any_metric(), 0..6),
            encoding in prop::sample::select(vec!["utf8", "utf16", "latin1+utf16"]),
        ) {
            let returned = call(encoding, all.clone());
            prop_assert_eq!(returned.len(), all.len());
            for (found, metric) in returned.iter().zip(&all) {
                let labels: Vec<_> = metric.labels.iter().map(|label| (&*label.name, &*label.value)).collect();
                prop_assert_eq!((found.name, found.value), (&*metric.name, &metric.value));
                prop_assert_eq!(found.labels.pairs().collect::<Vec<_>>(), labels);
            }
        }
    }

    #[test]
    fn texts_are_utf_8_one_by_one() {
        let finish =
            |bytes: &[u8], ends: &[u32]| Texts { is_utf_8: true, bytes: bytes.to_vec(), ends: ends.to_vec() }.finish();
        let (text, ends) = finish("a\u{fc}".as_bytes(), &[1, 3]).expect("two texts");
        assert_eq!((&*text, ends), ("a\u{fc}", vec![1, 3]));
        for (bytes, ends) in [(&b"a\xff"[..], &[2][..]), ("\u{fc}".as_bytes(), &[1, 2])] {
            let error = finish(bytes, ends).expect_err("not UTF-8").to_string();
            assert!(error.contains("utf-8"), "{error}");
        }
    }
}
