//! A record as it lies in a batch's body: what the cleaner judges it by, and its bytes for copying.

use bytes::BufMut;
use ottla_wire::batch::{BatchError, read_varint, read_varlong, write_varint, write_varlong};

/// One record. `tail` is what follows the timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawRecord<'a> {
    bytes: &'a [u8],
    attributes: u8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    tail: &'a [u8],
    pub key: Option<&'a [u8]>,
    pub has_value: bool,
}

impl<'a> RawRecord<'a> {
    /// The record in front, and what is behind it.
    pub(super) fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let (length, rest) = read_varint(input)?;
        let length = usize::try_from(length).map_err(|_| BatchError::Record("negative length"))?;
        let (record, behind) =
            rest.split_at_checked(length).ok_or(BatchError::Record("length runs over the batch"))?;
        let bytes = input.get(..input.len() - behind.len()).unwrap_or_default();
        let (attributes, rest) = record.split_first().ok_or(BatchError::Record("empty record"))?;
        let (timestamp_delta, tail) = read_varlong(rest)?;
        let (offset_delta, rest) = read_varint(tail)?;
        let (key, rest) = nullable(rest)?;
        let (value, _) = nullable(rest)?;
        let attributes = *attributes;
        let has_value = value.is_some();
        Ok((Self { bytes, attributes, timestamp_delta, offset_delta, tail, key, has_value }, behind))
    }

    /// Appends it as it is.
    pub(super) fn copy(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes);
    }

    /// Appends it with another timestamp delta.
    pub(super) fn copy_with_timestamp(&self, delta: i64, out: &mut Vec<u8>) {
        let mut head = [0u8; 11];
        let mut rest = head.as_mut_slice();
        rest.put_u8(self.attributes);
        write_varlong(&mut rest, delta);
        let used = 11 - rest.len();
        let head = head.get(..used).unwrap_or_default();
        write_varint(out, i32::try_from(head.len() + self.tail.len()).unwrap_or(i32::MAX));
        out.extend_from_slice(head);
        out.extend_from_slice(self.tail);
    }
}

fn nullable(input: &[u8]) -> Result<(Option<&[u8]>, &[u8]), BatchError> {
    let (length, rest) = read_varint(input)?;
    let Ok(length) = usize::try_from(length) else { return Ok((None, rest)) };
    let (field, rest) =
        rest.split_at_checked(length).ok_or(BatchError::Record("field runs over the record"))?;
    Ok((Some(field), rest))
}
