//! Where the newest batches lie, so that consumers at the end of the log are served without looking into files.

use crate::segment::{BatchAt, BatchInfo};
use crate::types::Offset;
use std::collections::VecDeque;

const BATCHES: usize = 64;

/// A batch's offsets, and where it lies in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub position: u64,
    pub end: u64,
}

impl From<&BatchAt> for Place {
    fn from(batch: &BatchAt) -> Self {
        Self {
            base_offset: Offset(batch.header.base_offset),
            last_offset: Offset(batch.header.last_offset()),
            position: batch.position,
            end: batch.end(),
        }
    }
}

/// The last batches of the active segment, without a gap up to its end.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<Place>);

impl Tail {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes a batch that was written at `position`.
    pub(super) fn push(&mut self, batch: &BatchInfo, position: u64) {
        if self.0.len() == BATCHES {
            self.0.pop_front();
        }
        self.0.push_back(Place {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            position,
            end: position + u64::try_from(batch.size).unwrap_or_default(),
        });
    }

    /// The first batch whose last offset is `offset` or above, if it is known for sure.
    pub(super) fn find(&self, offset: Offset) -> Option<Place> {
        if offset < self.0.front()?.base_offset {
            return None;
        }
        self.0.get(self.0.partition_point(|batch| batch.last_offset < offset)).copied()
    }

    /// The first batch that ends after `position`, if it is known for sure.
    pub(super) fn across(&self, position: u64) -> Option<Place> {
        let count = self.0.partition_point(|batch| batch.end <= position);
        self.0.get(count).filter(|batch| batch.position <= position).copied()
    }
}
