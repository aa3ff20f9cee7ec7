//! The 61-byte header of a v2 batch.

use super::{BatchError, HEADER_LEN, LOG_OVERHEAD, MAGIC_OFFSET, MAGIC_V2, NO_PRODUCER_ID, NO_TIMESTAMP};

/// Length field of a batch without records: its header after the field itself.
const EMPTY_LENGTH: i32 = 49;

const COMPRESSION_MASK: i16 = 0x07;
const TIMESTAMP_TYPE_MASK: i16 = 0x08;
const TRANSACTIONAL_MASK: i16 = 0x10;
const CONTROL_MASK: i16 = 0x20;
const DELETE_HORIZON_MASK: i16 = 0x40;

/// Codec of a batch's body; the number is the one in the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Compression {
    /// Records lie there as they are.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks in xerial's framing.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard frames (KIP-110).
    Zstd = 4,
}

impl Compression {
    /// All codecs, in the order of their numbers.
    pub const ALL: [Compression; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Kafka's name, as in `compression.type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Bits 0..2 of the attributes.
    #[must_use]
    pub fn bits(self) -> i16 {
        self as i16
    }
}

impl TryFrom<u8> for Compression {
    type Error = BatchError;

    fn try_from(value: u8) -> Result<Self, BatchError> {
        Self::ALL.get(usize::from(value)).copied().ok_or(BatchError::UnknownCompression(value))
    }
}

/// What the timestamps of a batch mean (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Set by the producer, one per record.
    #[default]
    CreateTime,
    /// Set by the leader, the same for the whole batch: its max timestamp.
    LogAppendTime,
}

/// A v2 batch header by value. Offsets, epochs and ids are raw, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, as first written.
    pub base_offset: i64,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it; -1 before that.
    pub partition_leader_epoch: i32,
    /// Always 2.
    pub magic: i8,
    /// CRC32C over everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Last offset minus base offset, kept by compaction.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from (ms), or the delete horizon.
    pub base_timestamp: i64,
    /// Largest timestamp (ms), or the append time of the whole batch.
    pub max_timestamp: i64,
    /// Producer id or -1.
    pub producer_id: i64,
    /// Producer epoch or -1.
    pub producer_epoch: i16,
    /// Sequence of the first record or -1.
    pub base_sequence: i32,
    /// Records in the body, after compaction fewer than the offsets span.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the body need not be there.
    ///
    /// # Errors
    /// When bytes are missing, the magic is not 2 or the length is smaller than a header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let magic = peek_magic(bytes)?;
        if magic != MAGIC_V2 {
            return Err(BatchError::UnsupportedMagic(magic));
        }
        let head: &[u8; HEADER_LEN] = bytes
            .first_chunk()
            .ok_or(BatchError::Truncated { needed: HEADER_LEN, available: bytes.len() })?;
        let header = Self {
            base_offset: i64::from_be_bytes(field::<0, 8>(head)),
            batch_length: i32::from_be_bytes(field::<8, 4>(head)),
            partition_leader_epoch: i32::from_be_bytes(field::<12, 4>(head)),
            magic,
            crc: u32::from_be_bytes(field::<17, 4>(head)),
            attributes: i16::from_be_bytes(field::<21, 2>(head)),
            last_offset_delta: i32::from_be_bytes(field::<23, 4>(head)),
            base_timestamp: i64::from_be_bytes(field::<27, 8>(head)),
            max_timestamp: i64::from_be_bytes(field::<35, 8>(head)),
            producer_id: i64::from_be_bytes(field::<43, 8>(head)),
            producer_epoch: i16::from_be_bytes(field::<51, 2>(head)),
            base_sequence: i32::from_be_bytes(field::<53, 4>(head)),
            record_count: i32::from_be_bytes(field::<57, 4>(head)),
        };
        let length = usize::try_from(header.batch_length).unwrap_or(0);
        if length < HEADER_LEN - LOG_OVERHEAD {
            return Err(BatchError::InvalidLength(header.batch_length));
        }
        Ok(header)
    }

    /// The header as bytes, to be written in front of an unchanged body.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        let mut rest = out.as_mut_slice();
        let mut put = |part: &[u8]| {
            if let Some((head, tail)) = std::mem::take(&mut rest).split_at_mut_checked(part.len()) {
                head.copy_from_slice(part);
                rest = tail;
            }
        };
        put(&self.base_offset.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.partition_leader_epoch.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.to_be_bytes());
        put(&self.producer_epoch.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        out
    }

    /// Offset of the last record that was ever in the batch. Saturates on absurd headers.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the batch. Saturates on absurd headers.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record, wrapping after `i32::MAX` to 0; -1 without a producer.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        let span = i64::from(i32::MAX) + 1;
        i32::try_from(sum.rem_euclid(span)).unwrap_or_default()
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or_default()
    }

    /// Codec of the body.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for 5, 6 and 7.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::try_from(u8::try_from(self.attributes & COMPRESSION_MASK).unwrap_or_default())
    }

    /// What the timestamps mean.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_MASK == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_MASK != 0
    }

    /// Transaction marker or Raft control records; never shown to applications.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_MASK != 0
    }

    /// Written by an idempotent or transactional producer.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Time (ms) after which compaction may drop tombstones and markers of this batch.
    #[must_use]
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_MASK != 0).then_some(self.base_timestamp)
    }

    /// Says when its tombstones or marker may go. Timestamps of its records count from there: the caller rewrites them.
    pub fn set_delete_horizon_ms(&mut self, horizon: i64) {
        self.attributes |= DELETE_HORIZON_MASK;
        self.base_timestamp = horizon;
    }

    /// Makes it the header of a batch without records that stands for the same offsets and sequences.
    pub fn clear_records(&mut self) {
        self.attributes &= !(COMPRESSION_MASK | DELETE_HORIZON_MASK);
        self.batch_length = EMPTY_LENGTH;
        self.base_timestamp = NO_TIMESTAMP;
        self.record_count = 0;
    }

    /// Sets codec and timestamp type, keeps the other attribute bits.
    pub fn set_attributes(&mut self, compression: Compression, timestamp_type: TimestampType) {
        self.attributes &= !(COMPRESSION_MASK | TIMESTAMP_TYPE_MASK);
        self.attributes |= compression.bits();
        if timestamp_type == TimestampType::LogAppendTime {
            self.attributes |= TIMESTAMP_TYPE_MASK;
        }
    }

    /// Sets the transactional and control bits.
    pub(super) fn set_flags(&mut self, transactional: bool, control: bool) {
        self.attributes &= !(TRANSACTIONAL_MASK | CONTROL_MASK);
        self.attributes |= if transactional { TRANSACTIONAL_MASK } else { 0 };
        self.attributes |= if control { CONTROL_MASK } else { 0 };
    }
}

/// Magic byte of the batch or old message at the start of `bytes`.
pub(super) fn peek_magic(bytes: &[u8]) -> Result<i8, BatchError> {
    let truncated = BatchError::Truncated { needed: MAGIC_OFFSET + 1, available: bytes.len() };
    bytes.get(MAGIC_OFFSET).map(|b| b.cast_signed()).ok_or(truncated)
}

#[expect(clippy::indexing_slicing, reason = "offset and length are constants inside a 61-byte array")]
#[inline]
fn field<const AT: usize, const N: usize>(head: &[u8; HEADER_LEN]) -> [u8; N] {
    let mut out = [0u8; N];
    out.copy_from_slice(&head[AT..AT + N]);
    out
}
