//! What new partitions are found by after a power cut: the names of their directories and files, and `partition.metadata`, which
//! says whose they are. Nobody waits for the disk while partitions are made; this makes the names durable right after. Kafka
//! does the same for each partition before its first append.
//!
//! Of many at once it does not: a sync for each, or one of the whole file system, would hold up whatever else is written for
//! longer than the kernel takes to write them by itself (some 30 s). The first flush of a log sees to its names in any case.

use std::sync::Arc;

use ottla_log::{Log, LogError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::close::FEW;
use super::{LogDirectory, Partition, Partitions};

/// Partitions that were made and whose names nobody has synced.
#[derive(Debug, Default)]
pub(super) struct Made {
    partitions: Mutex<Vec<Arc<Partition>>>,
    any: Notify,
}

impl Made {
    /// One more.
    pub(super) fn note(&self, partition: Arc<Partition>) {
        self.partitions.lock().push(partition);
        self.any.notify_one();
    }
}

/// Makes names durable whenever partitions were made, until `stopping`.
pub(super) async fn watch(partitions: Arc<Partitions>, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = partitions.made.any.notified() => {}
        }
        let partitions = Arc::clone(&partitions);
        if tokio::task::spawn_blocking(move || partitions.settle_names()).await.is_err() {
            warn!("making names of partitions durable panicked");
        }
    }
}

impl Partitions {
    /// Makes the names of the partitions made since the last time durable, where these are few. Waits for the disk; what
    /// fails fences the directory.
    pub(crate) fn settle_names(&self) {
        let made = std::mem::take(&mut *self.made.partitions.lock());
        if made.len() <= FEW {
            made.iter().for_each(|partition| settle(&partition.directory(), partition));
        }
    }
}

fn settle(directory: &LogDirectory, partition: &Partition) {
    let Some(Some(names)) = partition.look(Log::unsynced_names) else { return };
    match names.sync() {
        Ok(()) => {
            partition.with_log(Log::names_are_synced);
        }
        // Deleted meanwhile, under another name now.
        Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => directory.fence(&format!("{}: {error}", partition.name())),
    }
}
