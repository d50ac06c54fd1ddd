//! The paths in a Rust source, imported or written inline, the circles that imports form, and the names of its functions. Works on
//! tokens: it knows no types, and expands no macros.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A part of a source. Comments, texts and numbers are left out, or are [`Token::Other`].
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Separator,
    Sign(char),
    Other,
}

/// A path as it is written, and the inline modules around it. A leading `::` is an empty first part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    modules: Vec<String>,
    path: Vec<String>,
}

/// The place that a reference leads to.
#[derive(Debug, PartialEq)]
pub enum Target {
    /// A path in the same crate.
    Internal(Vec<String>),
    /// The first part of any other path: a library's name, or that of something else in scope.
    External(String),
}

/// The names of all functions that a source defines.
pub fn functions(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let pairs = tokens.windows(2).filter_map(|pair| match pair {
        [Token::Word(keyword), Token::Word(name)] if keyword == "fn" => Some(name.clone()),
        _ => None,
    });
    pairs.collect()
}

/// The names of the functions under `#[test]`, or under that of a library, such as `#[tokio::test]`.
pub fn test_functions(text: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for part in tokens(text).windows(3) {
        match part {
            [Token::Sign('[') | Token::Separator, Token::Word(attribute), Token::Sign(']' | '(')] => {
                is_test |= attribute == "test";
            }
            [Token::Word(keyword), Token::Word(name), _] if keyword == "fn" && is_test => found.push(name.clone()),
            [Token::Sign('{' | '}' | ';'), ..] => is_test = false,
            _ => {}
        }
    }
    found
}

/// All paths in a source, except in what is compiled for tests only. Names that an import gives are replaced by its path.
pub fn references(text: &str) -> BTreeSet<Reference> {
    let mut reader = Reader { tokens: without_tests(&tokens(text)), at: 0, modules: Vec::new(), found: Vec::new() };
    reader.read();
    let names: BTreeMap<String, Vec<String>> =
        reader.found.iter().filter_map(|(reference, name)| Some((name.clone()?, reference.path.clone()))).collect();
    let expanded = reader.found.into_iter().map(|(mut reference, _)| {
        let head = &reference.path[0];
        if let Some(path) = names.get(head).filter(|path| path[0] != *head) {
            reference.path.splice(..1, path.iter().cloned());
        }
        reference
    });
    expanded.collect()
}

impl Reference {
    /// Finds the target from the module of the source. Paths may begin with the name of a module below the one around them.
    pub fn target(&self, source: &[String], is_module: impl Fn(&[String]) -> bool) -> Target {
        let mut here = [source, &self.modules].concat();
        let mut rest = self.path.iter();
        let head = rest.next().expect("a path has a part");
        match head.as_str() {
            "" => return Target::External(self.path[1].clone()),
            "crate" => here.clear(),
            "self" => {}
            "super" => drop(here.pop()),
            _ => {
                here.push(head.clone());
                if !is_module(&here) {
                    return Target::External(head.clone());
                }
            }
        }
        for part in rest {
            if part == "super" {
                here.pop();
            } else {
                here.push(part.clone());
            }
        }
        Target::Internal(here)
    }
}

/// The shortest circle through each file that is part of one, each circle once, from its first file by name.
pub fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<String>> {
    let found = edges.keys().filter_map(|start| circle(edges, start)).map(|mut circle| {
        let first = (0..circle.len()).min_by_key(|&at| &circle[at]).expect("not empty");
        circle.rotate_left(first);
        circle
    });
    found.collect()
}

