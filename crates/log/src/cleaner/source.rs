//! A segment to be cleaned, and reading its batches in large pieces.

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::LogError;
use crate::log::AbortedTxn;
use crate::segment::Segment;
use crate::types::{Offset, TimestampMs};
use bytes::{Bytes, BytesMut};
use ottla_wire::batch::{Batch, BatchHeader, HEADER_LEN};
use std::path::PathBuf;
use std::sync::Arc;

/// A segment as it was when the cleaning began. Nothing is appended to it any more.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub base: Offset,
    /// Base of the next segment.
    pub next_base: Offset,
    pub size: u64,
    pub index_bytes: u64,
    pub modified: TimestampMs,
    pub aborted: Vec<AbortedTxn>,
    path: PathBuf,
}

impl Source {
    /// What is known about a segment; its log file is opened when it is read.
    pub(crate) fn new(segment: &Segment, next_base: Offset) -> Result<Self, LogError> {
        let [path, ..] = segment.paths();
        Ok(Self {
            base: segment.base(),
            next_base,
            size: segment.size(),
            index_bytes: segment.index_bytes()?,
            modified: segment.modified()?,
            aborted: segment.txn_index().read()?,
            path,
        })
    }

    /// Its batches from a position on, that of a batch.
    pub(super) fn read(&self, disk: &dyn Disk, from: u64, piece: usize) -> Result<BatchReader, LogError> {
        let file = disk.open(&self.path, OpenMode::Read).map_err(|e| LogError::io("open", &self.path, e))?;
        Ok(BatchReader {
            path: self.path.clone(),
            file,
            position: from,
            end: self.size,
            buffered: Bytes::new(),
            piece: piece.max(HEADER_LEN),
        })
    }
}

/// Batches one after the other; each is whole and its checksum right.
#[derive(Debug)]
pub(super) struct BatchReader {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Of the first byte in `buffered`.
    position: u64,
    end: u64,
    buffered: Bytes,
    piece: usize,
}

impl BatchReader {
    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        if self.buffered.len() < HEADER_LEN {
            self.fill(HEADER_LEN)?;
        }
        let header = BatchHeader::parse(&self.buffered).map_err(|e| self.corrupt(&e))?;
        let size = header.size_in_bytes();
        let left = self.end - self.position;
        if u64::try_from(size).unwrap_or(u64::MAX) > left {
            return Err(self.corrupt(&"batch runs over the end"));
        }
        if self.buffered.len() < size {
            self.fill(size)?;
        }
        let batch = Batch::parse(&self.buffered).map_err(|e| self.corrupt(&e))?;
        batch.verify_crc().map_err(|e| self.corrupt(&e))?;
        self.position += u64::try_from(size).unwrap_or_default();
        self.buffered = self.buffered.slice(size..);
        Ok(Some(batch))
    }

    /// Whether no batch follows.
    pub(super) fn at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Reads a piece, or as much as `need`, from the position on.
    fn fill(&mut self, need: usize) -> Result<(), LogError> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let mut piece = BytesMut::zeroed(self.piece.max(need).min(left));
        let read = self.file.read_at(&mut piece, self.position);
        let read = read.map_err(|e| LogError::io("read", &self.path, e))?;
        piece.truncate(read);
        self.buffered = piece.freeze();
        Ok(())
    }

    fn corrupt(&self, reason: &impl ToString) -> LogError {
        let reason = format!("at position {}: {}", self.position, reason.to_string());
        LogError::Corrupt { path: self.path.clone(), reason }
    }
}
