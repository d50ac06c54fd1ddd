//! Tests of documents and fields.

use proptest::prelude::*;
use serde_json::Value as Expected;

use super::*;
use crate::skipped::Skipped;
use crate::testing::Host;
use crate::{Error as PluginError, service};

fn parse(text: &str) -> Result<Document<'_>, Error> {
    Document::parse("s", text.as_bytes())
}

/// Whether a value is that of `serde_json`, which keeps the sign of zero.
fn is_same(ours: &Value<'_>, theirs: &Expected) -> bool {
    match (ours, theirs) {
        (Value::Null, Expected::Null) => true,
        (Value::Boolean(ours), Expected::Bool(theirs)) => ours == theirs,
        (Value::Natural(ours), Expected::Number(theirs)) => theirs.as_u64() == Some(*ours),
        (Value::Integer(0), Expected::Number(theirs)) => theirs.as_f64() == Some(-0.0),
        (Value::Integer(ours), Expected::Number(theirs)) => theirs.as_i64() == Some(*ours),
        (Value::Number(ours), Expected::Number(theirs)) => theirs.as_f64() == Some(*ours),
        (Value::Text(ours), Expected::String(theirs)) => ours == theirs,
        (Value::List(ours), Expected::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Table(ours), Expected::Object(theirs)) => {
            let has_same = |(key, value): (&Cow<'_, str>, &Value<'_>)| {
                theirs.get(&**key).is_some_and(|theirs| is_same(value, theirs))
            };
            ours.len() == theirs.len() && ours.iter().all(has_same)
        }
        _ => false,
    }
}

/// Texts made of a few numbers: valid JSON, and damaged.
fn texts() -> Vec<String> {
    let mut state = 11_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let words = [
        "null",
        "true",
        "0",
        "-7",
        "2.5",
        "18446744073709551615",
        "-9223372036854775808",
        "\"a\\u00e4\\n\"",
        "\"\"",
        "[]",
        "{}",
        "[1, \"x\"]",
        "{\"k\": 1, \"k\": [2]}",
        "1e3",
        "\"\\ud83d\\ude00\"",
    ];
    let mut texts = Vec::new();
    for _ in 0..2000 {
        let mut text = words[random(words.len())].to_owned();
        for level in 0..random(5) {
            let other = words[random(words.len())];
            text = if random(2) == 0 {
                format!("[{text}, {other}]")
            } else {
                format!("{{\"k{level}\": {text} ,\"o\":{other}}}")
            };
        }
        if random(2) == 0 {
            let at = random(text.len());
            let end = text.char_indices().map(|(at, _)| at).find(|&boundary| boundary >= at).unwrap_or(0);
            text = match random(3) {
                0 => text[..end].to_owned(),
                1 => format!("{}{}", &text[..end], ["}", "]", ",", "\"", "\\", "1"][random(6)]),
                _ => format!("{}{}{}", &text[..end], [" ", ",", ":", "\"", "e", "-"][random(6)], &text[end..]),
            };
        }
        texts.push(text);
    }
    texts
}

#[test]
fn documents_match_serde_json() {
    let mut valid = 0;
    for text in texts() {
        let (ours, theirs) = (parse(&text), serde_json::from_str::<Expected>(&text));
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}: {ours:?} and {theirs:?}");
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert!(is_same(&ours.root, &theirs), "{text}: {ours:?} and {theirs:?}");
            valid += 1;
        }
    }
    assert!((1000..1900).contains(&valid), "{valid} of 2000 are valid");
}

proptest! {
    #[test]
    fn floats_are_those_of_the_standard_library(
        text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20}([eE][-+]?[0-9]{1,12})?|[eE][-+]?[0-9]{1,12})",
    ) {
        let (ours, exact) = (parse(&text).map(|document| document.at("").f64()), text.parse::<f64>().expect("a number"));
        match ours {
            Ok(ours) => prop_assert_eq!(ours.map(f64::to_bits), Ok(exact.to_bits()), "{}", text),
            Err(_) => prop_assert!(exact.is_infinite(), "{}", text),
        }
    }
}

#[test]
fn floats_at_the_ends_are_exact() {
    for text in ["1.7976931348623157e308", "5e-324", "2.2250738585072014e-308", "1e-310", "0e400", "9007199254740993.0"]
    {
        assert_eq!(parse(text).expect("a number").at("").f64(), Ok(text.parse().expect("a number")), "{text}");
    }
    assert_eq!(parse("[1e309]").expect_err("too large").to_string(), "s is not valid JSON at byte 6");
}

#[test]
fn documents_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    let error = parse(&nested(MAX_DEPTH + 1)).expect_err("too deep");
    assert_eq!(error.to_string(), "s has more than 128 levels");
    assert!(parse(&"[".repeat(1_000_000)).is_err(), "without an overflow of the stack");
    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
    assert!(parse(&list(MAX_VALUES)).is_ok());
    let error = parse(&list(MAX_VALUES + 1)).expect_err("too many");
    assert_eq!(error.to_string(), "s has more than 500000 values");
}

