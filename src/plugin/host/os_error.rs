//! Errors of the operating system as guests get them: the name, since numbers differ by architecture, and a text for people.

use std::io;

use rustix::io::Errno;

use crate::plugin::guest::bindings::gauged::plugin::types::{OsError, PermissionError};

/// A table of errors and their names.
macro_rules! names {
    ($($constant:ident)*) => { &[$((Errno::$constant, concat!("E", stringify!($constant)))),*] };
}

/// The names of POSIX, and of the network.
const NAMES: &[(Errno, &str)] = names!(
    ADDRINUSE ADDRNOTAVAIL AFNOSUPPORT AGAIN ALREADY BADF BADMSG BUSY CANCELED CHILD CONNABORTED CONNREFUSED CONNRESET DEADLK
    DESTADDRREQ DOM DQUOT EXIST FAULT FBIG HOSTDOWN HOSTUNREACH IDRM ILSEQ INPROGRESS INTR INVAL IO ISCONN ISDIR LOOP MFILE
    MLINK MSGSIZE MULTIHOP NAMETOOLONG NETDOWN NETRESET NETUNREACH NFILE NOBUFS NODEV NOENT NOEXEC NOLCK NOLINK NOMEM NOMSG
    NOPROTOOPT NOSPC NOSYS NOTBLK NOTCONN NOTDIR NOTEMPTY NOTSOCK NOTTY NXIO OPNOTSUPP OVERFLOW PERM PFNOSUPPORT PIPE PROTO
    PROTONOSUPPORT PROTOTYPE RANGE REMOTE ROFS SHUTDOWN SOCKTNOSUPPORT SPIPE SRCH STALE TIMEDOUT TOOMANYREFS TXTBSY USERS XDEV
);

/// The names that only Linux has.
#[cfg(target_os = "linux")]
const SYSTEM_NAMES: &[(Errno, &str)] = names!(
    ADV BADE BADFD BADR BADRQC BADSLT BFONT CHRNG COMM DOTDOT HWPOISON ISNAM KEYEXPIRED KEYREJECTED KEYREVOKED L2HLT L2NSYNC
    L3HLT L3RST LIBACC LIBBAD LIBEXEC LIBMAX LIBSCN LNRNG MEDIUMTYPE NAVAIL NOANO NOCSI NODATA NOKEY NOMEDIUM NONET NOPKG NOSR
    NOSTR NOTNAM NOTRECOVERABLE NOTUNIQ OWNERDEAD REMCHG REMOTEIO RESTART RFKILL SRMNT STRPIPE TIME UCLEAN UNATCH XFULL
);

#[cfg(not(target_os = "linux"))]
const SYSTEM_NAMES: &[(Errno, &str)] = &[];

/// The names that differ from those of the constants.
const IRREGULAR_NAMES: &[(Errno, &str)] = &[(Errno::ACCESS, "EACCES"), (Errno::TOOBIG, "E2BIG")];

/// The error for a guest.
pub(crate) fn os_error(errno: Errno) -> OsError {
    OsError { code: name(errno), text: text(errno) }
}

/// The error for a guest, without a code if it is not the operating system's.
pub(crate) fn from_io(error: &io::Error) -> OsError {
    Errno::from_io_error(error).map_or_else(|| without_code(error.to_string()), os_error)
}

/// An error that is not the operating system's.
pub(crate) fn without_code(text: String) -> OsError {
    OsError { code: String::new(), text }
}

/// The error of an operation that the operating system does not permit, with the remedy.
pub(crate) fn permission_error(errno: Errno, remedy: &str) -> PermissionError {
    PermissionError { code: name(errno), text: text(errno), remedy: remedy.to_owned() }
}

/// The name as in errno(3); `E` and the number for an error that has none.
fn name(errno: Errno) -> String {
    let mut named = [IRREGULAR_NAMES, NAMES, SYSTEM_NAMES].into_iter().flatten();
    let found = named.find(|(known, _)| *known == errno);
    found.map_or_else(|| format!("E{}", errno.raw_os_error()), |(_, name)| (*name).to_owned())
}

/// The text of an error, without its number.
pub(crate) fn text(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    match text.split_once(" (os error ") {
        Some((text, _number)) => text.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_errno() {
        for (errno, expected) in [
            (Errno::ACCESS, "EACCES"),
            (Errno::PERM, "EPERM"),
            (Errno::IO, "EIO"),
            (Errno::TOOBIG, "E2BIG"),
            (Errno::OPNOTSUPP, "EOPNOTSUPP"),
            (Errno::CONNREFUSED, "ECONNREFUSED"),
            (Errno::STALE, "ESTALE"),
            // The kernel's own ENOTSUPP, which the C library has no name for.
            (Errno::from_raw_os_error(524), "E524"),
        ] {
            assert_eq!(name(errno), expected);
        }
        let all: Vec<_> = [IRREGULAR_NAMES, NAMES, SYSTEM_NAMES].into_iter().flatten().collect();
        let errors: BTreeSet<i32> = all.iter().map(|(errno, _)| errno.raw_os_error()).collect();
        let names: BTreeSet<&str> = all.iter().map(|(_, name)| *name).collect();
        assert_eq!((errors.len(), names.len()), (all.len(), all.len()), "each error has one name");
    }

    #[test]
    fn texts_have_no_numbers() {
        assert_eq!(text(Errno::ACCESS), "Permission denied");
        let error = from_io(&io::Error::from(Errno::STALE));
        assert_eq!((&*error.code, &*error.text), ("ESTALE", "Stale file handle"));
        assert_eq!(from_io(&io::Error::other("ended early")), without_code("ended early".to_owned()));
    }
}
