//! A log directory: its identity, and whether it is still trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_log::LogError;
use ottla_log::disk::Disk;
use ottla_wire::Uuid;
use tokio::sync::Notify;
use tracing::{error, warn};

use super::TopicPartition;
use crate::storage::FileSystem;

/// One entry of `log.dirs`. Fenced for good at the first I/O error that is not a full disk.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    id: Uuid,
    disk: Arc<dyn Disk>,
    file_system: Arc<FileSystem>,
    offline: AtomicBool,
    failures: Arc<Notify>,
}

impl LogDirectory {
    /// A directory in good health; `failures` is notified when it is fenced.
    pub fn new(
        path: PathBuf,
        id: Uuid,
        disk: Arc<dyn Disk>,
        file_system: Arc<FileSystem>,
        failures: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self { path, id, disk, file_system, offline: AtomicBool::new(false), failures })
    }

    /// A directory that could not even be identified when the node started; its id is zero.
    pub fn failed(
        path: PathBuf,
        disk: Arc<dyn Disk>,
        file_system: Arc<FileSystem>,
        failures: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self { path, id: Uuid::ZERO, disk, file_system, offline: AtomicBool::new(true), failures })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `directory.id` in its `meta.properties`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The file system.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Where it lies, with how much room there is.
    pub fn file_system(&self) -> &Arc<FileSystem> {
        &self.file_system
    }

    /// Whether it was fenced.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }

    /// Decides what an error means: a full disk passes, everything else fences the directory.
    pub fn judge(&self, partition: &TopicPartition, error: &LogError) {
        if error.is_no_space() {
            warn!(%partition, %error, "disk full");
            return;
        }
        self.fence(&format!("{partition}: {error}"));
    }

    /// Takes the directory offline; its partitions refuse everything from now on.
    pub fn fence(&self, reason: &str) {
        if !self.offline.swap(true, Ordering::AcqRel) {
            error!(directory = %self.path.display(), reason, "log directory fenced");
            self.failures.notify_one();
        }
    }
}
