//! The loop around moves: `num.replica.alter.log.dirs.threads` of them go on at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Move;
use super::copy::Step;
use crate::clock;
use crate::partition::Partitions;
#[cfg(test)]
use {crate::partition::Partition, ottla_log::Offset};

/// What a simulation is told of a step.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) partition: Arc<Partition>,
    /// Where its log ended before.
    pub(crate) end_before: Offset,
    /// Whether the copy has taken the original's place.
    pub(crate) is_moved: bool,
}

/// How long one move goes on before it is looked which is next.
const TURN: Duration = Duration::from_millis(100);

/// Starts the tasks; they end with `stopping`.
pub(in crate::partition) fn spawn(
    partitions: &Arc<Partitions>,
    stopping: &CancellationToken,
    tracker: &TaskTracker,
) {
    if partitions.directories().len() < 2 {
        return;
    }
    for _ in 0..partitions.config.replication.alter_log_dirs_threads.max(1) {
        tracker.spawn(work(Arc::clone(partitions), stopping.clone()));
    }
}

async fn work(partitions: Arc<Partitions>, stopping: CancellationToken) {
    let mut changed = partitions.moves.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let rest = match partitions.take_move() {
            Ok(moving) => {
                let (partitions, stopping) = (Arc::clone(&partitions), stopping.clone());
                let turn = move || partitions.take_turn(&moving, &stopping);
                if tokio::task::spawn_blocking(turn).await.is_err() {
                    warn!("a step of a move panicked");
                }
                Duration::ZERO
            }
            Err(rest) => rest,
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            _ = changed.changed(), if !rest.is_zero() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

impl Partitions {
    /// The first move by name that nobody works at and that does not rest; else how long until there may be one.
    pub(super) fn take_move(&self) -> Result<Arc<Move>, Duration> {
        let now = self.surroundings().now().0;
        let mut soonest = i64::MAX;
        for moving in self.moves.all() {
            let until = moving.rests_until.load(Ordering::Acquire);
            if until > now {
                soonest = soonest.min(until);
            } else if !moving.taken.swap(true, Ordering::AcqRel) {
                return Ok(moving);
            }
        }
        let rest = u64::try_from(soonest.saturating_sub(now)).unwrap_or(u64::MAX);
        Err(Duration::from_millis(rest.clamp(1, 3_600_000)))
    }

    /// Some steps of a move that was taken.
    fn take_turn(&self, moving: &Arc<Move>, stopping: &CancellationToken) {
        let began = Instant::now();
        while !stopping.is_cancelled() && began.elapsed() < TURN {
            if !self.goes_on(moving) {
                break;
            }
        }
        moving.taken.store(false, Ordering::Release);
    }

    /// One step; whether the next may follow at once.
    fn goes_on(&self, moving: &Arc<Move>) -> bool {
        match self.step(moving, clock::now(), Instant::now()) {
            Step::Goes => true,
            Step::Rest(ms) => {
                let until = self.surroundings().now().0.saturating_add(ms);
                moving.rests_until.store(until, Ordering::Release);
                false
            }
            Step::Done => false,
        }
    }

    /// One step of the first move that does not rest, as the loop does many. Where there is none, the ms until there may be one.
    #[cfg(test)]
    pub(crate) fn step_a_move(&self) -> Result<Stepped, i64> {
        let moving = self.take_move().map_err(|rest| i64::try_from(rest.as_millis()).unwrap_or(i64::MAX))?;
        let partition = Arc::clone(moving.partition());
        let end_before = partition.log_end_offset();
        self.goes_on(&moving);
        moving.taken.store(false, Ordering::Release);
        let is_moved = Arc::ptr_eq(&partition.directory(), moving.target());
        Ok(Stepped { partition, end_before, is_moved })
    }
}
