//! What a log knows about its producers (KIP-98): the last five batches of each, and open transactions.
//!
//! The state is a function of the log below [`ProducerStates::end`]; snapshots only make it quicker to have.

mod entry;
mod snapshot;
mod snapshots;

#[cfg(test)]
mod tests;

pub(crate) use entry::{BatchMeta, ProducerEntry};
pub(crate) use snapshots::Snapshots;

use crate::error::AppendError;
use crate::log::{AbortedTxn, Origin};
use crate::types::{Offset, TimestampMs};
use bytes::Bytes;
use ottla_wire::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, RecordIter};
use std::collections::{BTreeMap, HashMap};

/// Content of a control batch that ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub commit: bool,
    pub coordinator_epoch: i32,
    pub timestamp: i64,
}

impl Marker {
    /// The marker in a control batch's body; `None` if its first record is something else.
    pub(crate) fn parse(header: &BatchHeader, body: Bytes) -> Option<Self> {
        let record = RecordIter::new(header, body).next()?.ok()?;
        let (_version, kind) = record.key.as_deref()?.split_first_chunk::<2>()?;
        let commit = match i16::from_be_bytes(*kind.first_chunk()?) {
            0 => false,
            1 => true,
            _ => return None,
        };
        let (_version, epoch) = record.value.as_deref()?.split_first_chunk::<2>()?;
        let coordinator_epoch = i32::from_be_bytes(*epoch.first_chunk()?);
        Some(Self { commit, coordinator_epoch, timestamp: record.timestamp })
    }
}

/// A transaction whose marker was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub producer_id: i64,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub aborted: bool,
}

/// What a check of a batch against the state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It may be appended.
    New,
    /// It is there already.
    Duplicate(BatchMeta),
}

/// The producers of one log up to [`ProducerStates::end`].
#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerStates {
    producers: HashMap<i64, ProducerEntry>,
    /// First offset of each open transaction.
    ongoing: BTreeMap<Offset, i64>,
    /// First offset of each completed transaction, with its marker's offset, until that is replicated.
    unreplicated: BTreeMap<Offset, Offset>,
    end: Offset,
}

impl ProducerStates {
    /// Nothing known, up to `end`.
    pub(crate) fn empty(end: Offset) -> Self {
        Self { end, ..Self::default() }
    }

    /// From a snapshot's entries; those silent for too long are left out.
    pub(crate) fn from_entries(
        entries: Vec<ProducerEntry>,
        end: Offset,
        now: TimestampMs,
        expiration_ms: i64,
    ) -> Self {
        let mut states = Self::empty(end);
        for entry in entries.into_iter().filter(|entry| !entry.is_expired(now.0, expiration_ms)) {
            if let Some(first) = entry.current_txn_first_offset {
                states.ongoing.insert(Offset(first), entry.producer_id);
            }
            states.producers.insert(entry.producer_id, entry);
        }
        states
    }

    /// Offset up to which the log is reflected.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    /// Notes that the log was read or appended up to `end`.
    pub(crate) fn set_end(&mut self, end: Offset) {
        self.end = end;
    }

    /// Entries in the order of their ids, for a snapshot.
    pub(crate) fn entries(&self) -> Vec<ProducerEntry> {
        let mut entries: Vec<_> = self.producers.values().copied().collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        entries
    }

    /// Judges a batch that a leader is about to append.
    pub(crate) fn check(
        &self,
        batch: &BatchHeader,
        marker: Option<Marker>,
        origin: Origin,
    ) -> Result<Checked, AppendError> {
        let Some(entry) = self.producers.get(&batch.producer_id).filter(|_| batch.has_producer_id()) else {
            return Ok(Checked::New);
        };
        if origin == Origin::Client
            && let Some(duplicate) = entry.find_duplicate(batch)
        {
            return Ok(Checked::Duplicate(duplicate));
        }
        check_epoch(entry, batch)?;
        match marker {
            Some(marker) => check_coordinator(entry, marker)?,
            None if batch.is_control() => {}
            None => {
                if origin == Origin::Client {
                    check_sequence(entry, batch)?;
                }
                check_transaction(entry, batch)?;
            }
        }
        Ok(Checked::New)
    }

