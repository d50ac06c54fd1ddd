//! The parts of a JSON text: strings, numbers and punctuation. Settings and the bodies of services are read with it.

use std::borrow::Cow;

/// A text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The byte at which it is not.
    pub(crate) at: usize,
}

/// A scalar value, or the start of a list or table.
pub(crate) enum Token<'de> {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    /// A number with a fraction or an exponent, or one beyond 64 bits: exact up to 15 digits, and infinite if it is too large; and its
    /// text.
    Float(f64, &'de str),
    Text(Cow<'de, str>),
    List,
    Table,
}

/// Reads the parts of a JSON text, one after the other.
pub(crate) struct Reader<'de> {
    text: &'de str,
    at: usize,
}

impl<'de> Reader<'de> {
    /// A reader of a text from its beginning.
    pub(crate) fn new(text: &'de str) -> Self {
        Self { text, at: 0 }
    }

    /// The number of bytes that were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The text that was read from a place on.
    pub(crate) fn since(&self, start: usize) -> &'de str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn error(&self) -> Malformed {
        Malformed { at: self.at }
    }

    /// Reads the end of the text.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.peek().map_or(Ok(()), |_| Err(self.error()))
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.error());
        }
        self.at += 1;
        Ok(())
    }

    /// Whether a list or table has another element. Reads the comma before it.
    pub(crate) fn has_next(&mut self, end: u8, is_first: bool) -> Result<bool, Malformed> {
        if self.peek() == Some(end) {
            return Ok(false);
        }
        if !is_first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    pub(crate) fn token(&mut self) -> Result<Token<'de>, Malformed> {
        let first = self.peek().ok_or_else(|| self.error())?;
        let at = self.at;
        match first {
            b'"' => self.string().map(Token::Text),
            b'[' | b'{' => {
                self.at += 1;
                Ok(if first == b'[' { Token::List } else { Token::Table })
            }
            _ => {
                let rest = self.text.as_bytes().get(at..).unwrap_or_default();
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
                let word = self.text.get(at..at + rest.iter().take_while(is_part).count()).unwrap_or_default();
                let token = word_token(word).ok_or_else(|| self.error())?;
                self.at += word.len();
                Ok(token)
            }
        }
    }

    /// Reads a string with its quotes.
    pub(crate) fn string(&mut self) -> Result<Cow<'de, str>, Malformed> {
        self.expect(b'"')?;
        // What is before the last escape. The rest is a part of the text.
        let (mut unescaped, mut start) = (String::new(), self.at);
        loop {
            let byte = self.text.as_bytes().get(self.at).copied().filter(|&byte| byte >= b' ');
            if matches!(byte, Some(b'"' | b'\\')) {
                let plain = self.since(start);
                if byte == Some(b'"') {
                    self.at += 1;
                    return Ok(if unescaped.is_empty() { plain.into() } else { (unescaped + plain).into() });
                }
                unescaped.push_str(plain);
                unescaped.push(self.escape()?);
                start = self.at;
            } else {
                byte.ok_or_else(|| self.error())?;
                self.at += 1;
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        let escaped = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match escaped {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode().ok_or_else(|| self.error()),
            _ => return Err(self.error()),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\u00e4`, or a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let unit = |at: usize| {
            let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
            digits.chars().try_fold(0, |unit, digit| Some(unit * 16 + digit.to_digit(16)?))
        };
        let first = unit(self.at)?;
        if !(0xd800..0xdc00).contains(&first) {
            self.at += 6;
            return char::from_u32(first);
        }
        let second = unit(self.at + 6).filter(|second| (0xdc00..0xe000).contains(second))?;
        self.at += 12;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }
}

fn word_token(word: &str) -> Option<Token<'_>> {
    match word {
        "null" => return Some(Token::Null),
        "true" => return Some(Token::Boolean(true)),
        "false" => return Some(Token::Boolean(false)),
        _ => {}
    }
    let (is_negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    if !digits.as_bytes().first()?.is_ascii_digit() || matches!(digits.as_bytes(), [b'0', b'0'..=b'9', ..]) {
        return None;
    }
    match natural(digits) {
        Some(number) if !is_negative => Some(Token::Unsigned(number)),
        number => match number.and_then(|number| 0_i64.checked_sub_unsigned(number)) {
            Some(number) => Some(Token::Signed(number)),
            None => Some(Token::Float(float(word)?, word)),
        },
    }
}

/// Only digits, in a number of 64 bits. Smaller than the standard library's parsers of all types of numbers.
fn natural(digits: &str) -> Option<u64> {
    let number = digits
        .chars()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(digit.to_digit(10)?.into()))?;
    (!digits.is_empty()).then_some(number)
}

/// Exact up to 15 digits and exponents up to 15. The standard library's parser, which is exact, is as large as a small plugin's own code.
fn float(word: &str) -> Option<f64> {
    use crate::kernel::Number as _;
    /// A power of ten in one step. Two are more than a float has.
    const STEP: i32 = 300;
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    if mantissa.ends_with('.') {
        return None;
    }
    let (is_small, exponent) = match exponent.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let exponent = exponent.iter().try_fold(None, |number, digit| {
        let digit = i32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        Some(Some((number.unwrap_or(0) * 10 + digit).min(2 * STEP)))
    });
    let (mantissa, exponent) = (f64::parse(mantissa)?, exponent??);
    // Zero times infinity would be no number.
    if mantissa == 0.0 {
        return Some(mantissa);
    }
    let scale = |value: f64, exponent: i32| {
        let power = 10_f64.powi(exponent);
        if is_small { value / power } else { value * power }
    };
    let first = exponent.min(STEP);
    Some(scale(scale(mantissa, first), exponent - first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exponents_of_any_size_are_read() {
        for (word, expected) in [
            ("0e400", 0.0),
            ("0.00e99999999999999999999", 0.0),
            ("-0e-400", -0.0),
            ("1e-2147483648", 0.0),
            ("1e-2147483649", 0.0),
            ("1e2147483648", f64::INFINITY),
            ("-1e999", f64::NEG_INFINITY),
            ("1E+15", 1e15),
            ("2.5e-3", 2.5e-3),
        ] {
            assert_eq!(float(word).map(f64::to_bits), Some(f64::to_bits(expected)), "{word}");
        }
        for word in ["1.", "1.e5", "1e", "1e+", "1e--1", "1e5.5", "1ee5", "1e5x", "1.2.3", "x"] {
            assert_eq!(float(word), None, "{word}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_near_those_of_the_standard_library(word in "-?[0-9]{1,20}(\\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?") {
            let (ours, exact) = (float(&word).expect("a number"), word.parse::<f64>().expect("a number"));
            // The smallest numbers have few digits.
            let is_near = (ours - exact).abs() <= exact.abs() * 1e-13 + f64::from_bits(2);
            prop_assert!(is_near || ours.to_bits() == exact.to_bits() || exact.abs() > 1.797e308, "{word}: {ours} and {exact}");
        }
    }
}
