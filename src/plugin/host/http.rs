//! The capability `http`. No origin can be granted yet, so every request is answered with the grant that it lacks.

use super::super::bindings::gauged::plugin::http::{Error, Host, Request, Response};
use super::{State, grant_line};

impl Host for State {
    async fn fetch(&mut self, request: Request) -> Result<Response, Error> {
        Err(Error::Denied(grant_line("fetch", &request.url)))
    }
}
