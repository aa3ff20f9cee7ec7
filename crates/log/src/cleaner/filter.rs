//! What of a batch stays.

use super::raw_record::RawRecord;
use super::{Aborted, OffsetMap};
use crate::compression::{self, CompressionError};
use crate::config::CompressionLevels;
use crate::types::{Offset, TimestampMs};
use bytes::Bytes;
use ottla_wire::batch::{
    Batch, BatchError, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, NO_TIMESTAMP, TimestampType,
};
use std::collections::HashMap;

/// The rules of one cleaning.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub map: &'a OffsetMap,
    pub aborted: &'a Aborted,
    /// Last data offset of each producer that the log remembers.
    pub producers: &'a HashMap<i64, Offset>,
    pub now: TimestampMs,
    pub delete_retention_ms: i64,
    pub max_decompressed_bytes: usize,
    pub levels: CompressionLevels,
}

/// What is left of a batch, and of how many records.
#[derive(Debug)]
pub(super) struct Filtered {
    /// Header and bytes of what is written; `None` if nothing is.
    pub batch: Option<(BatchHeader, Bytes)>,
    pub records: u64,
    pub kept: u64,
    /// Of those that went, the ones that a compacted topic should not have had.
    pub keyless: u64,
}

/// Records that stay, gathered while walking over a body.
#[derive(Debug, Default)]
struct Gathered {
    kept: i32,
    dropped: i32,
    keyless: u64,
    /// One of them is a tombstone that was looked at for the first time.
    has_tombstone: bool,
    max_timestamp: i64,
}

impl Filter<'_> {
    /// Filters a batch. With `keep_offsets` at least its header stays.
    pub(super) fn apply(&self, batch: &Batch, keep_offsets: bool) -> Result<Filtered, CompressionError> {
        let header = &batch.header;
        let count = u64::try_from(header.record_count).unwrap_or_default();
        // Markers and what aborted transactions wrote: untouched.
        if header.is_control() || self.aborted.wrote(header) {
            return Ok(self.whole(batch, count));
        }
        let keep_offsets = keep_offsets || self.is_last_of_producer(header);
        let codec = header.compression()?;
        let body = compression::decompress_bounded(codec, &batch.body(), self.max_decompressed_bytes)?;
        let gathered = self.judge(header, &body)?;
        let horizon = self.new_horizon(header, &gathered);
        let rewritten = if gathered.kept == 0 {
            keep_offsets.then(|| emptied(header))
        } else if gathered.dropped == 0 && horizon.is_none() {
            Some((*header, batch.bytes.clone()))
        } else {
            Some(self.rewrite(header, codec, &body, &gathered, horizon)?)
        };
        Ok(Filtered {
            batch: rewritten,
            records: count,
            kept: u64::try_from(gathered.kept).unwrap_or_default(),
            keyless: gathered.keyless,
        })
    }

    fn whole(&self, batch: &Batch, count: u64) -> Filtered {
        Filtered { batch: Some((batch.header, batch.bytes.clone())), records: count, kept: count, keyless: 0 }
    }

    /// From its last batch a producer's sequence numbers are known again after a recovery.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self.producers.get(&header.producer_id) == Some(&Offset(header.last_offset()))
    }

    fn judge(&self, header: &BatchHeader, body: &[u8]) -> Result<Gathered, BatchError> {
        let mut gathered = Gathered { max_timestamp: NO_TIMESTAMP, ..Gathered::default() };
        for_each_record(header, body, |record| {
            if self.stays(header, record) {
                gathered.kept += 1;
                gathered.has_tombstone |= !record.has_value && offset(header, record) <= self.map.latest();
                let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
                gathered.max_timestamp = gathered.max_timestamp.max(timestamp);
            } else {
                gathered.dropped += 1;
                gathered.keyless += u64::from(record.key.is_none());
            }
        })?;
        Ok(gathered)
    }

    fn stays(&self, header: &BatchHeader, record: &RawRecord<'_>) -> bool {
        let offset = offset(header, record);
        if offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let superseded = self.map.get(key).is_some_and(|latest| offset < latest);
        !superseded && (record.has_value || header.delete_horizon_ms().is_none_or(|until| self.now.0 < until))
    }

    /// When tombstones of a batch may go that has none of them counted yet.
    fn new_horizon(&self, header: &BatchHeader, gathered: &Gathered) -> Option<i64> {
        (gathered.has_tombstone && header.delete_horizon_ms().is_none())
            .then(|| self.now.0.saturating_add(self.delete_retention_ms.max(0)))
    }

    /// The batch with the records that stay, at their offsets; sequences and the last offset are those of before.
    fn rewrite(
        &self,
        before: &BatchHeader,
        codec: Compression,
        body: &[u8],
        gathered: &Gathered,
        horizon: Option<i64>,
    ) -> Result<(BatchHeader, Bytes), CompressionError> {
        let mut header = *before;
        let mut records = Vec::with_capacity(body.len());
        for_each_record(before, body, |record| match horizon {
            _ if !self.stays(before, record) => {}
            None => record.copy(&mut records),
            Some(horizon) => {
                let timestamp = before.base_timestamp.wrapping_add(record.timestamp_delta);
                record.copy_with_timestamp(timestamp.wrapping_sub(horizon), &mut records);
            }
        })?;
        if let Some(horizon) = horizon {
            header.set_delete_horizon_ms(horizon);
        }
        if header.timestamp_type() == TimestampType::CreateTime {
            header.max_timestamp = gathered.max_timestamp;
        }
        header.record_count = gathered.kept;
        let records = if codec == Compression::None {
            records
        } else {
            compression::compress(codec, self.levels, &records)?
        };
        let length = HEADER_LEN - LOG_OVERHEAD + records.len();
        header.batch_length = i32::try_from(length).map_err(|_| BatchError::Build("batch exceeds 2 GiB"))?;
        header.seal(&records);
        Ok((header, [&header.to_bytes()[..], &records].concat().into()))
    }
}

/// A batch that only says which offsets and sequences there were.
fn emptied(before: &BatchHeader) -> (BatchHeader, Bytes) {
    let mut header = *before;
    header.clear_records();
    header.seal(&[]);
    (header, Bytes::copy_from_slice(&header.to_bytes()))
}

pub(super) fn offset(header: &BatchHeader, record: &RawRecord<'_>) -> Offset {
    Offset(header.base_offset).plus(i64::from(record.offset_delta))
}

/// Walks over the records of a decompressed body.
pub(super) fn for_each_record(
    header: &BatchHeader,
    body: &[u8],
    mut each: impl FnMut(&RawRecord<'_>),
) -> Result<(), BatchError> {
    let mut rest = body;
    for _ in 0..header.record_count {
        let record;
        (record, rest) = RawRecord::parse(rest)?;
        each(&record);
    }
    if rest.is_empty() { Ok(()) } else { Err(BatchError::Record("bytes after the last record")) }
}
