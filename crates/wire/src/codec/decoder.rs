//! Reading from a frame, without copying and without trusting its lengths.

use bytes::Bytes;

use super::encoder::MAX_STRING_LEN;
use super::error::DecodeFault;
use super::tags::RawTaggedField;
use crate::primitive::read_unsigned_varint;
use crate::region::Records;
use crate::types::{Str, Uuid};

/// Reads fields from a frame. Strings, bytes and records are slices that keep the frame alive.
///
/// No length that was read is believed: a slice must lie within the frame, and an array cannot claim more elements
/// than there are bytes left. What arrays take in memory altogether is limited too, to sixteen times the
/// frame and a little more: a struct of empty strings is a few bytes on the wire and some hundred in memory, so that a
/// frame made of them would otherwise cost seventy times its size. `flexible` arguments tell whether lengths are
/// compact (unsigned varints, one more than the length) or of fixed width.
#[derive(Debug, Clone)]
pub struct Decoder {
    data: Bytes,
    position: usize,
    /// How many bytes of memory further arrays may take.
    memory: usize,
}

/// How much memory arrays may take for each byte of the frame. Messages that mean something stay below 10: names have
/// some letters, and partitions some numbers.
const MEMORY_PER_BYTE: usize = 16;

/// How much memory arrays may take in any case.
const MEMORY_BASE: usize = 64 * 1024;

