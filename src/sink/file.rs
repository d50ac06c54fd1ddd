//! A file of lines, one a sample, which operators and other programs may rename, empty, remove and read at any time. Each call may
//! block: they come from the sink's own thread.
//!
//! - A line is one write at the end of the file. A part of a line, which stays behind when the agent is killed or the disk is full,
//!   is ended before the next line: readers find whole lines after it. It is not taken back, since they may have read it.
//! - The file is the one at its path: before each line the two are compared. One that was renamed or removed is not written to any
//!   more, and one that was emptied is small again.
//! - A rotation gives the file another name, which no file has, and begins a new one. A reader that has the old one open reads it
//!   to its end. Where that fails, lines go on to the old file.
//! - After an error the next line is tried like any other.
//! - A sync that fails loses no line that is written: it is a problem, and is counted apart.

mod error;
mod open;
mod rotated;
mod turns;
mod compression;
mod examination;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use self::compression::Compressor;
pub(crate) use self::examination::examine_file;

use self::error::{failed, not_rotated, not_synced};
use self::open::OpenFile;
use self::rotated::{Form, Forms, Stamp};
use super::error::{ErrorReason, SinkError};
use crate::config::{FileSettings, Fsync};

/// How long after a failed rotation the next attempt is: it renames the file there and back, which readers may see.
const RETRY_ROTATION: Duration = Duration::from_secs(60);

/// Appends lines to a file.
#[derive(Debug)]
pub(crate) struct FileWriter {
    settings: FileSettings,
    /// None after an error that may have to do with it.
    file: Option<OpenFile>,
    /// Whether it has a line from this writer. Until then nothing besides the file was touched.
    has_begun: bool,
    compressor: Compressor,
    /// The last failure of a rotation, until one succeeds.
    rotation_error: Option<SinkError>,
    /// When a rotation failed and left the file in place.
    rotation_failed: Option<SystemTime>,
    /// When the file was last synced.
    synced: Option<SystemTime>,
    /// The last failure of a sync, until one succeeds.
    sync_error: Option<SinkError>,
    /// How many failed since somebody asked.
    failed_syncs: u64,
    /// Whether it has lines that may not be on the disk yet.
    is_dirty: bool,
}

impl FileWriter {
    /// Opens the file, or creates it, as a preparation: its content and the rotated files stay as they are until the first line.
    /// Another writer may have the same file.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or there is something else at the path.
    pub(crate) fn open(settings: FileSettings) -> Result<Self, SinkError> {
        let file = OpenFile::open(&settings.path)?;
        Ok(Self { file: Some(file), ..Self::closed(settings) })
    }

    /// A writer that opens the file with its first line.
    pub(crate) fn closed(settings: FileSettings) -> Self {
        Self {
            compressor: Compressor::new(&settings),
            settings,
            file: None,
            has_begun: false,
            rotation_error: None,
            rotation_failed: None,
            synced: None,
            sync_error: None,
            failed_syncs: 0,
            is_dirty: false,
        }
    }

    /// Appends a line, which has its newline.
    ///
    /// # Errors
    ///
    /// When the line is not in the file.
    pub(crate) fn write_line(&mut self, line: &[u8], now: SystemTime) -> Result<(), SinkError> {
        self.rotate_before(line.len() as u64, now)?;
        let path = &self.settings.path;
        let file = current(&mut self.file, &self.settings)?;
        let result = file.append(line, now).map_err(|error| failed("failed to write", path, &error));
        self.is_dirty = true;
        if result.as_ref().is_err_and(|error| error.reason == ErrorReason::Io) {
            // Such as a file handle that a server does not know any more.
            self.file = None;
        }
        result?;
        self.sync_if_due(now);
        Ok(())
    }

