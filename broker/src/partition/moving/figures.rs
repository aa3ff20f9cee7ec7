//! How moves stand, and what became of them: for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Move;
use crate::partition::Partitions;

/// What became of moves since the node was started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) copied: AtomicU64,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Counts {
    pub(super) fn copied(&self, bytes: usize) {
        self.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn completed(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Moves as they are now, and counts since the node was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveFigures {
    /// Partitions that are on their way.
    pub partitions: usize,
    /// Of these, whose target is full.
    pub waiting: usize,
    /// Of these, whose log cannot be copied: they stand still until the next start, or until somebody ends them.
    pub standing: usize,
    /// Bytes that the copies still lack.
    pub left_bytes: u64,
    /// Records that the copy lacks which lacks most.
    pub max_lag: i64,
    /// Bytes copied.
    pub copied_bytes: u64,
    /// Moves that came to their end.
    pub completed: u64,
    /// Moves that were given up because a log cannot be copied, or the target has failed.
    pub failed: u64,
}

impl Partitions {
    /// How moves stand.
    pub fn move_figures(&self) -> MoveFigures {
        let all = self.moves.all();
        let count = |which: fn(&Move) -> bool| all.iter().filter(|moving| which(moving)).count();
        let left = |moving: &Arc<Move>| {
            let copied = moving.figures.size.load(Ordering::Acquire);
            moving.partition.size().saturating_sub(copied)
        };
        let lag = |moving: &Arc<Move>| {
            moving.partition.log_end_offset().0 - moving.figures.end.load(Ordering::Acquire)
        };
        let counts = &self.moves.counts;
        MoveFigures {
            partitions: all.len(),
            waiting: count(|moving| moving.waits_for_room.load(Ordering::Acquire)),
            standing: count(|moving| moving.failed.load(Ordering::Acquire)),
            left_bytes: all.iter().map(left).sum(),
            max_lag: all.iter().map(lag).max().unwrap_or_default().max(0),
            copied_bytes: counts.copied.load(Ordering::Relaxed),
            completed: counts.completed.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
        }
    }
}
