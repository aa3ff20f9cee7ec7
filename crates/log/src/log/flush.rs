//! Making appended batches durable. fsync is tried once: after an error the log is poisoned.

use super::Log;
use crate::checkpoint::PartitionMetadata;
#[cfg(doc)]
use crate::disk::DiskTree;
use crate::disk::{Disk, OpenMode};
use crate::error::LogError;
use crate::segment::DirtyFile;
use crate::types::{Offset, TimestampMs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What must be synced so that the log is durable up to an offset. [`Flush::run`] needs no lock on the log.
#[derive(Debug)]
#[must_use = "run it and hand the result to `Log::complete_flush`"]
pub struct Flush {
    files: Vec<DirtyFile>,
    snapshots: Vec<PathBuf>,
    names: Option<Names>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    up_to: Offset,
    truncations: u64,
}

/// The names that a log is found by: its directory's, those of the first files in it, and `partition.metadata`.
#[derive(Debug)]
pub struct Names {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Names {
    /// Makes them durable; needs no lock on the log.
    ///
    /// # Errors
    /// Those of fsync.
    pub fn sync(&self) -> Result<(), LogError> {
        sync_if_there(&*self.disk, &self.dir.join(PartitionMetadata::FILE))?;
        sync_dir(&*self.disk, &self.dir)?;
        match self.dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => sync_dir(&*self.disk, parent),
            None => Ok(()),
        }
    }
}

impl Flush {
    /// Syncs the files.
    ///
    /// # Errors
    /// Those of fsync; hand them to [`Log::complete_flush`], do not run it again.
    pub fn run(&self) -> Result<(), LogError> {
        for (path, file) in &self.files {
            file.sync().map_err(|e| LogError::io("sync", path, e))?;
        }
        // A snapshot may have been deleted with its segment meanwhile.
        self.snapshots.iter().try_for_each(|path| sync_if_there(&*self.disk, path))?;
        match &self.names {
            Some(names) => names.sync(),
            None if self.snapshots.is_empty() => Ok(()),
            None => sync_dir(&*self.disk, &self.dir),
        }
    }

    /// Offset up to which the log is durable once this has run.
    #[must_use]
    pub fn up_to(&self) -> Offset {
        self.up_to
    }
}

fn sync_if_there(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    let Ok(file) = disk.open(path, OpenMode::Read) else { return Ok(()) };
    file.sync().map_err(|e| LogError::io("sync", path, e))
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    disk.sync_dir(dir).map_err(|e| LogError::io("sync", dir, e))
}

impl Log {
    /// What finds the log after a power cut, where that may not be durable yet. The first flush sees to it, too.
    #[must_use]
    pub fn unsynced_names(&self) -> Option<Names> {
        (!self.names_synced).then(|| Names { disk: Arc::clone(&self.disk), dir: self.dir.clone() })
    }

    /// Notes that what [`Log::unsynced_names`] gave is durable.
    pub fn names_are_synced(&mut self) {
        self.names_synced = true;
    }

    /// Whether `flush.messages` or `flush.ms` ask for a flush, or a finished segment is not durable yet.
    #[must_use]
    pub fn should_flush(&self, now: TimestampMs) -> bool {
        let unflushed = self.end.0 - self.recovery_point.0;
        unflushed > 0
            && (unflushed >= self.config.flush_messages
                || now.0.saturating_sub(self.last_flush.0) >= self.config.flush_ms
                || self.segments.last_key_value().is_some_and(|(active, _)| self.recovery_point < *active))
    }

    /// Makes everything appended durable and moves the recovery point to the log's end.
    ///
    /// # Errors
    /// After a failed fsync the log is poisoned.
    pub fn flush(&mut self, now: TimestampMs) -> Result<(), LogError> {
        let flush = self.prepare_flush()?;
        let result = flush.run();
        self.complete_flush(&flush, result, now)
    }

    /// Gathers what is to be synced. The caller runs it, with or without the lock, and completes it before it prepares another:
    /// what this one has taken along the next would take for synced.
    ///
    /// # Errors
    /// When index entries in memory cannot be written.
    pub fn prepare_flush(&mut self) -> Result<Flush, LogError> {
        self.check_usable()?;
        let gathered = self.gather();
        self.poison_on_error(gathered)
    }

    /// The active segment's indexes are left out: a recovery builds those of the segment with the recovery point anew, and
    /// of all behind it. They are gathered when the segment is finished.
    fn gather(&mut self) -> Result<Flush, LogError> {
        let first = self.floor(self.recovery_point).unwrap_or_default();
        let active = self.active()?.base();
        let mut files = Vec::new();
        for (base, segment) in self.segments.range_mut(first..) {
            if *base == active {
                files.extend(segment.take_dirty_log()?);
            } else {
                files.append(&mut segment.take_dirty()?);
            }
        }
        Ok(Flush {
            files,
            snapshots: self.snapshots.take_unsynced(),
            names: self.unsynced_names(),
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            up_to: self.end,
            truncations: self.truncations,
        })
    }

    /// Notes the outcome of a flush: moves the recovery point, or poisons the log.
    ///
    /// # Errors
    /// The flush's own.
    pub fn complete_flush(
        &mut self,
        flush: &Flush,
        result: Result<(), LogError>,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        if let Err(error) = &result {
            // Not even a full disk is harmless here: the kernel may have dropped the pages.
            self.poisoned.get_or_insert(error.to_string());
            return result;
        }
        self.names_synced |= flush.names.is_some();
        if flush.truncations == self.truncations {
            self.sync_finished_below(flush.up_to)?;
            self.recovery_point = self.recovery_point.max(flush.up_to);
            self.last_flush = now;
        }
        Ok(())
    }

    /// Segments that were finished while a flush was under way: below the recovery point no later flush looks, and no recovery
    /// builds indexes anew.
    fn sync_finished_below(&mut self, end: Offset) -> Result<(), LogError> {
        let first = self.floor(self.recovery_point).unwrap_or_default();
        let last = self.floor(end).unwrap_or_default();
        if last <= first {
            return Ok(());
        }
        let synced = self.segments.range_mut(first..last).try_for_each(|(_, segment)| segment.sync());
        self.poison_on_error(synced)
    }

    /// Makes everything durable, writes a producer snapshot and lets go of all files.
    ///
    /// # Errors
    /// When something cannot be written; the shutdown is not clean then.
    pub fn close_clean(mut self, now: TimestampMs) -> Result<(), LogError> {
        self.write_out()?;
        self.epochs.save()?;
        self.active_mut()?.sync()?;
        self.flush(now)
    }

    /// The same without making anything durable, for many logs at once: [`DiskTree::sync`] follows, then [`Log::publish`],
    /// and where that returned true, `sync` once more.
    ///
    /// # Errors
    /// As [`Log::close_clean`].
    pub fn stage_close(&mut self) -> Result<(), LogError> {
        self.write_out()?;
        self.epochs.stage()
    }

    /// Puts in place what [`Log::stage_close`] wrote beside; whether there was anything.
    ///
    /// # Errors
    /// When a file cannot be renamed.
    pub fn publish(mut self) -> Result<bool, LogError> {
        self.epochs.publish()
    }

    /// Whether closing has to wait for the disk.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.end > self.recovery_point || self.segments.values().any(|segment| segment.is_dirty())
    }

    /// What only memory has.
    fn write_out(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        self.producers.set_end(self.end);
        self.snapshots.take(&self.producers)?;
        self.epochs.truncate_from_end(self.end);
        for segment in self.segments.values_mut().rev().skip(1) {
            segment.write_out_indexes()?;
        }
        self.active_mut()?.finish()
    }
}
