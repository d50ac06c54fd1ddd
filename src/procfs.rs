//! The kernel's text files under a movable root: read as a whole from a descriptor that stays open, with the path in every
//! error. The parsers are in the collectors.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memchr3};

use crate::hostpath::below;

/// The first size of a buffer: enough for `/proc/meminfo`, and for `/proc/stat` with a few dozen CPUs.
const INITIAL_BYTES: usize = 8 * 1024;

/// The largest file: `/proc/stat` with 4096 CPUs has about 1 MiB.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Constants of a kernel that no text file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The size of a page of memory.
    pub(crate) page_bytes: u64,
    /// The unit of the times in `/proc/stat`.
    pub(crate) ticks_per_second: u64,
}

impl Machine {
    /// The constants of the measured host, from the auxiliary vector that its kernel gives every process; otherwise those of
    /// this process's kernel.
    #[must_use]
    pub(crate) fn detect(root: &Path) -> Self {
        let own = Self {
            page_bytes: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
        };
        std::fs::read(below(root, "/proc/self/auxv")).map_or(own, |vector| own.with_auxv(&vector))
    }

    /// Takes the constants from an auxiliary vector, a list of pairs of words (`getauxval(3)`); `self` has the defaults.
    fn with_auxv(self, vector: &[u8]) -> Self {
        const PAGE_SIZE: u64 = 6;
        const CLOCK_TICKS: u64 = 17;
        let mut machine = self;
        for pair in vector.chunks_exact(2 * size_of::<usize>()) {
            let word = |at: usize| {
                let bytes = &pair[at * size_of::<usize>()..][..size_of::<usize>()];
                bytes.try_into().map_or(0, |bytes| usize::from_ne_bytes(bytes) as u64)
            };
            match (word(0), word(1)) {
                (_, 0) => {}
                (PAGE_SIZE, bytes) => machine.page_bytes = bytes,
                (CLOCK_TICKS, ticks) => machine.ticks_per_second = ticks,
                _ => {}
            }
        }
        machine
    }
}

/// A file that is read at every tick. The log has a line when reading begins to fail and one when it works again.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    extent: Extent,
    file: Option<File>,
    buffer: Vec<u8>,
    is_failing: bool,
}

/// A file could not be read or parsed; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadError;

/// How the kernel hands out a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All at once: a read that does not fill the buffer was the last one.
    Whole,
    /// Record by record: only an empty read is the end.
    Records,
}

impl KeptFile {
    /// A file that the kernel hands out all at once (`single_open`): `/proc/stat`, `/proc/loadavg`, `/proc/meminfo`. The
    /// path is absolute on the measured host. The file is opened at the first read.
    #[must_use]
    pub(crate) fn whole(root: &Path, path: &str) -> Self {
        Self::new(root, path, Extent::Whole)
    }

    /// A file that the kernel hands out record by record: `/proc/vmstat`, `/proc/zoneinfo`.
    #[must_use]
    pub(crate) fn records(root: &Path, path: &str) -> Self {
        Self::new(root, path, Extent::Records)
    }

    fn new(root: &Path, path: &str, extent: Extent) -> Self {
        Self { path: below(root, path), extent, file: None, buffer: Vec::new(), is_failing: false }
    }

    /// Reads the file from its start and parses it.
    pub(crate) fn read<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T, &'static str>) -> Result<T, ReadError> {
        let parsed = match self.fill() {
            Ok(length) => parse(&self.buffer[..length]).map_err(|why| format!("failed to parse it: {why}")),
            Err(error) => {
                self.file = None;
                Err(format!("failed to read it: {error}"))
            }
        };
        match (&parsed, self.is_failing) {
            (Err(reason), false) => {
                let file = self.path.display().to_string();
                let consequence = "its metrics are null until it can be read";
                tracing::warn!(file, reason, consequence, "kernel file not readable");
            }
            (Ok(_), true) => tracing::info!(file = %self.path.display(), "kernel file readable again"),
            _ => {}
        }
        self.is_failing = parsed.is_err();
        parsed.map_err(|_logged| ReadError)
    }

    /// Reads the whole file into the buffer. Returns its length.
    fn fill(&mut self) -> io::Result<usize> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        if self.buffer.is_empty() {
            self.buffer.resize(INITIAL_BYTES, 0);
        }
        let mut filled = 0;
        loop {
            let read = file.read_at(&mut self.buffer[filled..], filled as u64)?;
            if read == 0 {
                return Ok(filled);
            }
            filled += read;
            if filled < self.buffer.len() && self.extent == Extent::Whole {
                return Ok(filled);
            }
            if filled == self.buffer.len() {
                if filled >= MAX_BYTES {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 8 MiB"));
                }
                self.buffer.resize(filled * 2, 0);
            }
        }
    }
}

