//! Writing of a message into [`Parts`].

use bytes::{BufMut, Bytes, BytesMut};

use super::error::EncodeFault;
use super::parts::{Part, Parts};
use crate::primitive::write_unsigned_varint;
use crate::region::{FileRegion, Records};
use crate::types::Uuid;

/// Byte fields of at least this size become a part of their own instead of being copied.
const OWN_PART_FROM: usize = 4 * 1024;

/// No string is longer, in bytes, even where its length is a varint.
pub(super) const MAX_STRING_LEN: usize = 0x7fff;

/// Writes fields. Small ones are collected in a buffer; large bytes and file regions are passed on as they are.
#[derive(Debug, Default)]
pub struct Encoder {
    done: Parts,
    buffer: BytesMut,
}

macro_rules! fixed_width {
    ($($name:ident: $type:ty;)*) => {
        $(/// Writes a big-endian number.
        pub fn $name(&mut self, value: $type) {
            self.buffer.put_slice(&value.to_be_bytes());
        })*
    };
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes were written so far.
    pub fn len(&self) -> usize {
        self.done.len() + self.buffer.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written.
    pub fn finish(mut self) -> Parts {
        self.flush();
        self.done
    }

    fixed_width! {
        i8: i8;
        i16: i16;
        u16: u16;
        i32: i32;
        u32: u32;
        i64: i64;
        f64: f64;
    }

    /// Writes 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    /// Writes 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    /// Writes an unsigned variable-length number.
    pub fn unsigned_varint(&mut self, value: u32) {
        write_unsigned_varint(&mut self.buffer, value);
    }

    /// Writes a string.
    pub fn string(&mut self, flexible: bool, value: &str) -> Result<(), EncodeFault> {
        if value.len() > MAX_STRING_LEN {
            return Err(EncodeFault::TooLong(value.len()));
        }
        if flexible {
            self.len_prefix(true, value.len())?;
        } else {
            self.i16(i16::try_from(value.len()).map_err(|_| EncodeFault::TooLong(value.len()))?);
        }
        self.buffer.put_slice(value.as_bytes());
        Ok(())
    }

    /// Writes a string or null.
    pub fn nullable_string(
        &mut self,
        flexible: bool,
        value: &Option<impl AsRef<str>>,
    ) -> Result<(), EncodeFault> {
        match value {
            Some(value) => self.string(flexible, value.as_ref())?,
            None if flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// Writes bytes behind their length.
    pub fn bytes(&mut self, flexible: bool, value: &Bytes) -> Result<(), EncodeFault> {
        self.len_prefix(flexible, value.len())?;
        self.raw(value);
        Ok(())
    }

    /// Writes bytes or null.
    pub fn nullable_bytes(&mut self, flexible: bool, value: &Option<Bytes>) -> Result<(), EncodeFault> {
        match value {
            Some(value) => self.bytes(flexible, value),
            None => self.null(flexible),
        }
    }

    /// Writes record batches or null.
    pub fn nullable_records(&mut self, flexible: bool, value: &Option<Records>) -> Result<(), EncodeFault> {
        match value {
            Some(Records::Bytes(bytes)) => self.bytes(flexible, bytes),
            Some(Records::Region(region)) => {
                self.len_prefix(flexible, region.len)?;
                self.region(region);
                Ok(())
            }
            None => self.null(flexible),
        }
    }

    /// Writes an array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        value: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Result<(), EncodeFault>,
    ) -> Result<(), EncodeFault> {
        self.len_prefix(flexible, value.len())?;
        value.iter().try_for_each(|element| write(self, element))
    }

    /// Writes an array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        value: &Option<Vec<T>>,
        write: impl FnMut(&mut Self, &T) -> Result<(), EncodeFault>,
    ) -> Result<(), EncodeFault> {
        match value {
            Some(value) => self.array(flexible, value, write),
            None => self.null(flexible),
        }
    }

    /// Writes a struct behind a marker, or null. The marker is a signed byte, negative for null; in a tagged field it
    /// is an unsigned varint, zero for null.
    pub fn nullable_struct<T>(
        &mut self,
        tagged: bool,
        value: &Option<T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), EncodeFault>,
    ) -> Result<(), EncodeFault> {
        match (value.is_some(), tagged) {
            (some, true) => self.unsigned_varint(u32::from(some)),
            (true, false) => self.i8(1),
            (false, false) => self.i8(-1),
        }
        value.as_ref().map_or(Ok(()), |value| write(self, value))
    }

    /// Writes bytes without a length.
    pub fn raw(&mut self, value: &Bytes) {
        if value.len() < OWN_PART_FROM {
            self.buffer.put_slice(value);
        } else {
            self.flush();
            self.done.push(Part::Bytes(value.clone()));
        }
    }

    /// Writes a stretch of a file without a length.
    pub fn region(&mut self, region: &FileRegion) {
        self.flush();
        self.done.push(Part::Region(region.clone()));
    }

    pub(crate) fn parts(&mut self, parts: Parts) {
        for part in parts {
            match part {
                Part::Bytes(bytes) => self.raw(&bytes),
                Part::Region(region) => self.region(&region),
            }
        }
    }

    fn flush(&mut self) {
        self.done.push(Part::Bytes(self.buffer.split().freeze()));
    }

    fn null(&mut self, flexible: bool) -> Result<(), EncodeFault> {
        if flexible {
            self.unsigned_varint(0);
        } else {
            self.i32(-1);
        }
        Ok(())
    }

    fn len_prefix(&mut self, flexible: bool, len: usize) -> Result<(), EncodeFault> {
        let prefix = i32::try_from(len).map_err(|_| EncodeFault::TooLong(len))?;
        if flexible {
            self.unsigned_varint(prefix.unsigned_abs() + 1);
        } else {
            self.i32(prefix);
        }
        Ok(())
    }
}

/// The value of a field that the version does not allow to be null.
pub(crate) fn required<'a, T>(value: &'a Option<T>, field: &'static str) -> Result<&'a T, EncodeFault> {
    value.as_ref().ok_or(EncodeFault::Null(field))
}
