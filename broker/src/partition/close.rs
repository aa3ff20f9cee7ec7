//! Closing all partitions when the node stops, so that the next start has nothing to recover.

use std::sync::Arc;

use ottla_log::checkpoint::CleanShutdown;
use ottla_log::{Log, LogError, Offset, TimestampMs};
use parking_lot::Mutex;
use tracing::warn;

use super::load::Checkpoints;
use super::moving::Move;
use super::{LogDirectory, Partition, Partitions};

/// More logs than this that wait for the disk share one sync of its file system. It writes what others wrote there, too,
/// which is worth it only where it stands for many.
pub(super) const FEW: usize = 32;

impl Partitions {
    /// Closes everything for good: flush, producer snapshots, checkpoints, and the mark of a clean shutdown where all
    /// of it worked. `threads` logs at a time.
    pub fn close(&self, broker_epoch: i64, threads: usize, now: TimestampMs) {
        let all = self.all();
        let mut offsets = Closed::before(&all);
        let unclean = Unclean::default();
        offsets.rows.extend(self.moves.all().iter().filter_map(|moving| close_copy(moving, &unclean, now)));
        let unsynced = |partition: &&Arc<Partition>| partition.look(Log::is_unsynced).unwrap_or(false);
        if all.iter().filter(unsynced).count() > FEW {
            self.close_together(&all, &unclean, threads, now);
        } else {
            each_of(all, threads, |partition| close_one(&partition, &unclean, now));
        }
        for (directory, checkpoints) in self.checkpoints.lock().iter_mut() {
            // What is not on disk must not be noted as if it were: the next start recovers it.
            if directory.is_offline() || unclean.has(directory) {
                continue;
            }
            if let Err(error) = offsets.write(directory, checkpoints, broker_epoch) {
                warn!(directory = %directory.path().display(), %error, "shutdown of the directory is not clean");
            }
        }
    }

    /// Everything is written, made durable with one sync of each file system, and put in place.
    fn close_together(&self, all: &[Arc<Partition>], unclean: &Unclean, threads: usize, now: TimestampMs) {
        for directory in self.directories() {
            let here = |partition: &&Arc<Partition>| Arc::ptr_eq(&partition.directory(), directory);
            let here: Vec<_> = all.iter().filter(here).cloned().collect();
            let staged = Mutex::new(Vec::with_capacity(here.len()));
            each_of(here, threads, |partition| {
                staged.lock().extend(stage(&partition, unclean).map(|log| (partition, log)));
            });
            if !directory.is_offline() {
                settle(directory, staged.into_inner(), unclean, threads, now);
            }
        }
    }
}

/// The log, with everything that only memory had in its files.
fn stage(partition: &Partition, unclean: &Unclean) -> Option<Log> {
    let mut log = partition.close()?;
    if partition.directory().is_offline() {
        return None;
    }
    match log.stage_close() {
        Ok(()) => Some(log),
        Err(error) => {
            unclean.note(partition, &error);
            None
        }
    }
}

type Staged = (Arc<Partition>, Log);

/// Makes durable what the logs of a directory wrote.
fn settle(
    directory: &LogDirectory,
    staged: Vec<Staged>,
    unclean: &Unclean,
    threads: usize,
    now: TimestampMs,
) {
    let Some(tree) = directory.tree() else {
        return each_of(staged, threads, |(partition, log)| {
            finish(&partition, log.close_clean(now), unclean);
        });
    };
    if let Err(error) = tree.sync() {
        return directory.fence(&format!("sync: {error}"));
    }
    let mut replaced = false;
    for (partition, log) in staged {
        match log.publish() {
            Ok(any) => replaced |= any,
            Err(error) => unclean.note(&partition, &error),
        }
    }
    if replaced && let Err(error) = tree.sync() {
        directory.fence(&format!("sync: {error}"));
    }
}

fn close_one(partition: &Partition, unclean: &Unclean, now: TimestampMs) {
    let Some(log) = partition.close() else { return };
    if !partition.directory().is_offline() {
        finish(partition, log.close_clean(now), unclean);
    }
}

/// A copy that is still to be filled, and where it ends.
fn close_copy(moving: &Move, unclean: &Unclean, now: TimestampMs) -> Option<Row> {
    let (name, target) = (moving.partition().name(), moving.target());
    let copy = moving.take_copy()?;
    if target.is_offline() {
        return None;
    }
    let (end, high_watermark) = (copy.end_offset(), moving.high_watermark());
    let start = moving.partition().log_start_offset();
    if let Err(error) = copy.close_clean(now) {
        warn!(partition = %name, %error, "copy not closed cleanly");
        target.judge(name, &error);
        unclean.0.lock().push(Arc::clone(target));
    }
    Some((Arc::clone(target), (name.topic.to_string(), name.partition), start, end, high_watermark))
}

fn finish(partition: &Partition, closed: Result<(), LogError>, unclean: &Unclean) {
    if let Err(error) = closed {
        unclean.note(partition, &error);
    }
}

/// Directories in which not everything is on disk: they must not be marked as clean.
#[derive(Default)]
struct Unclean(Mutex<Vec<Arc<LogDirectory>>>);

impl Unclean {
    fn note(&self, partition: &Partition, error: &LogError) {
        warn!(partition = %partition.name(), %error, "log not closed cleanly");
        partition.judge(error);
        self.0.lock().push(partition.directory());
    }

    fn has(&self, directory: &Arc<LogDirectory>) -> bool {
        self.0.lock().iter().any(|other| Arc::ptr_eq(other, directory))
    }
}

/// Does the same with all, `threads` at a time.
pub(super) fn each_of<T: Send>(all: Vec<T>, threads: usize, work: impl Fn(T) + Sync) {
    let threads = threads.clamp(1, all.len().max(1));
    let queue = Mutex::new(all.into_iter());
    let work = || {
        let next = || queue.lock().next();
        while let Some(one) = next() {
            work(one);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
}

/// A partition's directory, name, log start, log end and high watermark.
type Row = (Arc<LogDirectory>, (String, i32), Offset, Offset, Offset);

/// Where the partitions ended, for the checkpoints.
struct Closed {
    rows: Vec<Row>,
}

impl Closed {
    fn before(all: &[Arc<Partition>]) -> Self {
        let row = |partition: &Arc<Partition>| {
            let name = partition.name();
            (
                partition.directory(),
                (name.topic.to_string(), name.partition),
                partition.log_start_offset(),
                partition.log_end_offset(),
                partition.high_watermark(),
            )
        };
        Self { rows: all.iter().map(row).collect() }
    }

    fn write(
        &self,
        directory: &Arc<LogDirectory>,
        checkpoints: &mut Checkpoints,
        broker_epoch: i64,
    ) -> Result<(), LogError> {
        let mine = || self.rows.iter().filter(|row| Arc::ptr_eq(&row.0, directory));
        checkpoints.recovery_point.write(mine().map(|row| (row.1.clone(), row.3)).collect())?;
        let starts = mine().filter(|row| row.2 > Offset::ZERO);
        checkpoints.log_start.write(starts.map(|row| (row.1.clone(), row.2)).collect())?;
        checkpoints.high_watermark.write(mine().map(|row| (row.1.clone(), row.4)).collect())?;
        CleanShutdown { broker_epoch }.write(&**directory.disk(), directory.path())
    }
}
