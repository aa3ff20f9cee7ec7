//! Taking away from either end: truncation to a leader's log, and DeleteRecords.

use super::Log;
use crate::error::LogError;
use crate::producer::ProducerStates;
use crate::segment::Segment;
use crate::types::{Offset, TimestampMs};
use std::sync::Arc;

impl Log {
    /// Removes everything at and above `offset`, durably. A batch that straddles it goes as a whole.
    ///
    /// The recovery point moves back; its checkpoint must be written before anything is appended again.
    ///
    /// # Errors
    /// I/O errors poison the log.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.check_usable()?;
        if offset >= self.end {
            return Ok(());
        }
        if self.segments.first_key_value().is_some_and(|(first, _)| offset < *first) {
            return self.truncate_fully_and_start_at(offset, now);
        }
        let truncated = self.try_truncate_to(offset, now);
        self.poison_on_error(truncated)
    }

    fn try_truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.truncations += 1;
        self.abandon_swap()?;
        self.tail.clear();
        self.places = Arc::default();
        for mut segment in self.segments.split_off(&offset.plus(1)).into_values() {
            segment.remove()?;
        }
        let end = self.active_mut()?.truncate_to(offset, now)?;
        self.end = end;
        self.start = self.start.min(end);
        self.recovery_point = self.recovery_point.min(end);
        self.epochs.truncate_from_end(end);
        self.epochs.save()?;
        self.snapshots.remove_above(end)?;
        self.producers = self.replay_producers(end, now)?;
        self.sync_cut()
    }

    /// What was cut must not come back after a crash beside what is appended next.
    fn sync_cut(&mut self) -> Result<(), LogError> {
        self.active_mut()?.sync()?;
        self.sync_dir()
    }

    /// Removes everything, durably; the next append begins at `offset`.
    ///
    /// # Errors
    /// I/O errors poison the log.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.check_usable()?;
        let truncated = self.try_start_at(offset, now);
        self.poison_on_error(truncated)
    }

    pub(super) fn try_start_at(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        self.truncations += 1;
        self.abandon_swap()?;
        self.tail.clear();
        self.places = Arc::default();
        for mut segment in std::mem::take(&mut self.segments).into_values() {
            segment.remove()?;
        }
        self.snapshots.remove_above(Offset(-1))?;
        let segment = Segment::create(&self.disk, &self.dir, offset, &self.config, now)?;
        self.segments.insert(offset, Box::new(segment));
        self.producers = ProducerStates::empty(offset);
        (self.start, self.end, self.recovery_point) = (offset, offset, offset);
        self.epochs.truncate_from_end(Offset(i64::MIN));
        self.epochs.save()?;
        self.sync_cut()
    }

    /// Hides everything below `offset`; the files go with the next [`Log::retain`]. Returns whether it moved.
    ///
    /// The caller bounds it by the high watermark and writes the log start checkpoint.
    ///
    /// # Errors
    /// [`LogError::OutOfBounds`] above the log's end.
    pub fn advance_start_offset(&mut self, offset: Offset) -> Result<bool, LogError> {
        self.check_usable()?;
        if offset > self.end {
            return Err(LogError::OutOfBounds { offset, start: self.start, end: self.end });
        }
        if offset <= self.start {
            return Ok(false);
        }
        self.start = offset;
        // In memory: when the log is opened again, its start cuts off the same.
        self.epochs.truncate_from_start(offset);
        Ok(true)
    }
}
