//! Those who wait for data: fetches that have not got `min_bytes` yet.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A long poll. Partitions add the bytes that become readable; it wakes up when there are enough, or at any event that
/// may change the answer otherwise.
#[derive(Debug)]
pub struct Waiter {
    missing: AtomicUsize,
    wake: Notify,
}

/// What happened to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many more bytes can be read.
    Bytes(usize),
    /// Leadership, existence, log start or health changed: look again.
    Changed,
}

impl Waiter {
    /// Waits for `missing` more bytes, at least one.
    pub fn new(missing: usize) -> Self {
        Self { missing: AtomicUsize::new(missing.max(1)), wake: Notify::new() }
    }

    /// Returns once there is enough to look again.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Tells of progress; `false` when it needs to hear no more.
    fn tell(&self, progress: Progress) -> bool {
        let enough = match progress {
            Progress::Changed => true,
            Progress::Bytes(bytes) => {
                let taken = |missing: usize| Some(missing.saturating_sub(bytes));
                let before = self.missing.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken);
                before.is_ok_and(|before| before <= bytes)
            }
        };
        if enough {
            self.wake.notify_one();
        }
        !enough
    }
}

/// How much was told by some moment. What is told is there to be read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told(u64);

/// The waiters of one partition; those that gave up are forgotten along the way.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Mutex<Waiting>,
    /// Changes with `list` locked.
    told: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    waiters: Vec<Weak<Waiter>>,
    sweep_at: usize,
}

impl Waiters {
    /// To be remembered before the partition is looked at, for [`Self::add`].
    pub(super) fn told(&self) -> Told {
        Told(self.told.load(Ordering::Acquire))
    }

    /// Adds somebody who looked at the partition after `since`; `false` if it missed something that was told in between.
    pub(super) fn add(&self, waiter: Weak<Waiter>, since: Told) -> bool {
        let mut list = self.list.lock();
        if list.waiters.len() >= list.sweep_at {
            list.waiters.retain(|waiter| waiter.strong_count() > 0);
            list.sweep_at = (list.waiters.len() * 2).max(8);
        }
        list.waiters.push(waiter);
        self.told() == since
    }

    pub(super) fn tell(&self, progress: Progress) {
        let mut list = self.list.lock();
        self.told.fetch_add(1, Ordering::Release);
        if !list.waiters.is_empty() {
            list.waiters.retain(|waiter| waiter.upgrade().is_some_and(|waiter| waiter.tell(progress)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn wakes_when_enough_has_come() {
        let waiters = Waiters::default();
        let waiter = Arc::new(Waiter::new(100));
        assert!(waiters.add(Arc::downgrade(&waiter), waiters.told()));
        waiters.tell(Progress::Bytes(60));
        assert!(waiter.woken().now_or_never().is_none());
        waiters.tell(Progress::Bytes(40));
        assert!(waiter.woken().now_or_never().is_some());
    }

    #[test]
    fn wakes_at_a_change_at_once() {
        let waiters = Waiters::default();
        let waiter = Arc::new(Waiter::new(usize::MAX));
        assert!(waiters.add(Arc::downgrade(&waiter), waiters.told()));
        waiters.tell(Progress::Changed);
        assert!(waiter.woken().now_or_never().is_some());
    }

    #[test]
    fn who_missed_something_is_told_so() {
        let (waiters, waiter) = (Waiters::default(), Arc::new(Waiter::new(1)));
        let since = waiters.told();
        waiters.tell(Progress::Bytes(1));
        assert!(!waiters.add(Arc::downgrade(&waiter), since));
        assert!(waiter.woken().now_or_never().is_none());
        waiters.tell(Progress::Bytes(1));
        assert!(waiter.woken().now_or_never().is_some(), "it is among them nevertheless");
    }

    #[test]
    fn those_that_gave_up_are_swept() {
        let waiters = Waiters::default();
        for _ in 0..1000 {
            waiters.add(Arc::downgrade(&Arc::new(Waiter::new(1))), waiters.told());
        }
        assert!(waiters.list.lock().waiters.len() <= 16);
    }
}
