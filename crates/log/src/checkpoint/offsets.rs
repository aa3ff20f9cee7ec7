//! Checkpoints of one offset for each partition of a log directory.

use super::{read_entries, write_entries};
use crate::disk::Disk;
use crate::error::LogError;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Topic and partition.
pub type PartitionKey = (String, i32);

/// One file of lines `topic partition offset`.
#[derive(Clone, Debug)]
pub struct OffsetCheckpoint {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl OffsetCheckpoint {
    /// The checkpoint in this file; [`super::RECOVERY_POINT`] and the like name it.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { path, disk }
    }

    /// All offsets; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn read(&self) -> Result<BTreeMap<PartitionKey, Offset>, LogError> {
        Ok(read_entries(&*self.disk, &self.path, parse)?.unwrap_or_default().into_iter().collect())
    }

    /// Replaces all offsets, durably.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, offsets: &BTreeMap<PartitionKey, Offset>) -> Result<(), LogError> {
        let line =
            |((topic, partition), offset): (&PartitionKey, &Offset)| format!("{topic} {partition} {offset}");
        write_entries(&*self.disk, &self.path, offsets.iter().map(line))
    }
}

fn parse(fields: &[&str]) -> Option<(PartitionKey, Offset)> {
    let [topic, partition, offset] = fields else { return None };
    Some((((*topic).to_owned(), partition.parse().ok()?), Offset(offset.parse().ok()?)))
}
