//! `.kafka_cleanshutdown`: written when a log directory was shut down cleanly, deleted when it is opened.

use super::corrupt;
use crate::disk::Disk;
use crate::error::LogError;
use std::path::Path;

/// What a clean shutdown left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// Epoch of the broker that shut down; -1 if it did not say.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// Its name in the log directory.
    pub const FILE: &'static str = ".kafka_cleanshutdown";

    /// What the directory says, `None` if it was not shut down cleanly.
    ///
    /// # Errors
    /// When the file is there and cannot be read. Content that makes no sense counts as epoch -1, as in Kafka.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<Self>, LogError> {
        let text = super::read_text(disk, &log_dir.join(Self::FILE))?;
        Ok(text.map(|text| Self { broker_epoch: json_number(&text, "brokerEpoch").unwrap_or(-1) }))
    }

    /// Notes a clean shutdown, durably.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(self, disk: &dyn Disk, log_dir: &Path) -> Result<(), LogError> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch);
        super::replace(disk, &log_dir.join(Self::FILE), text.as_bytes())
    }

    /// Deletes it, durably: from now on a crash is a crash.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(disk: &dyn Disk, log_dir: &Path) -> Result<(), LogError> {
        let path = log_dir.join(Self::FILE);
        disk.remove_file(&path).map_err(|e| LogError::io("remove", &path, e))?;
        disk.sync_dir(log_dir).map_err(|_| corrupt(log_dir, "directory cannot be synced"))
    }
}

/// The number behind `"key":` in a flat object.
fn json_number(text: &str, key: &str) -> Option<i64> {
    let (_, after) = text.split_once(&format!("\"{key}\""))?;
    let value = after.trim_start().strip_prefix(':')?.trim_start();
    let end = value.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(value.len());
    value.get(..end)?.parse().ok()
}