fn circle(edges: &BTreeMap<String, BTreeSet<String>>, start: &String) -> Option<Vec<String>> {
    let mut open = VecDeque::from([vec![start.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = open.pop_front() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            if next == start {
                return Some(way);
            }
            if seen.insert(next) {
                open.push_back([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// Reads tokens one after another.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// The inline modules around the current token, each with the number of braces open within it.
    modules: Vec<(String, usize)>,
    /// References, those of imports with the name that they give.
    found: Vec<(Reference, Option<String>)>,
}

impl Reader {
    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.word(0) {
                Some("use") if self.token(1) != Some(&Token::Sign('<')) => {
                    self.at += 1;
                    self.import(&[]);
                }
                Some("mod") if self.token(2) == Some(&Token::Sign('{')) => {
                    let name = self.word(1).expect("a module has a name").to_owned();
                    self.modules.push((name, 1));
                    self.at += 3;
                }
                // A visibility such as `pub(in crate::plugin)` is no use of the module.
                Some("pub") if self.token(1) == Some(&Token::Sign('(')) && self.word(2) == Some("in") => {
                    self.skip_past(')');
                }
                Some("extern") if self.word(1) == Some("crate") => {
                    let name = self.word(2).expect("a crate has a name").to_owned();
                    self.push(vec![String::new(), name], None);
                    self.at += 3;
                }
                Some(_) => self.path(Vec::new()),
                None if self.token(0) == Some(&Token::Separator) => {
                    // The end of a qualified path, as in `<T>::default`, begins no other.
                    let is_end = self.at > 0 && self.tokens[self.at - 1] == Token::Sign('>');
                    self.at += 1;
                    let found = self.found.len();
                    self.path(vec![String::new()]);
                    if is_end {
                        self.found.truncate(found);
                    }
                }
                None => self.sign(),
            }
        }
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        match self.token(ahead)? {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Passes a token that is no word, and leaves an inline module at its end.
    fn sign(&mut self) {
        let token = self.tokens[self.at].clone();
        self.at += 1;
        let Some((_, open)) = self.modules.last_mut() else { return };
        match token {
            Token::Sign('{') => *open += 1,
            Token::Sign('}') => *open -= 1,
            _ => {}
        }
        if *open == 0 {
            self.modules.pop();
        }
    }

    fn skip_past(&mut self, sign: char) {
        while self.token(0).is_some_and(|token| *token != Token::Sign(sign)) {
            self.at += 1;
        }
        self.at += 1;
    }

    fn push(&mut self, path: Vec<String>, name: Option<String>) {
        let modules = self.modules.iter().map(|(module, _)| module.clone()).collect();
        self.found.push((Reference { modules, path }, name));
    }

    /// Reads words that are separated by `::`. A single word is no path.
    fn path(&mut self, mut path: Vec<String>) {
        while let Some(word) = self.word(0) {
            path.push(word.to_owned());
            self.at += 1;
            if self.token(0) != Some(&Token::Separator) || self.word(1).is_none() {
                break;
            }
            self.at += 1;
        }
        // The separator of `name::<T>` or `name::*` follows.
        let is_open = self.token(0) == Some(&Token::Separator);
        self.at += usize::from(is_open);
        if path.len() > 1 || is_open && !path.is_empty() {
            self.push(path, None);
        }
    }

    /// Reads what follows `use`, or a part of it in braces: `path`, `path as name`, `path::*`, `path::{…, …}`.
    fn import(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        loop {
            match self.token(0).cloned() {
                Some(Token::Separator) => {
                    if path.is_empty() {
                        path.push(String::new());
                    }
                    self.at += 1;
                }
                Some(Token::Sign('{')) => {
                    self.at += 1;
                    while self.token(0).is_some_and(|token| *token != Token::Sign('}')) {
                        self.import(&path);
                        self.at += usize::from(self.token(0) == Some(&Token::Sign(',')));
                    }
                    self.at += 1;
                    return;
                }
                Some(Token::Sign('*')) => {
                    self.at += 1;
                    return self.push(path, None);
                }
                Some(Token::Word(word)) => {
                    self.at += 1;
                    // `path::{self}` is the path itself.
                    if word != "self" || path.is_empty() {
                        path.push(word);
                    }
                    if self.token(0) == Some(&Token::Separator) {
                        continue;
                    }
                    let mut name = path.last().cloned();
                    if self.word(0) == Some("as") {
                        name = self.word(1).map(str::to_owned);
                        self.at += 2;
                    }
                    return self.push(path, name);
                }
                _ => {
                    self.at += 1;
                    return;
                }
            }
        }
    }
}

/// Leaves out each item under `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let starts = [vec!["#", "[", "cfg", "(", "test"], vec!["#", "[", "cfg", "(", "all", "(", "test"]];
    let is_like = |token: &Token, text: &str| match token {
        Token::Word(word) => word == text,
        Token::Sign(sign) => text.chars().eq([*sign]),
        _ => false,
    };
    let begins = |rest: &[Token]| {
        starts
            .iter()
            .any(|start| rest.len() > start.len() && rest.iter().zip(start).all(|(token, text)| is_like(token, text)))
    };
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !begins(&tokens[at..]) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with a semicolon or with its braces.
        let mut depth = 0_usize;
        while at < tokens.len() {
            match tokens[at] {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(tokens[at - 1], Token::Sign(';' | '}')) {
                break;
            }
        }
    }
    kept
}

fn tokens(text: &str) -> Vec<Token> {
    let letters: Vec<char> = text.chars().collect();
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let find = |from: usize, wanted: &str| {
        let wanted: Vec<char> = wanted.chars().collect();
        (from..letters.len())
            .find(|&at| letters[at..].starts_with(&wanted))
            .map_or(letters.len(), |at| at + wanted.len())
    };
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        let next = letters.get(at + 1).copied().unwrap_or(' ');
        match letters[at] {
            '/' if next == '/' => at = find(at, "\n"),
            '/' if next == '*' => at = comment_end(&letters, at),
            '"' => {
                at = quoted_end(&letters, at);
                tokens.push(Token::Other);
            }
            '\'' if next == '\\' || letters.get(at + 2) == Some(&'\'') => {
                at = quoted_end(&letters, at);
                tokens.push(Token::Other);
            }
            ':' if next == ':' => {
                at += 2;
                tokens.push(Token::Separator);
            }
            letter if is_word(letter) => {
                let end = (at..letters.len()).find(|&at| !is_word(letters[at])).unwrap_or(letters.len());
                let word: String = letters[at..end].iter().collect();
                let hashes = letters[end..].iter().take_while(|&&letter| letter == '#').count();
                at = end;
                if word.ends_with('r') && word.len() <= 2 && letters.get(end + hashes) == Some(&'"') {
                    // A raw text ends with as many signs as it begins with.
                    at = find(end + hashes + 1, &format!("\"{}", "#".repeat(hashes)));
                    tokens.push(Token::Other);
                } else if word == "r" && hashes == 1 {
                    // The word follows: `r#type`.
                    at += 1;
                } else if word.starts_with(|letter: char| letter.is_ascii_digit()) {
                    tokens.push(Token::Other);
                } else {
                    tokens.push(Token::Word(word));
                }
            }
            letter => {
                at += 1;
                if !letter.is_whitespace() {
                    tokens.push(Token::Sign(letter));
                }
            }
        }
    }
    tokens
}

/// The end of a comment in `/* */`, which may contain others.
fn comment_end(letters: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < letters.len() {
        match letters[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of a text or character that begins with its quotation mark.
fn quoted_end(letters: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < letters.len() && letters[at] != letters[start] {
        at += if letters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths in a source, those in inline modules with these in front.
    fn paths(text: &str) -> Vec<String> {
        references(text).iter().map(|found| [&found.modules[..], &found.path].concat().join("::")).collect()
    }

    fn target(source: &str, path: &str) -> Target {
        let split =
            |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let modules = ["config", "config::file", "plugin", "plugin::host"].map(split);
        let found = references(path).into_iter().next().expect("a path");
        found.target(&split(source), |path| modules.iter().any(|module| module == path))
    }

    fn internal(path: &str) -> Target {
        Target::Internal(path.split("::").map(str::to_owned).collect())
    }

    #[test]
    fn imports_are_found_in_every_form() {
        assert_eq!(paths("use crate::a::B;"), ["crate::a::B"]);
        assert_eq!(
            paths("pub(crate) use crate::{a, b::{self, C as D, d::*}};"),
            ["crate::a", "crate::b", "crate::b::C", "crate::b::d"]
        );
        assert_eq!(paths("use {super::super::x, self::y};"), ["self::y", "super::super::x"]);
        assert_eq!(paths("use ::serde; extern crate toml;"), ["::serde", "::toml"]);
        assert_eq!(paths("fn f() { use a::B; } impl use<'a> C"), ["a::B"]);
    }

    #[test]
    fn inline_paths_are_found() {
        assert_eq!(paths("let a: Vec<crate::a::B> = super::c::<T>();"), ["crate::a::B", "super::c"]);
        assert_eq!(paths("<T as a::B>::c::d(); Vec::<u8>::new(); ::e::f!()"), ["::e::f", "Vec", "a::B"]);
        assert_eq!(paths("#[derive(serde::Serialize)] struct A; $crate::m!();"), ["crate::m", "serde::Serialize"]);
        assert_eq!(paths("pub(in crate::a) fn f() {} pub(super) fn g() {}"), Vec::<String>::new());
    }

    #[test]
    fn renamed_imports_are_followed() {
        assert_eq!(paths("use crate as root; root::a::B"), ["crate", "crate::a::B"]);
        assert_eq!(paths("use crate::{a as b}; b::C; use b::D;"), ["crate::a", "crate::a::C", "crate::a::D"]);
        assert_eq!(paths("use http::http; http::get()"), ["http::get", "http::http"]);
    }

    #[test]
    fn inline_modules_are_known() {
        assert_eq!(paths("mod a { mod b { super::c::D; } { x::y } } e::f"), ["e::f", "a::x::y", "a::b::super::c::D"]);
    }

    #[test]
    fn comments_texts_and_tests_are_skipped() {
        assert_eq!(paths("// a::b\n/* c::d /* */ e::f */ \"g::h \\\" i::j\" r#\"k::l\"#"), Vec::<String>::new());
        assert_eq!(paths("f('\"', '\\'', 'a: loop { a::b })"), ["a::b"]);
        assert_eq!(paths("#[cfg(test)] #[allow(x)] mod tests { use a::b; } c::d"), ["c::d"]);
        assert_eq!(paths("#[cfg(all(test, unix))] fn f(a: [u8; 2]) { a::b } c::d"), ["c::d"]);
        assert_eq!(paths("#[cfg(test)] use a::{b, c}; d::e"), ["d::e"]);
    }

    #[test]
    fn targets_are_resolved_from_their_module() {
        assert_eq!(target("agent", "crate::config::Config"), internal("config::Config"));
        assert_eq!(target("config::file", "super::Config"), internal("config::Config"));
        assert_eq!(target("config::file", "super::super::plugin::Plugins"), internal("plugin::Plugins"));
        assert_eq!(target("config", "use self::file::Text;"), internal("config::file::Text"));
        assert_eq!(target("config", "use file::Text;"), internal("config::file::Text"));
        assert_eq!(target("config", "mod inner { super::file::Text }"), internal("config::file::Text"));
        assert_eq!(target("config", "host::Text"), Target::External("host".to_owned()));
        assert_eq!(target("config", "::file::Text"), Target::External("file".to_owned()));
    }

    #[test]
    fn circles_are_found_once() {
        let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "b"), ("e", "a"), ("f", "g"), ("g", "f")];
        let mut all = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in edges {
            all.entry(from.to_owned()).or_default().insert(to.to_owned());
        }
        let found: Vec<String> = circles(&all).iter().map(|circle| circle.concat()).collect();
        assert_eq!(found, ["bc", "bcd", "fg"]);
    }

    #[test]
    fn function_names_are_found() {
        assert_eq!(functions("pub const fn a() {} // fn b()\nasync fn c<T>() {} let f: fn(u8);"), ["a", "c"]);
    }

    #[test]
    fn test_functions_are_found_by_attribute() {
        let text = "#[cfg(test)] fn a() {} proptest! { #[test] #[cfg(unix)] fn b(x in 0..9) {} } #[test] pub fn c() {}
            #[tokio::test(start_paused = true)] async fn d() { x::test(); } fn e() {}";
        assert_eq!(test_functions(text), ["b", "c", "d"]);
    }
}
