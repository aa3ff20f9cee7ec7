//! Record data as it travels through a message: bytes in memory, or a piece of a segment file.

use bytes::Bytes;
use std::fs::File;
use std::sync::Arc;

/// `len` bytes of a file from `position` on. The file stays readable after it is renamed or unlinked.
#[derive(Clone, Debug)]
pub struct FileRegion {
    /// The open segment file.
    pub file: Arc<File>,
    /// First byte.
    pub position: u64,
    /// Number of bytes.
    pub len: usize,
}

impl PartialEq for FileRegion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.position == other.position && self.len == other.len
    }
}

/// The value of a `records` field. Decoding always gives `Bytes`.
#[derive(Clone, Debug, PartialEq)]
pub enum Records {
    /// In memory.
    Bytes(Bytes),
    /// In a file, to be sent without passing through memory.
    Region(FileRegion),
}

impl Records {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Region(region) => region.len,
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
