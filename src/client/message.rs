//! The head of a request: which server it is for, and which proxy it goes through.

use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri};

use super::error::{ClientError, ClientErrorKind};
use crate::address::{Origin, Scheme};
use crate::config::{ClientSettings, Proxy};

/// The header `User-Agent`.
pub(super) const USER_AGENT_TEXT: &str = concat!("gauged/", env!("CARGO_PKG_VERSION"));

/// The way of a request to its origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'a> {
    origin: &'a Origin,
    proxy: Option<&'a Proxy>,
}

impl<'a> Route<'a> {
    /// The way to an origin by the settings.
    ///
    /// # Errors
    ///
    /// When the proxy that the environment names is no use.
    pub(crate) fn new(origin: &'a Origin, settings: &'a ClientSettings) -> Result<Self, ClientError> {
        let remedy = "correct it, or write proxy into the configuration";
        let proxy = settings.proxy_for(origin);
        let proxy = proxy.map_err(|why| ClientError::new(ClientErrorKind::Proxy, why.to_owned(), remedy))?;
        Ok(Self { origin, proxy })
    }

    /// The server that is connected to.
    pub(crate) fn first(&self) -> &'a Origin {
        self.proxy.map_or(self.origin, |proxy| &proxy.origin)
    }

    /// The proxy, if there is one.
    pub(crate) fn proxy(&self) -> Option<&'a Proxy> {
        self.proxy
    }

    /// The proxy that makes a tunnel to the origin.
    pub(crate) fn tunnel(&self) -> Option<&'a Proxy> {
        self.proxy.filter(|_| self.origin.scheme == Scheme::Https)
    }

    /// The proxy that reads the requests.
    pub(crate) fn plain_proxy(&self) -> Option<&'a Proxy> {
        self.proxy.filter(|_| self.origin.scheme == Scheme::Http)
    }

    /// Writes target and server into the head of a request. A proxy that reads it gets the whole URL.
    pub(crate) fn address<B>(&self, request: &mut Request<B>, path: &PathAndQuery) {
        let headers = request.headers_mut();
        if let Ok(authority) = HeaderValue::try_from(self.origin.authority()) {
            headers.insert(HOST, authority);
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT_TEXT));
        *request.uri_mut() = Uri::from(path.clone());
        let Some(proxy) = self.plain_proxy() else { return };
        if let Some(authorization) = &proxy.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        // Both parts were parsed as those of a URL.
        if let Ok(uri) = format!("{}{path}", self.origin).parse() {
            *request.uri_mut() = uri;
        }
    }
}
