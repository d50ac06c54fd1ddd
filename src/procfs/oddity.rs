//! Oddities in the kernel's text files: lines and fields that are not as the kernel writes them, or that cannot be true. A parser
//! leaves them out and notes them here. All are counted; each kind is reported once, with the first place where it was found.

use std::path::Path;

/// After how many readings without a kind it is reported again when it comes back: ten minutes of ticks of a second, so that
/// one that comes and goes does not flood the log.
const FORGOTTEN_AFTER: u32 = 600;

/// The longest word that is reported: longer than any number of 64 bits, shorter than a line of a log.
const MAX_WORD_BYTES: usize = 48;

/// The fault of a word that should be a whole number.
pub(crate) const NOT_A_NUMBER: &str = "is not a number of 64 bits";

/// The fault of a word that should be a number without a sign, perhaps with a fraction.
pub(crate) const NOT_A_DECIMAL: &str = "is not a number without a sign";

/// The fault of a line whose key was there before.
pub(crate) const TWICE: &str = "is there twice";

/// The fault of a line that begins with no name.
pub(crate) const NO_LINE: &str = "is no line of this file";

/// The loss where nothing but the line is left out.
pub(crate) const ONLY_THE_LINE: &str = "this line";

/// A kind of oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oddity {
    /// The fault, as the end of a sentence that begins with the word.
    pub(crate) reason: &'static str,
    /// The metrics that are left out because of it.
    pub(crate) left_out: &'static str,
    /// What helps, where anything does.
    pub(crate) remedy: Option<&'static str>,
}

impl Oddity {
    /// An oddity without a remedy.
    #[must_use]
    pub(crate) fn new(reason: &'static str, left_out: &'static str) -> Self {
        Self { reason, left_out, remedy: None }
    }
}

/// The oddities of one file, or of several that are read together. Their kinds are few: they are texts of the code.
#[derive(Debug, Default)]
pub(crate) struct Oddities {
    kinds: Vec<Kind>,
    count: u64,
    /// The address of the text that is being read; only for the places of words in it.
    text_address: usize,
}

#[derive(Debug)]
struct Kind {
    oddity: Oddity,
    /// Where the word begins and ends in the text. None where something is missing.
    place: Option<(usize, usize)>,
    is_reported: bool,
    /// The number of readings since it was found.
    absent_for: u32,
}

impl Oddities {
    /// Begins a reading: the kinds that are found from now on are present in it.
    pub(crate) fn begin(&mut self) {
        for kind in &mut self.kinds {
            kind.absent_for = kind.absent_for.saturating_add(1);
        }
        self.kinds.retain(|kind| kind.absent_for <= FORGOTTEN_AFTER);
    }

    /// Begins a text. The words that are noted from now on are parts of it.
    pub(crate) fn begin_text(&mut self, text: &[u8]) {
        self.text_address = text.as_ptr().addr();
    }

    /// Notes a word of the text.
    pub(crate) fn note(&mut self, word: &[u8], reason: &'static str, left_out: &'static str) {
        let begin = word.as_ptr().addr().wrapping_sub(self.text_address);
        self.add(Oddity::new(reason, left_out), Some((begin, begin.saturating_add(word.len()))));
    }

    /// Notes something that has no place in the text.
    pub(crate) fn note_missing(&mut self, oddity: Oddity) {
        self.add(oddity, None);
    }

    fn add(&mut self, oddity: Oddity, place: Option<(usize, usize)>) {
        self.count += 1;
        match self.kinds.iter_mut().find(|kind| kind.oddity == oddity) {
            Some(kind) => kind.absent_for = 0,
            None => self.kinds.push(Kind { oddity, place, is_reported: false, absent_for: 0 }),
        }
    }

    /// Reports the kinds that are new.
    pub(crate) fn report(&mut self, file: &Path, text: &[u8]) {
        for kind in self.kinds.iter_mut().filter(|kind| !kind.is_reported) {
            kind.is_reported = true;
            let Oddity { reason, left_out, remedy } = kind.oddity;
            let line = kind.place.map(|(begin, _)| line_number(text, begin));
            let word = kind.place.map(|(begin, end)| shown_word(text, begin, end));
            tracing::warn!(
                file = %file.display(),
                line,
                word,
                reason,
                left_out,
                remedy,
                "kernel values left out"
            );
        }
    }

    /// The number of all oddities that were noted.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The oddities of a text that a parser has noted, as their words and losses.
    #[cfg(test)]
    pub(crate) fn noted<T>(text: &[u8], parse: impl FnOnce(&[u8], &mut Self) -> T) -> (T, Vec<(String, &'static str)>) {
        let mut odd = Self::default();
        odd.begin_text(text);
        let parsed = parse(text, &mut odd);
        let noted = odd.kinds.iter().map(|kind| {
            let word = kind.place.map(|(begin, end)| shown_word(text, begin, end)).unwrap_or_default();
            (word, kind.oddity.left_out)
        });
        (parsed, noted.collect())
    }
}

/// The number of the line that a place is in; the first is 1.
fn line_number(text: &[u8], place: usize) -> usize {
    text.get(..place).unwrap_or(text).split(|&byte| byte == b'\n').count()
}

/// The words between two places, as text of bounded length.
fn shown_word(text: &[u8], begin: usize, end: usize) -> String {
    let word = text.get(begin..end).unwrap_or_default().trim_ascii();
    let shown = word.get(..MAX_WORD_BYTES).unwrap_or(word);
    let mut shown = String::from_utf8_lossy(shown).into_owned();
    if word.len() > MAX_WORD_BYTES {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_reported_until_forgotten() {
        let mut odd = Oddities::default();
        let text = b"a 1\nb -2\n";
        let mut reading = |is_odd: bool| {
            odd.begin();
            odd.begin_text(text);
            if is_odd {
                odd.note(&text[6..8], NOT_A_NUMBER, "b");
            }
            let is_new = odd.kinds.iter().any(|kind| !kind.is_reported);
            odd.report(Path::new("/file"), text);
            is_new
        };
        assert!(reading(true), "the first time");
        assert!(!reading(true) && !reading(false) && !reading(true), "one that comes and goes");
        for _ in 0..=FORGOTTEN_AFTER {
            assert!(!reading(false));
        }
        assert!(reading(true), "it was away for long");
        assert_eq!(odd.count(), 4);
    }

    #[test]
    fn places_are_line_and_word() {
        let text = b"a 1\nb -2\n";
        assert_eq!((line_number(text, 0), line_number(text, 6)), (1, 2));
        assert_eq!(shown_word(text, 6, 8), "-2");
        assert_eq!(shown_word(text, 6, 80), "", "a place that is not in the text");
        assert_eq!(shown_word(&[b'x'; 100], 0, 100).chars().count(), MAX_WORD_BYTES + 1);
    }
}
