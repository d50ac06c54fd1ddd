//! The parser of `os-release`: assignments as of a shell, of which only names and versions are taken (os-release(5)).

use super::super::bounds::VERSION;
use crate::procfs::{NO_LINE, ONLY_THE_LINE, Oddities};
use crate::sample::{Label, Labels};

/// The names of the file's variables, and those of the labels.
const LABELS: [(&str, &str); 12] = [
    ("BUILD_ID", "build_id"),
    ("ID", "id"),
    ("ID_LIKE", "id_like"),
    ("IMAGE_ID", "image_id"),
    ("IMAGE_VERSION", "image_version"),
    ("NAME", "name"),
    ("PRETTY_NAME", "pretty_name"),
    ("VARIANT", "variant"),
    ("VARIANT_ID", "variant_id"),
    ("VERSION", "version"),
    ("VERSION_CODENAME", "version_codename"),
    ("VERSION_ID", "version_id"),
];

/// The labels of the system's version.
const IDENTITY: [&str; 3] = ["id", "id_like", "name"];

/// The longest value of a label: the kernel's names have at most 64 characters, and a pretty name is a line of a few words.
const MAX_VALUE_BYTES: usize = 256;

/// The fault of a text that is no value of a label.
pub(super) const NO_VALUE: &str =
    "is no name: it is empty, longer than 256 bytes, or has characters that cannot be shown";

/// The text as the value of a label, if it can be one.
pub(super) fn label_value(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let is_valid = (1..=MAX_VALUE_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    is_valid.then(|| text.to_owned())
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct OsRelease {
    /// Names and versions; those that the file lacks, or that are empty, are left out.
    pub(in super::super) info: Labels,
    /// The first two parts of the version as a number, with the labels of the system; none if it does not begin with a number.
    pub(in super::super) version: Option<(Labels, f64)>,
}

impl OsRelease {
    /// None if the file has no name and no version.
    pub(super) fn parse(text: &[u8], odd: &mut Oddities) -> Option<Self> {
        let mut values: [Option<String>; LABELS.len()] = Default::default();
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
                odd.note(line, NO_LINE, ONLY_THE_LINE);
                continue;
            };
            let (name, value) = (&line[..equals], &line[equals + 1..]);
            let Some(at) = LABELS.iter().position(|(own, _)| own.as_bytes() == name) else { continue };
            // An empty value is none, as of a shell's variable.
            values[at] = Some(unquoted(value)).filter(|value| !value.is_empty()).and_then(|value| {
                let kept = label_value(&value);
                if kept.is_none() {
                    odd.note(line, NO_VALUE, "a label of host.os_info");
                }
                kept
            });
        }
        let labels = LABELS
            .iter()
            .zip(values)
            .filter_map(|((_, name), value)| value.map(|value| Label { name: (*name).into(), value: value.into() }));
        let info: Labels = labels.collect();
        let version = info.iter().find(|label| &*label.name == "version_id").and_then(|label| number(&label.value));
        let identity = info.iter().filter(|label| IDENTITY.contains(&&*label.name)).cloned().collect();
        (!info.is_empty()).then(|| Self { version: version.map(|version| (identity, version)), info })
    }
}

/// A value without the quotes and escapes of a shell. A quote without an end ends with the line.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let (mut quote, mut bytes) = (None, value.iter().copied());
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if byte == open => quote = None,
            (None | Some(b'"'), b'\\') => plain.extend(bytes.next()),
            (None, b' ' | b'\t') => break,
            _ => plain.push(byte),
        }
    }
    plain
}

/// The number that a version begins with, of at most two parts: 22.04 of `22.04.1`. None if it is 0.
fn number(version: &str) -> Option<f64> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(version);
    let minor = version[major..].strip_prefix('.').map_or(0, |rest| 1 + digits(rest));
    let number = version[..major + minor].parse().ok().filter(|_| major > 0);
    number.filter(|&number| number > 0.0 && VERSION.holds(number))
}

/// The fuzz target: the labels are those of the file's variables, and a file that is written from them has the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let parse = |text: &[u8]| {
        let mut odd = Oddities::default();
        odd.begin_text(text);
        OsRelease::parse(text, &mut odd)
    };
    let Some(release) = parse(bytes) else { return };
    assert!(release.info.iter().all(|label| label_value(label.value.as_bytes()).is_some()));
    let line = |label: &Label| {
        let (name, _) = LABELS.iter().find(|(_, own)| *own == &*label.name).expect("one of them");
        format!("{name}='{}'\n", label.value.replace('\'', r"'\''"))
    };
    let written: String = release.info.iter().map(line).collect();
    assert_eq!(parse(written.as_bytes()), Some(release), "{written}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The labels of a file, and the words that were left out.
    fn parse(text: &str) -> (String, Vec<String>) {
        let (release, noted) = Oddities::noted(text.as_bytes(), OsRelease::parse);
        let info = release.map_or_else(String::new, |release| release.info.text().to_owned());
        (info, noted.into_iter().map(|(word, _)| word).collect())
    }

    #[test]
    fn names_and_versions_are_labels() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
                      VERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\nID_LIKE=\n\
                      HOME_URL=\"https://www.debian.org/\"\n";
        let info = r#"{id="debian",name="Debian GNU/Linux",pretty_name="Debian GNU/Linux 12 (bookworm)",version="12 (bookworm)",version_codename="bookworm",version_id="12"}"#;
        assert_eq!(parse(debian), (info.to_owned(), vec![]));
        let (release, _) = Oddities::noted(debian.as_bytes(), OsRelease::parse);
        let (labels, version) = release.and_then(|release| release.version).expect("a number");
        assert_eq!((labels.text(), version), (r#"{id="debian",name="Debian GNU/Linux"}"#, 12.0));
    }

    #[test]
    fn quotes_and_escapes_are_a_shells() {
        let info = |text: &str| parse(text).0;
        for (text, value) in [
            ("ID=a", "a"),
            ("ID='a b'", "a b"),
            ("ID=\"a \\\"b\\\" \\$c \\\\\"", r#"a \"b\" $c \\"#),
            ("ID='a\\b'", r"a\\b"),
            ("ID=a'b'\"c\"", "abc"),
            ("ID=a # comment", "a"),
            ("ID=\"no end", "no end"),
            (" ID=a\r", "a"),
            ("ID=a\nID=b", "b"),
        ] {
            assert_eq!(info(text), format!("{{id=\"{value}\"}}"), "{text}");
        }
        assert_eq!(info("ID=a\nID="), "");
    }

    #[test]
    fn damaged_lines_cost_only_themselves() {
        let (info, noted) = parse("ID=a\nnonsense\nNAME=\"x\u{7f}\"\n");
        assert_eq!((&*info, noted.len()), (r#"{id="a"}"#, 2), "{noted:?}");
        let long = format!("ID=a\nNAME={}\n", "x".repeat(257));
        assert_eq!(parse(&long).1.len(), 1);
    }

    #[test]
    fn versions_begin_with_a_number() {
        let numbers = [("12", 12.0), ("22.04", 22.04), ("3.18.4", 3.18), ("9.", 9.0), ("40-rc1", 40.0)];
        for (version, number) in numbers {
            assert_eq!(super::number(version), Some(number), "{version}");
        }
        for version in ["", "rolling", ".5", "0", "v1", &"9".repeat(200)] {
            assert_eq!(super::number(version), None, "{version}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_files_do_not_panic(
            bytes in any::<Vec<u8>>(),
            text in "((ID|NAME|VERSION_ID|X)?[=\n \"'\\\\#a0.ü]{0,5}){0,20}",
        ) {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }
    }
}
