//! What it takes to look into a segment without its log's lock.

use super::{HeaderWalk, Segment};
use crate::disk::DiskFile;
use crate::error::LogError;
use crate::index::{IndexView, OffsetEntry};
use crate::types::Offset;
use std::path::PathBuf;
use std::sync::Arc;

/// A segment's files and size as they were at one moment. What was appended later is not there; what was cut off or
/// removed since then shows as damage or as nothing.
#[derive(Debug)]
pub(crate) struct SegmentView {
    base: Offset,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    size: u64,
    index: IndexView<OffsetEntry>,
}

impl Segment {
    /// Opens files that are not open, and reads little or nothing.
    pub(crate) fn view(&self) -> Result<SegmentView, LogError> {
        Ok(SegmentView {
            base: self.base,
            path: self.path.clone(),
            file: self.file()?,
            size: self.size,
            index: self.offset_index.view()?,
        })
    }
}

impl SegmentView {
    /// Reads what finding `offset` and the end of `max_bytes` from there on reads, and nothing of the records. Returns
    /// the bytes that a reader will get, more or less.
    pub(crate) fn touch(&self, offset: Offset, max_bytes: u64) -> Result<u64, LogError> {
        let relative = offset.0.saturating_sub(self.base.0);
        let known = self.index.last_where(|entry| i64::from(entry.relative_offset) <= relative)?;
        let Some(first) = self.walk(known, |last_offset, _| last_offset >= offset.0)? else { return Ok(0) };
        let limit = first.saturating_add(max_bytes);
        if limit >= self.size {
            return Ok(self.size - first);
        }
        let below =
            |entry: &OffsetEntry| u64::try_from(entry.position).is_ok_and(|position| position <= limit);
        self.walk(self.index.last_where(below)?, |_, end| end > limit)?;
        Ok(max_bytes)
    }

    /// The position of the first batch from an index entry on for which `holds` does, given its last offset and its
    /// end.
    fn walk(
        &self,
        from: Option<OffsetEntry>,
        holds: impl Fn(i64, u64) -> bool,
    ) -> Result<Option<u64>, LogError> {
        let from = from.map_or(0, |entry| u64::try_from(entry.position).unwrap_or(0));
        let mut walk = HeaderWalk::new(self.path.clone(), Arc::clone(&self.file), from, self.size);
        while let Some(batch) = walk.next()? {
            if holds(batch.header.last_offset(), batch.end()) {
                return Ok(Some(batch.position));
            }
        }
        Ok(None)
    }
}
