//! What is kept of one producer.

use super::Marker;
use ottla_wire::batch::{BatchHeader, NO_SEQUENCE, NO_TIMESTAMP};

/// Batches by which a repeated one is recognised; clients have at most this many in flight.
const BATCHES: usize = 5;

/// A batch as remembered for recognising it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchMeta {
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl BatchMeta {
    const NONE: Self =
        Self { last_sequence: NO_SEQUENCE, last_offset: -1, offset_delta: 0, timestamp: NO_TIMESTAMP };

    /// Sequence of its first record; before 0 comes `i32::MAX`.
    fn first_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        i32::try_from(first.rem_euclid(i64::from(i32::MAX) + 1)).unwrap_or_default()
    }

    /// Offset of its first record.
    pub(crate) fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer. Plain data of fixed size, so that checks and copies do not allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub producer_id: i64,
    pub epoch: i16,
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    pub current_txn_first_offset: Option<i64>,
    /// Oldest first; the first `count` are in use.
    batches: [BatchMeta; BATCHES],
    count: usize,
}

impl ProducerEntry {
    pub(crate) fn new(producer_id: i64, epoch: i16) -> Self {
        Self {
            producer_id,
            epoch,
            coordinator_epoch: -1,
            last_timestamp: NO_TIMESTAMP,
            current_txn_first_offset: None,
            batches: [BatchMeta::NONE; BATCHES],
            count: 0,
        }
    }

    /// Sequence of its last record, -1 if no batch is remembered.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn batches(&self) -> &[BatchMeta] {
        self.batches.get(..self.count).unwrap_or_default()
    }

    /// The newest batch of the current epoch.
    pub(crate) fn last_batch(&self) -> Option<&BatchMeta> {
        self.batches().last()
    }

    /// The remembered batch that has the same epoch and sequences.
    pub(crate) fn find_duplicate(&self, batch: &BatchHeader) -> Option<BatchMeta> {
        if batch.producer_epoch != self.epoch {
            return None;
        }
        let same = |known: &&BatchMeta| {
            known.first_sequence() == batch.base_sequence && known.last_sequence == batch.last_sequence()
        };
        self.batches().iter().find(same).copied()
    }

    /// Takes in a data batch that was appended.
    pub(crate) fn add_batch(&mut self, batch: &BatchHeader) {
        self.set_epoch(batch.producer_epoch);
        self.push(BatchMeta {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        self.last_timestamp = batch.max_timestamp;
    }

    /// Remembers a batch, forgetting the oldest if need be.
    pub(crate) fn push(&mut self, batch: BatchMeta) {
        if self.count == BATCHES {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        if let Some(slot) = self.batches.get_mut(self.count) {
            *slot = batch;
            self.count += 1;
        }
    }

    /// Takes in a marker; returns where the transaction began, if one was open.
    pub(crate) fn end_transaction(&mut self, epoch: i16, marker: Marker) -> Option<i64> {
        self.set_epoch(epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = marker.timestamp;
        self.current_txn_first_offset.take()
    }

    /// Whether it may be forgotten: silent for too long, no transaction open.
    pub(crate) fn is_expired(&self, now: i64, expiration_ms: i64) -> bool {
        self.current_txn_first_offset.is_none() && now.saturating_sub(self.last_timestamp) >= expiration_ms
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.count = 0;
            self.epoch = epoch;
        }
    }
}
