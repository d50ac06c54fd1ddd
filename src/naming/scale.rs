//! Values in the unit of a naming.

use crate::sample::Value;

/// The way from a measured value to the value in a naming's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// The same value: integers stay integers.
    Unchanged,
    /// The product with this number.
    Times(f64),
    /// The quotient by this number: 57 % is 0.57, while the product with 0.01 is 0.5700000000000001.
    DividedBy(f64),
}

/// A numeric value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A whole number that may be negative.
    Signed(i64),
    /// Any other number.
    Float(f64),
}

impl Number {
    /// Whether it is less than zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        match self {
            Self::Unsigned(_) => false,
            Self::Signed(number) => number < 0,
            Self::Float(number) => number < 0.0,
        }
    }

    /// The closest float: an integer above 2^53 is rounded.
    #[must_use]
    pub fn float(self) -> f64 {
        match self {
            Self::Unsigned(number) => number as f64,
            Self::Signed(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl Scale {
    /// The scale of a factor.
    #[must_use]
    pub fn new(factor: Option<f64>) -> Self {
        match factor {
            None => Self::Unchanged,
            Some(factor) => {
                let inverse = (1.0 / factor).round();
                let is_inverse = factor.abs() < 1.0 && inverse != 0.0 && 1.0 / inverse == factor;
                if is_inverse { Self::DividedBy(inverse) } else { Self::Times(factor) }
            }
        }
    }

    /// A value in the naming's unit; true is 1 and false 0. None for a value that is not there, a text, and a result that no number is.
    #[must_use]
    pub fn number(self, value: &Value) -> Option<Number> {
        let number = match *value {
            Value::Null | Value::Text(_) => return None,
            Value::Unsigned(number) => Number::Unsigned(number),
            Value::Signed(number) => Number::Signed(number),
            Value::Float(number) => Number::Float(number),
            Value::Boolean(is_true) => Number::Unsigned(is_true.into()),
        };
        match self {
            Self::Unchanged => Some(number).filter(|number| number.float().is_finite()),
            Self::Times(_) | Self::DividedBy(_) => self.float(number.float()).map(Number::Float),
        }
    }

    /// A number in the naming's unit; none where that is no number.
    #[must_use]
    pub fn float(self, number: f64) -> Option<f64> {
        let scaled = match self {
            Self::Unchanged => number,
            Self::Times(factor) => number * factor,
            Self::DividedBy(divisor) => number / divisor,
        };
        Some(scaled).filter(|scaled| scaled.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_without_factor_stay_integers() {
        let unchanged = Scale::new(None);
        assert_eq!(unchanged.number(&Value::Unsigned(u64::MAX)), Some(Number::Unsigned(u64::MAX)));
        assert_eq!(unchanged.number(&Value::Signed(i64::MIN)), Some(Number::Signed(i64::MIN)));
        assert_eq!(unchanged.number(&Value::Boolean(true)), Some(Number::Unsigned(1)));
        assert_eq!(unchanged.number(&Value::Null), None);
        assert_eq!(unchanged.number(&Value::from("up")), None);
        assert_eq!(unchanged.number(&Value::Float(f64::INFINITY)), None);
    }

    #[test]
    fn percents_are_divided_by_a_hundred() {
        assert_eq!(Scale::new(Some(0.01)), Scale::DividedBy(100.0));
        assert_eq!(Scale::new(Some(0.01)).number(&Value::Float(57.0)), Some(Number::Float(0.57)));
        assert_eq!(Scale::new(Some(0.125)).number(&Value::Unsigned(256)), Some(Number::Float(32.0)));
        assert_eq!(Scale::new(Some(1e6)).number(&Value::Signed(2400)), Some(Number::Float(2.4e9)));
        assert_eq!(Scale::new(Some(2.5)), Scale::Times(2.5));
        assert_eq!(Scale::new(Some(1e300)).number(&Value::Float(1e300)), None);
    }
}
