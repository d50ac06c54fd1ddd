//! The types that can be values of metrics.

use std::time::Duration;

use crate::{Histogram, Summary, Value};

/// A type that can be the value of a metric: an integer, float, boolean, text, [`Histogram`], [`Summary`] or [`Value`], or an `Option` of these,
/// where `None` leaves the metric out. A [`Duration`] is a number of seconds.
pub trait IntoValue {
    #[doc(hidden)]
    fn into_value(self) -> Option<Value>;
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Option<Value> {
        self?.into_value()
    }
}

macro_rules! into_value {
    ($($from:ty as $case:ident($convert:expr),)+) => {
        $(impl IntoValue for $from {
            fn into_value(self) -> Option<Value> {
                Some(Value::$case($convert(self)))
            }
        })+
    };
}

into_value! {
    u64 as Natural(u64::from),
    u32 as Natural(u64::from),
    u16 as Natural(u64::from),
    u8 as Natural(u64::from),
    usize as Natural(|value| value as u64),
    i64 as Integer(i64::from),
    i32 as Integer(i64::from),
    i16 as Integer(i64::from),
    i8 as Integer(i64::from),
    isize as Integer(|value| value as i64),
    f64 as Number(f64::from),
    f32 as Number(f64::from),
    Duration as Number(|value: Duration| value.as_secs_f64()),
    bool as Boolean(bool::from),
    &str as Text(str::to_owned),
    String as Text(String::from),
    Histogram as Histogram(std::convert::identity),
    Summary as Summary(std::convert::identity),
}

impl IntoValue for Value {
    fn into_value(self) -> Option<Value> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_are_accepted() {
        let integers =
            [1_u8.into_value(), 1_u16.into_value(), 1_u32.into_value(), 1_u64.into_value(), 1_usize.into_value()];
        assert!(integers.iter().all(|value| *value == Some(Value::Natural(1))), "{integers:?}");
        let integers = [
            (-1_i8).into_value(),
            (-1_i16).into_value(),
            (-1_i32).into_value(),
            (-1_i64).into_value(),
            (-1_isize).into_value(),
        ];
        assert!(integers.iter().all(|value| *value == Some(Value::Integer(-1))), "{integers:?}");
        let numbers = [1.5_f32.into_value(), 1.5_f64.into_value(), Duration::from_millis(1500).into_value()];
        assert!(numbers.iter().all(|value| *value == Some(Value::Number(1.5))), "{numbers:?}");
        assert_eq!(("a".into_value(), None::<bool>.into_value()), (Some(Value::Text("a".to_owned())), None));
        let histogram = Histogram { bounds: vec![1.0], counts: vec![2, 3], sum: None };
        assert_eq!(histogram.clone().into_value(), Some(Value::Histogram(histogram)));
    }
}
