//! What the two indexes are made of.

/// One fixed-size entry.
pub(crate) trait Entry: Copy + std::fmt::Debug + PartialEq + Send {
    /// Bytes in the file.
    const SIZE: usize;

    fn write(&self, out: &mut Vec<u8>);

    /// From exactly [`Entry::SIZE`] bytes; `None` for fewer.
    fn read(raw: &[u8]) -> Option<Self>;

    /// What entries are sorted by.
    fn key(&self) -> i64;

    /// Offset minus the segment's base offset.
    fn relative_offset(&self) -> i32;
}

/// `.index`: the batch that ends with this offset begins at this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_offset: i32,
    pub position: i32,
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn read(raw: &[u8]) -> Option<Self> {
        let (relative_offset, rest) = raw.split_first_chunk()?;
        let position = rest.first_chunk()?;
        Some(Self {
            relative_offset: i32::from_be_bytes(*relative_offset),
            position: i32::from_be_bytes(*position),
        })
    }

    fn key(&self) -> i64 {
        i64::from(self.relative_offset)
    }

    fn relative_offset(&self) -> i32 {
        self.relative_offset
    }
}

/// `.timeindex`: up to this offset no timestamp is larger than this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub relative_offset: i32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn read(raw: &[u8]) -> Option<Self> {
        let (timestamp, rest) = raw.split_first_chunk()?;
        let relative_offset = rest.first_chunk()?;
        Some(Self {
            timestamp: i64::from_be_bytes(*timestamp),
            relative_offset: i32::from_be_bytes(*relative_offset),
        })
    }

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn relative_offset(&self) -> i32 {
        self.relative_offset
    }
}
