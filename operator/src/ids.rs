//! Fresh ids. The only source of randomness; all else takes ids as arguments.

use std::{fmt, str::FromStr};

/// TEMPORARY until the codec has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// From bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for i in 0..22_u32 {
            let bits = if i < 21 { (value >> (122 - 6 * i)) & 63 } else { (value & 3) << 4 };
            let c = usize::try_from(bits).ok().and_then(|b| ALPHABET.get(b)).copied().unwrap_or(b'A');
            write!(f, "{}", char::from(c))?;
        }
        Ok(())
    }
}

impl FromStr for Uuid {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut value = 0_u128;
        if text.len() != 22 {
            return Err("22 characters".into());
        }
        for (i, c) in text.bytes().enumerate() {
            let bits = ALPHABET.iter().position(|a| *a == c).ok_or("alphabet")? as u128;
            value = if i < 21 { (value << 6) | bits } else { (value << 2) | (bits >> 4) };
        }
        Ok(Self(value.to_be_bytes()))
    }
}

/// A random id (version 4) as Kafka makes them: none that begins with `-` in text, which tools take for an option, and none of the
/// ids that Kafka keeps for itself.
pub fn random() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // No entropy yet, early in a machine's life.
            std::thread::yield_now();
            continue;
        }
        let id = version_4(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

fn version_4(mut bytes: [u8; 16]) -> Uuid {
    if let Some(byte) = bytes.get_mut(6) {
        *byte = (*byte & 0x0f) | 0x40;
    }
    if let Some(byte) = bytes.get_mut(8) {
        *byte = (*byte & 0x3f) | 0x80;
    }
    Uuid::from_bytes(bytes)
}

/// A random byte, to spread retries.
pub fn jitter() -> u8 {
    let mut byte = [0; 1];
    // Without entropy all retry at once, which is no more than inconvenient.
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    byte
}
