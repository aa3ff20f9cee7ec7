//! What a full disk means for partitions: those that cannot be created come later, and room is made at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use ottla_log::TimestampMs;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Partitions;
use crate::clock;
use crate::storage::FileSystem;

/// How often the file systems are asked.
const LOOK: Duration = Duration::from_secs(1);
/// How often retention runs while a disk is full, whatever `log.retention.check.interval.ms` says.
const RETENTION_MS: i64 = 2_000;

/// Whether partitions are missing because there was no room for them.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    missing: AtomicBool,
    over: Notify,
    retained: AtomicI64,
}

impl Shortage {
    /// A partition is missing.
    pub(super) fn note(&self) {
        self.missing.store(true, Ordering::Release);
    }

    /// Whether any was noted since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.missing.swap(false, Ordering::AcqRel)
    }
}

/// Looks at the file systems every second, until `stopping`.
pub(super) async fn watch(
    partitions: Arc<Partitions>,
    file_systems: Vec<Arc<FileSystem>>,
    stopping: CancellationToken,
) {
    let file_systems = Arc::new(file_systems);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let (partitions, file_systems) = (Arc::clone(&partitions), Arc::clone(&file_systems));
        let look = move || {
            file_systems.iter().for_each(|file_system| file_system.look());
            partitions.on_space(clock::now());
        };
        if tokio::task::spawn_blocking(look).await.is_err() {
            warn!("looking at the space on disk panicked");
        }
    }
}

impl Partitions {
    /// Whether partitions are missing because there was no room for them.
    pub fn lack_space(&self) -> bool {
        self.shortage.missing.load(Ordering::Acquire)
    }

    /// Returns when there is room for missing partitions: [`Partitions::create_missing`].
    pub async fn space_returned(&self) {
        self.shortage.over.notified().await;
    }

    /// After a look at the file systems: makes room where there is none, or says that there is some again.
    pub(super) fn on_space(&self, now: TimestampMs) {
        let mut online = self.directories().iter().filter(|directory| !directory.is_offline());
        if self.lack_space() && online.clone().any(|directory| !directory.file_system().is_low()) {
            self.shortage.over.notify_one();
        }
        if online.any(|directory| directory.file_system().is_low()) {
            self.make_room(now);
        }
    }

    /// Deleted files go now instead of after `file.delete.delay.ms`; what is too old or too much is deleted earlier.
    fn make_room(&self, now: TimestampMs) {
        let last = self.shortage.retained.load(Ordering::Relaxed);
        if now.0.saturating_sub(last) >= RETENTION_MS {
            self.shortage.retained.store(now.0, Ordering::Relaxed);
            self.retain(now);
        }
        self.purge_now();
    }
}
