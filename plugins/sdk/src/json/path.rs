//! Paths in documents: `nodes["a.b"].jobs[0]`.

/// A part of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'p> {
    /// A key.
    Key(&'p str),
    /// A key in brackets and quotes.
    Exact(&'p str),
    /// The number of an element.
    Index(usize),
    /// Anything else in brackets.
    Bracket(&'p str),
}

/// The parts of a path; `None` for a text that is not a path.
pub(super) fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let (mut steps, mut rest) = (Vec::new(), path);
    while !rest.is_empty() {
        if let Some(bracket) = rest.strip_prefix('[') {
            let step;
            (step, rest) = in_brackets(bracket)?;
            steps.push(step);
            continue;
        }
        if !steps.is_empty() {
            rest = rest.strip_prefix('.')?;
        }
        let bytes = rest.bytes().take_while(|byte| !matches!(byte, b'.' | b'[')).count();
        let key;
        (key, rest) = rest.split_at_checked(bytes)?;
        if key.is_empty() {
            return None;
        }
        steps.push(Step::Key(key));
    }
    Some(steps)
}

/// A step after its opening bracket, and the rest of the path.
fn in_brackets(text: &str) -> Option<(Step<'_>, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (key, rest) = quoted.split_once('"')?;
        return Some((Step::Exact(key), rest.strip_prefix(']')?));
    }
    let (inside, rest) = text.split_once(']')?;
    if inside.is_empty() {
        return None;
    }
    let is_number = inside.bytes().all(|byte| byte.is_ascii_digit());
    Some((if is_number { Step::Index(inside.parse().ok()?) } else { Step::Bracket(inside) }, rest))
}

/// The path of a member of a table.
pub(super) fn child(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && !key.contains(['.', '[', '"']);
    match (is_plain, path.is_empty()) {
        (false, _) => [path, "[\"", key, "\"]"].concat(),
        (true, true) => key.to_owned(),
        (true, false) => [path, ".", key].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_keys_and_indices() {
        use Step::{Bracket, Exact, Index, Key};
        for (path, expected) in [
            ("", &[][..]),
            ("a", &[Key("a")]),
            ("a.b[0].c", &[Key("a"), Key("b"), Index(0), Key("c")]),
            ("[2][\"x.y\"].z", &[Index(2), Exact("x.y"), Key("z")]),
            ("accepted conn.ä", &[Key("accepted conn"), Key("ä")]),
            ("a[*].{b}", &[Key("a"), Bracket("*"), Key("{b}")]),
            (r#"[""]"#, &[Exact("")]),
        ] {
            assert_eq!(steps(path).as_deref(), Some(expected), "{path}");
        }
        for path in
            [".", "a.", ".a", "a..b", "a[", "a[0", "a[]", "a[0]b", r#"["a]"#, r#"["a"x]"#, "[99999999999999999999]"]
        {
            assert_eq!(steps(path), None, "{path}");
        }
    }

    #[test]
    fn paths_of_members_lead_to_them() {
        assert_eq!(child("", "a"), "a");
        assert_eq!(child("x[0]", "a b"), "x[0].a b");
        for key in ["a.b", "", "[0]"] {
            assert_eq!(steps(&child("x", key)).expect("a path").last(), Some(&Step::Exact(key)));
        }
    }
}
