//! Finding batches in a segment by offset, position or time; cutting it.

use super::scan::BatchAt;
use super::view::checked_position;
use super::{MaxTimestamp, Segment};
use crate::error::LogError;
use crate::index::{Entry, OffsetEntry};
use crate::types::{Offset, TimestampMs};

impl Segment {
    /// The first batch whose last offset is `offset` or above.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<BatchAt>, LogError> {
        self.view()?.find(offset)
    }

    /// The last batch; `None` if there is none. Walks from the last index entry.
    pub(crate) fn last_batch(&self) -> Result<Option<BatchAt>, LogError> {
        let mut walk = self.walk_from(self.checked_position(self.offset_index.last()?)?)?;
        let mut last = None;
        while let Some(batch) = walk.next()? {
            last = Some(batch);
        }
        Ok(last)
    }

    /// The first batch at or above `from` with a timestamp of `at` or later.
    pub(crate) fn find_time(&self, at: TimestampMs, from: Offset) -> Result<Option<BatchAt>, LogError> {
        let times = self.time_index.view();
        let entry = match times.and_then(|times| times.last_where((1, 2), |entry| entry.timestamp < at.0)) {
            Err(LogError::Corrupt { .. }) => None,
            other => other?,
        };
        let known = entry.map_or(self.base, |entry| self.base.plus(i64::from(entry.relative_offset())));
        self.view()?
            .walk_before(known.max(from))?
            .find(|batch| batch.header.max_timestamp >= at.0 && batch.header.last_offset() >= from.0)
    }

    fn checked_position(&self, entry: Option<OffsetEntry>) -> Result<u64, LogError> {
        checked_position(entry, self.size, &self.path)
    }

    /// Picks up what the indexes do not say about the segment's last bytes, so that it can be appended to.
    pub(crate) fn resume(&mut self) -> Result<(), LogError> {
        let last_entry = self.offset_index.last()?;
        let mut walk = self.walk_from(self.checked_position(last_entry)?)?;
        let mut max = self.max_timestamp()?;
        while let Some(batch) = walk.next()? {
            if batch.header.max_timestamp > max.timestamp.0 {
                max = MaxTimestamp {
                    timestamp: TimestampMs(batch.header.max_timestamp),
                    offset: Offset(batch.header.last_offset()),
                };
            }
        }
        *self.max_timestamp.get_mut() = Some(max);
        self.bytes_since_index_entry = self.size - self.checked_position(last_entry)?;
        Ok(())
    }

    /// Cuts off everything from the batch on that holds `offset`; returns the offset that now ends the segment.
    pub(crate) fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<Offset, LogError> {
        let Some(cut) = self.find(offset)? else { return Ok(offset) };
        let end = offset.min(Offset(cut.header.base_offset)).max(self.base);
        self.file()?.set_len(cut.position).map_err(|e| LogError::io("truncate", &self.path, e))?;
        self.size = cut.position;
        self.file.set_unsynced();
        let below = |entry: &dyn Fn() -> i32| self.base.plus(i64::from(entry())) < end;
        self.offset_index.truncate_where(|entry| below(&|| entry.relative_offset))?;
        self.time_index.truncate_where(|entry| below(&|| entry.relative_offset))?;
        self.txn_index.truncate_to(end)?;
        *self.max_timestamp.get_mut() = None;
        if self.size == 0 {
            *self.first_timestamp.get_mut() = None;
            self.created = now;
        }
        self.resume()?;
        Ok(end)
    }
}