/// The number at the start of the bytes, after white space. None if there is no number or it exceeds 64 bits.
#[must_use]
pub(crate) fn leading_number(bytes: &[u8]) -> Option<u64> {
    split_number(bytes).map(|(number, _rest)| number)
}

/// The number at the start as in [`leading_number`], and the rest.
#[must_use]
pub(crate) fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    let (mut number, mut digits) = (0_u64, 0);
    while let Some(digit @ 0..=9) = bytes.get(digits).map(|byte| byte.wrapping_sub(b'0')) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        digits += 1;
    }
    (digits > 0).then(|| (number, &bytes[digits..]))
}

/// The first line, and the rest.
#[must_use]
pub(crate) fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// The key of each line and the rest of the line. The key ends at white space or a colon; lines without either are left out.
pub(crate) fn keyed_lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    let lines = std::iter::from_fn(move || {
        let line;
        (line, rest) = (!rest.is_empty()).then(|| split_line(rest))?;
        Some(line)
    });
    lines.filter_map(|line| {
        let end = memchr3(b':', b' ', b'\t', line)?;
        Some((&line[..end], &line[end + 1..]))
    })
}

/// The fuzz target: every constant is in the auxiliary vector or the default, and never 0.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
    let machine = own.with_auxv(bytes);
    assert!(machine.page_bytes > 0 && machine.ticks_per_second > 0);
    let has_pair = |key: usize, value: u64| {
        let value = usize::try_from(value).expect("a word of the vector");
        let pair = [key.to_ne_bytes(), value.to_ne_bytes()].concat();
        bytes.chunks(pair.len()).any(|found| found == pair)
    };
    assert!(machine.page_bytes == own.page_bytes || has_pair(6, machine.page_bytes));
    assert!(machine.ticks_per_second == own.ticks_per_second || has_pair(17, machine.ticks_per_second));
    let number = leading_number(bytes);
    let text: String = bytes
        .trim_ascii_start()
        .iter()
        .map_while(|&byte| char::from(byte).is_ascii_digit().then_some(char::from(byte)))
        .collect();
    assert_eq!(number, text.parse().ok());
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the type of a parser")]
    fn whole(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        Ok(bytes.to_vec())
    }

    #[test]
    fn files_larger_than_the_buffer_are_read_whole() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let content: Vec<u8> = (b'a'..=b'w').cycle().take(3 * INITIAL_BYTES).collect();
        fs::write(root.path().join("stat"), &content).expect("written");
        let mut file = KeptFile::whole(root.path(), "/stat");
        assert_eq!(file.read(whole).ok().as_deref(), Some(&content[..]));
        assert_eq!(file.read(whole).ok().as_deref(), Some(&content[..]), "the second read is from the start, too");
    }

    #[test]
    fn a_file_that_appears_later_is_read() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut file = KeptFile::records(root.path(), "/late");
        assert!(file.read(whole).is_err());
        fs::write(root.path().join("late"), "x").expect("written");
        assert_eq!(file.read(whole).ok().as_deref(), Some(&b"x"[..]));
        assert!(file.read(|_| Err::<(), _>("nonsense")).is_err());
    }

    #[test]
    fn auxv_gives_page_size_and_clock_ticks() {
        let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
        let vector: Vec<u8> =
            [3, 9, 6, 65536, 17, 250, 0, 0_usize].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(own.with_auxv(&vector), Machine { page_bytes: 65536, ticks_per_second: 250 });
        assert_eq!(own.with_auxv(&vector[..40]), Machine { page_bytes: 65536, ..own }, "truncated");
        assert_eq!(own.with_auxv(b""), own);
        assert_eq!(Machine::detect(Path::new("/")), Machine::detect(Path::new("/nowhere")));
    }

    #[test]
    fn keyed_lines_have_whole_keys() {
        let text = b"Cached: 1 kB\nSwapCached: 2 kB\nCachedX 3\npswpin 4\nkeyless\n\n";
        let lines: Vec<_> = keyed_lines(text).map(|(key, value)| (key, leading_number(value))).collect();
        let expected: [(&[u8], _); 4] =
            [(b"Cached", Some(1)), (b"SwapCached", Some(2)), (b"CachedX", Some(3)), (b"pswpin", Some(4))];
        assert_eq!(lines, expected);
    }

    proptest! {
        #[test]
        fn leading_numbers_are_parsed(number in any::<u64>(), space in " {0,3}", rest in "[a-z ]{0,3}") {
            prop_assert_eq!(leading_number(format!("{space}{number}{rest}").as_bytes()), Some(number));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in any::<Vec<u8>>()) {
            for (_, value) in keyed_lines(&bytes) {
                let _ = leading_number(value);
            }
        }
    }
}
