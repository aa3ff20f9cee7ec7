//! What is done to partitions in the background: retention, flushes, checkpoints, expiry of producers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::{LogError, Offset, TimestampMs};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::load::{Checkpoint, Checkpoints};
use super::moving::{self, Move};
use super::{Partition, Partitions};
use crate::clock;
use crate::config::LogTasks;
use crate::storage::FileSystem;

/// How often deleted files whose delay is over are looked for.
const PURGE: Duration = Duration::from_secs(10);
/// Longer intervals mean never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The background work on all partitions.
#[derive(Debug)]
pub struct Upkeep;

impl Upkeep {
    /// Starts the periodic tasks; they end with `stopping`.
    pub fn start(
        partitions: &Arc<Partitions>,
        tasks: &LogTasks,
        producer_check: Duration,
        file_systems: Vec<Arc<FileSystem>>,
        stopping: &CancellationToken,
        tracker: &TaskTracker,
    ) {
        tracker.spawn(super::space::watch(Arc::clone(partitions), file_systems, stopping.clone()));
        moving::spawn(partitions, stopping, tracker);
        tracker.spawn(super::names::watch(Arc::clone(partitions), stopping.clone()));
        let periodic = |interval: Duration, delay: Duration, work: fn(&Partitions)| {
            if interval < NEVER {
                let task = periodically(Arc::clone(partitions), interval, delay, work, stopping.clone());
                tracker.spawn(task);
            }
        };
        let delay = tasks.initial_delay;
        periodic(tasks.retention_check_interval, delay, |partitions| partitions.retain(clock::now()));
        periodic(tasks.flush_check_interval, delay, |partitions| partitions.flush_due(clock::now()));
        periodic(PURGE, PURGE, |partitions| partitions.purge_files(clock::now()));
        periodic(producer_check, producer_check, |partitions| partitions.expire_producers(clock::now()));
        let every = tasks.recovery_checkpoint_interval;
        periodic(every, delay, |partitions| {
            drop(partitions.checkpoint(Kind::RecoveryPoint));
        });
        let every = tasks.start_checkpoint_interval;
        periodic(every, delay, |partitions| {
            drop(partitions.checkpoint(Kind::LogStart));
        });
        let every = tasks.high_watermark_checkpoint_interval;
        periodic(every, every, |partitions| {
            drop(partitions.checkpoint(Kind::HighWatermark));
        });
        let half = u64::try_from(partitions.surroundings().max_lag_ms / 2).unwrap_or(u64::MAX);
        let half = Duration::from_millis(half.max(1));
        periodic(half, half, Partitions::shrink_isrs);
    }
}

async fn periodically(
    partitions: Arc<Partitions>,
    interval: Duration,
    delay: Duration,
    work: fn(&Partitions),
    stopping: CancellationToken,
) {
    let mut next = delay.max(Duration::from_millis(1));
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(next) => {}
        }
        let partitions = Arc::clone(&partitions);
        if tokio::task::spawn_blocking(move || work(&partitions)).await.is_err() {
            warn!("a background task over the partitions panicked");
        }
        next = interval;
    }
}

/// The checkpoint files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    RecoveryPoint,
    LogStart,
    HighWatermark,
    Cleaner,
}

impl Kind {
    fn of(self, partition: &Partition) -> Option<Offset> {
        match self {
            Self::RecoveryPoint => partition.look(|log| log.recovery_point()),
            // Only a start that does not follow from the first segment needs to be written down.
            Self::LogStart => Some(partition.log_start_offset()).filter(|offset| *offset > Offset::ZERO),
            Self::HighWatermark => Some(partition.high_watermark()),
            Self::Cleaner => partition.cleaned_up_to(),
        }
    }

    /// The same of a copy that is being filled. Its log start is the original's, which may have been told of.
    fn of_copy(self, moving: &Move) -> Option<Offset> {
        match self {
            Self::RecoveryPoint => Some(moving.recovery_point()),
            Self::LogStart => self.of(moving.partition()),
            Self::HighWatermark => Some(moving.high_watermark()),
            Self::Cleaner => None,
        }
    }

    fn file(self, checkpoints: &mut Checkpoints) -> &mut Checkpoint {
        match self {
            Self::RecoveryPoint => &mut checkpoints.recovery_point,
            Self::LogStart => &mut checkpoints.log_start,
            Self::HighWatermark => &mut checkpoints.high_watermark,
            Self::Cleaner => &mut checkpoints.cleaner,
        }
    }
}