    /// Rotates and syncs the file if it is time for that, without a line.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub(crate) fn rotate_if_due(&mut self, now: SystemTime) -> Result<(), SinkError> {
        self.rotate_before(0, now)?;
        self.sync_if_due(now);
        Ok(())
    }

    /// Opens the file at the path anew. The old one is not written to any more, whether or not that succeeds.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened. The next line tries it again.
    pub(crate) fn reopen(&mut self) -> Result<(), SinkError> {
        self.finish();
        self.file = Some(OpenFile::open(&self.settings.path)?);
        Ok(())
    }

    /// Ends the file.
    pub(crate) fn close(mut self) {
        self.finish();
    }

    /// The failure of a sync, a rotation or a compression that has not passed. No line is lost by it.
    pub(crate) fn problem(&self) -> Option<SinkError> {
        let own = self.sync_error.as_ref().or(self.rotation_error.as_ref());
        own.cloned().or_else(|| self.compressor.error())
    }

    /// How many syncs failed since the last call.
    pub(crate) fn take_failed_syncs(&mut self) -> u64 {
        std::mem::take(&mut self.failed_syncs)
    }

    /// Looks after the rotated files that are there, before the first line of a file that is open.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let removed = self.list_rotated().and_then(|(_, removed)| removed);
            self.report_rotation(removed);
            self.compressor.request();
        }
    }

    /// Makes sure that the file at the path is open, and rotates it if a line of this length would make it too large, or if it is too
    /// old.
    fn rotate_before(&mut self, length: u64, now: SystemTime) -> Result<(), SinkError> {
        let path = &self.settings.path;
        // One that cannot be examined may be a file handle that a server does not know any more: the path may lead to another one.
        if self.file.as_mut().is_some_and(|file| !file.is_in_place(path) || file.examine(now).is_err()) {
            self.finish();
        }
        // A directory that is missing is reported as that, and once.
        current(&mut self.file, &self.settings)?;
        self.begin();
        let file = current(&mut self.file, &self.settings)?;
        if let Err(error) = file.examine(now) {
            self.file = None;
            return Err(failed("failed to examine", &self.settings.path, &error));
        }
        let is_large = self.settings.rotate_size.is_some_and(|most| file.size() + length > most);
        let is_old = self.settings.rotate_age.is_some_and(|most| file.age(now) >= most);
        let is_early = self.rotation_failed.is_some_and(|failed| {
            // The clock may have been set back.
            now.duration_since(failed).is_ok_and(|passed| passed < RETRY_ROTATION)
        });
        if file.size() > 0 && (is_large || is_old) && !is_early {
            let rotated = self.rotate(now);
            self.report_rotation(rotated);
        }
        Ok(())
    }

    /// Gives the file its rotated name, and begins a new one.
    fn rotate(&mut self, now: SystemTime) -> Result<(), SinkError> {
        self.rotation_failed = Some(now);
        if let Some(file) = &mut self.file {
            // So that all files one after the other have whole lines. A full disk may not let it.
            let _ = file.end_line(now);
        }
        if self.settings.fsync != Fsync::Never {
            self.sync();
        }
        let path = &self.settings.path;
        let (mut stamps, mut removed) = self.list_rotated()?;
        let stamp = Stamp::next(now, stamps.last_key_value().map(|(stamp, _)| *stamp));
        let target = rotated::path(path, stamp, Form::Plain);
        let rename =
            |from, to| rotated::rename_new(from, to).map_err(|error| not_rotated("failed to rename", from, &error));
        rename(path, &target)?;
        match OpenFile::open(path) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                if rename(&target, path).is_err() {
                    self.file = None;
                }
                return Err(error);
            }
        }
        self.rotation_failed = None;
        stamps.insert(stamp, Forms { is_plain: true, is_gzip: false });
        while stamps.len() > self.settings.keep {
            let oldest = rotated::remove_oldest(path, &mut stamps);
            removed = removed.and(oldest.map_err(|error| not_rotated(REMOVE, path, &error)));
        }
        if self.settings.compress {
            self.compressor.request();
        }
        if self.settings.fsync != Fsync::Never {
            let synced = rotated::sync_directory(path);
            self.report_sync(synced.map_err(|error| not_synced("failed to sync the directory of", path, &error)));
        }
        removed
    }

    /// The rotated files that stay, and whether all others were removed.
    #[expect(clippy::type_complexity, reason = "the list is of use also where a file cannot be removed")]
    fn list_rotated(&self) -> Result<(BTreeMap<Stamp, Forms>, Result<(), SinkError>), SinkError> {
        let FileSettings { path, keep, .. } = &self.settings;
        let (stamps, removed) =
            rotated::list(path, *keep).map_err(|error| failed("failed to list the rotated files of", path, &error))?;
        Ok((stamps, removed.map_err(|error| not_rotated(REMOVE, path, &error))))
    }

    /// Reports the first failure of a row, and its end.
    fn report_rotation(&mut self, result: Result<(), SinkError>) {
        let path = self.settings.path.display();
        match result {
            Ok(()) => {
                if self.rotation_error.take().is_some() {
                    tracing::info!(%path, "file rotated again");
                }
            }
            Err(error) => {
                if self.rotation_error.as_ref().is_none_or(|known| known.text != error.text) {
                    let SinkError { text: reason, remedy, .. } = &error;
                    tracing::warn!(%path, reason, remedy, "file not rotated");
                }
                self.rotation_error = Some(error);
            }
        }
    }

    /// Writes no more to the open file.
    fn finish(&mut self) {
        if self.settings.fsync != Fsync::Never {
            self.sync();
        }
        self.file = None;
        self.is_dirty = false;
    }

    fn sync_if_due(&mut self, now: SystemTime) {
        let is_due = match self.settings.fsync {
            Fsync::Never | Fsync::Rotation => false,
            Fsync::Interval(interval) => self.synced.is_none_or(|synced| {
                // The clock may have been set back.
                now.duration_since(synced).map_or(true, |passed| passed >= interval)
            }),
            Fsync::EachLine => true,
        };
        if is_due {
            self.synced = Some(now);
            self.sync();
        }
    }

    /// Waits until the lines are on the disk. One that failed is not tried again for them: the kernel has given them up.
    fn sync(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.is_dirty) else { return };
        self.is_dirty = false;
        let path = &self.settings.path;
        let synced = file.sync().map_err(|error| {
            let is_in_place = file.is_in_place(path);
            let operation = if is_in_place { "failed to sync" } else { "failed to sync the file that was at" };
            not_synced(operation, path, &error)
        });
        self.report_sync(synced);
    }

    /// Reports the first failure of a row, and its end.
    fn report_sync(&mut self, result: Result<(), SinkError>) {
        let path = self.settings.path.display();
        match result {
            Ok(()) => {
                if self.sync_error.take().is_some() {
                    tracing::info!(%path, "file of samples synced again");
                }
            }
            Err(error) => {
                self.failed_syncs += 1;
                if self.sync_error.is_none() {
                    let SinkError { text: reason, remedy, .. } = &error;
                    tracing::error!(%path, reason, remedy, "file of samples not synced");
                }
                self.sync_error = Some(error);
            }
        }
    }
}

const REMOVE: &str = "failed to remove an old rotated file of";

/// The open file, which is opened now where there is none.
fn current<'f>(file: &'f mut Option<OpenFile>, settings: &FileSettings) -> Result<&'f mut OpenFile, SinkError> {
    let opened = match file.take() {
        Some(opened) => opened,
        None => OpenFile::open(&settings.path)?,
    };
    Ok(file.insert(opened))
}
