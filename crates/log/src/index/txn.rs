//! `.txnindex`: the transactions that were aborted inside a segment, in the order of their markers.
//!
//! The file exists only once there is one. Few segments ever have it, so it is read as a whole.

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::LogError;
use crate::log::AbortedTxn;
use crate::types::Offset;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VERSION: i16 = 0;
const ENTRY_LEN: usize = 34;

/// The aborted transactions of one segment.
#[derive(Debug)]
pub(crate) struct TxnIndex {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    file: Option<Arc<dyn DiskFile>>,
    dirty: bool,
}

impl TxnIndex {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { path, disk, file: None, dirty: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Adds a transaction behind all others.
    pub(crate) fn push(&mut self, txn: &AbortedTxn) -> Result<(), LogError> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.open(OpenMode::Create)?,
        };
        let at = file.len().map_err(|e| LogError::io("stat", &self.path, e))?;
        let mut raw = Vec::with_capacity(ENTRY_LEN);
        raw.extend_from_slice(&VERSION.to_be_bytes());
        for field in [txn.producer_id, txn.first_offset.0, txn.last_offset.0, txn.last_stable_offset.0] {
            raw.extend_from_slice(&field.to_be_bytes());
        }
        file.write_at(&[IoSlice::new(&raw)], at).map_err(|e| LogError::io("write", &self.path, e))?;
        self.file = Some(file);
        self.dirty = true;
        Ok(())
    }

    /// All of them; none if there is no file.
    pub(crate) fn read(&self) -> Result<Vec<AbortedTxn>, LogError> {
        let len = self.disk.len(&self.path).map_err(|e| LogError::io("stat", &self.path, e))?;
        if len.unwrap_or_default() == 0 {
            return Ok(Vec::new());
        }
        let raw = self.disk.read(&self.path).map_err(|e| LogError::io("read", &self.path, e))?;
        let entries = raw.chunks_exact(ENTRY_LEN).map(decode);
        let entries: Option<Vec<_>> = entries.collect();
        let corrupt =
            || LogError::Corrupt { path: self.path.clone(), reason: "unknown entry version".into() };
        entries.ok_or_else(corrupt)
    }

    /// Keeps the transactions whose marker lies below `offset`.
    pub(crate) fn truncate_to(&mut self, offset: Offset) -> Result<(), LogError> {
        let keep = self.read()?.iter().take_while(|txn| txn.last_offset < offset).count();
        self.set_entries(keep)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) -> Result<(), LogError> {
        self.set_entries(0)
    }

    /// The file if it must be made durable.
    pub(crate) fn dirty_file(&mut self) -> Option<Arc<dyn DiskFile>> {
        std::mem::take(&mut self.dirty).then(|| self.file.clone()).flatten()
    }

    fn set_entries(&mut self, count: usize) -> Result<(), LogError> {
        if self.disk.len(&self.path).map_err(|e| LogError::io("stat", &self.path, e))?.is_none() {
            return Ok(());
        }
        let file = self.open(OpenMode::Create)?;
        let len = u64::try_from(count * ENTRY_LEN).unwrap_or_default();
        file.set_len(len).map_err(|e| LogError::io("truncate", &self.path, e))?;
        self.file = Some(file);
        self.dirty = true;
        Ok(())
    }

    fn open(&self, mode: OpenMode) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.open(&self.path, mode).map_err(|e| LogError::io("open", &self.path, e))
    }
}

fn decode(raw: &[u8]) -> Option<AbortedTxn> {
    let (version, mut rest) = raw.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) > VERSION {
        return None;
    }
    let mut field = || {
        let (value, after) = rest.split_first_chunk::<8>()?;
        rest = after;
        Some(i64::from_be_bytes(*value))
    };
    Some(AbortedTxn {
        producer_id: field()?,
        first_offset: Offset(field()?),
        last_offset: Offset(field()?),
        last_stable_offset: Offset(field()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::StdDisk;

    #[test]
    fn entries_survive_and_are_cut_by_their_marker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.txnindex");
        let mut index = TxnIndex::new(Arc::new(StdDisk), path.clone());
        assert!(index.read().unwrap().is_empty());
        index.clear().unwrap();
        assert!(!path.exists(), "no file before the first aborted transaction");
        let txn = |i: i64| AbortedTxn {
            producer_id: i,
            first_offset: Offset(i * 10),
            last_offset: Offset(i * 10 + 5),
            last_stable_offset: Offset(i * 10 + 6),
        };
        (1..4).for_each(|i| index.push(&txn(i)).unwrap());
        let mut index = TxnIndex::new(Arc::new(StdDisk), path);
        assert_eq!(index.read().unwrap(), [txn(1), txn(2), txn(3)]);
        index.truncate_to(Offset(35)).unwrap();
        index.push(&txn(5)).unwrap();
        assert_eq!(index.read().unwrap(), [txn(1), txn(2), txn(5)]);
    }
}
