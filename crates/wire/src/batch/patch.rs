//! What a leader changes in a batch that it appends.
//!
//! Base offset and leader epoch lie outside the checksum; timestamp type and max timestamp lie inside.

use super::{BatchError, BatchHeader, HEADER_LEN, TimestampType};
use crc_fast::{CrcAlgorithm, checksum};

/// First byte that the checksum covers.
const CRC_START: usize = 21;

/// CRC32C over everything from the attributes on; of nothing if `batch` is shorter than that.
#[must_use]
pub fn compute_crc(batch: &[u8]) -> u32 {
    crc32c(batch.get(CRC_START..).unwrap_or_default())
}

/// Writes the base offset. The checksum stays valid.
///
/// # Errors
/// When `batch` is shorter than a header.
pub fn patch_base_offset(batch: &mut [u8], base_offset: i64) -> Result<(), BatchError> {
    put(batch, 0, &base_offset.to_be_bytes())
}

/// Writes the partition leader epoch. The checksum stays valid.
///
/// # Errors
/// When `batch` is shorter than a header.
pub fn patch_leader_epoch(batch: &mut [u8], leader_epoch: i32) -> Result<(), BatchError> {
    put(batch, 12, &leader_epoch.to_be_bytes())
}

/// Writes timestamp type and max timestamp (ms), and a new checksum if that changed anything.
///
/// # Errors
/// When `batch` is not a whole v2 batch or names an unknown codec.
pub fn patch_max_timestamp(
    batch: &mut [u8],
    timestamp_type: TimestampType,
    max_timestamp: i64,
) -> Result<(), BatchError> {
    let mut header = BatchHeader::parse(batch)?;
    if header.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp {
        return Ok(());
    }
    header.set_attributes(header.compression()?, timestamp_type);
    header.max_timestamp = max_timestamp;
    put(batch, 0, &header.to_bytes())?;
    let crc = compute_crc(batch);
    put(batch, 17, &crc.to_be_bytes())
}

impl BatchHeader {
    /// Sets [`BatchHeader::crc`] to the checksum over this header and `body`.
    pub fn seal(&mut self, body: &[u8]) {
        self.seal_with_body_crc(crc32c(body), body.len());
    }

    /// As [`BatchHeader::seal`], when the body's own CRC32C is known: no second pass over the body.
    pub fn seal_with_body_crc(&mut self, body_crc: u32, body_len: usize) {
        self.crc = self.crc_with_body(body_crc, body_len);
    }

    /// The checksum after header fields changed from `before`, whose checksum was right; the body is not read.
    #[must_use]
    pub fn crc_changed_from(&self, before: &BatchHeader, body_len: usize) -> u32 {
        // Checksums are linear: what the change of the header contributes is carried over the body's length.
        let carried = self.crc_with_body(0, body_len) ^ before.crc_with_body(0, body_len);
        before.crc ^ carried
    }

    /// The checksum of a batch made of this header and a body with the given CRC32C.
    #[must_use]
    pub fn crc_with_body(&self, body_crc: u32, body_len: usize) -> u32 {
        let head = self.to_bytes();
        let head_crc = checksum(CrcAlgorithm::Crc32Iscsi, head.get(CRC_START..).unwrap_or_default());
        let len = u64::try_from(body_len).unwrap_or_default();
        let sum = crc_fast::checksum_combine(CrcAlgorithm::Crc32Iscsi, head_crc, u64::from(body_crc), len);
        low32(sum)
    }
}

/// CRC32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    low32(checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

fn low32(sum: u64) -> u32 {
    u32::try_from(sum & u64::from(u32::MAX)).unwrap_or_default()
}

fn put(batch: &mut [u8], at: usize, value: &[u8]) -> Result<(), BatchError> {
    let available = batch.len();
    if available < HEADER_LEN {
        return Err(BatchError::Truncated { needed: HEADER_LEN, available });
    }
    let field = batch.get_mut(at..at + value.len());
    field.ok_or(BatchError::Truncated { needed: at + value.len(), available })?.copy_from_slice(value);
    Ok(())
}
