//! The small text files of a log directory, in Kafka's formats, each replaced atomically.
//!
//! A new content is written beside the old, made durable, renamed over it, and the directory made durable: a reader
//! finds the old or the new content, never a mixture.

mod clean_shutdown;
mod lines;
mod meta_properties;
mod offsets;
mod partition_metadata;

#[cfg(test)]
mod tests;

pub use clean_shutdown::CleanShutdown;
pub(crate) use lines::{read_entries, render, write_entries};
pub use meta_properties::MetaProperties;
pub use offsets::{OffsetCheckpoint, PartitionKey};
pub use partition_metadata::PartitionMetadata;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::LogError;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `recovery-point-offset-checkpoint` in a log directory.
pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// `log-start-offset-checkpoint` in a log directory.
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// `replication-offset-checkpoint` in a log directory: high watermarks.
pub const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// `cleaner-offset-checkpoint` in a log directory: how far each log was cleaned.
pub const CLEANER_OFFSET: &str = "cleaner-offset-checkpoint";
/// `leader-epoch-checkpoint` in a partition's directory.
pub const LEADER_EPOCH: &str = "leader-epoch-checkpoint";

/// Largest file of these kinds that is read, in bytes; guards memory against a wrong file under the name.
const MAX_LEN: u64 = 256 << 20;

/// Replaces the file's content, durably.
///
/// # Errors
/// When any step fails; then the old content is still there or the new one is.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), LogError> {
    let file = stage(disk, path, content)?;
    file.sync().map_err(|e| LogError::io("sync", path, e))?;
    publish(disk, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).map_err(|e| LogError::io("sync", dir, e))
}

/// The first step of [`replace`]: writes the content beside the file. It has to be durable before [`publish`].
pub(crate) fn stage(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<Arc<dyn DiskFile>, LogError> {
    let new = beside(path);
    let file = disk.open(&new, OpenMode::Truncate).map_err(|e| LogError::io("create", &new, e))?;
    if let Err(error) = file.write_at(&[IoSlice::new(content)], 0) {
        // On a full disk the half of it would be in the way of those who make room.
        disk.remove_file(&new).map_err(|e| LogError::io("remove", &new, e))?;
        return Err(LogError::io("write", &new, error));
    }
    Ok(file)
}

/// The second: puts it in place. The name is not durable yet.
pub(crate) fn publish(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    let new = beside(path);
    disk.rename(&new, path).map_err(|e| LogError::io("rename", &new, e))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

/// The file's content as text, `None` if there is no file.
pub(crate) fn read_text(disk: &dyn Disk, path: &Path) -> Result<Option<String>, LogError> {
    match disk.len(path).map_err(|e| LogError::io("stat", path, e))? {
        None => return Ok(None),
        Some(len) if len > MAX_LEN => return Err(corrupt(path, format!("{len} bytes are too many"))),
        Some(_) => {}
    }
    match disk.read(path) {
        Ok(raw) => String::from_utf8(raw).map(Some).map_err(|_| corrupt(path, "not UTF-8")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(LogError::io("read", path, e)),
    }
}

pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> LogError {
    LogError::Corrupt { path: path.to_path_buf(), reason: reason.into() }
}
