//! A partition as the log cleaner sees it: how far it was cleaned, what of it can be cleaned now.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ottla_log::cleaner::{Cleanable, Cleaning, LogAccess};
use ottla_log::{Log, LogError, Offset, TimestampMs};
use parking_lot::Mutex;

use super::Partition;

const NEVER: i64 = -1;

/// What is remembered between two cleanings.
#[derive(Debug)]
pub(super) struct State {
    /// Everything below is clean; -1 if nothing is known.
    end: AtomicI64,
    uncleanable: AtomicBool,
    turn: Mutex<Turn>,
}

/// Whether the log is being cleaned, and whether it may be.
#[derive(Debug, Default)]
struct Turn {
    busy: bool,
    paused: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { end: AtomicI64::new(NEVER), uncleanable: AtomicBool::new(false), turn: Mutex::default() }
    }
}

impl Partition {
    /// Where its last cleaning ended, if there was one.
    pub fn cleaned_up_to(&self) -> Option<Offset> {
        Some(Offset(self.cleaning.end.load(Ordering::Acquire))).filter(|end| end.0 != NEVER)
    }

    /// Notes where a cleaning ended.
    pub fn set_cleaned_up_to(&self, end: Offset) {
        self.cleaning.end.store(end.0, Ordering::Release);
    }

    /// Whether a cleaning found the log to be damaged.
    pub fn is_uncleanable(&self) -> bool {
        self.cleaning.uncleanable.load(Ordering::Acquire)
    }

    /// It is left alone from now on, until the node is started again.
    pub fn set_uncleanable(&self) {
        self.cleaning.uncleanable.store(true, Ordering::Release);
    }

    /// What can be cleaned, for a log that is to be compacted.
    ///
    /// # Errors
    /// Indexes cannot be read.
    pub fn cleanable(&self, now: TimestampMs) -> Result<Option<Cleanable>, LogError> {
        let cleanable = self.look(|log| {
            let compact = log.config().compact;
            compact.then(|| log.cleanable(self.cleaned_up_to(), self.stable(log), now)).transpose()
        });
        cleanable.unwrap_or(Ok(None))
    }

    /// Begins a cleaning, which [`Partition::end_cleaning`] ends; `None` when the partition is closed, or cleaning it is paused.
    ///
    /// # Errors
    /// Indexes cannot be read.
    pub fn begin_cleaning(&self, cleanable: &Cleanable) -> Result<Option<Cleaning>, LogError> {
        {
            let mut turn = self.cleaning.turn.lock();
            if turn.paused {
                return Ok(None);
            }
            turn.busy = true;
        }
        let cleaning = self.look(|log| log.cleaning(cleanable)).transpose();
        if !matches!(cleaning, Ok(Some(_))) {
            self.end_cleaning();
        }
        cleaning
    }

    /// Ends a cleaning, however it went.
    pub fn end_cleaning(&self) {
        self.cleaning.turn.lock().busy = false;
    }

    /// Whether the log is not to be cleaned now, because it moves to another directory. A cleaning that goes on is to end.
    pub fn is_cleaning_paused(&self) -> bool {
        self.cleaning.turn.lock().paused
    }

    /// From now on no cleaning begins, or any may.
    pub(super) fn pause_cleaning(&self, paused: bool) {
        self.cleaning.turn.lock().paused = paused;
    }

    /// Whether a cleaning goes on.
    pub(super) fn is_being_cleaned(&self) -> bool {
        self.cleaning.turn.lock().busy
    }
}

impl LogAccess for &Partition {
    fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        Partition::with_log(self, work)
    }
}
