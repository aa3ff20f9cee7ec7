//! Variable-length integers on plain byte slices, as records and metadata frames use them.
//!
//! Seven bits a byte, least significant first; signed ones in zigzag order. At most 5 bytes for 32 bits and 10 for 64.

use bytes::BufMut;

/// Why a variable-length integer could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end within it.
    #[error("the bytes end within a varint")]
    Truncated,
    /// It does not end within the bytes that its type can have, or its value does not fit.
    #[error("varint out of range")]
    Overflow,
}

/// Reads an unsigned 32-bit integer from the front of `bytes`.
pub fn read_unsigned_varint(bytes: &mut &[u8]) -> Result<u32, VarintError> {
    u32::try_from(read_bits(bytes, 5)?).map_err(|_| VarintError::Overflow)
}

/// Reads an unsigned 64-bit integer from the front of `bytes`.
pub fn read_unsigned_varlong(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    read_bits(bytes, 10)
}

/// Reads a zigzag 32-bit integer from the front of `bytes`.
pub fn read_varint(bytes: &mut &[u8]) -> Result<i32, VarintError> {
    let raw = read_unsigned_varint(bytes)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zigzag 64-bit integer from the front of `bytes`.
pub fn read_varlong(bytes: &mut &[u8]) -> Result<i64, VarintError> {
    let raw = read_unsigned_varlong(bytes)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Appends an unsigned 32-bit integer.
pub fn write_unsigned_varint(out: &mut impl BufMut, value: u32) {
    write_unsigned_varlong(out, u64::from(value));
}

/// Appends an unsigned 64-bit integer.
pub fn write_unsigned_varlong(out: &mut impl BufMut, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

/// Appends a zigzag 32-bit integer.
pub fn write_varint(out: &mut impl BufMut, value: i32) {
    write_unsigned_varint(out, ((value << 1) ^ (value >> 31)).cast_unsigned());
}

/// Appends a zigzag 64-bit integer.
pub fn write_varlong(out: &mut impl BufMut, value: i64) {
    write_unsigned_varlong(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// How many bytes [`write_varint`] appends.
pub fn varint_len(value: i32) -> usize {
    unsigned_varlong_len(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()))
}

/// How many bytes [`write_varlong`] appends.
pub fn varlong_len(value: i64) -> usize {
    unsigned_varlong_len(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn unsigned_varlong_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

fn read_bits(bytes: &mut &[u8], max_bytes: u32) -> Result<u64, VarintError> {
    let mut value = 0_u64;
    for n in 0..max_bytes {
        let (&byte, rest) = bytes.split_first().ok_or(VarintError::Truncated)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if n == 9 && bits > 1 {
            return Err(VarintError::Overflow);
        }
        value |= bits << (7 * n);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(VarintError::Overflow)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(int in any::<i32>(), long in any::<i64>()) {
            let mut out = Vec::new();
            write_varint(&mut out, int);
            prop_assert_eq!(out.len(), varint_len(int));
            write_varlong(&mut out, long);
            prop_assert_eq!(out.len(), varint_len(int) + varlong_len(long));
            let mut bytes = out.as_slice();
            prop_assert_eq!(read_varint(&mut bytes), Ok(int));
            prop_assert_eq!(read_varlong(&mut bytes), Ok(long));
            prop_assert!(bytes.is_empty());
        }
    }

    #[test]
    fn extremes_and_malformed() {
        for value in [0, -1, 1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_varlong(&mut out, value);
            assert_eq!(read_varlong(&mut out.as_slice()), Ok(value));
        }
        assert_eq!(read_unsigned_varint(&mut [0x80_u8].as_slice()), Err(VarintError::Truncated));
        assert_eq!(
            read_unsigned_varint(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()),
            Err(VarintError::Overflow)
        );
        assert_eq!(read_unsigned_varint(&mut [0xff; 6].as_slice()), Err(VarintError::Overflow));
        assert_eq!(read_varlong(&mut [0xff; 11].as_slice()), Err(VarintError::Overflow));
    }
}
