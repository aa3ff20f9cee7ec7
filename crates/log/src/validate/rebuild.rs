//! Writing a batch anew: for another codec, or because its inner offsets are not consecutive.

use super::{Terms, Valid, check_size};
use crate::compression::{self, CompressionError};
use crate::error::AppendError;
use bytes::Bytes;
use ottla_wire::batch::{
    Batch, BatchBuilder, BatchHeader, Compression, HEADER_LEN, RecordIter, TimestampType,
};

pub(super) fn rebuild(
    batch: &Batch,
    source: Compression,
    target: Compression,
    terms: &Terms<'_>,
) -> Result<Valid, AppendError> {
    let config = terms.config;
    let body = compression::decompress_bounded(source, &batch.body(), config.max_decompressed_bytes);
    let body = body.map_err(|reason| AppendError::Corrupt(reason.to_string()))?;
    let builder = filled(batch, body, terms)?;
    let levels = config.compression_levels;
    let built = builder.build_with(target, |body| compression::compress(target, levels, body));
    let built = built.map_err(|reason: CompressionError| AppendError::invalid(reason.to_string()))?;
    check_size(built.len(), terms)?;
    let header = BatchHeader::parse(&built).map_err(|reason| AppendError::invalid(reason.to_string()))?;
    Ok(Valid { header, body: built.slice(HEADER_LEN.min(built.len())..) })
}

fn filled(batch: &Batch, body: Bytes, terms: &Terms<'_>) -> Result<BatchBuilder, AppendError> {
    let header = &batch.header;
    let mut builder = BatchBuilder::new(terms.base_offset.0)
        .leader_epoch(terms.leader_epoch.0)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional())
        .control(header.is_control());
    if terms.config.timestamp_type == TimestampType::LogAppendTime {
        builder = builder.append_time(terms.now.0);
    }
    for (delta, record) in (0..).zip(RecordIter::new(header, body)) {
        let record = record.map_err(|reason| AppendError::invalid(reason.to_string()))?;
        builder.push_at(
            delta,
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
    }
    Ok(builder)
}
