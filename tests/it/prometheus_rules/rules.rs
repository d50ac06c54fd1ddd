//! The rules of `deploy/prometheus/gauged.rules.yml`, as far as their form needs no YAML reader: keys are on lines of their own, and
//! a text that is not on its key's line is folded. `promtool` reads the file as YAML.

use std::fs;

use crate::harness::repository;

/// An alert.
#[derive(Debug, Default)]
pub struct Rule {
    pub alert: String,
    pub expression: String,
    pub pending: String,
    pub severity: String,
    pub summary: String,
    pub description: String,
}

/// All rules, in their order.
pub fn read() -> Vec<Rule> {
    parse(&fs::read_to_string(repository().join("deploy/prometheus/gauged.rules.yml")).expect("readable"))
}

fn parse(text: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let indentation = indentation(line);
        let Some((key, value)) = line.trim().trim_start_matches("- ").split_once(':') else { continue };
        let mut value = value.trim().trim_matches('\'').to_owned();
        if value == ">-" {
            value.clear();
            while let Some(more) = lines.next_if(|line| self::indentation(line) > indentation) {
                value = [&value, more.trim()].join(" ");
            }
        }
        let value = value.trim().to_owned();
        if key == "alert" {
            rules.push(Rule { alert: value, ..Rule::default() });
            continue;
        }
        let Some(rule) = rules.last_mut() else { continue };
        match key {
            "expr" => rule.expression = value,
            "for" => rule.pending = value,
            "severity" => rule.severity = value,
            "summary" => rule.summary = value,
            "description" => rule.description = value,
            _ => {}
        }
    }
    rules
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
