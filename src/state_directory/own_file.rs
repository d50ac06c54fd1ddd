//! A file that the agent has for itself in the state directory.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

/// A symbolic link in the place of the file is not followed.
const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// How such a file is opened, or made: for the agent's user only.
pub(super) fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(NO_LINK);
    options
}
