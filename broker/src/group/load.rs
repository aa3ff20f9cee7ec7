//! From the bytes of a partition's log to its state.

use bytes::Bytes;
use ottla_log::compression::{CompressionError, decompress_bounded};
use ottla_wire::batch::{Batch, BatchError, RecordIter, batches};

use super::GroupError;
use super::classic::Now;
use super::log::OffsetsLog;
use super::record::{GroupRecord, RecordError, transaction_of};
use super::shard::Shard;

/// The type of a control record that commits; 0 aborts, others are not about transactions.
const COMMIT_MARKER: i16 = 1;
const ABORT_MARKER: i16 = 0;

/// Decompressed bytes of one batch; what a coordinator wrote is far below.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Why a partition cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log could not be read.
    #[error("reading at offset {offset}: {source}")]
    Read {
        /// Where.
        offset: i64,
        /// Why.
        source: GroupError,
    },
    /// The log ends before its end offset.
    #[error("nothing can be read at offset {offset}, before the end at {end}")]
    Stuck {
        /// Where.
        offset: i64,
        /// The end.
        end: i64,
    },
    /// The batch's own structure.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its compressed body.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record in it.
    #[error("the record at offset {offset}: {source}")]
    Record {
        /// Where it lies.
        offset: i64,
        /// What is wrong with it.
        source: RecordError,
    },
}

/// Replays the whole log, `buffer` bytes at a time; returns the offset at which it ended. Waits for the disk.
///
/// # Errors
/// When it cannot be read; the shard must not be used then.
pub fn replay_log(
    shard: &mut Shard,
    log: &impl OffsetsLog,
    buffer: usize,
    now: Now,
) -> Result<i64, LoadError> {
    let (mut offset, end) = log.bounds();
    while offset < end {
        let bytes = log.read(offset, buffer).map_err(|source| LoadError::Read { offset, source })?;
        let before = offset;
        for batch in batches(&bytes) {
            let batch = batch?;
            if batch.header.last_offset() >= offset {
                replay_batch(shard, &batch, now)?;
                offset = batch.header.next_offset();
            }
        }
        if offset == before {
            return Err(LoadError::Stuck { offset, end });
        }
    }
    Ok(end)
}

/// Replays one batch.
///
/// # Errors
/// When it cannot be read; the shard must not be used then.
pub fn replay_batch(shard: &mut Shard, batch: &Batch, now: Now) -> Result<(), LoadError> {
    let body = decompress_bounded(batch.header.compression()?, &batch.body(), MAX_BODY_BYTES)?;
    for record in RecordIter::new(&batch.header, body) {
        let record = record?;
        let offset = record.offset;
        if batch.header.is_control() {
            if let Some(commit) = marker(record.key.as_ref()) {
                shard.replay_marker(batch.header.producer_id, commit, now);
            }
        } else {
            let read = GroupRecord::decode(record.key, record.value)
                .map_err(|source| LoadError::Record { offset, source })?;
            shard.replay(read, offset, transaction_of(batch), now);
        }
    }
    Ok(())
}

/// Whether a control record commits a transaction; none if it is about something else.
fn marker(key: Option<&Bytes>) -> Option<bool> {
    let kind = key?.get(2..4)?;
    match i16::from_be_bytes(kind.try_into().ok()?) {
        COMMIT_MARKER => Some(true),
        ABORT_MARKER => Some(false),
        _ => None,
    }
}
