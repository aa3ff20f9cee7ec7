//! Walking over the batch headers of a segment's file.

use super::Segment;
use crate::disk::DiskFile;
use crate::error::LogError;
use bytes::Bytes;
use ottla_wire::batch::{BatchHeader, HEADER_LEN};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes read at once while walking: several small batches, little wasted on large ones.
const WINDOW: usize = 4096;

/// A batch and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchAt {
    pub header: BatchHeader,
    pub position: u64,
}

impl BatchAt {
    /// Position after it.
    pub(crate) fn end(&self) -> u64 {
        self.position + u64::try_from(self.header.size_in_bytes()).unwrap_or_default()
    }
}

/// Headers one after the other, up to an end that is a batch's end or the file's.
#[derive(Debug)]
pub(crate) struct HeaderWalk {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl HeaderWalk {
    pub(crate) fn new(path: PathBuf, file: Arc<dyn DiskFile>, position: u64, end: u64) -> Self {
        Self { path, file, position, end, window: Vec::new(), window_at: 0 }
    }

    /// The next batch; `None` at the end. A batch that runs over the end is an error.
    pub(crate) fn next(&mut self) -> Result<Option<BatchAt>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        self.fill()?;
        let at = usize::try_from(self.position - self.window_at).unwrap_or(usize::MAX);
        let header = BatchHeader::parse(self.window.get(at..).unwrap_or_default());
        let corrupt = |reason: String| LogError::Corrupt {
            path: self.path.clone(),
            reason: format!("at position {}: {reason}", self.position),
        };
        let batch = BatchAt { header: header.map_err(|e| corrupt(e.to_string()))?, position: self.position };
        if batch.end() > self.end {
            return Err(corrupt("batch runs over the end".into()));
        }
        self.position = batch.end();
        Ok(Some(batch))
    }

    /// The next batch that `wanted` takes.
    pub(crate) fn find(&mut self, wanted: impl Fn(&BatchAt) -> bool) -> Result<Option<BatchAt>, LogError> {
        while let Some(batch) = self.next()? {
            if wanted(&batch) {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Makes the window hold the header at the position.
    fn fill(&mut self) -> Result<(), LogError> {
        let window_end = self.window_at + u64::try_from(self.window.len()).unwrap_or_default();
        let header_end = self.position + HEADER_LEN as u64;
        if self.position >= self.window_at && header_end <= window_end {
            return Ok(());
        }
        let len = usize::try_from(self.end - self.position).unwrap_or(WINDOW).min(WINDOW);
        self.window.resize(len, 0);
        let read = self.file.read_at(&mut self.window, self.position);
        self.window.truncate(read.map_err(|e| LogError::io("read", &self.path, e))?);
        self.window_at = self.position;
        Ok(())
    }
}

impl Segment {
    /// Headers from a position that is a batch's start.
    pub(crate) fn walk_from(&self, position: u64) -> Result<HeaderWalk, LogError> {
        Ok(HeaderWalk::new(self.path.clone(), self.file()?, position, self.size))
    }

    /// All bytes of a batch.
    pub(crate) fn read_batch(&self, batch: &BatchAt) -> Result<Bytes, LogError> {
        let mut raw = vec![0; batch.header.size_in_bytes()];
        let read = self.file()?.read_at(&mut raw, batch.position);
        if read.map_err(|e| LogError::io("read", &self.path, e))? < raw.len() {
            let reason = format!("batch at position {} is cut off", batch.position);
            return Err(LogError::Corrupt { path: self.path.clone(), reason });
        }
        Ok(raw.into())
    }
}
