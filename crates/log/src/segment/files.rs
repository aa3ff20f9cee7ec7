//! The files of a segment as files: syncing, renaming, removing, closing.

use super::Segment;
use crate::disk::DiskFile;
use crate::error::LogError;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::names;
use crate::types::TimestampMs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is to be synced, with its path for errors.
pub(crate) type DirtyFile = (PathBuf, Arc<dyn DiskFile>);

impl Segment {
    /// The log file if it holds something that is not durable; it counts as durable from now on.
    pub(crate) fn take_dirty_log(&self) -> Result<Option<DirtyFile>, LogError> {
        if !self.file.is_unsynced() {
            return Ok(None);
        }
        let file = self.file()?;
        self.file.take_unsynced();
        Ok(Some((self.path.clone(), file)))
    }

    /// Files that hold something that is not durable; they count as durable from now on.
    pub(crate) fn take_dirty(&mut self) -> Result<Vec<DirtyFile>, LogError> {
        let mut files: Vec<_> = self.take_dirty_log()?.into_iter().collect();
        if let Some(file) = self.offset_index.dirty_file()? {
            files.push((self.offset_index.path().to_path_buf(), file));
        }
        if let Some(file) = self.time_index.dirty_file()? {
            files.push((self.time_index.path().to_path_buf(), file));
        }
        if let Some(file) = self.txn_index.dirty_file() {
            files.push((self.txn_index.path().to_path_buf(), file));
        }
        Ok(files)
    }

    /// Makes all files durable.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        for (path, file) in self.take_dirty()? {
            file.sync().map_err(|e| LogError::io("sync", &path, e))?;
        }
        Ok(())
    }

    /// Whether the log file holds something that is not durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.file.is_unsynced()
    }

    /// Writes index entries that wait in memory, without making them durable.
    pub(crate) fn write_out_indexes(&self) -> Result<(), LogError> {
        self.offset_index.write_out()?;
        self.time_index.write_out()
    }

    /// Whether both index files are there and as long as their entries, so that they can be trusted after a clean
    /// stop.
    pub(crate) fn indexes_look_sane(&self) -> Result<bool, LogError> {
        let fits = |path: &Path, entry: u64| -> Result<bool, LogError> {
            let len = self.disk.len(path).map_err(|e| LogError::io("stat", path, e))?;
            Ok(len.is_some_and(|len| len % entry == 0))
        };
        Ok(fits(self.offset_index.path(), OffsetEntry::SIZE as u64)?
            && fits(self.time_index.path(), TimeEntry::SIZE as u64)?)
    }

    /// Gives all files the suffix `.deleted`; returns their new paths. Open files stay readable.
    pub(crate) fn rename_to_deleted(&mut self) -> Result<Vec<PathBuf>, LogError> {
        let mut renamed = Vec::new();
        for path in self.paths() {
            if self.disk.len(&path).map_err(|e| LogError::io("stat", &path, e))?.is_some() {
                let mut name = path.clone().into_os_string();
                name.push(names::DELETED);
                let to = PathBuf::from(name);
                self.disk.rename(&path, &to).map_err(|e| LogError::io("rename", &path, e))?;
                renamed.push(to);
            }
        }
        Ok(renamed)
    }

    /// Removes all files at once.
    pub(crate) fn remove(&mut self) -> Result<(), LogError> {
        for path in self.paths() {
            self.disk.remove_file(&path).map_err(|e| LogError::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// The log file, its indexes and its aborted transactions, whether they are there or not.
    pub(crate) fn paths(&self) -> [PathBuf; 4] {
        [
            self.path.clone(),
            self.offset_index.path().to_path_buf(),
            self.time_index.path().to_path_buf(),
            self.txn_index.path().to_path_buf(),
        ]
    }

    /// When the log file was last changed.
    pub(crate) fn modified(&self) -> Result<TimestampMs, LogError> {
        self.disk.modified_ms(&self.path).map(TimestampMs).map_err(|e| LogError::io("stat", &self.path, e))
    }

    /// Bytes of the larger index.
    pub(crate) fn index_bytes(&self) -> Result<u64, LogError> {
        let offsets = self.offset_index.len()? * OffsetEntry::SIZE;
        let times = self.time_index.len()? * TimeEntry::SIZE;
        Ok(u64::try_from(offsets.max(times)).unwrap_or(u64::MAX))
    }

    /// After the directory was renamed.
    pub(crate) fn set_dir(&mut self, dir: &Path) {
        let moved = |extension| dir.join(names::file_name(self.base, extension));
        self.path = moved(names::LOG);
        self.offset_index.set_path(moved(names::INDEX));
        self.time_index.set_path(moved(names::TIME_INDEX));
        self.txn_index.set_path(moved(names::TXN_INDEX));
    }
}
