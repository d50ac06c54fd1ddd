//! Where documents come from: web servers and files.

use gauged_plugin::http::{Request, origin};
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
        match &self.fetch {
            Some(_) => Need::fetch(origin(self.service.name()), REASON),
            None => Need::read(self.service.name(), REASON),
        }
    }

    /// The bytes of the document.
    pub(crate) fn read(&self, timeout_ms: u32) -> Result<Vec<u8>, Failure> {
        let name = self.service.name();
        let Some(fetch) = &self.fetch else { return Ok(files::read(name)?) };
        let method = if fetch.body.is_some() { "POST" } else { "GET" };
        let timeout_ms = fetch.timeout_ms.map_or(timeout_ms, |own_ms| own_ms.min(timeout_ms));
        let mut request = Request::new(method, name).timeout_ms(timeout_ms);
        if !fetch.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header("accept", "application/json");
        }
        for (name, value) in &fetch.headers {
            request = request.header(name, value);
        }
        let response = request.body(fetch.body.clone().unwrap_or_default()).send()?;
        if !fetch.statuses.contains(&response.status) {
            return Err(Failure::down("status", format!("{name} returned status {}", response.status)));
        }
        Ok(response.body)
    }
}
