//! What a leader checks and sets in a batch before it appends it.
//!
//! A batch whose codec is the wanted one is never rewritten: its records are walked over once, without allocation
//! and, if compressed, without holding them in memory, and only header fields change. It is rebuilt when the codec
//! differs or its inner offsets are not 0, 1, 2, …

mod rebuild;
mod records;

#[cfg(test)]
mod tests;

use crate::config::{CompressionType, LogConfig};
use crate::error::AppendError;
use crate::log::Origin;
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use bytes::Bytes;
use ottla_wire::batch::{
    Batch, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC_OFFSET, TimestampType,
};
use records::RecordRules;

/// The least that follows the length in any version of the format.
const LEAST_BODY: usize = 14;

/// Under what conditions a batch is to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub config: &'a LogConfig,
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub origin: Origin,
    pub now: TimestampMs,
}

/// A batch that may be appended: offsets, epoch, timestamps and checksum are set in `header`.
#[derive(Clone, Debug)]
pub(crate) struct Valid {
    pub header: BatchHeader,
    pub body: Bytes,
}

/// Checks the records of one append, which must be exactly one batch.
pub(crate) fn validate(records: &Bytes, terms: &Terms<'_>) -> Result<Valid, AppendError> {
    let batch = only_batch(records)?;
    let source = check_batch(&batch, terms)?;
    let body = batch.body();
    let mut rules = RecordRules::new(&batch.header, terms);
    rules.walk(source, &body, terms.config.max_decompressed_bytes)?;
    let walked = rules.finish()?;
    let target = match terms.config.compression_type {
        CompressionType::Producer => source,
        // Control records stay as the coordinator wrote them.
        CompressionType::Fixed(_) if batch.header.is_control() => source,
        CompressionType::Fixed(codec) => codec,
    };
    if target != source || !walked.offsets_in_order {
        return rebuild::rebuild(&batch, source, target, terms);
    }
    Ok(Valid { header: in_place(&batch.header, source, walked.max_timestamp, body.len(), terms), body })
}

/// The one batch of a request. As in Kafka an incomplete one, at the end or alone, counts as none.
fn only_batch(records: &Bytes) -> Result<Batch, AppendError> {
    let size = next_size(records)?.ok_or(AppendError::NotOneBatch("there is no whole record batch"))?;
    if matches!(records.get(MAGIC_OFFSET), Some(0 | 1)) {
        return Err(AppendError::NotOneBatch("only record batches with magic version 2 are allowed"));
    }
    let batch = Batch::parse(records).map_err(|reason| AppendError::Corrupt(reason.to_string()))?;
    if next_size(records.get(size..).unwrap_or_default())?.is_some() {
        return Err(AppendError::NotOneBatch("exactly one record batch is allowed per partition"));
    }
    Ok(batch)
}

/// The size of the batch at the start, if all of it is there.
fn next_size(records: &[u8]) -> Result<Option<usize>, AppendError> {
    let Some((head, _)) = records.split_first_chunk::<LOG_OVERHEAD>() else { return Ok(None) };
    let [.., a, b, c, d] = *head;
    let length = i32::from_be_bytes([a, b, c, d]);
    let body = usize::try_from(length).ok().filter(|body| *body >= LEAST_BODY);
    let Some(body) = body else {
        return Err(AppendError::Corrupt(format!("a record batch cannot have {length} bytes")));
    };
    match records.get(MAGIC_OFFSET) {
        None => Ok(None),
        Some(0..=2) => Ok(Some(LOG_OVERHEAD + body).filter(|size| *size <= records.len())),
        Some(magic) => Err(AppendError::Corrupt(format!("there is no magic {magic}"))),
    }
}

/// The checks that need the header and the checksum only; returns the codec.
fn check_batch(batch: &Batch, terms: &Terms<'_>) -> Result<Compression, AppendError> {
    let header = &batch.header;
    match terms.origin {
        Origin::Client if header.base_offset != 0 => {
            return Err(AppendError::invalid(format!(
                "base offset of the record batch should be 0, but it is {}",
                header.base_offset
            )));
        }
        Origin::Raft if header.partition_leader_epoch != terms.leader_epoch.0 => {
            return Err(AppendError::invalid("append by the quorum's leader without its epoch"));
        }
        _ => {}
    }
    check_size(batch.bytes.len(), terms)?;
    batch.verify_crc().map_err(|reason| AppendError::Corrupt(reason.to_string()))?;
    check_offsets(header, terms.origin)?;
    header.compression().map_err(|reason| AppendError::UnsupportedCompression(reason.to_string()))
}

/// The metadata quorum's batches are as large as they need to be.
pub(crate) fn check_size(size: usize, terms: &Terms<'_>) -> Result<(), AppendError> {
    let max = usize::try_from(terms.config.max_message_bytes).unwrap_or(usize::MAX);
    if size > max && terms.origin != Origin::Raft {
        return Err(AppendError::TooLarge { size, max });
    }
    Ok(())
}

fn check_offsets(header: &BatchHeader, origin: Origin) -> Result<(), AppendError> {
    let span = i64::from(header.last_offset_delta) + 1;
    if span <= 0 {
        return Err(AppendError::invalid(format!(
            "batch has an invalid offset range: [{}, {}]",
            header.base_offset,
            header.last_offset()
        )));
    }
    if header.record_count <= 0 {
        return Err(AppendError::invalid(format!(
            "invalid reported count for record batch: {}",
            header.record_count
        )));
    }
    if i64::from(header.record_count) != span {
        return Err(AppendError::invalid(format!(
            "inconsistent batch offset range [{}, {}] and count of records {}",
            header.base_offset,
            header.last_offset(),
            header.record_count
        )));
    }
    if origin != Origin::Client {
        return Ok(());
    }
    if header.is_control() {
        return Err(AppendError::invalid("clients are not allowed to write control records"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(AppendError::invalid(format!(
            "invalid sequence number {} in record batch with producerId {}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

/// The header as it is stored when the body stays. A new checksum costs a pass over the header, not over the body.
fn in_place(
    before: &BatchHeader,
    compression: Compression,
    max_timestamp: i64,
    body_len: usize,
    terms: &Terms<'_>,
) -> BatchHeader {
    let mut header = *before;
    header.base_offset = terms.base_offset.0;
    header.partition_leader_epoch = terms.leader_epoch.0;
    header.max_timestamp = match terms.config.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => terms.now.0,
    };
    header.set_attributes(compression, terms.config.timestamp_type);
    if header.max_timestamp != before.max_timestamp || header.attributes != before.attributes {
        header.crc = header.crc_changed_from(before, body_len);
    }
    debug_assert_eq!(header.size_in_bytes(), HEADER_LEN + body_len);
    header
}
