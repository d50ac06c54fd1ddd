//! The elements of a JSON array as texts, so that each is judged on its own. Pure.

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// Why a text is no array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ArrayError {
    /// It is something else.
    Other,
    /// It is damaged here, for this reason.
    Damaged(String),
    /// It has more elements than are taken.
    TooMany,
}

/// White space of JSON.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The elements of an array that has at most so many. Nesting costs a byte a level.
///
/// # Errors
///
/// When the text is no whole array.
pub(super) fn elements(text: &str, most: usize) -> Result<Vec<&str>, ArrayError> {
    let mut rest = text.trim_start_matches(SPACE).strip_prefix('[').ok_or(ArrayError::Other)?;
    let mut elements = Vec::new();
    let damaged = |rest: &str, why: &dyn std::fmt::Display| {
        Err(ArrayError::Damaged(format!("{why}, at byte {}", text.len() - rest.len())))
    };
    if let Some(after) = rest.trim_start_matches(SPACE).strip_prefix(']') {
        rest = after;
    } else {
        loop {
            rest = rest.trim_start_matches(SPACE);
            let mut stream = Deserializer::from_str(rest).into_iter::<IgnoredAny>();
            match stream.next() {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let index = elements.len();
                    return damaged(rest, &format!("the element with index {index} is damaged: {error} of it"));
                }
                None => return damaged(rest, &"it ends too early"),
            }
            if elements.len() == most {
                return Err(ArrayError::TooMany);
            }
            let (element, after) = rest.split_at(stream.byte_offset());
            elements.push(element);
            rest = after.trim_start_matches(SPACE);
            if let Some(after) = rest.strip_prefix(',') {
                rest = after;
            } else if let Some(after) = rest.strip_prefix(']') {
                rest = after;
                break;
            } else if rest.is_empty() {
                return damaged(rest, &"it ends too early");
            } else {
                return damaged(rest, &"there is no comma between two elements");
            }
        }
    }
    if rest.trim_start_matches(SPACE).is_empty() { Ok(elements) } else { damaged(rest, &"something follows the array") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn elements_are_those_of_the_array(values in prop::collection::vec(any_json(), 0..6), is_pretty in any::<bool>()) {
            let text = if is_pretty { serde_json::to_string_pretty(&values) } else { serde_json::to_string(&values) };
            let text = text.expect("JSON");
            let found = elements(&text, 6).expect("an array");
            let read: Vec<Value> = found.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
            prop_assert_eq!(read, values);
        }

        /// Whatever is accepted as an array is JSON, but for numbers and texts in it that cannot be had.
        #[test]
        fn any_text_is_judged_as_json(text in "[\\[\\]{},:\"0-9eE.+ \\\\ntrufals-]{0,24}") {
            let is_array = serde_json::from_str::<Vec<Value>>(&text).is_ok();
            let judged = elements(&text, 100);
            prop_assert!(!is_array || judged.is_ok(), "{judged:?}");
            if let Ok(elements) = judged && elements.iter().all(|text| serde_json::from_str::<Value>(text).is_ok()) {
                prop_assert!(is_array, "{text}");
            }
        }
    }

    #[test]
    fn damaged_arrays_are_refused_with_their_place() {
        let refused = |text: &str| elements(text, 3).expect_err("no array");
        for text in ["", "{}", "1", "null", "\u{feff}[]"] {
            assert_eq!(refused(text), ArrayError::Other, "{text}");
        }
        for (text, why) in [
            ("[", "it ends too early, at byte 1"),
            ("[1", "it ends too early, at byte 2"),
            ("[1,", "it ends too early, at byte 3"),
            ("[1 2]", "there is no comma between two elements, at byte 3"),
            ("[1] x", "something follows the array, at byte 3"),
            ("[1]]", "something follows the array, at byte 3"),
        ] {
            assert_eq!(refused(text), ArrayError::Damaged(why.to_owned()), "{text}");
        }
        for text in ["[1,]", "[,1]", "[{\"a\":}]", "[{]", "[\"a]", "[nul]", "[1}", "[1.]", "[+1]"] {
            assert!(matches!(refused(text), ArrayError::Damaged(_)), "{text}");
        }
        assert_eq!(refused("[1,2,3,4]"), ArrayError::TooMany);
        assert_eq!(elements(" [ 1e999 , \"[,]\" ,{} ] \n", 3), Ok(vec!["1e999", "\"[,]\"", "{}"]));
    }

    #[test]
    fn deep_nesting_is_one_element() {
        let deep = format!("[{}{}]", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(elements(&deep, 1).map(|elements| elements.len()), Ok(1));
        assert!(matches!(elements(&"[".repeat(1_000_000), 1), Err(ArrayError::Damaged(_))));
    }
}
