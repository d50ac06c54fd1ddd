//! The kernel's text files, under a movable root: read whole, from a descriptor that is kept open, with errors that carry
//! the path. What the files say is their readers' business.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr, memchr3};

use crate::hostpath::below;

/// What a buffer starts with: `/proc/meminfo` and the `/proc/stat` of a machine with a few dozen CPUs fit.
const INITIAL_BYTES: usize = 8 * 1024;

/// A file that is larger than this is not one of the kernel's: `/proc/stat` of 4096 CPUs has about 1 MiB.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// What differs from one kernel to another and no text file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// The size of a page of memory.
    pub page_bytes: u64,
    /// The unit of the times in `/proc/stat`.
    pub ticks_per_second: u64,
}

impl Machine {
    /// Asks the kernel of the host whose root is given: it tells every process in its auxiliary vector. Where that is not
    /// to be seen, this process's own kernel is the best guess.
    #[must_use]
    pub fn detect(root: &Path) -> Self {
        let own = Self {
            page_bytes: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
        };
        std::fs::read(below(root, "/proc/self/auxv")).map_or(own, |vector| own.with_auxv(&vector))
    }

    /// What an auxiliary vector says, pairs of words (`getauxval(3)`); what it does not say is as in `self`.
    fn with_auxv(self, vector: &[u8]) -> Self {
        const PAGE_SIZE: u64 = 6;
        const CLOCK_TICKS: u64 = 17;
        let mut told = self;
        for pair in vector.chunks_exact(2 * size_of::<usize>()) {
            let word = |at: usize| {
                let bytes = &pair[at * size_of::<usize>()..][..size_of::<usize>()];
                bytes.try_into().map_or(0, |bytes| usize::from_ne_bytes(bytes) as u64)
            };
            match (word(0), word(1)) {
                (_, 0) => {}
                (PAGE_SIZE, bytes) => told.page_bytes = bytes,
                (CLOCK_TICKS, ticks) => told.ticks_per_second = ticks,
                _ => {}
            }
        }
        told
    }
}

/// A file that is read again and again. A failure is logged when it begins and when it ends, not at every read.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
    extent: Extent,
    file: Option<File>,
    buffer: Vec<u8>,
    failing: bool,
}

/// How the kernel hands out a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All at once, as far as there is room: a read that leaves room was one of the whole file.
    Whole,
    /// Record by record: a short read is not the end, only an empty one is.
    Records,
}

impl KeptFile {
    /// The file that the measured host has at an absolute path, and that the kernel hands out all at once
    /// (`single_open`): `/proc/stat`, `/proc/loadavg`, `/proc/meminfo`. Nothing is opened yet.
    #[must_use]
    pub fn whole(root: &Path, path: &str) -> Self {
        Self::new(root, path, Extent::Whole)
    }

    /// One that the kernel hands out record by record: `/proc/vmstat`, `/proc/zoneinfo`.
    #[must_use]
    pub fn records(root: &Path, path: &str) -> Self {
        Self::new(root, path, Extent::Records)
    }

    fn new(root: &Path, path: &str, extent: Extent) -> Self {
        Self { path: below(root, path), extent, file: None, buffer: Vec::new(), failing: false }
    }

    /// Reads the file from its start and parses it. None when either fails.
    pub fn read<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T, &'static str>) -> Option<T> {
        let parsed = match self.fill() {
            Ok(length) => parse(&self.buffer[..length]).map_err(|why| format!("failed to parse it: {why}")),
            Err(error) => {
                self.file = None;
                Err(format!("failed to read it: {error}"))
            }
        };
        match (&parsed, self.failing) {
            (Err(reason), false) => {
                let file = self.path.display().to_string();
                let consequence = "its metrics are null until it can be read";
                tracing::warn!(file, reason, consequence, "kernel file not readable");
            }
            (Ok(_), true) => tracing::info!(file = %self.path.display(), "kernel file readable again"),
            _ => {}
        }
        self.failing = parsed.is_err();
        parsed.ok()
    }

    /// Reads the whole file into the buffer; answers how much of it is filled.
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

