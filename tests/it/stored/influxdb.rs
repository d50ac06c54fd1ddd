//! `InfluxDB` 1 with a database, on a loopback address.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use super::points::{Labels, NAME, Points};
use crate::harness::wait_until;
use crate::http_server::peer::{Response, connect, own_address};
use crate::requirement::Program;
use crate::services::Daemon;

/// The database.
const DATABASE: &str = "hosts";

/// A server that runs until it is dropped.
pub struct InfluxDb {
    _daemon: Daemon,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl InfluxDb {
    /// Starts it, and makes the database.
    pub fn start(program: &Program) -> Self {
        let (address, internal) = (own_address(), own_address());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let text = format!(
            "reporting-disabled = true\nbind-address = \"{internal}\"\n[meta]\ndir = \"{}\"\n\
             [data]\ndir = \"{}\"\nwal-dir = \"{}\"\n[http]\nbind-address = \"{address}\"\nlog-enabled = false\n\
             [monitor]\nstore-enabled = false\n",
            path("meta"),
            path("data"),
            path("wal"),
        );
        fs::write(path("influxdb.conf"), text).expect("written");
        let mut command = program.command();
        command.args(["run", "-config", &path("influxdb.conf")]).env("HOME", directory.path());
        let server = Self { _daemon: Daemon::start(command, address), address, _directory: directory };
        wait_until("the server is ready", || server.send("GET /ping", "").status == 204);
        let made = server.send("POST /query", &format!("q=CREATE%20DATABASE%20{DATABASE}"));
        assert_eq!(made.status, 200, "{}", made.text());
        server
    }

    /// The URL that lines are written to.
    pub fn url(&self) -> String {
        format!("http://{}/write?db={DATABASE}", self.address)
    }

    /// All points. A series has the name of its measurement and field.
    pub fn points(&self) -> Points {
        let query = format!("db={DATABASE}&epoch=ns&q=SELECT%20*%20FROM%20/.*/%20GROUP%20BY%20*");
        let response = self.send("GET /query", &query).json();
        let mut points = Points::default();
        for series in response["results"][0]["series"].as_array().unwrap_or_else(|| panic!("no series in {response}")) {
            let tags = series["tags"].as_object().expect("tags").iter();
            let tags = tags.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()));
            let labels: Labels = tags.filter(|(_, value)| !value.is_empty()).collect();
            let columns: Vec<&str> = series["columns"]
                .as_array()
                .expect("columns")
                .iter()
                .map(|name| name.as_str().expect("text"))
                .collect();
            for row in series["values"].as_array().expect("values") {
                add(&mut points, series["name"].as_str().expect("text"), &labels, &columns, row);
            }
        }
        points
    }

    fn send(&self, request: &str, parameters: &str) -> Response {
        let mut stream = connect(self.address);
        write!(stream, "{request}?{parameters} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").expect("sent");
        Response::read(&mut stream)
    }
}

/// Adds the points of a row: its time, and a value of each field that has one.
fn add(points: &mut Points, measurement: &str, labels: &Labels, columns: &[&str], row: &Value) {
    let nanoseconds = row[0].as_i64().expect("a time");
    assert_eq!(nanoseconds % 1_000_000, 0, "{row}");
    for (at, field) in columns.iter().enumerate().skip(1) {
        if let Some(value) = row[at].as_f64() {
            let mut labels = labels.clone();
            labels.insert(NAME.to_owned(), format!("{measurement}_{field}"));
            points.add(&labels, nanoseconds / 1_000_000, value);
        }
    }
}
