//! Looking up an offset ahead of a read, so that a slow disk holds up neither the log's lock nor its caller's thread.

use super::Log;
use super::places::Places;
use super::tail::Place;
use crate::error::LogError;
use crate::segment::{BatchAt, SegmentView};
use crate::types::Offset;
use std::sync::Arc;

/// Finds where [`Log::read`] from one offset on begins and ends, which the read then knows. Needs no access to the log.
#[derive(Debug)]
pub struct Lookup {
    offset: Offset,
    segment: SegmentView,
    places: Arc<Places>,
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
        Ok(Some(Lookup { offset, segment: segment.view()?, places: Arc::clone(&self.places) }))
    }
}

impl Lookup {
    /// For a read of `max_bytes`; returns how many bytes that will give, more or less. May wait for the disk.
    ///
    /// # Errors
    /// Files cannot be read, or were changed meanwhile; the read itself will tell.
    pub fn run(&self, max_bytes: usize) -> Result<usize, LogError> {
        let base = self.segment.base();
        let first = match self.places.holding(base, self.offset) {
            Some(known) => known,
            None => match self.segment.find(self.offset)? {
                Some(batch) => self.noted(&batch),
                None => return Ok(0),
            },
        };
        let limit = first.position.saturating_add(u64::try_from(max_bytes).unwrap_or(u64::MAX));
        if limit < self.segment.size()
            && self.places.across(base, limit).is_none()
            && let Some(batch) = self.segment.across(limit)?
        {
            self.noted(&batch);
        }
        let found = limit.min(self.segment.size()) - first.position;
        Ok(usize::try_from(found).unwrap_or(usize::MAX))
    }

    fn noted(&self, batch: &BatchAt) -> Place {
        let place = Place::from(batch);
        self.places.note(self.segment.base(), place);
        place
    }
}
