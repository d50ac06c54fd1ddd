//! The spool of a sink: what cannot be delivered for a second is kept on the disk, in the state directory, until it is. It knows nothing
//! of protocols: the bodies of requests are opaque. [`SpoolThread`] does all that blocks; a sender has its [`SpoolHandle`].

mod counts;
mod fields;
mod bounds;
mod backlog;
mod record;
mod segment;
mod directory;
mod position;
mod scan;
mod calls;
mod writer;
mod aside;
mod segments;
mod tail;
mod error;
mod storage;
mod thread;
mod orphans;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

pub(super) use self::backlog::DiskBacklog;
pub(super) use self::bounds::SpoolBounds;
pub(super) use self::counts::Counts;
pub(super) use self::orphans::Orphans;
pub(super) use self::segment::SpoolIdentity;
pub(super) use self::thread::{SpoolAnswer, SpoolCommand, SpoolHandle, SpoolReply, SpoolThread, directory_name};
