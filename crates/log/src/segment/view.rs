//! Finding batches in a segment, without its log's lock if need be.

use super::{BatchAt, HeaderWalk, Segment};
use crate::disk::DiskFile;
use crate::error::LogError;
use crate::index::{IndexView, OffsetEntry};
use crate::types::Offset;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment's files and size as they were at one moment. What was appended later is not there; what was cut off or
/// removed since then shows as damage or as nothing.
#[derive(Debug)]
pub(crate) struct SegmentView {
    base: Offset,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    size: u64,
    /// None if it is damaged, which only makes reading slower: a walk begins at the first batch then.
    index: Option<IndexView<OffsetEntry>>,
}

impl Segment {
    /// Opens files that are not open, and reads little or nothing.
    pub(crate) fn view(&self) -> Result<SegmentView, LogError> {
        let index = unless_damaged(self.offset_index.view())?;
        Ok(SegmentView {
            base: self.base,
            path: self.path.clone(),
            file: self.file()?,
            size: self.size,
            index,
        })
    }
}

impl SegmentView {
    /// Base offset.
    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of the segment.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The first batch whose last offset is `offset` or above.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<BatchAt>, LogError> {
        self.walk_before(offset)?.find(|batch| batch.header.last_offset() >= offset.0)
    }

    /// The first batch that ends after `position`.
    pub(crate) fn across(&self, position: u64) -> Result<Option<BatchAt>, LogError> {
        let below = |entry: &OffsetEntry| u64::try_from(entry.position).is_ok_and(|at| at <= position);
        self.walk_from((position, self.size), below)?.find(|batch| batch.end() > position)
    }

    /// Headers from a batch on that is at or before the one with `offset`.
    pub(crate) fn walk_before(&self, offset: Offset) -> Result<HeaderWalk, LogError> {
        let relative = offset.0.saturating_sub(self.base.0);
        let last =
            self.index.as_ref().and_then(IndexView::last).map_or(0, |last| i64::from(last.relative_offset));
        let near = (u64::try_from(relative).unwrap_or(0), u64::try_from(last).unwrap_or(0));
        self.walk_from(near, |entry| i64::from(entry.relative_offset) <= relative)
    }

    /// Headers from the last index entry on for which `before` holds.
    fn walk_from(
        &self,
        near: (u64, u64),
        before: impl Fn(&OffsetEntry) -> bool,
    ) -> Result<HeaderWalk, LogError> {
        let entry = self.index.as_ref().map_or(Ok(None), |index| index.last_where(near, before));
        let position = entry.and_then(|entry| checked_position(entry, self.size, &self.path));
        let position = unless_damaged(position)?.unwrap_or(0);
        Ok(HeaderWalk::new(self.path.clone(), Arc::clone(&self.file), position, self.size))
    }
}

/// Position of an index entry's batch; of the first one without an entry.
pub(super) fn checked_position(entry: Option<OffsetEntry>, size: u64, path: &Path) -> Result<u64, LogError> {
    let position = entry.map_or(0, |entry| u64::try_from(entry.position).unwrap_or(u64::MAX));
    if position > size {
        let reason = format!("entry {entry:?} of its index points beyond the log's {size} bytes");
        return Err(LogError::Corrupt { path: path.to_path_buf(), reason });
    }
    Ok(position)
}

fn unless_damaged<T>(read: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match read {
        Err(LogError::Corrupt { path, reason }) => {
            tracing::warn!(path = %path.display(), reason, "not using a damaged index");
            Ok(None)
        }
        other => other.map(Some),
    }
}
