//! Deleting old segments, and the whole log.

use super::Log;
use crate::error::LogError;
use crate::names;
use crate::segment::Segment;
use crate::types::{Offset, TimestampMs};
use std::path::PathBuf;

impl Log {
    /// Deletes segments by log start, `retention.bytes` and `retention.ms`, never beyond the high watermark.
    ///
    /// Files get the suffix `.deleted` and go with a later [`Log::purge`]. Returns the number of segments.
    ///
    /// # Errors
    /// I/O errors poison the log.
    pub fn retain(&mut self, now: TimestampMs, high_watermark: Offset) -> Result<usize, LogError> {
        self.check_usable()?;
        if self.swap.is_some() {
            // What a cleaner is about to replace must not be deleted at the same time.
            return Ok(0);
        }
        self.producers.forget_replicated(high_watermark);
        let mut count = self.delete_below_start(high_watermark, now)?;
        if self.config.delete {
            count += self.delete_over_size(high_watermark, now)?;
            count += self.delete_over_age(high_watermark, now)?;
        }
        Ok(count)
    }

    /// Deletes the segments below the log's start and no others, as [`Log::retain`] does; returns how many.
    ///
    /// # Errors
    /// I/O errors poison the log.
    pub fn drop_below_start(&mut self, now: TimestampMs) -> Result<usize, LogError> {
        self.check_usable()?;
        self.delete_below_start(self.end, now)
    }

    fn delete_below_start(&mut self, high_watermark: Offset, now: TimestampMs) -> Result<usize, LogError> {
        let start = self.start;
        self.delete_while(high_watermark, now, |_, next| Ok(next.is_some_and(|next| next <= start)))
    }

    fn delete_over_size(&mut self, high_watermark: Offset, now: TimestampMs) -> Result<usize, LogError> {
        let Ok(keep) = u64::try_from(self.config.retention_bytes) else { return Ok(0) };
        let mut excess = self.size().saturating_sub(keep);
        self.delete_while(high_watermark, now, |segment, _| match excess.checked_sub(segment.size()) {
            Some(left) if excess > 0 => {
                excess = left;
                Ok(true)
            }
            _ => Ok(false),
        })
    }

    fn delete_over_age(&mut self, high_watermark: Offset, now: TimestampMs) -> Result<usize, LogError> {
        let keep = self.config.retention_ms;
        if keep < 0 {
            return Ok(0);
        }
        self.delete_while(high_watermark, now, |segment, _| {
            Ok(now.0.saturating_sub(segment.retention_time()?.0) > keep)
        })
    }

    /// Deletes segments from the oldest on while `expired` says so; it is given the segment and the next one's base.
    fn delete_while(
        &mut self,
        high_watermark: Offset,
        now: TimestampMs,
        mut expired: impl FnMut(&Segment, Option<Offset>) -> Result<bool, LogError>,
    ) -> Result<usize, LogError> {
        let mut bases = Vec::new();
        let mut segments = self.segments.values().peekable();
        while let Some(segment) = segments.next() {
            let next = segments.peek().map(|next| next.base());
            let is_empty_active = next.is_none() && segment.size() == 0;
            if is_empty_active || next.unwrap_or(self.end) > high_watermark || !expired(segment, next)? {
                break;
            }
            bases.push(segment.base());
        }
        if bases.is_empty() {
            return Ok(0);
        }
        if bases.len() == self.segments.len() {
            self.roll_to(self.end, now)?;
        }
        let deleted = self.delete_segments(&bases, now);
        self.poison_on_error(deleted)?;
        Ok(bases.len())
    }

    fn delete_segments(&mut self, bases: &[Offset], now: TimestampMs) -> Result<(), LogError> {
        let due = TimestampMs(now.0.saturating_add(self.config.file_delete_delay_ms));
        // Readers look at the start first: it moves before the files go.
        let last = bases.last().copied().unwrap_or_default();
        if let Some((first_kept, _)) = self.segments.range(last.plus(1)..).next() {
            self.advance_start_offset(*first_kept)?;
        }
        for base in bases {
            let Some(mut segment) = self.segments.remove(base) else { continue };
            for path in segment.rename_to_deleted()? {
                self.deleted.push_back((due, path));
            }
            self.delete_snapshot(*base, due)?;
        }
        Ok(())
    }

    pub(super) fn delete_snapshot(&mut self, offset: Offset, due: TimestampMs) -> Result<(), LogError> {
        let Some(snapshot) = self.snapshots.forget(offset) else { return Ok(()) };
        let mut to = snapshot.clone().into_os_string();
        to.push(names::DELETED);
        let to = PathBuf::from(to);
        self.disk.rename(&snapshot, &to).map_err(|e| LogError::io("rename", &snapshot, e))?;
        self.deleted.push_back((due, to));
        Ok(())
    }

    /// Removes files that were deleted `file.delete.delay.ms` ago.
    ///
    /// # Errors
    /// When one cannot be removed; it is tried again next time.
    pub fn purge(&mut self, now: TimestampMs) -> Result<(), LogError> {
        while let Some((due, path)) = self.deleted.front() {
            if *due > now {
                break;
            }
            self.disk.remove_file(path).map_err(|e| LogError::io("remove", path, e))?;
            self.deleted.pop_front();
        }
        Ok(())
    }

    /// Renames the directory to `<topic>-<partition>.<unique>-delete`, so that the topic can be made again at once.
    ///
    /// Reads go on, appends do not. Returns the new path; the name is durable when the caller has synced the directory
    /// above, which it does before it makes a log of the old name.
    ///
    /// # Errors
    /// When the directory cannot be renamed.
    pub fn rename_for_delete(&mut self, unique: &str) -> Result<PathBuf, LogError> {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let suffix = format!(".{unique}-delete");
        // A file name has at most 255 bytes; topic names are ASCII.
        let kept = name.get(..name.len().min(255_usize.saturating_sub(suffix.len()))).unwrap_or(&name);
        let to = self.dir.with_file_name(format!("{kept}{suffix}"));
        self.rename(&to)?;
        self.deleted.clear();
        self.poisoned = Some("log is deleted".into());
        Ok(to)
    }

    /// Removes the directory with everything in it. Regions handed out before stay readable.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn delete(self) -> Result<(), LogError> {
        self.disk.remove_dir_all(&self.dir).map_err(|e| LogError::io("remove", &self.dir, e))
    }
}
