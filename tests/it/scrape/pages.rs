//! A web server with pages that a test changes, as a target of scrapes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use crate::server::{Server, read_request};

/// The types of the two formats.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whole responses by path.
type Responses = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A server of pages.
pub struct Pages {
    responses: Responses,
    server: Server,
}

impl Pages {
    /// A server without pages.
    pub fn start() -> Self {
        let responses = Responses::default();
        let shared = Arc::clone(&responses);
        let server = Server::start(move |mut stream| {
            let request = read_request(&mut stream);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let response = shared.lock().expect("not poisoned").get(path).cloned();
            let missing = || b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
            // The client may close the connection before it has read everything.
            let _ = stream.write_all(&response.unwrap_or_else(missing));
        });
        Self { responses, server }
    }

    /// Sets a page.
    pub fn set(&self, path: &str, content_type: &str, body: &[u8]) {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
        self.set_response(path, &[head.as_bytes(), body].concat());
    }

    /// Sets a whole response.
    pub fn set_response(&self, path: &str, response: &[u8]) {
        self.responses.lock().expect("not poisoned").insert(path.to_owned(), response.to_vec());
    }

    /// The origin of its URLs.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The table of a target.
    pub fn target(&self, name: &str, path: &str, rest: &str) -> String {
        format!("[[plugins.prometheus.config.targets]]\nname = {name:?}\nurl = \"{}{path}\"\n{rest}\n", self.origin())
    }
}
