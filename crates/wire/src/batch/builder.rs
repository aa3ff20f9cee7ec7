//! Building batches record by record.

use super::varint::{write_varint, write_varlong};
use super::{
    BatchError, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC_V2, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// A record to be put into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Milliseconds since the epoch, or -1.
    pub timestamp: i64,
    /// Key, `None` for null.
    pub key: Option<Bytes>,
    /// Value, `None` for null.
    pub value: Option<Bytes>,
    /// Headers in their order.
    pub headers: Vec<(ByteString, Option<Bytes>)>,
}

/// Collects records into one v2 batch. Offsets count up by one from the base offset.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    transactional: bool,
    control: bool,
    append_time: Option<i64>,
    body: BytesMut,
    scratch: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch that begins at `base_offset`, without producer and leader epoch.
    #[must_use]
    pub fn new(base_offset: i64) -> Self {
        let header = BatchHeader {
            base_offset,
            batch_length: 0,
            partition_leader_epoch: NO_LEADER_EPOCH,
            magic: MAGIC_V2,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        };
        Self {
            header,
            transactional: false,
            control: false,
            append_time: None,
            body: BytesMut::new(),
            scratch: Vec::new(),
        }
    }

    /// Partition leader epoch; the leader's append sets it again.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// Producer id, epoch and sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.transactional = transactional;
        self
    }

    /// Marks the batch as control records (transaction markers, Raft control records).
    #[must_use]
    pub fn control(mut self, control: bool) -> Self {
        self.control = control;
        self
    }

    /// The batch counts as appended at that time (ms since the epoch); the records keep their own inside, as with Kafka.
    #[must_use]
    pub fn append_time(mut self, append_time: i64) -> Self {
        self.append_time = Some(append_time);
        self
    }

    /// Adds a record with the next offset.
    pub fn push(&mut self, record: Record) {
        let Record { timestamp, key, value, headers } = record;
        let delta = self.header.last_offset_delta.saturating_add(1);
        self.push_at(delta, timestamp, key.as_deref(), value.as_deref(), &headers);
    }

    /// Adds a record with an offset delta of its own, which must exceed the last one's.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(ByteString, Option<Bytes>)],
    ) {
        if self.header.record_count == 0 {
            self.header.base_timestamp = timestamp;
        }
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self.header.last_offset_delta = offset_delta;
        self.header.record_count = self.header.record_count.saturating_add(1);

        let out = &mut self.scratch;
        out.clear();
        out.put_u8(0);
        write_varlong(out, timestamp.wrapping_sub(self.header.base_timestamp));
        write_varint(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        put_len(out, headers.len());
        for (name, value) in headers {
            put_nullable(out, Some(name.as_bytes()));
            put_nullable(out, value.as_deref());
        }
        put_len(&mut self.body, self.scratch.len());
        self.body.put_slice(&self.scratch);
    }

    /// Records so far.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Bytes of the batch if it were built now without compression.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// The batch, uncompressed.
    ///
    /// A body over `i32::MAX` bytes gives an empty buffer; [`BatchBuilder::build_with`] reports it instead.
    #[must_use]
    pub fn build(self) -> Bytes {
        self.build_with(Compression::None, |body| Ok::<_, BatchError>(body.to_vec())).unwrap_or_default()
    }

    /// The batch with its body passed through `compress`, which must produce `compression`'s format.
    ///
    /// # Errors
    /// What `compress` says, or [`BatchError::Build`] if the batch exceeds `i32::MAX` bytes.
    pub fn build_with<E: From<BatchError>>(
        mut self,
        compression: Compression,
        compress: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Bytes, E> {
        let body =
            if compression == Compression::None { self.body } else { compress(&self.body)?[..].into() };
        let length = HEADER_LEN - LOG_OVERHEAD + body.len();
        self.header.batch_length =
            i32::try_from(length).map_err(|_| BatchError::Build("batch exceeds 2 GiB"))?;
        self.header.last_offset_delta = self.header.last_offset_delta.max(0);
        let timestamp_type = match self.append_time {
            Some(append_time) => {
                self.header.max_timestamp = append_time;
                TimestampType::LogAppendTime
            }
            None => TimestampType::CreateTime,
        };
        self.header.set_attributes(compression, timestamp_type);
        self.header.set_flags(self.transactional, self.control);
        self.header.seal(&body);
        let mut out = BytesMut::with_capacity(HEADER_LEN + body.len());
        out.put_slice(&self.header.to_bytes());
        out.put_slice(&body);
        Ok(out.freeze())
    }
}

fn put_nullable(out: &mut impl BufMut, field: Option<&[u8]>) {
    match field {
        Some(field) => {
            put_len(out, field.len());
            out.put_slice(field);
        }
        None => write_varint(out, -1),
    }
}

fn put_len(out: &mut impl BufMut, len: usize) {
    write_varlong(out, i64::try_from(len).unwrap_or(i64::MAX));
}
