//! The settings of one log, resolved from topic and broker configuration by the caller.

use ottla_wire::batch::{Compression, TimestampType};

/// `compression.type`: whose codec a stored batch has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionType {
    /// The producer's: batches are stored as they came.
    #[default]
    Producer,
    /// This one; batches of another codec are rebuilt.
    Fixed(Compression),
}

/// Levels for [`CompressionType::Fixed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionLevels {
    /// `compression.gzip.level`: 1 to 9, or -1 for zlib's default.
    pub gzip: i32,
    /// `compression.zstd.level`: -131072 to 22.
    pub zstd: i32,
}

impl Default for CompressionLevels {
    fn default() -> Self {
        Self { gzip: -1, zstd: 3 }
    }
}

/// Kafka's topic settings that a log obeys; the defaults are Kafka's. Times in ms, -1 = unlimited where said so.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: size at which a segment is full; at least 14.
    pub segment_bytes: u32,
    /// `segment.ms`: age at which a segment is rolled.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much earlier, different for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: size of an index file at which the segment is rolled.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: log bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `preallocate`: reserve `segment_bytes` on disk when a segment is made.
    pub preallocate: bool,
    /// `max.message.bytes`: largest batch as stored.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.{gzip,lz4,zstd}.level`.
    pub compression_levels: CompressionLevels,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`: records must have keys.
    pub compact: bool,
    /// `delete.retention.ms`: how long tombstones stay after the first cleaning that sees them.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: younger records are not cleaned.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: older records are cleaned whatever the dirty ratio.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`, 0 to 1: share of bytes that were never cleaned at which a log is cleaned.
    pub min_cleanable_dirty_ratio: f64,
    /// `retention.ms`, -1 = unlimited.
    pub retention_ms: i64,
    /// `retention.bytes`, -1 = unlimited.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: time between a segment's rename to `.deleted` and its removal.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: records after which a flush is due.
    pub flush_messages: i64,
    /// `flush.ms`: time after which a flush is due.
    pub flush_ms: i64,
    /// `producer.id.expiration.ms`: a producer that has been silent this long is forgotten.
    pub producer_id_expiration_ms: i64,
    /// Largest body that a batch may decompress to, whatever it claims; guards memory.
    pub max_decompressed_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            preallocate: false,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression_type: CompressionType::Producer,
            compression_levels: CompressionLevels::default(),
            delete: true,
            compact: false,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            producer_id_expiration_ms: 86_400_000,
            max_decompressed_bytes: 256 << 20,
        }
    }
}

impl LogConfig {
    /// Age at which a segment is rolled: a compacted log rolls early enough for `max.compaction.lag.ms`.
    #[must_use]
    pub fn max_segment_ms(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}
