//! The field numbers of our messages beside those of OTLP's own files.

use std::collections::BTreeMap;

const PROTO: [&str; 4] = [
    include_str!("../../../../tests/fixtures/otlp/opentelemetry/proto/collector/metrics/v1/metrics_service.proto"),
    include_str!("../../../../tests/fixtures/otlp/opentelemetry/proto/common/v1/common.proto"),
    include_str!("../../../../tests/fixtures/otlp/opentelemetry/proto/metrics/v1/metrics.proto"),
    include_str!("../../../../tests/fixtures/otlp/opentelemetry/proto/resource/v1/resource.proto"),
];

/// The message that a `oneof` of ours is part of.
const ONE_OF: [(&str, &str); 3] = [("Value", "AnyValue"), ("Data", "Metric"), ("PointValue", "NumberDataPoint")];

/// Message and field, in `snake_case` without underscores, to number and type.
type Fields = BTreeMap<(String, String), (u32, String)>;

/// The fields in OTLP's files.
fn proto_fields() -> Fields {
    let mut fields = Fields::new();
    for text in PROTO {
        // Messages within messages, and `oneof`s.
        let mut open: Vec<String> = Vec::new();
        for line in text.lines().map(|line| line.split("//").next().unwrap_or_default().trim()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["message", name, "{"] => open.push(name.to_owned()),
                ["oneof" | "enum" | "service" | "rpc", .., "{"] => {
                    open.push(open.last().cloned().unwrap_or_default());
                }
                ["}" | "};"] => drop(open.pop()),
                ["reserved" | "option" | "package" | "import" | "syntax", ..] | [] => {}
                [kind, name, "=", number] | [_, kind, name, "=", number] => {
                    let Some(message) = open.last().filter(|message| !message.is_empty()) else { continue };
                    let Ok(number) = number.trim_end_matches(';').parse() else { continue };
                    let kind = kind.rsplit('.').next().unwrap_or(kind).to_lowercase();
                    fields.insert((message.clone(), name.replace('_', "")), (number, kind));
                }
                _ => {}
            }
        }
    }
    fields
}

/// The fields in our files: a line with the type and number, and one with the name.
fn own_fields() -> Fields {
    let mut fields = Fields::new();
    for text in [include_str!("../messages.rs"), include_str!("../metric_messages.rs")] {
        let (mut message, mut attribute) = (String::new(), None);
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub(super) struct ").or(line.strip_prefix("pub(super) enum ")) {
                let name = rest.trim_end_matches(" {");
                let of = ONE_OF.iter().find(|(one_of, _)| *one_of == name);
                message = of.map_or(name, |(_, message)| message).to_owned();
            } else if let Some(rest) = line.strip_prefix("#[prost(").filter(|rest| rest.contains("tag = ")) {
                let number = rest.split("tag = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a number");
                let kind = rest.split([',', ' ']).next().expect("a type").to_owned();
                attribute = Some((number.parse().expect("a number"), kind));
            } else if let Some((number, kind)) = attribute.take() {
                let line = line.trim_start_matches("pub(super) ");
                let name = line.split([':', '(']).next().expect("a name").to_lowercase().replace('_', "");
                let kind = if matches!(&*kind, "message" | "enumeration") {
                    let named = line.split(['<', '(', '>', ')']).rfind(|part| part.len() > 1).unwrap_or(line);
                    if kind == "enumeration" { "aggregationtemporality".to_owned() } else { named.to_lowercase() }
                } else {
                    kind
                };
                fields.insert((message.clone(), name), (number, kind));
            }
        }
    }
    fields
}

#[test]
fn field_numbers_are_those_of_otlp() {
    let (mut own, proto) = (own_fields(), proto_fields());
    assert!(proto.len() > 60, "{proto:?}");
    // That of google.rpc, which is not among these files.
    let status: Vec<u32> =
        ["code", "message"].map(|name| own.remove(&("Status".to_owned(), name.to_owned())).expect("there").0).into();
    assert_eq!(status, [1, 2]);
    assert!(own.len() > 45, "{own:?}");
    for (field, found) in own {
        assert_eq!(proto.get(&field), Some(&found), "{field:?}");
    }
}
