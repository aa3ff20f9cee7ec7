//! `partition.metadata`: the id of the topic that a partition's directory belongs to (KIP-516).

use super::{corrupt, publish, stage};
use crate::disk::Disk;
use crate::error::LogError;
use std::path::Path;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Topic id in Kafka's base64.
    pub topic_id: String,
}

impl PartitionMetadata {
    /// Its name in the partition's directory.
    pub const FILE: &'static str = "partition.metadata";

    /// What the directory says; `None` if there is no file, or nothing in it: a power cut came before it was durable.
    ///
    /// # Errors
    /// When the file cannot be read or is malformed.
    pub fn read(disk: &dyn Disk, partition_dir: &Path) -> Result<Option<Self>, LogError> {
        let path = partition_dir.join(Self::FILE);
        let Some(text) = super::read_text(disk, &path)? else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        Self::parse(&text).map(Some).map_err(|reason| corrupt(&path, reason))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next().map(str::trim) != Some("version: 0") {
            return Err("unknown version".into());
        }
        let id = lines.next().and_then(|line| line.strip_prefix("topic_id:")).map(str::trim);
        let id = id.filter(|id| !id.is_empty()).ok_or("no topic_id")?;
        Ok(Self { topic_id: id.to_owned() })
    }

    /// Replaces the file. It is durable after [`Names::sync`](crate::Names::sync) or the first flush of the log, so that a log
    /// of which anything is flushed has it; after a power cut before that it may be missing or empty.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, disk: &dyn Disk, partition_dir: &Path) -> Result<(), LogError> {
        let path = partition_dir.join(Self::FILE);
        let text = format!("version: 0\ntopic_id: {}\n", self.topic_id);
        stage(disk, &path, text.as_bytes())?;
        publish(disk, &path)
    }
}
