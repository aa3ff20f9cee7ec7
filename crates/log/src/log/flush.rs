//! Making appended batches durable. fsync is tried once: after an error the log is poisoned.

use super::Log;
use crate::disk::{Disk, OpenMode};
use crate::error::LogError;
use crate::segment::DirtyFile;
use crate::types::{Offset, TimestampMs};
use std::path::PathBuf;
use std::sync::Arc;

/// What must be synced so that the log is durable up to an offset. [`Flush::run`] needs no lock on the log.
#[derive(Debug)]
#[must_use = "run it and hand the result to `Log::complete_flush`"]
pub struct Flush {
    files: Vec<DirtyFile>,
    snapshots: Vec<PathBuf>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    up_to: Offset,
    truncations: u64,
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
        for path in &self.snapshots {
            // It may have been deleted with its segment meanwhile.
            let Ok(file) = self.disk.open(path, OpenMode::Read) else { continue };
            file.sync().map_err(|e| LogError::io("sync", path, e))?;
        }
        if self.snapshots.is_empty() {
            return Ok(());
        }
        self.disk.sync_dir(&self.dir).map_err(|e| LogError::io("sync", &self.dir, e))
    }

    /// Offset up to which the log is durable once this has run.
    #[must_use]
    pub fn up_to(&self) -> Offset {
        self.up_to
    }
}

impl Log {
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

    /// Gathers what is to be synced. The caller runs it, with or without the lock, and completes it.
    ///
    /// # Errors
    /// When index entries in memory cannot be written.
    pub fn prepare_flush(&mut self) -> Result<Flush, LogError> {
        self.check_usable()?;
        let gathered = self.gather();
        self.poison_on_error(gathered)
    }

    fn gather(&mut self) -> Result<Flush, LogError> {
        let first = self.floor(self.recovery_point).unwrap_or_default();
        for segment in self.segments.range(first..).map(|(_, segment)| segment) {
            match segment.write_out_indexes() {
                // The records can be made durable all the same. Only the active segment's entries wait in memory, and a
                // recovery makes them again.
                Err(LogError::NoSpace { .. }) => {}
                other => other?,
            }
        }
        let mut files = Vec::new();
        for segment in self.segments.range_mut(first..).map(|(_, segment)| segment) {
            files.append(&mut segment.take_dirty()?);
        }
        Ok(Flush {
            files,
            snapshots: self.snapshots.take_unsynced(),
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
        if flush.truncations == self.truncations {
            self.recovery_point = self.recovery_point.max(flush.up_to);
            self.last_flush = now;
        }
        Ok(())
    }

    /// Makes everything durable, writes a producer snapshot and lets go of all files.
    ///
    /// # Errors
    /// When something cannot be written; the shutdown is not clean then.
    pub fn close_clean(mut self, now: TimestampMs) -> Result<(), LogError> {
        self.check_usable()?;
        self.producers.set_end(self.end);
        self.snapshots.take(&self.producers)?;
        self.epochs.truncate_from_end(self.end);
        self.epochs.save()?;
        self.active_mut()?.finish()?;
        self.flush(now)
    }
}
