//! The dashboard of `deploy/prometheus/`: its panels and their queries.

use std::fs;

use serde_json::Value;

use crate::harness::repository;

/// The dashboard.
pub struct Dashboard {
    pub json: Value,
}

/// A query of a panel.
pub struct DashboardQuery {
    /// The title of the row that its panel is in.
    pub row: String,
    /// The panel's title.
    pub panel: String,
    pub expression: String,
    pub legend: String,
}

impl Dashboard {
    pub fn read() -> Self {
        let path = repository().join("deploy/prometheus/dashboard.json");
        let text = fs::read_to_string(&path).expect("readable");
        Self { json: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    /// All panels, rows included.
    pub fn panels(&self) -> &[Value] {
        self.json["panels"].as_array().expect("a list")
    }

    /// The variables, by their names.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Value)> {
        let all = self.json["templating"]["list"].as_array().expect("a list");
        all.iter().map(|variable| (variable["name"].as_str().expect("a name"), variable))
    }

    /// The queries of all panels.
    pub fn queries(&self) -> Vec<DashboardQuery> {
        let (mut row, mut queries) = (String::new(), Vec::new());
        for panel in self.panels() {
            let title = panel["title"].as_str().expect("a title").to_owned();
            if panel["type"] == "row" {
                row = title;
                continue;
            }
            for target in panel["targets"].as_array().expect("a list") {
                let text = |key: &str| target[key].as_str().expect("text").to_owned();
                let (expression, legend) = (text("expr"), text("legendFormat"));
                queries.push(DashboardQuery { row: row.clone(), panel: title.clone(), expression, legend });
            }
        }
        queries
    }
}

impl DashboardQuery {
    /// The query with the values of all variables.
    pub fn substituted(&self, job: &str, instance: &str, interval: &str) -> String {
        let with_interval = self.expression.replace("$__rate_interval", interval);
        with_interval.replace("$job", job).replace("$instance", instance)
    }
}