impl Partitions {
    /// Deletes segments that are too old, too much, or below the log start.
    pub fn retain(&self, now: TimestampMs) {
        self.each("retention", |partition| {
            let high_watermark = partition.high_watermark();
            let deleted = partition.with_log(|log| log.retain(now, high_watermark)).unwrap_or(Ok(0))?;
            if deleted > 0 {
                info!(partition = %partition.name(), segments = deleted, "old segments deleted");
            }
            Ok(())
        });
    }

    /// Flushes the logs whose `flush.ms` or `flush.messages` asks for it.
    pub fn flush_due(&self, now: TimestampMs) {
        self.each("flush", |partition| match partition.look(|log| log.should_flush(now)) {
            Some(true) => partition.flush(now),
            _ => Ok(()),
        });
    }

    pub(crate) fn purge_files(&self, now: TimestampMs) {
        self.each("purge", |partition| partition.with_log(|log| log.purge(now)).unwrap_or(Ok(())));
        self.purge(now);
    }

    /// Removes what is deleted, in directories without room before its time.
    pub(super) fn purge_now(&self) {
        let end_of_time = TimestampMs(i64::MAX);
        self.each("purge", |partition| {
            if partition.directory().file_system().is_low() {
                partition.with_log(|log| log.purge(end_of_time)).unwrap_or(Ok(()))?;
            }
            Ok(())
        });
        self.purge(end_of_time);
    }

    fn expire_producers(&self, now: TimestampMs) {
        self.each("producer expiry", |partition| {
            partition.with_log(|log| log.expire_producers(now));
            Ok(())
        });
    }

    /// Runs `work` on every partition of a directory in good health; what fails fences the directory.
    fn each(&self, task: &str, work: impl Fn(&Arc<Partition>) -> Result<(), LogError>) {
        for partition in self.all() {
            if partition.directory().is_offline() {
                continue;
            }
            if let Err(error) = work(&partition) {
                warn!(partition = %partition.name(), task, %error, "background task failed");
                partition.judge(&error);
            }
        }
    }

    /// Writes the log starts down now; whether every directory in good health took them.
    pub fn checkpoint_log_starts(&self) -> bool {
        self.checkpoint(Kind::LogStart).is_ok()
    }

    /// Writes the recovery points down where logs were cut, so that more can be appended to these; whether it worked.
    pub fn note_cuts(&self) -> bool {
        let cut: Vec<_> = self.all().into_iter().filter(|partition| partition.is_cut_unnoted()).collect();
        if cut.is_empty() {
            return true;
        }
        let noted = self.checkpoint(Kind::RecoveryPoint).is_ok();
        if noted {
            cut.iter().for_each(|partition| partition.cut_is_noted());
        }
        noted
    }

    /// Writes down how far each log was cleaned. Where that fails, more is cleaned again after a restart.
    pub fn checkpoint_cleaning(&self) {
        drop(self.checkpoint(Kind::Cleaner));
    }

    /// Writes all checkpoints now.
    pub(crate) fn checkpoint_all(&self) -> Result<(), LogError> {
        let kinds = [Kind::RecoveryPoint, Kind::LogStart, Kind::HighWatermark, Kind::Cleaner];
        let written = kinds.map(|kind| self.checkpoint(kind));
        written.into_iter().collect()
    }

    /// Writes one of the files in every directory.
    ///
    /// # Errors
    /// Where the last of them that failed did.
    pub(super) fn checkpoint(&self, kind: Kind) -> Result<(), LogError> {
        // First the moves: one that ends in between is counted in both places, never in none.
        let moves = self.moves.all();
        let all = self.all();
        let mut written = Ok(());
        for (directory, checkpoints) in self.checkpoints.lock().iter_mut() {
            if directory.is_offline() {
                continue;
            }
            let mine = all.iter().filter(|partition| Arc::ptr_eq(&partition.directory(), directory));
            let copies = moves.iter().filter(|moving| Arc::ptr_eq(moving.target(), directory));
            let copies = copies.filter_map(|moving| Some((moving.partition(), kind.of_copy(moving)?)));
            let mine = mine.filter_map(|partition| Some((partition, kind.of(partition)?)));
            let offsets = copies.chain(mine).map(|(partition, offset)| {
                let name = partition.name();
                ((name.topic.to_string(), name.partition), offset)
            });
            if let Err(error) = kind.file(checkpoints).write(offsets.collect::<BTreeMap<_, _>>()) {
                warn!(directory = %directory.path().display(), ?kind, %error, "checkpoint not written");
                written = Err(error);
            }
        }
        written
    }
}
