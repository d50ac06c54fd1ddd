//! The agent's own view of itself: an immutable value that the tick thread publishes once per tick, and that is rendered as a
//! document only when somebody asks for it. It knows nothing of plugins' insides, of the command line or of the
//! configuration; those who do fill it in.
//!
//! ```text
//!  tick thread ── publish: a few references ──▶ Slot ◀── view ── thread `status` ── Document, as JSON ──▶ unix socket
//!                                                                                                          ▲
//!                                                                              `gauged status`, by `client`┘
//! ```
//!
//! Texts, which change rarely, come as lists that are made again only when they change. Numbers are those of the last sample's
//! module `agent`: the status and the metrics cannot differ.

mod problem;
mod plugins;
mod sinks;
mod addresses;
mod view;
mod document;
mod numbers;
mod findings;
mod place;
mod protocol;
mod socket;
mod server;
mod client;

pub(crate) use self::addresses::{AddressBoard, AddressStatus};
pub(crate) use self::client::{ClientError, fetch, fetch_first};
pub(crate) use self::document::{
    AgentDocument, CollectorDocument, Document, PluginDocument, SinkDocument, TickDocument, is_overdue,
};
pub(crate) use self::findings::{Finding, findings};
pub(crate) use self::place::SocketPlaces;
pub(crate) use self::plugins::{FileStatus, PluginList, PluginStatus};
pub(crate) use self::problem::{Problem, ProblemKind};
pub(crate) use self::server::StatusServer;
pub(crate) use self::sinks::{SinkProblem, SinkView};
pub(crate) use self::view::{AgentFacts, CollectorProblem, GuestThreadState, PluginsView, Settings, Slot, TickView};
