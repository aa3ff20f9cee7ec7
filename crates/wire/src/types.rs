//! The protocol's value types that Rust has no type for.

use std::fmt;
use std::str::FromStr;

/// A string that shares the frame it was read from.
pub type Str = bytestring::ByteString;

/// A 128-bit id, written by Kafka's tools as URL-safe base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// All zero: absent.
    pub const ZERO: Self = Self([0; 16]);

    /// The id with these bytes, most significant first.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for digit in 0..22_u32 {
            // 22 digits hold 132 bits: the last one ends with four zero bits.
            let six = if digit == 21 { bits << 4 } else { bits >> (122 - 6 * digit) } & 0x3f;
            let letter = usize::try_from(six).ok().and_then(|at| BASE64.get(at)).copied().unwrap_or(b'A');
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 16 bytes in URL-safe base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Kafka id (22 characters of URL-safe base64): {0:?}")]
pub struct ParseUuidError(String);

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let invalid = || ParseUuidError(text.to_owned());
        let digits = text.strip_suffix("==").unwrap_or(text).as_bytes();
        let (head, last) = match digits {
            [head @ .., last] if head.len() == 21 => (head, *last),
            _ => return Err(invalid()),
        };
        let value =
            |letter: u8| BASE64.iter().position(|c| *c == letter).and_then(|at| u128::try_from(at).ok());
        let mut bits = 0_u128;
        for letter in head {
            bits = bits << 6 | value(*letter).ok_or_else(invalid)?;
        }
        bits = bits << 2 | value(last).ok_or_else(invalid)? >> 4;
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_base64_and_parses_back() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let id = Uuid::from_bytes([0x5b, 0x1f, 0, 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xfb, 0xfe]);
        assert_eq!(id.to_string(), "Wx8A_wECAwQFBgcICQr7_g");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("Wx8A_wECAwQFBgcICQr7_g==".parse(), Ok(id));
        for wrong in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAAA", "ÄÄÄÄÄÄÄÄÄÄÄ"]
        {
            assert!(wrong.parse::<Uuid>().is_err(), "{wrong}");
        }
    }
}
