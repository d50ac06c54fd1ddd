//! The query of a request. A parameter that an endpoint does not have is an error: a misspelt one would be ignored otherwise.

/// The most parameters: enough to name every module of a large host.
const MAX_PARAMETERS: usize = 256;

/// The parameters of a query, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Parses a query, of which an endpoint has these parameters.
    ///
    /// # Errors
    ///
    /// The reason and the remedy.
    pub(super) fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let mut parameters = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&&*name) {
                let remedy = if known.is_empty() {
                    "this endpoint has no parameters".to_owned()
                } else {
                    format!("known: {}", known.join(", "))
                };
                return Err(format!("unknown parameter {name:?}; {remedy}"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(format!("more than {MAX_PARAMETERS} parameters; send fewer"));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// The values of a parameter.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Whether a parameter without a value is given.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.values(name).any(|value| !matches!(value, "0" | "false"))
    }
}

/// A text without its escapes.
fn decode(text: &str) -> Result<String, String> {
    let damaged = || format!("damaged escape in the query {text:?}; write %25 for %");
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().zip(digit()).map(|(high, low)| high << 4 | low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or_else(damaged)?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).map_err(|_| damaged())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_parameters_are_decoded() {
        let query = Query::parse(Some("module=a&module=b%5F1&pretty&&x=+"), &["module", "pretty", "x"]).expect("known");
        assert_eq!(query.values("module").collect::<Vec<_>>(), ["a", "b_1"]);
        assert_eq!(query.values("x").collect::<Vec<_>>(), [" "]);
        assert!(query.is_set("pretty") && !query.is_set("module2"));
        assert!(!Query::parse(Some("pretty=0"), &["pretty"]).expect("known").is_set("pretty"));
        assert_eq!(Query::parse(None, &[]), Ok(Query::default()));
    }

    #[test]
    fn unknown_and_damaged_parameters_are_errors() {
        for (text, error) in [
            ("modules=a", "unknown parameter \"modules\"; known: module"),
            ("module=%5", "damaged escape in the query \"%5\"; write %25 for %"),
            ("module=%ff", "damaged escape in the query \"%ff\"; write %25 for %"),
            ("module=%zz", "damaged escape in the query \"%zz\"; write %25 for %"),
        ] {
            assert_eq!(Query::parse(Some(text), &["module"]), Err(error.to_owned()));
        }
        let many = "module=a&".repeat(MAX_PARAMETERS + 1);
        assert!(Query::parse(Some(&many), &["module"]).is_err());
    }

    proptest! {
        #[test]
        fn encoded_values_are_read_back(value in any::<String>()) {
            let mut text = "x=".to_owned();
            for byte in value.bytes() {
                let _ = write!(text, "%{byte:02X}");
            }
            let query = Query::parse(Some(&text), &["x"]).expect("known");
            prop_assert_eq!(query.values("x").collect::<Vec<_>>(), [&*value]);
        }

        #[test]
        fn any_query_has_known_parameters_or_error(
            text in prop_oneof![any::<String>(), "(a|%61|b)?[=&%0-9+é]{0,8}(&a=[b%]{0,2})?"],
        ) {
            if let Ok(query) = Query::parse(Some(&text), &["a"]) {
                prop_assert!(query.parameters.iter().all(|(name, _)| name == "a"), "{:?}", query);
                let bytes: usize = query.values("a").map(str::len).sum();
                prop_assert!(bytes + query.parameters.len() <= text.len(), "{:?}", query);
            }
        }
    }
}
