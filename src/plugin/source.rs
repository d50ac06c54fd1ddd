//! Where plugins come from: the plugins directory over time. Hints and scans become settled changes of its files, and a file
//! becomes a sealed copy. Nothing here knows what a file contains.

pub(crate) mod scanner;
pub(crate) mod directory;
pub(crate) mod scan;
pub(crate) mod watch;
pub(crate) mod read;
