//! Paths with wildcards, which lead to many fields.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::path::{self, Step, steps};
use super::{Document, Field, Value};
use crate::select::Pattern;

/// A path with wildcards. A key with `*` in it stands for all keys that match, `*` and `[*]` also for all elements of a list. Each is a
/// *star*, which has a value in each match: the key, or the number of the element. `{name}` is a star with a name.
///
/// ```
/// use std::ops::ControlFlow;
/// use gauged_plugin::json::{Document, Query};
///
/// let body = br#"{"nodes": {"x1": {"name": "db-1", "pools": [{"size": 4}, {"size": 8}]}}}"#;
/// let document = Document::parse("http://localhost/nodes", body)?;
/// let sizes = Query::parse("nodes.*.pools[{pool}].size").expect("a path");
/// let name = Query::parse("nodes.*.name").expect("a path");
/// let mut found = Vec::new();
/// let end = sizes.visit(&document, &mut |size| {
///     // The star of this path is the first one of the other.
///     found.push((document.bound(&name, &size.stars).text()?, size.stars[1].clone(), size.field.u64()?));
///     Ok::<_, gauged_plugin::json::Error>(ControlFlow::Continue(()))
/// })?;
/// assert_eq!(found, [("db-1", "0".into(), 4), ("db-1", "1".into(), 8)]);
/// assert_eq!((end, sizes.star_names()), (ControlFlow::Continue(()), vec![None, Some("pool")]));
/// # Ok::<(), gauged_plugin::json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: String,
    steps: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
    Star { pattern: Pattern, is_any: bool, name: Option<String> },
}

/// A field that a query leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Match<'d> {
    /// The field.
    pub field: Field<'d>,
    /// The values of the stars, in the order of the path.
    pub stars: Vec<Cow<'d, str>>,
}

impl Query {
    /// Parses a path; `None` for a text that is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = |step: Step<'_>| {
            Some(match step {
                Step::Index(index) => Part::Index(index),
                Step::Key(key) | Step::Bracket(key) if is_star(key) => Part::star(key),
                Step::Exact(key) | Step::Key(key) => Part::Key(key.to_owned()),
                Step::Bracket(_) => return None,
            })
        };
        let steps = steps(text)?.into_iter().map(part).collect::<Option<_>>()?;
        Some(Self { text: text.to_owned(), steps })
    }

    /// The path as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the stars, in the order of the path.
    #[must_use]
    pub fn star_names(&self) -> Vec<Option<&str>> {
        self.steps
            .iter()
            .filter_map(|part| match part {
                Part::Star { name, .. } => Some(name.as_deref()),
                Part::Key(_) | Part::Index(_) => None,
            })
            .collect()
    }

    /// The key that the path ends with, without brackets and quotes. None for an element of a list, and for a star.
    #[must_use]
    pub fn last_key(&self) -> Option<&str> {
        match self.steps.last()? {
            Part::Key(key) => Some(key),
            Part::Index(_) | Part::Star { .. } => None,
        }
    }

    /// Whether the path ends with a star that has no name.
    #[must_use]
    pub fn ends_with_star(&self) -> bool {
        matches!(self.steps.last(), Some(Part::Star { name: None, .. }))
    }

    /// Calls `take` with each field that is there, in the order of the document's lists and of the keys of its tables, until it breaks
    /// or fails.
    ///
    /// # Errors
    ///
    /// That of `take`.
    pub fn visit<'d, E>(
        &self,
        document: &'d Document<'_>,
        take: &mut impl FnMut(Match<'d>) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let root: &'d Value<'d> = &document.root;
        descend(&self.steps, root, &mut Vec::new(), &mut |stars| {
            take(Match { field: self.resolve(document, stars), stars: stars.to_vec() })
        })
    }

    /// The field that the path leads to with these values of its stars.
    fn resolve<'d>(&self, document: &'d Document<'_>, stars: &[Cow<'_, str>]) -> Field<'d> {
        let (mut path, mut value, mut stars) = (String::new(), Some(&document.root), stars.iter());
        for part in &self.steps {
            let key = match part {
                Part::Key(key) => Cow::Borrowed(key.as_str()),
                Part::Index(index) => Cow::Owned(index.to_string()),
                Part::Star { .. } => stars.next().map_or(Cow::Borrowed("*"), |star| Cow::Borrowed(&**star)),
            };
            let is_in_list = matches!(part, Part::Index(_)) || matches!(value, Some(Value::List(_)));
            path = if is_in_list { format!("{path}[{key}]") } else { path::child(&path, &key) };
            value = match value {
                Some(Value::Table(table)) if !matches!(part, Part::Index(_)) => table.get(&*key),
                Some(Value::List(list)) if !matches!(part, Part::Key(_)) => {
                    key.parse().ok().and_then(|at: usize| list.get(at))
                }
                _ => None,
            };
        }
        Field { source: &document.source, path, found: value.ok_or("is missing") }
    }
}

