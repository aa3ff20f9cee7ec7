//! What new partitions are found by after a power cut: the names of their directories and files, and `partition.metadata`, which
//! says whose they are. Nobody waits for the disk while partitions are made; this makes the names durable right after, and
//! many at once with one sync of the file system. Kafka does the same for each partition before its first append.

use std::sync::Arc;

use ottla_log::{Log, LogError};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::close::FEW;
use super::{LogDirectory, Partition, Partitions};

/// Makes names durable whenever partitions were made, until `stopping`.
pub(super) async fn watch(partitions: Arc<Partitions>, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = partitions.made.notified() => {}
        }
        let partitions = Arc::clone(&partitions);
        if tokio::task::spawn_blocking(move || partitions.settle_names()).await.is_err() {
            warn!("making names of partitions durable panicked");
        }
    }
}

impl Partitions {
    /// Makes the names of all partitions durable. Waits for the disk; what fails fences the directory.
    pub(super) fn settle_names(&self) {
        let mut unsettled = self.all();
        unsettled.retain(|partition| partition.look(|log| log.unsynced_names().is_some()).unwrap_or(false));
        for directory in self.directories().iter().filter(|directory| !directory.is_offline()) {
            let here = |partition: &&Arc<Partition>| Arc::ptr_eq(partition.directory(), directory);
            let here: Vec<_> = unsettled.iter().filter(here).collect();
            if here.len() <= FEW || !settle_together(directory, &here) {
                here.iter().for_each(|partition| settle(directory, partition));
            }
        }
    }
}

/// One sync for all; false where the system has none.
fn settle_together(directory: &LogDirectory, partitions: &[&Arc<Partition>]) -> bool {
    match directory.disk().sync_all(directory.path()) {
        Ok(()) => {
            for partition in partitions {
                partition.with_log(Log::names_are_synced);
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return false,
        Err(error) => directory.fence(&format!("sync: {error}")),
    }
    true
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
