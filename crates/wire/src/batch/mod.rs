//! Record batches of format v2 (KIP-98): header view, iteration, in-place patches, building, record iteration.
//!
//! A batch is opaque to the rest of the codec. Nothing here trusts a length: every field is checked against the
//! bytes that are there, and nothing is allocated from a count on the wire. Compression is not done here; a body is
//! handed over as it is stored (see `ottla_log::compression`).

mod builder;
mod header;
mod iter;
mod patch;
mod record;
mod varint;

#[cfg(test)]
mod tests;

pub use builder::{BatchBuilder, Record};
pub use header::{BatchHeader, Compression, TimestampType};
pub use iter::{Batch, Batches, batches};
pub use patch::{compute_crc, crc32c, patch_base_offset, patch_leader_epoch, patch_max_timestamp};
pub use record::{BatchRecord, RecordMeta, Records as RecordIter, skim_record};
pub use varint::{read_varint, read_varlong, write_varint, write_varlong};

/// Bytes of a v2 batch header, up to and including the record count.
pub const HEADER_LEN: usize = 61;

/// Bytes of base offset and length, which the length field does not count.
pub const LOG_OVERHEAD: usize = 12;

/// Position of the magic byte, the same in every version of the format.
pub const MAGIC_OFFSET: usize = 16;

/// The only magic value that is written and read.
pub const MAGIC_V2: i8 = 2;

/// "No producer", "no sequence", "no timestamp", "no epoch" are all -1 on the wire.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch without a producer.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch without a producer.
pub const NO_SEQUENCE: i32 = -1;
/// Timestamp of a record or batch that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// Partition leader epoch that no leader has set yet.
pub const NO_LEADER_EPOCH: i32 = -1;

/// Why bytes are not a valid batch or record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer bytes than the header or the length field asks for.
    #[error("batch needs {needed} bytes, {available} remain")]
    Truncated {
        /// Bytes that the batch needs.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// Message sets of magic 0 and 1 are not supported, nor is anything above 2.
    #[error("unsupported magic {0}")]
    UnsupportedMagic(i8),
    /// The length field is negative or smaller than a header.
    #[error("invalid batch length {0}")]
    InvalidLength(i32),
    /// Checksum in the header and over the bytes differ.
    #[error("crc in the header is {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// Value in the header.
        stored: u32,
        /// Value over the bytes.
        computed: u32,
    },
    /// The attributes name a codec that does not exist.
    #[error("unknown compression type {0}")]
    UnknownCompression(u8),
    /// Records are asked for while the body is compressed.
    #[error("body is compressed with {0:?}")]
    Compressed(Compression),
    /// A varint is too long or ends early.
    #[error("malformed varint")]
    Varint,
    /// A record's lengths do not add up.
    #[error("invalid record: {0}")]
    Record(&'static str),
    /// Something to be built does not fit into the format's fields.
    #[error("cannot build batch: {0}")]
    Build(&'static str),
}
