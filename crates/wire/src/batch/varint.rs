//! Zigzag varints as used inside records.

use super::BatchError;
use bytes::BufMut;

/// Reads a zigzag varint of at most 5 bytes; returns the value and the rest.
///
/// # Errors
/// [`BatchError::Varint`] when it ends early or exceeds 32 bits.
#[inline]
pub fn read_varint(input: &[u8]) -> Result<(i32, &[u8]), BatchError> {
    let (raw, rest) = read_unsigned(input, 5)?;
    let raw = u32::try_from(raw).map_err(|_| BatchError::Varint)?;
    Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), rest))
}

/// Reads a zigzag varlong of at most 10 bytes; returns the value and the rest.
///
/// # Errors
/// [`BatchError::Varint`] when it ends early or exceeds 64 bits.
#[inline]
pub fn read_varlong(input: &[u8]) -> Result<(i64, &[u8]), BatchError> {
    let (raw, rest) = read_unsigned(input, 10)?;
    Ok(((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed(), rest))
}

#[inline]
fn read_unsigned(input: &[u8], max_bytes: usize) -> Result<(u64, &[u8]), BatchError> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().take(max_bytes).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * i;
        if shift == 63 && bits > 1 {
            return Err(BatchError::Varint);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok((value, input.get(i + 1..).unwrap_or_default()));
        }
    }
    Err(BatchError::Varint)
}

/// Writes a zigzag varint.
pub fn write_varint(out: &mut impl BufMut, value: i32) {
    write_varlong(out, i64::from(value));
}

/// Writes a zigzag varlong.
pub fn write_varlong(out: &mut impl BufMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.put_u8(u8::try_from(raw & 0x7f).unwrap_or_default() | 0x80);
        raw >>= 7;
    }
    out.put_u8(u8::try_from(raw).unwrap_or_default());
}
