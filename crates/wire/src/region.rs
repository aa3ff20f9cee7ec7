//! Record data as it travels through a message: bytes in memory, or a piece of a segment file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

/// A stretch of a file that goes to the socket without passing through memory. The file stays readable after it was
/// renamed or unlinked.
#[derive(Debug, Clone)]
pub struct FileRegion {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where the region starts, in bytes from the start of the file.
    pub position: u64,
    /// How many bytes it has.
    pub len: usize,
}

impl FileRegion {
    /// Its bytes. Waits for the disk where they are not in the page cache.
    ///
    /// # Errors
    /// The system's; the file ends before the region does.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(bytes.into())
    }
}

impl PartialEq for FileRegion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.position == other.position && self.len == other.len
    }
}

/// Record batches: bytes, or a region of a segment. Decoding always gives bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Records {
    /// Batches in memory.
    Bytes(Bytes),
    /// Batches in a file.
    Region(FileRegion),
}

impl Records {
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

    /// The batches, read if they are in a file.
    ///
    /// # Errors
    /// As [`FileRegion::read`].
    pub fn read(self) -> io::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Region(region) => region.read(),
        }
    }

    /// The batches, if they are in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Region(_) => None,
        }
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

impl From<FileRegion> for Records {
    fn from(region: FileRegion) -> Self {
        Self::Region(region)
    }
}