#[test]
fn bodies_that_are_not_json_are_errors() {
    for (body, message) in [
        (&b""[..], "s is empty"),
        (b" \n", "s is empty"),
        (b"{\"a\": \xff}", "s is not UTF-8 at byte 6"),
        (b"<html>", "s is not valid JSON at byte 0"),
        (b"{\"a\": 1} x", "s is not valid JSON at byte 9"),
        (b"{\"a\": NaN}", "s is not valid JSON at byte 6"),
    ] {
        let error = Document::parse("s", body).expect_err(message);
        assert_eq!(error.to_string(), message);
        assert_eq!(PluginError::from(error.clone()), PluginError::Failed(message.to_owned()));
        assert_eq!(service::Failure::from(error), service::Failure::down("body", message));
    }
    let document = Document::parse("s", b"\xef\xbb\xbf{\"a\": 1}").expect("a byte order mark is skipped");
    assert_eq!(document.at("a").u64(), Ok(1));
}

#[test]
fn last_value_of_a_key_holds() {
    let document = parse(r#"{"a": 1, "b": 2, "a": {"c": 3}}"#).expect("valid JSON");
    assert_eq!(document.at("a.c").u64(), Ok(3));
    assert_eq!(document.root().table().expect("a table").len(), 2);
}

const EACH: &str = r#"{"null": null, "yes": true, "whole": 7, "negative": -7, "fraction": 2.5, "float": 5.0, "huge": 1e300,
    "long": 9223372036854775808, "text": "x", "list": [1, [2]], "table": {"b": 1, "a.b": 2}}"#;

#[test]
fn getters_return_their_type_only() {
    let document = parse(EACH).expect("valid JSON");
    let keys: Vec<&str> = document.root().table().expect("a table").map(|(key, _)| key).collect();
    let accepting = |is_accepted: &dyn Fn(&Field<'_>) -> bool| -> Vec<&str> {
        keys.iter().copied().filter(|key| is_accepted(&document.at(key))).collect()
    };
    assert_eq!(accepting(&|field| field.u64().is_ok()), ["float", "long", "whole"]);
    assert_eq!(accepting(&|field| field.i64().is_ok()), ["float", "negative", "whole"]);
    assert_eq!(accepting(&|field| field.f64().is_ok()), ["float", "fraction", "huge", "long", "negative", "whole"]);
    assert_eq!(accepting(&|field| field.bool().is_ok()), ["yes"]);
    assert_eq!(accepting(&|field| field.text().is_ok()), ["text"]);
    assert_eq!(accepting(&|field| field.list().is_ok()), ["list"]);
    assert_eq!(accepting(&|field| field.table().is_ok()), ["table"]);
    assert_eq!(document.at("null").value(), Ok(&Value::Null));
    assert!(document.at("null").if_present().is_none() && document.at("none").if_present().is_none());
    assert_eq!(document.at("float").if_present().map(|field| field.i64()), Some(Ok(5)));
}

#[test]
fn field_errors_name_source_and_path() {
    let document = parse(EACH).expect("valid JSON");
    let message = |field: Field<'_>| field.u64().expect_err("not a number").to_string();
    let expected = "expected a whole number that is not negative";
    for (path, message_of_path) in [
        ("none", "s: none is missing".to_owned()),
        ("list[2]", "s: list[2] is missing".to_owned()),
        ("whole.more", "s: whole.more is missing".to_owned()),
        ("a..b", "s: a..b is not a path".to_owned()),
        ("text", format!("s: text is text; {expected}")),
        ("list[1]", format!("s: list[1] is a list; {expected}")),
        ("null", format!("s: null is null; {expected}")),
        ("", format!("s is a table; {expected}")),
    ] {
        assert_eq!(message(document.at(path)), message_of_path);
    }
    assert_eq!(message(document.at("list").at("[1]").at("[4]")), "s: list[1][4] is missing");
    let nested: Vec<String> =
        document.at("list[1]").list().expect("a list").map(|field| field.path().to_owned()).collect();
    assert_eq!(nested, ["list[1][0]"]);
    let members: Vec<String> =
        document.at("table").table().expect("a table").map(|(_, at)| at.path().to_owned()).collect();
    assert_eq!(members, [r#"table["a.b"]"#, "table.b"]);
}

#[test]
fn field_errors_are_reported_as_left_out_parts() {
    let mut host = Host::new();
    host.run(|| {
        let document = parse(EACH).expect("valid JSON");
        let mut skipped = Skipped::default();
        assert_eq!(skipped.keep(document.at("whole").u64(), "jobs"), Some(7));
        assert_eq!(skipped.keep(document.at("text").u64(), "jobs"), None);
    });
    let why = "WARN without jobs: s is malformed: text is text; expected a whole number that is not negative";
    assert_eq!(host.messages(), [why]);
}
