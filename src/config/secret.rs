//! A secret: the text of a file, which is never shown. Before the first is read, the process is taken from debuggers of the same
//! user and from core dumps. Knows no keys.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use sha2::{Digest as _, Sha256};

use super::redaction::{self, HIDDEN};
use super::trusted_path;

/// The variable with the directory of a service's credentials, which systemd sets.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The largest file: enough for a chain of certificates with its key.
const MAX_BYTES: u64 = 64 << 10;

/// Everybody may read or write.
const OPEN_TO_OTHERS: u32 = 0o006;

/// The text of a file of `secrets`. `Debug` does not show it, and there is no `Display`. Two are equal when their texts are.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: Arc<str>,
    /// The forms in which other texts may have it. Made once: messages are searched for them.
    forms: Arc<[String]>,
}

/// Reads the secret that a value of `secrets` names. The error is the end of a sentence that begins with the key.
pub(super) type ReadSecret<'a> = dyn Fn(&str) -> Result<Secret, String> + 'a;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Secret {
    /// A secret with this text.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into(), forms: redaction::forms(text).into() }
    }

    /// The text. It goes into a plugin's configuration, and nowhere else.
    pub(super) fn expose(&self) -> &str {
        &self.text
    }

    /// Whether a text from outside is the secret. It takes as long whatever is wrong with the text: their digests are compared, of
    /// which nobody can choose the beginning.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let (own, other) = (Sha256::digest(self.text.as_bytes()), Sha256::digest(text));
        own.iter().zip(&other).fold(0, |difference, (own, other)| difference | (own ^ other)) == 0
    }

    /// Reads the secret that a value of `secrets` names: a path, or the name of a credential. The environment is asked for the
    /// directory of credentials.
    ///
    /// # Errors
    ///
    /// The end of a sentence that begins with the key. It never has a value without `/`, which may be a secret in the wrong
    /// place.
    pub(super) fn read(value: &str, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let (path, name) = locate(value, environment(CREDENTIALS_VARIABLE).map(PathBuf::from))?;
        protect_process().map_err(|error| format!("is not read: the process could be dumped with it: {error}"))?;
        read(&path).map_err(|Unreadable { reason, remedy }| format!("names {name}, which {reason}; {remedy}"))
    }

    /// The forms in which other texts may have it.
    pub(super) fn forms(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().map(String::as_str)
    }
}

/// The file that a value names, and how an error names it.
fn locate(value: &str, credentials: Option<PathBuf>) -> Result<(PathBuf, String), String> {
    if value.contains('/') {
        let path = Path::new(value);
        if !path.is_absolute() || value.contains('\0') {
            return Err("is not an absolute path, nor the name of a credential; write one of the two".to_owned());
        }
        return Ok((path.to_owned(), value.to_owned()));
    }
    if matches!(value, "" | "." | "..") || value.contains('\0') {
        return Err("names no file; write an absolute path, or the name of a credential".to_owned());
    }
    let Some(directory) = credentials.filter(|directory| directory.is_absolute()) else {
        let why = "names a credential, and $CREDENTIALS_DIRECTORY is not set; write LoadCredential= in the agent's systemd \
                   unit, or an absolute path here";
        return Err(why.to_owned());
    };
    Ok((directory.join(value), "a credential in $CREDENTIALS_DIRECTORY".to_owned()))
}

/// Why a file is not read, and the action for the operator.
struct Unreadable {
    /// The end of a sentence that begins with the file.
    reason: String,
    remedy: &'static str,
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "give it to the agent's user, or load it with LoadCredential= of systemd"
            }
            io::ErrorKind::NotFound => "write the file, or remove the key",
            _ => "name a regular file",
        };
        Self { reason: format!("cannot be read: {error}"), remedy }
    }
}

