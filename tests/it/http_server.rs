//! The HTTP server as its users have it: scrapers, scripts and browsers.

pub mod peer; // clients, well-behaved and not
mod endpoints; // what each endpoint has
mod streams; // event streams that end, and slow readers
mod attacks; // peers that send too much, too slowly, or rubbish
mod time_limits; // peers that neither send nor read
mod reload; // addresses, tokens and certificates that change
pub mod security; // hosts, tokens and TLS
mod certificates; // those that expire
