//! A copy of a log that is to take its place (KIP-113): what both have in common, what a copy does not get with the batches,
//! and the directory's name.

use super::Log;
use crate::error::LogError;
use crate::types::{Offset, TimestampMs};
use std::path::{Path, PathBuf};

impl Log {
    /// Gives the directory another name in the directory above; everything else goes on. The name is durable when the caller has
    /// synced the directory above.
    ///
    /// # Errors
    /// When the directory cannot be renamed; the log is as it was then.
    pub fn rename(&mut self, to: &Path) -> Result<(), LogError> {
        self.disk.rename(&self.dir, to).map_err(|e| LogError::io("rename", &self.dir, e))?;
        self.segments.values_mut().for_each(|segment| segment.set_dir(to));
        self.epochs.set_dir(to);
        self.snapshots.set_dir(to);
        for (_, path) in &mut self.deleted {
            let name = path.file_name().unwrap_or_default();
            *path = to.join(name);
        }
        self.dir = PathBuf::from(to);
        Ok(())
    }

    /// Up to where this copy and `other` have the same records: by leader epochs, as a follower and its leader find it (KIP-101).
    #[must_use]
    pub fn common_end(&self, other: &Self) -> Offset {
        let mut end = self.end.min(other.end);
        for entry in self.epochs.entries().iter().rev() {
            if entry.start >= end {
                continue;
            }
            match other.epochs.end_of(entry.epoch, other.end) {
                Some((epoch, theirs)) if epoch == entry.epoch => return end.min(theirs),
                _ => end = entry.start,
            }
        }
        end
    }

    /// What a copy has to do to be a part of `original`, of which it may have nothing at or above `below`: `None` where it is one,
    /// else the offset for [`Log::cut_to`].
    #[must_use]
    pub fn misfit(&self, original: &Self, below: Offset) -> Option<Offset> {
        if self.end < original.start {
            return Some(original.start);
        }
        Some(self.common_end(original).min(below)).filter(|end| *end < self.end)
    }

    /// Cuts the log back to `offset`; one that ends before begins anew there. The recovery point is to be noted before anything is
    /// appended again.
    ///
    /// # Errors
    /// I/O errors poison the log.
    pub fn cut_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        if offset > self.end {
            self.truncate_fully_and_start_at(offset, now)
        } else {
            self.truncate_to(offset, now)
        }
    }

    /// Takes over from `original`, of which this copy has every record, what is not in the batches: producers whose batches are
    /// gone, epochs without batches, the log start and the settings.
    ///
    /// # Errors
    /// [`LogError::OutOfBounds`] where the ends differ; nothing is changed then.
    pub fn succeed(&mut self, original: &Self) -> Result<(), LogError> {
        self.check_usable()?;
        if self.end != original.end {
            return Err(LogError::OutOfBounds { offset: original.end, start: self.start, end: self.end });
        }
        self.config = original.config.clone();
        self.producers = original.producers.clone();
        self.epochs.succeed(&original.epochs);
        self.advance_start_offset(original.start)?;
        self.last_flush = self.last_flush.max(original.last_flush);
        Ok(())
    }
}
