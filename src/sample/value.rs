//! Values: what is measured.

use super::labels::Text;

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not measurable on this host; numeric sinks omit it.
    Null,
    /// A byte or event counter, which may exceed the whole numbers that a float can hold.
    Unsigned(u64),
    /// A whole number that may be negative.
    Signed(i64),
    /// Any other number; always finite.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A text: an identity or a state.
    Text(Text),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned().into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
