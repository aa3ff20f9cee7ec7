//! Group commit: the partitions of a directory whose appends somebody waits for are flushed in rounds. What several have
//! appended is made durable with one sync of the file system, which costs little more than that of one file; a round takes
//! along whatever came while the one before it was under way.
//!
//! Whoever waits runs the rounds until its own is done; what came after is handed to others who wait, or to a thread of the
//! background. So no follower's fetcher works for others for long, and without load there is no thread to be woken.
//!
//! A sync of the file system writes what other programs have written there, too. Where that takes longer, every log is synced
//! for itself (`sync_costs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_log::disk::DiskTree;
use ottla_log::{Flush, TimestampMs};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::warn;

use super::close::each_of;
use super::sync_costs::{SyncCosts, Way};
use super::{LogDirectory, Partition};
use crate::clock;

/// The rounds of a directory.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    /// For the next round.
    waiting: Vec<Arc<Partition>>,
    /// How many have begun, and how many have ended.
    begun: u64,
    ended: u64,
    /// Who waits, or is about to begin one.
    hands: usize,
    costs: SyncCosts,
}

/// Flushes those of which only what is on disk counts, and that have more. What could not be flushed says so when it is used:
/// its directory is fenced, or it is flushed for itself. Waits for the disks.
pub fn flush_together<'a>(partitions: impl Iterator<Item = &'a Arc<Partition>>) {
    let mut of_directories: Vec<(Arc<LogDirectory>, Vec<Arc<Partition>>)> = Vec::new();
    for partition in partitions.filter(|partition| partition.has_to_flush()) {
        let directory = partition.directory();
        let known = of_directories.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &directory));
        match known {
            Some((_, partitions)) => partitions.push(Arc::clone(partition)),
            None => of_directories.push((directory, vec![Arc::clone(partition)])),
        }
    }
    let threads = of_directories.len();
    each_of(of_directories, threads, |(directory, partitions)| directory.flush_together(partitions));
}

impl LogDirectory {
    /// Has the partition, which says that it is about to be flushed, flushed with the next round.
    pub(super) fn flush_soon(self: &Arc<Self>, partition: Arc<Partition>) {
        let mut rounds = self.commits.rounds.lock();
        rounds.waiting.push(partition);
        self.hand_over(&mut rounds);
    }

    pub(super) fn flush_together(self: &Arc<Self>, partitions: Vec<Arc<Partition>>) {
        let mut rounds = self.commits.rounds.lock();
        rounds.waiting.extend(partitions);
        let mine = rounds.begun + 1;
        rounds.hands += 1;
        while rounds.ended < mine {
            self.next_round(&mut rounds);
        }
        rounds.hands -= 1;
        self.hand_over(&mut rounds);
    }

    /// Sees to it that somebody runs the next round: who waits, runs the one under way or has one before him.
    fn hand_over(self: &Arc<Self>, rounds: &mut Rounds) {
        if rounds.hands > 0 {
            return;
        }
        let Some(partition) = rounds.waiting.first() else { return };
        let directory = Arc::clone(self);
        partition.surroundings.spawn(move || directory.flush_waiting());
        rounds.hands += 1;
    }

    fn flush_waiting(&self) {
        let mut rounds = self.commits.rounds.lock();
        while !rounds.waiting.is_empty() {
            self.next_round(&mut rounds);
        }
        rounds.hands -= 1;
    }

    /// Waits for the end of the round under way, or runs one.
    fn next_round(&self, rounds: &mut MutexGuard<'_, Rounds>) {
        if rounds.begun > rounds.ended {
            return self.commits.ended.wait(rounds);
        }
        rounds.begun += 1;
        let partitions = std::mem::take(&mut rounds.waiting);
        let began = clock::running();
        let tree = self.tree().filter(|_| rounds.costs.choose(partitions.len(), began) == Way::Together);
        MutexGuard::unlocked(rounds, || self.flush_all(&partitions, tree, clock::now()));
        let way = if tree.is_some() { Way::Together } else { Way::Each };
        rounds.costs.took(way, partitions.len(), clock::running().saturating_sub(began));
        rounds.ended = rounds.begun;
        self.commits.ended.notify_all();
    }

    /// Those of this directory with one sync, where `tree` is given.
    fn flush_all(&self, partitions: &[Arc<Partition>], tree: Option<&dyn DiskTree>, now: TimestampMs) {
        // From here on an append asks for the next round.
        partitions.iter().for_each(|partition| partition.flushing.store(false, Ordering::Release));
        let alone = match tree {
            Some(tree) => {
                let (begun, alone) = self.begin(partitions);
                sync(tree, &begun, now);
                alone
            }
            None => partitions.iter().collect(),
        };
        let threads = alone.first().map_or(1, |partition| partition.surroundings.syncing_threads());
        each_of(alone, threads, |partition| drop(partition.flush(now)));
    }

    /// Those that are not in the directory any more, or that somebody else flushes, come after.
    fn begin<'a>(&self, partitions: &'a [Arc<Partition>]) -> (Vec<Begun<'a>>, Vec<&'a Arc<Partition>>) {
        let (mut begun, mut alone) = (Vec::with_capacity(partitions.len()), Vec::new());
        for partition in partitions {
            // Nobody waits for one while holding another. With it in hand the partition does not change its directory.
            match partition.flushes.try_lock() {
                Some(turn) if std::ptr::eq(&raw const **partition.directory.load(), self) => {
                    let Ok(Some(flush)) = partition.prepare_flush() else { continue };
                    begun.push(Begun { partition, flush, _turn: turn });
                }
                _ => alone.push(partition),
            }
        }
        (begun, alone)
    }
}

/// A flush that is not completed yet.
struct Begun<'a> {
    partition: &'a Partition,
    flush: Flush,
    _turn: MutexGuard<'a, ()>,
}

/// Makes durable what they have to, and says so.
fn sync(tree: &dyn DiskTree, begun: &[Begun<'_>], now: TimestampMs) {
    if begun.is_empty() {
        return;
    }
    let synced = tree.sync();
    if let Err(error) = &synced {
        warn!(%error, "sync of a file system failed, perhaps for another program's file: every log is asked for itself");
    }
    for Begun { partition, flush, .. } in begun {
        let result = if synced.is_ok() { Ok(()) } else { flush.run() };
        // Where that failed it has fenced the directory.
        drop(partition.complete_flush(flush, result, now));
    }
}
