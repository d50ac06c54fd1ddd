//! What receivers of their own have stored of the samples that network sinks sent: it is what the agent has measured, value by value and
//! time by time. A file sink of the same agent is the truth.

mod points;
mod truth;
mod plugins;
mod host;
mod receiver;
mod remote_write;
mod otlp;
mod influx;
mod influxdb;
mod open_falcon;
mod distributions;
mod scraped;