/// Reads a file that nobody but root and the agent's user can have opened to others, or put in its place.
fn read(path: &Path) -> Result<Secret, Unreadable> {
    let refused = |reason: String, remedy| Err(Unreadable { reason, remedy });
    trusted_path::check(path)?.map_err(|reason| Unreadable {
        reason,
        remedy: "move it to a directory that only root and the agent's user can change, and change the secret",
    })?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    // Of the open file: another may be at the path by now.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return refused("is not a regular file".to_owned(), "name a regular file");
    }
    check_access(&metadata, geteuid().as_raw())?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return refused("is larger than 64 KiB".to_owned(), "write only the secret into it");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return refused("is not UTF-8".to_owned(), "write the secret as text into it");
    };
    match without_line_end(&text) {
        "" => refused("is empty".to_owned(), "write the secret into it"),
        secret => Ok(Secret::new(secret)),
    }
}

/// Whether the file is closed to others: it belongs to root or the agent's user, and not everybody may read or write it. A
/// group may read it, as systemd has it for a service's user.
fn check_access(metadata: &Metadata, user: u32) -> Result<(), Unreadable> {
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != user {
        let reason = format!("belongs to user {owner}, not to root or user {user}");
        return Err(Unreadable { reason, remedy: "give it to the agent's user with chown, or run this as that user" });
    }
    if mode & OPEN_TO_OTHERS != 0 {
        let reason = format!("is open to everybody (mode {mode:o})");
        return Err(Unreadable { reason, remedy: "take that away with chmod o=, and change the secret" });
    }
    Ok(())
}

/// The text without one line end, which editors add.
fn without_line_end(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.len() < text.len() { line.strip_suffix('\r').unwrap_or(line) } else { line }
}

/// Keeps other processes of the same user from reading this one's memory, and its memory from core dumps (prctl(2)).
#[cfg(target_os = "linux")]
fn protect_process() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Other systems have no such setting.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
fn protect_process() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(directory: &tempfile::TempDir, content: &[u8], mode: u32) -> PathBuf {
        let path = directory.path().join("secret");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        path
    }

    #[test]
    fn file_is_read_without_one_line_end() {
        let directory = tempfile::tempdir().expect("a directory");
        for (content, expected) in
            [("a b", "a b"), ("pass\n", "pass"), ("pass\r\n", "pass"), ("a\n\n", "a\n"), ("a\r", "a\r")]
        {
            let path = write(&directory, content.as_bytes(), 0o400);
            assert_eq!(read(&path).map_err(|error| error.reason), Ok(Secret::new(expected)), "{content:?}");
        }
    }

    #[test]
    fn unsafe_and_invalid_files_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let reason = |content: &[u8], mode| read(&write(&directory, content, mode)).expect_err("refused").reason;
        assert_eq!(reason(b"x", 0o644), "is open to everybody (mode 644)");
        assert_eq!(reason(b"x", 0o602), "is open to everybody (mode 602)");
        assert_eq!(reason(b"\n", 0o600), "is empty");
        assert_eq!(reason(b"\xff", 0o600), "is not UTF-8");
        assert_eq!(reason(&vec![b'x'; (64 << 10) + 1], 0o640), "is larger than 64 KiB");
        assert_eq!(read(directory.path()).expect_err("refused").reason, "is not a regular file");
        let metadata = fs::metadata(write(&directory, b"x", 0o600)).expect("a file");
        let own = metadata.uid();
        assert!(check_access(&metadata, own).is_ok());
        assert_eq!(check_access(&metadata, own + 1).is_ok(), own == 0, "root's file is everybody's");
    }

    #[test]
    fn credentials_are_named_without_a_slash() {
        let credentials = || Some(PathBuf::from("/run/credentials/gauged.service"));
        let path = |value, directory| locate(value, directory).map(|(path, _)| path.display().to_string());
        assert_eq!(path("redis", credentials()).as_deref(), Ok("/run/credentials/gauged.service/redis"));
        assert_eq!(path("/run/redis", None).as_deref(), Ok("/run/redis"));
        for (value, directory) in [("hunter2", None), ("hunter/2", None), ("", credentials()), ("..", credentials())] {
            let error = path(value, directory).expect_err(value);
            assert!(!error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn secret_matches_its_text_only() {
        let secret = Secret::new("hunter2");
        assert!(secret.matches(b"hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn debug_form_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "…");
    }
}