    /// Takes in a batch that is in the log. Never refuses: the leader has decided.
    pub(crate) fn apply(&mut self, batch: &BatchHeader, marker: Option<Marker>) -> Option<CompletedTxn> {
        self.end = self.end.max(Offset(batch.next_offset()));
        if !batch.has_producer_id() || (batch.is_control() && marker.is_none()) {
            return None;
        }
        let entry = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerEntry::new(batch.producer_id, batch.producer_epoch));
        if let Some(marker) = marker {
            let first = entry.end_transaction(batch.producer_epoch, marker)?;
            let last_offset = Offset(batch.base_offset);
            self.ongoing.remove(&Offset(first));
            self.unreplicated.insert(Offset(first), last_offset);
            return Some(CompletedTxn {
                producer_id: batch.producer_id,
                first_offset: Offset(first),
                last_offset,
                aborted: !marker.commit,
            });
        }
        entry.add_batch(batch);
        if batch.is_transactional() && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(batch.base_offset);
            self.ongoing.insert(Offset(batch.base_offset), batch.producer_id);
        }
        None
    }

    /// The index entry of an aborted transaction; to be asked for right after [`ProducerStates::apply`].
    pub(crate) fn aborted(&self, txn: &CompletedTxn) -> AbortedTxn {
        let stable = self.ongoing.first_key_value().map_or(txn.last_offset.plus(1), |(first, _)| *first);
        AbortedTxn {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable_offset: stable,
        }
    }

    /// First offset of an open transaction, or of one whose marker is not below the high watermark.
    pub(crate) fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        let open = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.iter().find(|(_, marker)| **marker >= high_watermark);
        open.into_iter().chain(unreplicated.map(|(first, _)| first)).min().copied()
    }

    /// Forgets transactions whose marker is replicated.
    pub(crate) fn forget_replicated(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// Forgets producers without an open transaction that have been silent for too long.
    pub(crate) fn expire(&mut self, now: TimestampMs, expiration_ms: i64) {
        self.producers.retain(|_, entry| !entry.is_expired(now.0, expiration_ms));
    }

    /// Offset of the last record that each producer's current epoch wrote.
    pub(crate) fn last_data_offsets(&self) -> HashMap<i64, Offset> {
        let last = |entry: &ProducerEntry| Some((entry.producer_id, Offset(entry.last_batch()?.last_offset)));
        self.producers.values().filter_map(last).collect()
    }

    /// Number of producers known.
    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }
}

fn check_epoch(entry: &ProducerEntry, batch: &BatchHeader) -> Result<(), AppendError> {
    if batch.producer_epoch >= entry.epoch {
        return Ok(());
    }
    Err(AppendError::InvalidProducerEpoch(format!(
        "epoch of producer {} is {}, which is smaller than the last seen epoch {}",
        batch.producer_id, batch.producer_epoch, entry.epoch
    )))
}

fn check_sequence(entry: &ProducerEntry, batch: &BatchHeader) -> Result<(), AppendError> {
    let first = batch.base_sequence;
    if entry.epoch == NO_PRODUCER_EPOCH {
        return Ok(());
    }
    let last = entry.last_batch().map_or(NO_SEQUENCE, |last| last.last_sequence);
    let in_order = if batch.producer_epoch == entry.epoch { follows(last, first) } else { first == 0 };
    if in_order {
        return Ok(());
    }
    Err(AppendError::OutOfOrderSequence(format!(
        "out of order sequence number for producer {}: {first} (incoming), {last} (current end), epoch {} (incoming), {} (current)",
        batch.producer_id, batch.producer_epoch, entry.epoch
    )))
}

/// Whether a sequence follows another; after `i32::MAX` comes 0.
fn follows(last: i32, next: i32) -> bool {
    last.checked_add(1).map_or(next == 0, |expected| next == expected)
}

fn check_transaction(entry: &ProducerEntry, batch: &BatchHeader) -> Result<(), AppendError> {
    if entry.current_txn_first_offset.is_none() || batch.is_transactional() {
        return Ok(());
    }
    Err(AppendError::InvalidTxnState(format!(
        "expected transactional write from producer {} while its transaction is open",
        batch.producer_id
    )))
}

fn check_coordinator(entry: &ProducerEntry, marker: Marker) -> Result<(), AppendError> {
    if marker.coordinator_epoch >= entry.coordinator_epoch {
        return Ok(());
    }
    Err(AppendError::CoordinatorFenced(format!(
        "coordinator epoch {} of a marker for producer {} is smaller than {}",
        marker.coordinator_epoch, entry.producer_id, entry.coordinator_epoch
    )))
}
