//! `log.cleaner.io.max.bytes.per.second`, for all threads together.

use std::time::Duration;

use ottla_log::cleaner::Pace;

use super::LogCleaner;
use crate::clock;
use crate::partition::Partition;

/// Longest wait before it is looked again, in ms: a rate of nearly nothing is no rest for ever.
const MOST_MS: i64 = 3_600_000;

/// Keeps one thread's cleaning within the common rate, and ends it with the cleaner, or where the log is to move.
#[derive(Debug)]
pub(super) struct SharedPace<'a> {
    pub(super) cleaner: &'a LogCleaner,
    pub(super) index: usize,
    pub(super) partition: &'a Partition,
}

impl Pace for SharedPace<'_> {
    fn spend(&mut self, bytes: usize) -> bool {
        let mut until = None;
        let (wait, rate) = {
            let mut bucket = self.cleaner.bucket.lock();
            (bucket.take(bytes, clock::now().0), bucket.rate())
        };
        if let Ok(wait @ 1..) = u64::try_from(wait.min(MOST_MS)) {
            until = std::time::Instant::now().checked_add(Duration::from_millis(wait));
        }
        // A change of other settings wakes it up too early; with another rate this debt is forgotten.
        while let Some(left) = until.and_then(|until| until.checked_duration_since(std::time::Instant::now()))
        {
            let same_rate = self.cleaner.bucket.lock().rate().total_cmp(&rate).is_eq();
            if left.is_zero() || !same_rate || self.cleaner.is_over(self.index) {
                break;
            }
            self.cleaner.rest(self.index, left);
        }
        !self.cleaner.is_over(self.index) && !self.partition.is_cleaning_paused()
    }
}