/// The number that the bytes begin with, after white space. None when there is none or it exceeds 64 bits.
#[must_use]
pub fn leading_number(bytes: &[u8]) -> Option<u64> {
    split_number(bytes).map(|(number, _rest)| number)
}

/// The same, and what comes after it.
#[must_use]
pub fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let bytes = bytes.trim_ascii_start();
    let (mut number, mut digits) = (0_u64, 0);
    while let Some(digit @ 0..=9) = bytes.get(digits).map(|byte| byte.wrapping_sub(b'0')) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        digits += 1;
    }
    (digits > 0).then(|| (number, &bytes[digits..]))
}

/// The first line, and what comes after it.
#[must_use]
pub fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', text) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}

/// The lines that have a key, which ends at white space or a colon, and what comes after that.
pub fn keyed_lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
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

/// What the fuzzer runs: an auxiliary vector, and what no vector may make of a machine.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
    let told = own.with_auxv(bytes);
    assert!(told.page_bytes > 0 && told.ticks_per_second > 0);
    let says = |key: usize, value: u64| {
        let value = usize::try_from(value).expect("it was a word of the vector");
        let pair = [key.to_ne_bytes(), value.to_ne_bytes()].concat();
        bytes.chunks(pair.len()).any(|found| found == pair)
    };
    assert!(told.page_bytes == own.page_bytes || says(6, told.page_bytes));
    assert!(told.ticks_per_second == own.ticks_per_second || says(17, told.ticks_per_second));
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

    #[expect(clippy::unnecessary_wraps, reason = "it stands for a parser")]
    fn whole(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        Ok(bytes.to_vec())
    }

    #[test]
    fn a_file_larger_than_the_buffer_is_read_whole() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let content: Vec<u8> = (b'a'..=b'w').cycle().take(3 * INITIAL_BYTES).collect();
        fs::write(root.path().join("stat"), &content).expect("written");
        let mut file = KeptFile::whole(root.path(), "/stat");
        assert_eq!(file.read(whole).as_deref(), Some(&content[..]));
        assert_eq!(file.read(whole).as_deref(), Some(&content[..]), "and again, from its start");
    }

    #[test]
    fn a_file_that_comes_back_is_read_again() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut file = KeptFile::records(root.path(), "/late");
        assert_eq!(file.read(whole), None);
        fs::write(root.path().join("late"), "x").expect("written");
        assert_eq!(file.read(whole).as_deref(), Some(&b"x"[..]));
        assert_eq!(file.read(|_| Err::<(), _>("nonsense")), None);
    }

    #[test]
    fn the_kernel_tells_what_it_is_made_for() {
        let own = Machine { page_bytes: 4096, ticks_per_second: 100 };
        let vector: Vec<u8> =
            [3, 9, 6, 65536, 17, 250, 0, 0_usize].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(own.with_auxv(&vector), Machine { page_bytes: 65536, ticks_per_second: 250 });
        assert_eq!(own.with_auxv(&vector[..40]), Machine { page_bytes: 65536, ..own }, "cut off");
        assert_eq!(own.with_auxv(b""), own);
        assert_eq!(Machine::detect(Path::new("/")), Machine::detect(Path::new("/nowhere")));
    }

    #[test]
    fn keys_are_whole_words() {
        let text = b"Cached: 1 kB\nSwapCached: 2 kB\nCachedX 3\npswpin 4\nkeyless\n\n";
        let lines: Vec<_> = keyed_lines(text).map(|(key, value)| (key, leading_number(value))).collect();
        let expected: [(&[u8], _); 4] =
            [(b"Cached", Some(1)), (b"SwapCached", Some(2)), (b"CachedX", Some(3)), (b"pswpin", Some(4))];
        assert_eq!(lines, expected);
    }

    proptest! {
        #[test]
        fn numbers_read_back(number in any::<u64>(), space in " {0,3}", rest in "[a-z ]{0,3}") {
            prop_assert_eq!(leading_number(format!("{space}{number}{rest}").as_bytes()), Some(number));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in any::<Vec<u8>>()) {
            for (_, value) in keyed_lines(&bytes) {
                let _ = leading_number(value);
            }
        }
    }
}
