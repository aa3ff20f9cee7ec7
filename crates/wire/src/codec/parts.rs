//! An encoded message as a sequence of buffers and file regions.

use bytes::{Bytes, BytesMut};

use crate::region::FileRegion;

/// One piece of an encoded message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes to be sent straight from a file.
    Region(FileRegion),
}

impl Part {
    /// The size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Region(region) => region.len,
        }
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The pieces of an encoded message, in order; none of them is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parts {
    parts: Vec<Part>,
    len: usize,
}

impl Parts {
    /// The total size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of the bytes are in memory.
    pub fn in_memory(&self) -> usize {
        self.parts.iter().map(|part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 }).sum()
    }

    /// The pieces, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Part> {
        self.parts.iter()
    }

    /// All bytes in one buffer; `None` if there is a file region among them. Copies only if there are several.
    pub fn into_bytes(self) -> Option<Bytes> {
        let mut parts = self.parts.into_iter();
        let first = match parts.next() {
            None => return Some(Bytes::new()),
            Some(Part::Region(_)) => return None,
            Some(Part::Bytes(bytes)) => bytes,
        };
        if parts.len() == 0 {
            return Some(first);
        }
        let mut joined = BytesMut::with_capacity(self.len);
        joined.extend_from_slice(&first);
        for part in parts {
            match part {
                Part::Bytes(bytes) => joined.extend_from_slice(&bytes),
                Part::Region(_) => return None,
            }
        }
        Some(joined.freeze())
    }

    pub(super) fn push(&mut self, part: Part) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push(part);
        }
    }
}

impl IntoIterator for Parts {
    type Item = Part;
    type IntoIter = std::vec::IntoIter<Part>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.into_iter()
    }
}

impl<'a> IntoIterator for &'a Parts {
    type Item = &'a Part;
    type IntoIter = std::slice::Iter<'a, Part>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