impl Document<'_> {
    /// The field of a query whose stars are, one by one, those of a match of another query.
    #[must_use]
    pub fn bound(&self, query: &Query, stars: &[Cow<'_, str>]) -> Field<'_> {
        query.resolve(self, stars)
    }
}

impl Part {
    fn star(text: &str) -> Self {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let pattern = if name.is_some() { "*" } else { text };
        Self::Star { pattern: Pattern::new(pattern), is_any: pattern == "*", name: name.map(str::to_owned) }
    }
}

/// Whether a key stands for many.
fn is_star(key: &str) -> bool {
    key.contains('*') || (key.len() > 2 && key.starts_with('{') && key.ends_with('}'))
}

/// Calls `take` with each value that the steps lead to, and the values of their stars.
fn descend<'d, E>(
    parts: &[Part],
    value: &'d Value<'d>,
    stars: &mut Vec<Cow<'d, str>>,
    take: &mut impl FnMut(&[Cow<'d, str>]) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, E> {
    let Some((part, rest)) = parts.split_first() else { return take(stars) };
    let next = match (part, value) {
        (Part::Key(key), Value::Table(table)) => table.get(key.as_str()),
        (Part::Index(index), Value::List(list)) => list.get(*index),
        (Part::Star { pattern, .. }, Value::Table(table)) => {
            for (key, value) in table.iter().filter(|(key, _)| pattern.matches(key)) {
                stars.push(Cow::Borrowed(key));
                let flow = descend(rest, value, stars, take)?;
                stars.pop();
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            None
        }
        (Part::Star { is_any: true, .. }, Value::List(list)) => {
            for (index, value) in list.iter().enumerate() {
                stars.push(Cow::Owned(index.to_string()));
                let flow = descend(rest, value, stars, take)?;
                stars.pop();
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            None
        }
        _ => None,
    };
    match next {
        Some(value) => descend(rest, value, stars, take),
        None => Ok(ControlFlow::Continue(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Error;

    const BODY: &[u8] =
        br#"{"a": {"x1": [{"v": 1}, {"v": 2}], "x2": [{"w": 3}], "y": 4, "b.c": {"v": 5}}, "l": [[7, 8], [9]]}"#;

    fn matches(query: &str) -> Vec<String> {
        let document = Document::parse("s", BODY).expect("valid JSON");
        let query = Query::parse(query).expect(query);
        let mut found = Vec::new();
        let end = query.visit(&document, &mut |hit| {
            assert_eq!(document.bound(&query, &hit.stars), hit.field);
            assert_eq!(document.at(hit.field.path()).value(), hit.field.value(), "the path leads to the field");
            found.push(format!("{}: {}", hit.field.path(), hit.stars.join(" ")));
            Ok::<_, Error>(ControlFlow::Continue(()))
        });
        assert_eq!(end, Ok(ControlFlow::Continue(())));
        found
    }

    #[test]
    fn stars_match_keys_and_elements() {
        for (query, expected) in [
            ("a.y", &["a.y: "][..]),
            ("a.x*[*].v", &["a.x1[0].v: x1 0", "a.x1[1].v: x1 1"]),
            ("a.*[0].w", &["a.x2[0].w: x2"]),
            ("a.*.v", &[r#"a["b.c"].v: b.c"#]),
            ("a.{first}.{second}.v", &["a.x1[0].v: x1 0", "a.x1[1].v: x1 1"]),
            ("l.*.*", &["l[0][0]: 0 0", "l[0][1]: 0 1", "l[1][0]: 1 0"]),
            ("l[1][*]", &["l[1][0]: 0"]),
            (r#"a["b.c"].*"#, &[r#"a["b.c"].v: v"#]),
            (r#"a["*"]"#, &[]),
            ("a.x*.q", &[]),
            ("l.1", &[]),
            ("a[0]", &[]),
        ] {
            assert_eq!(matches(query), expected, "{query}");
        }
        for text in ["a..b", "a[b]", "a[x*"] {
            assert_eq!(Query::parse(text), None, "{text}");
        }
    }

    #[test]
    fn path_ends_in_a_key_or_star() {
        for (path, key, is_star) in [
            ("a.b", Some("b"), false),
            (r#"a["b.c"]"#, Some("b.c"), false),
            (r#"a["*"]"#, Some("*"), false),
            ("a[0]", None, false),
            ("a.*", None, true),
            ("a[*]", None, true),
            ("a.b-*", None, true),
            ("a.{b}", None, false),
            ("", None, false),
        ] {
            let query = Query::parse(path).expect(path);
            assert_eq!((query.last_key(), query.ends_with_star()), (key, is_star), "{path}");
        }
    }

    #[test]
    fn visit_ends_when_it_is_told_to() {
        let document = Document::parse("s", BODY).expect("valid JSON");
        let query = Query::parse("a.*.*.v").expect("a path");
        let mut seen = 0;
        let end = query.visit(&document, &mut |_| {
            seen += 1;
            Ok::<_, Error>(ControlFlow::Break(()))
        });
        assert_eq!((end, seen), (Ok(ControlFlow::Break(())), 1));
        let failed = query.visit(&document, &mut |hit| Err::<ControlFlow<()>, _>(hit.field.error("is wrong")));
        assert_eq!(failed.expect_err("failed").to_string(), "s: a.x1[0].v is wrong");
    }

    #[test]
    fn missing_bound_field_is_reported_with_its_path() {
        let document = Document::parse("s", BODY).expect("valid JSON");
        let name = Query::parse("a.*[*].name").expect("a path");
        let error = document.bound(&name, &["x1".into(), "1".into()]).text().expect_err("missing");
        assert_eq!(error.to_string(), "s: a.x1[1].name is missing");
        assert_eq!(document.bound(&name, &[]).path(), "a.*.*.name");
    }
}
