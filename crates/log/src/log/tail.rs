//! Where the newest batches lie, so that consumers at the end of the log are served without looking into files.

use crate::segment::BatchInfo;
use crate::types::Offset;
use std::collections::VecDeque;

const BATCHES: usize = 64;

/// A batch of the active segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TailBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub position: u64,
    pub end: u64,
}

/// The last batches of the active segment, without a gap up to its end.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<TailBatch>);

impl Tail {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes a batch that was written at `position`.
    pub(super) fn push(&mut self, batch: &BatchInfo, position: u64) {
        if self.0.len() == BATCHES {
            self.0.pop_front();
        }
        self.0.push_back(TailBatch {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            position,
            end: position + u64::try_from(batch.size).unwrap_or_default(),
        });
    }

    /// The first batch whose last offset is `offset` or above, if it is known for sure.
    pub(super) fn find(&self, offset: Offset) -> Option<TailBatch> {
        if offset < self.0.front()?.base_offset {
            return None;
        }
        self.0.get(self.0.partition_point(|batch| batch.last_offset < offset)).copied()
    }

    /// The last batch that ends at or before `position`, if it is known for sure.
    pub(super) fn last_ending_by(&self, position: u64) -> Option<TailBatch> {
        let count = self.0.partition_point(|batch| batch.end <= position);
        self.0.get(count.checked_sub(1)?).copied()
    }
}
