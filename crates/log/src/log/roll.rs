//! Beginning a new segment.

use super::Log;
use crate::error::LogError;
use crate::segment::{BatchInfo, Segment};
use crate::types::{Offset, TimestampMs};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

impl Log {
    /// Begins a new segment at the log's end, unless the active one is empty.
    ///
    /// # Errors
    /// When files cannot be made; the log is unchanged then.
    pub fn roll(&mut self, now: TimestampMs) -> Result<(), LogError> {
        self.check_usable()?;
        self.roll_to(self.end, now)
    }

    /// Makes sure that the active segment takes batches from `first` up to `last` with `size` bytes.
    pub(super) fn prepare_for(
        &mut self,
        first: &BatchInfo,
        last: Offset,
        newest: TimestampMs,
        size: usize,
        now: TimestampMs,
    ) -> Result<(), LogError> {
        if self.must_roll(last, newest, size, now)? {
            self.roll_to(first.base_offset, now)?;
        }
        Ok(())
    }

    fn must_roll(
        &self,
        last: Offset,
        newest: TimestampMs,
        size: usize,
        now: TimestampMs,
    ) -> Result<bool, LogError> {
        let active = self.active()?;
        if !active.fits(last) {
            return Ok(true);
        }
        if active.size() == 0 {
            return Ok(false);
        }
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        if active.size().saturating_add(size) > u64::from(self.config.segment_bytes) {
            return Ok(true);
        }
        let waited = match active.first_timestamp()? {
            Some(first) => newest.0.saturating_sub(first.0),
            None => now.0.saturating_sub(active.created().0),
        };
        Ok(waited > self.config.max_segment_ms() - self.jitter(active.base())
            || active.indexes_are_full(&self.config)?)
    }

    /// Up to `segment.jitter.ms`, always the same for one segment.
    fn jitter(&self, base: Offset) -> i64 {
        let bound = self.config.segment_jitter_ms.min(self.config.max_segment_ms());
        if bound <= 0 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (self.dir.file_name(), base).hash(&mut hasher);
        i64::try_from(hasher.finish() >> 1).unwrap_or_default() % bound
    }

    pub(super) fn roll_to(&mut self, base: Offset, now: TimestampMs) -> Result<(), LogError> {
        let rolled = self.try_roll_to(base.max(self.end), now);
        self.poison_on_error(rolled)
    }

    fn try_roll_to(&mut self, base: Offset, now: TimestampMs) -> Result<(), LogError> {
        let empty = self.active()?.size() == 0;
        if empty && self.active()?.base() == base {
            return Ok(());
        }
        // A recovery takes a gap between segments for a lost file, unless compaction explains it. Where gaps are
        // legitimate, nothing that is not durable may lie below one.
        if base > self.end || self.config.compact {
            self.flush(now)?;
        }
        self.finish_active()?;
        self.producers.set_end(base);
        self.snapshots.take(&self.producers)?;
        let segment = match Segment::create(&self.disk, &self.dir, base, &self.config, now) {
            Ok(segment) => segment,
            Err(error) => {
                self.remove_half_made(base)?;
                return Err(error);
            }
        };
        // Before anything is written to it: a crash must not lose the file and keep the next one.
        self.sync_dir()?;
        let old = self.active()?.base();
        self.segments.insert(base, Box::new(segment));
        self.tail.clear();
        if empty && let Some(mut old) = self.segments.remove(&old) {
            old.remove()?;
        }
        Ok(())
    }

    /// Completes the active segment's indexes, and the checkpoint of epochs: a recovery may not read this segment's
    /// batches any more. If everything in it is durable already, no later flush looks at it.
    fn finish_active(&mut self) -> Result<(), LogError> {
        self.epochs.save()?;
        let flushed = self.recovery_point >= self.end;
        let active = self.active_mut()?;
        active.finish()?;
        if flushed { active.sync() } else { Ok(()) }
    }

    fn remove_half_made(&mut self, base: Offset) -> Result<(), LogError> {
        Segment::existing(&self.disk, &self.dir, base, 0, TimestampMs::NONE).remove()?;
        self.producers.set_end(self.end);
        self.snapshots.remove(base)
    }
}
