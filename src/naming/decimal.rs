//! Numbers as decimal text, for formats that are text.

use std::io::Write as _;

use super::scale::Number;

/// From this size on a float is written with an exponent, as its digits would be zeros mostly …
const LARGE: f64 = 1e17;

/// … and below this one.
const SMALL: f64 = 1e-5;

impl Number {
    /// Appends it as text: an integer without a fraction, a float with the shortest digits that give it back.
    pub(crate) fn push_to(self, to: &mut Vec<u8>) {
        let written = match self {
            Self::Unsigned(number) => write!(to, "{number}"),
            Self::Signed(number) => write!(to, "{number}"),
            Self::Float(number) => match number.abs() {
                0.0 => write!(to, "0"),
                SMALL..LARGE => write!(to, "{number}"),
                _ => write!(to, "{number:e}"),
            },
        };
        debug_assert!(written.is_ok(), "writing to memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(number: Number) -> String {
        let mut bytes = Vec::new();
        number.push_to(&mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn numbers_have_the_shortest_text() {
        for (number, expected) in [
            (Number::Unsigned(u64::MAX), "18446744073709551615"),
            (Number::Signed(i64::MIN), "-9223372036854775808"),
            (Number::Float(3.0), "3"),
            (Number::Float(-0.0), "0"),
            (Number::Float(0.1), "0.1"),
            (Number::Float(2.5e9), "2500000000"),
            (Number::Float(1e300), "1e300"),
            (Number::Float(1.5e-7), "1.5e-7"),
        ] {
            assert_eq!(text(number), expected);
        }
    }

    proptest! {
        #[test]
        fn floats_are_read_as_they_were(number in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO) {
            let text = text(Number::Float(number));
            prop_assert_eq!(text.parse::<f64>().expect("a number"), number);
            prop_assert!(text.len() < 30, "{}", text);
        }
    }
}
