//! Where documents come from: web servers and files.

use gauged_plugin::http::Request;
use gauged_plugin::service::{Failure, Service};
use gauged_plugin::{Need, files};

use crate::settings::Fetch;

/// A URL or path, with its state.
pub(crate) struct Source {
    pub(crate) service: Service,
    /// The index of its document in the settings.
    pub(crate) document: usize,
    /// How it is fetched; `None` for a file.
    pub(crate) fetch: Option<Fetch>,
}

/// The reason of the needs.
const REASON: &str = "read values from JSON";

impl Source {
    pub(crate) fn need(&self) -> Need {
        let name = self.service.name();
        match &self.fetch {
            Some(fetch) => Need::new(fetch.request(name).capability(), REASON),
            None => Need::read(name, REASON),
        }
    }

    /// The bytes of the document.
    pub(crate) fn read(&self, timeout_ms: u32) -> Result<Vec<u8>, Failure> {
        let name = self.service.name();
        let Some(fetch) = &self.fetch else { return Ok(files::read(name)?) };
        let timeout_ms = fetch.timeout_ms.map_or(timeout_ms, |own_ms| own_ms.min(timeout_ms));
        let response = fetch.request(name).timeout_ms(timeout_ms).send()?;
        if !fetch.statuses.contains(&response.status) {
            return Err(Failure::down("status", format!("{name} returned status {}", response.status)));
        }
        Ok(response.body)
    }
}

impl Fetch {
    /// The request, without a timeout.
    fn request(&self, url: &str) -> Request {
        let Self { unix_socket, headers, login, body, .. } = self;
        let mut request = Request::new(if body.is_some() { "POST" } else { "GET" }, url);
        if let Some(path) = unix_socket {
            request = request.unix_socket(path);
        }
        if let Some((user, password)) = login {
            request = request.basic_auth(user, password);
        }
        if !headers.keys().any(|name| name.eq_ignore_ascii_case("accept")) {
            request = request.header("accept", "application/json");
        }
        request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.body(body.clone().unwrap_or_default())
    }
}
