//! Looking up an offset ahead of a read, so that a slow disk holds up neither the log's lock nor its caller's thread.

use super::Log;
use crate::error::LogError;
use crate::segment::SegmentView;
use crate::types::Offset;

/// Reads the pages of index and log that [`Log::read`] from one offset on will look at. Needs no access to the log.
#[derive(Debug)]
pub struct Lookup {
    offset: Offset,
    segment: SegmentView,
}

impl Log {
    /// What to do before reading from `offset` on; `None` where the read finds its way from memory: at the end, among
    /// the newest batches, and out of range.
    ///
    /// # Errors
    /// Files cannot be opened.
    pub fn lookup(&self, offset: Offset) -> Result<Option<Lookup>, LogError> {
        if offset < self.start || offset >= self.end || self.tail.find(offset).is_some() {
            return Ok(None);
        }
        let segment = self.floor(offset).and_then(|floor| self.segments.get(&floor));
        let Some(segment) = segment else { return Ok(None) };
        Ok(Some(Lookup { offset, segment: segment.view()? }))
    }
}

impl Lookup {
    /// Reads for a read of `max_bytes`; returns how many bytes that will give, more or less. May wait for the disk.
    ///
    /// # Errors
    /// Files cannot be read, or were changed meanwhile; the read itself will tell.
    pub fn run(&self, max_bytes: usize) -> Result<usize, LogError> {
        let found = self.segment.touch(self.offset, u64::try_from(max_bytes).unwrap_or(u64::MAX))?;
        Ok(usize::try_from(found).unwrap_or(usize::MAX))
    }
}
