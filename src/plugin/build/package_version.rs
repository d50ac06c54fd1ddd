//! Versions of the WIT package and of the agent: three numbers, and the number of a candidate. Pure.

/// A version. A candidate comes before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackageVersion {
    numbers: [u32; 3],
    candidate: Candidate,
}

/// The end of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Candidate {
    /// `-rc.` and this number.
    Numbered(u32),
    /// None: it is a release.
    Release,
}

impl PackageVersion {
    /// Reads a version such as `0.2.0` or `0.2.0-rc.4`; none for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (release, candidate) = match text.split_once('-') {
            Some((release, candidate)) => (release, Candidate::Numbered(number(candidate.strip_prefix("rc.")?)?)),
            None => (text, Candidate::Release),
        };
        let mut parts = release.split('.').map(number);
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(Self { numbers, candidate })
    }

    /// Whether an agent of this version of the interface takes plugins that were built for another one: for any release of its
    /// line, earlier or later, whose exports are the same. What only a later one imports is refused by name when the plugin is
    /// linked. A candidate takes its own only, and is taken by itself only.
    pub(crate) fn serves(self, built_for: Self) -> bool {
        let is_line = built_for.numbers[..2] == self.numbers[..2];
        let are_releases = [self, built_for].iter().all(|version| version.candidate == Candidate::Release);
        built_for == self || (is_line && are_releases)
    }
}

/// A number without a sign and without leading zeros.
fn number(text: &str) -> Option<u32> {
    let is_number = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmtime::component::Component;

    use super::*;
    use crate::plugin::guest::engine_options::{EngineOptions, Purpose, compiler};

    fn version(text: &str) -> PackageVersion {
        PackageVersion::parse(text).expect("a version")
    }

    #[test]
    fn releases_of_a_line_are_served() {
        let served = |built_for| {
            ["0.2.0", "0.2.3", "0.2.4-rc.1", "0.3.0", "1.2.3"].map(|by| version(by).serves(version(built_for)))
        };
        assert_eq!(served("0.2.0"), [true, true, false, false, false]);
        assert_eq!(served("0.2.3"), [true, true, false, false, false], "also later ones");
        assert_eq!(served("0.3.1"), [false, false, false, true, false]);
        assert_eq!(served("0.2.4-rc.1"), [false, false, true, false, false]);
        assert_eq!(served("1.2.0"), [false, false, false, false, true]);
    }

    #[test]
    fn versions_are_ordered_with_candidates_first() {
        let ordered = ["0.1.9", "0.2.0-rc.3", "0.2.0-rc.10", "0.2.0", "0.2.1-rc.1", "0.10.0", "1.0.0"].map(version);
        assert!(ordered.is_sorted());
        for odd in [
            "",
            "0.2",
            "0.2.",
            "0.2.+1",
            "0.2.01",
            "0.2.0.0",
            "0.2.0+x",
            "0.2.0-",
            "0.2.0-rc",
            "0.2.0-rc.x",
            "0.2.x",
            "0.2.99999999999",
        ] {
            assert_eq!(PackageVersion::parse(odd), None, "{odd}");
        }
    }

    /// The export of an accepted version is found by the name of the version that is served.
    #[test]
    fn engine_finds_exports_of_served_versions() {
        let engine = compiler(EngineOptions::detect(Purpose::Serve)).expect("this machine runs guests");
        for (built_for, served) in
            [("0.2.0", "0.2.0"), ("0.2.0", "0.2.3"), ("0.2.3", "0.2.0"), ("0.2.0-rc.4", "0.2.0-rc.4")]
        {
            assert!(version(served).serves(version(built_for)));
            let text =
                format!("(component (instance $i) (export \"gauged:plugin/collector@{built_for}\" (instance $i)))");
            let component = Component::new(&engine, wat::parse_str(text).expect("valid WAT")).expect("compiled");
            let name = format!("gauged:plugin/collector@{served}");
            assert!(component.get_export_index(None, &name).is_some(), "{name} of {built_for}");
        }
    }

    proptest! {
        #[test]
        fn served_versions_are_the_releases_of_the_line(
            built_for in [0..3_u32, 0..3_u32, 0..4_u32],
            served in [0..3_u32, 0..3_u32, 0..4_u32],
            marks in [proptest::option::of(1..3_u32), proptest::option::of(1..3_u32)],
        ) {
            let text = |[major, minor, patch]: [u32; 3], mark: Option<u32>| {
                format!("{major}.{minor}.{patch}{}", mark.map(|mark| format!("-rc.{mark}")).unwrap_or_default())
            };
            let is_taken = version(&text(served, marks[1])).serves(version(&text(built_for, marks[0])));
            let expected = match marks {
                [None, None] => built_for[..2] == served[..2],
                _ => built_for == served && marks[0] == marks[1],
            };
            prop_assert_eq!(is_taken, expected);
        }

        #[test]
        fn read_versions_have_one_spelling(
            text in prop_oneof![any::<String>(), "[0-9]{1,2}(\\.[0-9]{1,2}){1,3}(-(rc\\.)?[0-9]{1,2})?"],
        ) {
            if let Some(PackageVersion { numbers: [major, minor, patch], candidate }) = PackageVersion::parse(&text) {
                let end = match candidate {
                    Candidate::Numbered(number) => format!("-rc.{number}"),
                    Candidate::Release => String::new(),
                };
                prop_assert_eq!(format!("{major}.{minor}.{patch}{end}"), text);
            }
        }
    }
}