macro_rules! fixed_width {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => {
        $($(#[$doc])*
        pub fn $name(&mut self) -> Result<$type, DecodeFault> {
            Ok(<$type>::from_be_bytes(self.take()?))
        })*
    };
}

impl Decoder {
    /// A decoder at the start of `data`.
    pub fn new(data: Bytes) -> Self {
        let memory = data.len().saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_BASE);
        Self { data, position: 0, memory }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.position)
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.data.slice(self.position..);
        self.position = self.data.len();
        rest
    }

    fixed_width! {
        /// Reads a byte as a signed number.
        i8: i8;
        /// Reads a big-endian number.
        i16: i16;
        /// Reads a big-endian number.
        u16: u16;
        /// Reads a big-endian number.
        i32: i32;
        /// Reads a big-endian number.
        u32: u32;
        /// Reads a big-endian number.
        i64: i64;
        /// Reads a big-endian IEEE number.
        f64: f64;
    }

    /// Reads a byte; anything but zero is true.
    pub fn bool(&mut self) -> Result<bool, DecodeFault> {
        Ok(self.i8()? != 0)
    }

    /// Reads 16 bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeFault> {
        Ok(Uuid::from_bytes(self.take()?))
    }

    /// Reads an unsigned variable-length number.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeFault> {
        let mut rest = self.data.get(self.position..).unwrap_or_default();
        let value = read_unsigned_varint(&mut rest)?;
        self.position = self.data.len() - rest.len();
        Ok(value)
    }

    /// Reads a string that cannot be null.
    pub fn string(&mut self, flexible: bool) -> Result<Str, DecodeFault> {
        self.nullable_string(flexible)?.ok_or(DecodeFault::Null)
    }

    /// Reads a string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str>, DecodeFault> {
        let len = if flexible { self.compact_len()? } else { usize::try_from(self.i16()?).ok() };
        let Some(len) = len else { return Ok(None) };
        if len > MAX_STRING_LEN {
            return Err(DecodeFault::StringTooLong(len));
        }
        Str::try_from(self.slice(len)?).map(Some).map_err(|_| DecodeFault::Utf8)
    }

    /// Reads bytes that cannot be null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeFault> {
        self.nullable_bytes(flexible)?.ok_or(DecodeFault::Null)
    }

    /// Reads bytes or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeFault> {
        match self.len(flexible)? {
            Some(len) => self.slice(len).map(Some),
            None => Ok(None),
        }
    }

    /// Reads record batches or null.
    pub fn records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeFault> {
        Ok(self.nullable_bytes(flexible)?.map(Records::Bytes))
    }

    /// Reads an array that cannot be null.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        read: impl FnMut(&mut Self) -> Result<T, DecodeFault>,
    ) -> Result<Vec<T>, DecodeFault> {
        self.nullable_array(flexible, read)?.ok_or(DecodeFault::Null)
    }

    /// Reads an array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeFault>,
    ) -> Result<Option<Vec<T>>, DecodeFault> {
        let Some(claimed) = self.len(flexible)? else { return Ok(None) };
        let remaining = self.remaining();
        if claimed > remaining {
            return Err(DecodeFault::ArrayTooLong { claimed, remaining });
        }
        self.take_memory(claimed, size_of::<T>())?;
        let mut elements = Vec::with_capacity(claimed);
        for _ in 0..claimed {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// Reads a struct behind a marker, or null. The marker is a signed byte, negative for null; in a tagged field it
    /// is an unsigned varint, zero for null.
    pub fn nullable_struct<T>(
        &mut self,
        tagged: bool,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeFault>,
    ) -> Result<Option<T>, DecodeFault> {
        let is_null = if tagged { self.unsigned_varint()? == 0 } else { self.i8()? < 0 };
        if is_null { Ok(None) } else { read(self).map(Some) }
    }

    /// Reads a section of tagged fields. `read` gets the tag and a decoder over the field's bytes, and says whether
    /// it knows the tag; the others are returned.
    pub fn tags(
        &mut self,
        mut read: impl FnMut(u32, &mut Self) -> Result<bool, DecodeFault>,
    ) -> Result<Vec<RawTaggedField>, DecodeFault> {
        let mut unknown = Vec::new();
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            let data = self.slice(usize::try_from(size).unwrap_or(usize::MAX))?;
            let mut field = Self { data, position: 0, memory: self.memory };
            let known = read(tag, &mut field)?;
            self.memory = field.memory;
            if known {
                match field.remaining() {
                    0 => {}
                    left => return Err(DecodeFault::TagSize { tag, left }),
                }
            } else {
                // Fourfold, since a vector starts with four, and is there twice while it grows.
                self.take_memory(4, size_of::<RawTaggedField>())?;
                unknown.push(RawTaggedField { tag, data: field.data });
            }
        }
        Ok(unknown)
    }

    /// Reads a section of tagged fields none of which is known.
    pub fn unknown_tags(&mut self) -> Result<Vec<RawTaggedField>, DecodeFault> {
        self.tags(|_, _| Ok(false))
    }

    /// A length, or `None` for null.
    fn len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeFault> {
        if flexible { self.compact_len() } else { Ok(usize::try_from(self.i32()?).ok()) }
    }

    fn compact_len(&mut self) -> Result<Option<usize>, DecodeFault> {
        let one_more = self.unsigned_varint()?;
        Ok(one_more.checked_sub(1).map(|len| usize::try_from(len).unwrap_or(usize::MAX)))
    }

    fn take_memory(&mut self, elements: usize, size: usize) -> Result<(), DecodeFault> {
        let left = elements.checked_mul(size).and_then(|wanted| self.memory.checked_sub(wanted));
        self.memory = left.ok_or(DecodeFault::TooManyElements)?;
        Ok(())
    }

    fn slice(&mut self, len: usize) -> Result<Bytes, DecodeFault> {
        let end = self.end_of(len)?;
        let slice = self.data.slice(self.position..end);
        self.position = end;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeFault> {
        let end = self.end_of(N)?;
        let bytes = self.data.get(self.position..end).and_then(|bytes| bytes.try_into().ok());
        self.position = end;
        bytes.ok_or(DecodeFault::Truncated { wanted: N, remaining: 0 })
    }

    fn end_of(&self, len: usize) -> Result<usize, DecodeFault> {
        let end = self.position.checked_add(len).filter(|end| *end <= self.data.len());
        end.ok_or(DecodeFault::Truncated { wanted: len, remaining: self.remaining() })
    }
}
