//! The records inside a batch.

use super::varint::{read_varint, read_varlong};
use super::{BatchError, BatchHeader, TimestampType};
use bytes::Bytes;
use bytestring::ByteString;

/// A record as read from a batch; key, value and headers are slices of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// Absolute offset.
    pub offset: i64,
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Milliseconds since the epoch or -1; the batch's append time if it has one.
    pub timestamp: i64,
    /// Key, `None` if null.
    pub key: Option<Bytes>,
    /// Value, `None` if null (a tombstone in a compacted topic).
    pub value: Option<Bytes>,
    /// Headers in their order; keys may repeat.
    pub headers: Vec<(ByteString, Option<Bytes>)>,
}

/// Iterator over the records of an uncompressed (or decompressed) body; stops after the first error.
///
/// Exactly `record_count` records are expected: too few bytes or bytes left over are an error.
#[derive(Clone, Debug)]
pub struct Records {
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    left: i32,
    rest: Bytes,
}

impl Records {
    /// `body` is what follows the header, decompressed.
    #[must_use]
    pub fn new(header: &BatchHeader, body: Bytes) -> Self {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        Self {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: append_time.then_some(header.max_timestamp),
            left: header.record_count,
            rest: body,
        }
    }

    fn read(&mut self) -> Result<BatchRecord, BatchError> {
        let (body, len) = record_body(&self.rest)?;
        let record = self.rest.slice_ref(body);
        self.rest = self.rest.slice(len..);
        let (meta, rest) = read_meta(&record)?;
        let (key, rest) = read_bytes(&record, rest, "key")?;
        let (value, rest) = read_bytes(&record, rest, "value")?;
        let headers = read_headers(&record, rest)?;
        let timestamp = self.base_timestamp.wrapping_add(meta.timestamp_delta);
        Ok(BatchRecord {
            offset: self.base_offset.saturating_add(i64::from(meta.offset_delta)),
            offset_delta: meta.offset_delta,
            timestamp: self.append_time.unwrap_or(timestamp),
            key,
            value,
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<BatchRecord, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            let leftover = !std::mem::take(&mut self.rest).is_empty();
            return leftover.then_some(Err(BatchError::Record("bytes after the last record")));
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.rest = Bytes::new();
        }
        Some(record)
    }
}

/// What validation needs of a record, without touching its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// Offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp minus the batch's base timestamp (ms).
    pub timestamp_delta: i64,
    /// Whether the key is not null.
    pub has_key: bool,
}

/// Walks over the record at the start of `input`, checking all its lengths; returns the rest. Does not allocate.
///
/// # Errors
/// When lengths run over the record or bytes of it are left.
pub fn skim_record(input: &[u8]) -> Result<(RecordMeta, &[u8]), BatchError> {
    let (record, len) = record_body(input)?;
    let (meta, rest) = read_meta(record)?;
    let (key, rest) = take_nullable(rest, "key")?;
    let (_, mut rest) = take_nullable(rest, "value")?;
    let count;
    (count, rest) = read_varint(rest)?;
    for _ in 0..header_count(count, rest)? {
        let (name, after) = take_nullable(rest, "header")?;
        if name.is_none() {
            return Err(BatchError::Record("header key is null"));
        }
        (_, rest) = take_nullable(after, "header")?;
    }
    if !rest.is_empty() {
        return Err(BatchError::Record("bytes after the last header"));
    }
    Ok((RecordMeta { has_key: key.is_some(), ..meta }, input.get(len..).unwrap_or_default()))
}

/// The record without its length prefix, and the bytes it takes with it.
fn record_body(input: &[u8]) -> Result<(&[u8], usize), BatchError> {
    let (length, rest) = read_varint(input)?;
    let length = usize::try_from(length).map_err(|_| BatchError::Record("negative length"))?;
    let body = rest.get(..length).ok_or(BatchError::Record("length runs over the batch"))?;
    Ok((body, input.len() - rest.len() + length))
}

fn read_meta(record: &[u8]) -> Result<(RecordMeta, &[u8]), BatchError> {
    let (_attributes, rest) = record.split_first().ok_or(BatchError::Record("empty record"))?;
    let (timestamp_delta, rest) = read_varlong(rest)?;
    let (offset_delta, rest) = read_varint(rest)?;
    Ok((RecordMeta { offset_delta, timestamp_delta, has_key: false }, rest))
}

/// A length-prefixed field, null if the length is -1.
fn take_nullable<'a>(
    input: &'a [u8],
    what: &'static str,
) -> Result<(Option<&'a [u8]>, &'a [u8]), BatchError> {
    let (length, rest) = read_varint(input)?;
    if length < 0 {
        return Ok((None, rest));
    }
    let length = usize::try_from(length).map_err(|_| BatchError::Record(what))?;
    let (field, rest) = rest.split_at_checked(length).ok_or(BatchError::Record(what))?;
    Ok((Some(field), rest))
}

fn read_bytes<'a>(
    record: &Bytes,
    input: &'a [u8],
    what: &'static str,
) -> Result<(Option<Bytes>, &'a [u8]), BatchError> {
    let (field, rest) = take_nullable(input, what)?;
    Ok((field.map(|f| record.slice_ref(f)), rest))
}

fn read_headers(record: &Bytes, input: &[u8]) -> Result<Vec<(ByteString, Option<Bytes>)>, BatchError> {
    let (count, mut rest) = read_varint(input)?;
    let count = header_count(count, rest)?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, after) = read_bytes(record, rest, "header")?;
        let name = name.ok_or(BatchError::Record("header key is null"))?;
        let name = ByteString::try_from(name).map_err(|_| BatchError::Record("header key is not UTF-8"))?;
        let value;
        (value, rest) = read_bytes(record, after, "header")?;
        headers.push((name, value));
    }
    if rest.is_empty() { Ok(headers) } else { Err(BatchError::Record("bytes after the last header")) }
}

/// A header takes two bytes at least, so a count beyond that is a lie and nothing is allocated for it.
fn header_count(count: i32, rest: &[u8]) -> Result<usize, BatchError> {
    let count = usize::try_from(count).map_err(|_| BatchError::Record("negative header count"))?;
    if count > rest.len() / 2 {
        return Err(BatchError::Record("header count runs over the record"));
    }
    Ok(count)
}
