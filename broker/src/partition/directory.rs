//! A log directory: its identity, and whether it is still trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ottla_log::LogError;
use ottla_log::disk::{Disk, DiskTree};
use ottla_wire::Uuid;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::TopicPartition;
use super::group_commit::GroupCommit;
use crate::storage::FileSystem;

/// One entry of `log.dirs`. Fenced for good at the first I/O error that is not a full disk.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    id: Uuid,
    disk: Arc<dyn Disk>,
    file_system: Arc<FileSystem>,
    offline: AtomicBool,
    cordoned: AtomicBool,
    hosted: AtomicUsize,
    to_open: AtomicUsize,
    opened: AtomicUsize,
    failures: Arc<Notify>,
    /// Opened at once: from then on it tells of every write that failed. `None` where the system does not.
    tree: Option<Arc<dyn DiskTree>>,
    pub(super) commits: GroupCommit,
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
        Arc::new(Self::with(path, id, disk, file_system, failures, false))
    }

    /// A directory that could not even be identified when the node started; its id is zero.
    pub fn failed(
        path: PathBuf,
        disk: Arc<dyn Disk>,
        file_system: Arc<FileSystem>,
        failures: Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Self::with(path, Uuid::ZERO, disk, file_system, failures, true))
    }

    fn with(
        path: PathBuf,
        id: Uuid,
        disk: Arc<dyn Disk>,
        file_system: Arc<FileSystem>,
        failures: Arc<Notify>,
        offline: bool,
    ) -> Self {
        let (cordoned, hosted, to_open, opened, commits) = Default::default();
        let tree = disk.tree(&path).ok();
        let offline = offline.into();
        Self {
            path,
            id,
            disk,
            file_system,
            offline,
            cordoned,
            hosted,
            to_open,
            opened,
            failures,
            tree,
            commits,
        }
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

    /// All that is in it, where that can be made durable at once.
    pub(super) fn tree(&self) -> Option<&dyn DiskTree> {
        self.tree.as_deref()
    }

    /// Where it lies, with how much room there is.
    pub fn file_system(&self) -> &Arc<FileSystem> {
        &self.file_system
    }

    /// Whether it gets no new partitions as long as there is another (KIP-1066).
    pub fn is_cordoned(&self) -> bool {
        self.cordoned.load(Ordering::Acquire)
    }

    /// From now on it gets new partitions, or not.
    pub(super) fn set_cordoned(&self, cordoned: bool) {
        if self.cordoned.swap(cordoned, Ordering::AcqRel) != cordoned {
            info!(directory = %self.path.display(), cordoned, "log directory cordoned or not any more");
        }
    }

    /// Number of partitions in it.
    pub fn hosted(&self) -> usize {
        self.hosted.load(Ordering::Relaxed)
    }

    /// How many logs were to be opened in it at the start, and how many of them have been, or were given up.
    pub fn opening(&self) -> (usize, usize) {
        (self.to_open.load(Ordering::Relaxed), self.opened.load(Ordering::Relaxed))
    }

    /// Counts a log that is to be opened at the start.
    pub(super) fn will_open(&self) {
        self.to_open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that has been opened, or was given up.
    pub(super) fn has_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a partition that is now in it.
    pub(super) fn took(&self) {
        self.hosted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that no longer is.
    pub(super) fn gave(&self) {
        self.hosted.fetch_sub(1, Ordering::Relaxed);
    }

    /// Makes the names of partitions' directories durable; where that fails, it is fenced.
    pub(super) fn sync_names(&self) {
        if let Err(error) = self.disk.sync_dir(&self.path) {
            self.fence(&format!("sync {}: {error}", self.path.display()));
        }
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
