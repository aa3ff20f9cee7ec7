//! Kafka's producer snapshot, version 1: a version, a CRC32C over all that follows it, then fixed-size entries.

use super::{BatchMeta, ProducerEntry};
use ottla_wire::batch::{NO_SEQUENCE, crc32c};

const VERSION: i16 = 1;
const HEAD_LEN: usize = 6;
const ENTRY_LEN: usize = 46;

/// Why a snapshot cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("unknown version {0}")]
    Version(i16),
    #[error("checksum does not match")]
    Crc,
    #[error("size does not match its content")]
    Size,
}

pub(crate) fn encode(entries: &[ProducerEntry]) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + entries.len() * ENTRY_LEN);
    body.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    for entry in entries {
        let last = entry.last_batch();
        body.extend_from_slice(&entry.producer_id.to_be_bytes());
        body.extend_from_slice(&entry.epoch.to_be_bytes());
        body.extend_from_slice(&last.map_or(NO_SEQUENCE, |b| b.last_sequence).to_be_bytes());
        body.extend_from_slice(&last.map_or(-1, |b| b.last_offset).to_be_bytes());
        body.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
        body.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        body.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let mut out = Vec::with_capacity(HEAD_LEN + body.len());
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&crc32c(&body).to_be_bytes());
    out.append(&mut body);
    out
}

pub(crate) fn decode(raw: &[u8]) -> Result<Vec<ProducerEntry>, SnapshotError> {
    let mut fields = Fields(raw);
    let version = i16::from_be_bytes(fields.take()?);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let crc = u32::from_be_bytes(fields.take()?);
    if crc != crc32c(fields.0) {
        return Err(SnapshotError::Crc);
    }
    let count = usize::try_from(i32::from_be_bytes(fields.take()?)).map_err(|_| SnapshotError::Size)?;
    if fields.0.len() != count.saturating_mul(ENTRY_LEN) {
        return Err(SnapshotError::Size);
    }
    (0..count).map(|_| entry(&mut fields)).collect()
}

fn entry(fields: &mut Fields<'_>) -> Result<ProducerEntry, SnapshotError> {
    let producer_id = i64::from_be_bytes(fields.take()?);
    let mut entry = ProducerEntry::new(producer_id, i16::from_be_bytes(fields.take()?));
    let last_sequence = i32::from_be_bytes(fields.take()?);
    let last_offset = i64::from_be_bytes(fields.take()?);
    let offset_delta = i32::from_be_bytes(fields.take()?);
    entry.last_timestamp = i64::from_be_bytes(fields.take()?);
    entry.coordinator_epoch = i32::from_be_bytes(fields.take()?);
    let first = i64::from_be_bytes(fields.take()?);
    entry.current_txn_first_offset = (first >= 0).then_some(first);
    if last_offset >= 0 {
        entry.push(BatchMeta { last_sequence, last_offset, offset_delta, timestamp: entry.last_timestamp });
    }
    Ok(entry)
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(SnapshotError::Size)?;
        self.0 = rest;
        Ok(*field)
    }
}
