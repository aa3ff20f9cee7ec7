//! What the cleaner tells about itself (`kafka.log:type=LogCleaner` and `LogCleanerManager`).

use std::sync::Arc;
use std::time::Duration;

use ottla_log::TimestampMs;
use ottla_log::cleaner::{Cleanable, Cleaned};

use super::LogCleaner;
use crate::clock;
use crate::partition::Partition;

/// The last cleaning of a thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastRun {
    buffer_percent: i64,
    recopy_percent: i64,
    seconds: i64,
}

impl LastRun {
    pub(super) fn new(cleaned: &Cleaned, took: Duration) -> Self {
        let recopied = cleaned.bytes_after.saturating_mul(100) / cleaned.bytes_read.max(1);
        Self {
            buffer_percent: percent(cleaned.map_utilisation),
            recopy_percent: i64::try_from(recopied).unwrap_or(i64::MAX),
            seconds: i64::try_from(took.as_secs()).unwrap_or(i64::MAX),
        }
    }
}

/// The last look at all logs.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastLook {
    at: TimestampMs,
    dirty_percent: i64,
    overdue_seconds: i64,
}

impl LastLook {
    pub(super) fn new(at: TimestampMs) -> Self {
        Self { at, dirty_percent: 0, overdue_seconds: 0 }
    }

    pub(super) fn saw(&mut self, cleanable: &Cleanable) {
        self.dirty_percent = self.dirty_percent.max(percent(cleanable.ratio()));
        self.overdue_seconds = self.overdue_seconds.max(cleanable.overdue_ms / 1000);
    }
}

/// Name, meaning and value.
pub type Figure = (&'static str, &'static str, i64);

/// What of a log directory cannot be cleaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncleanable {
    /// The log directory.
    pub directory: String,
    /// Partitions.
    pub partitions: i64,
    /// Bytes of their logs.
    pub bytes: i64,
}

impl LogCleaner {
    /// The cleaner's state, under the names of the JMX exporter.
    pub fn figures(&self) -> Vec<Figure> {
        let runs = self.last_runs.lock();
        let most = |of: fn(&LastRun) -> i64| runs.iter().map(of).max().unwrap_or(0);
        let look = *self.last_look.lock();
        let dead = self.threads.lock().iter().filter(|thread| thread.is_finished()).count();
        vec![
            (
                "kafka_log_logcleaner_max_buffer_utilization_percent",
                "Used part of the offset map in the last cleaning",
                most(|run| run.buffer_percent),
            ),
            (
                "kafka_log_logcleaner_cleaner_recopy_percent",
                "Bytes written of bytes read in the last cleaning",
                most(|run| run.recopy_percent),
            ),
            (
                "kafka_log_logcleaner_max_clean_time_secs",
                "Seconds that the last cleaning took",
                most(|run| run.seconds),
            ),
            (
                "kafka_log_logcleaner_max_compaction_delay_secs",
                "Longest wait of a record beyond max.compaction.lag.ms, in seconds",
                look.overdue_seconds,
            ),
            (
                "kafka_log_logcleaner_deadthreadcount",
                "Cleaner threads that ended by themselves",
                i64::try_from(dead).unwrap_or(i64::MAX),
            ),
            (
                "kafka_log_logcleanermanager_max_dirty_percent",
                "Dirty part of the dirtiest log",
                look.dirty_percent,
            ),
            (
                "kafka_log_logcleanermanager_time_since_last_run_ms",
                "Time since the last look at all logs, in ms",
                clock::now().0.saturating_sub(look.at.0),
            ),
        ]
    }

    /// What cannot be cleaned, by log directory.
    pub fn uncleanable(&self) -> Vec<Uncleanable> {
        let all = self.partitions.all();
        let in_directory = |directory: &Arc<crate::partition::LogDirectory>| {
            let mine = |partition: &&Arc<Partition>| {
                partition.is_uncleanable() && Arc::ptr_eq(&partition.directory(), directory)
            };
            let sizes: Vec<_> = all.iter().filter(mine).map(|partition| partition.size()).collect();
            Uncleanable {
                directory: directory.path().display().to_string(),
                partitions: i64::try_from(sizes.len()).unwrap_or(i64::MAX),
                bytes: i64::try_from(sizes.iter().sum::<u64>()).unwrap_or(i64::MAX),
            }
        };
        self.partitions.directories().iter().map(in_directory).collect()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
fn percent(share: f64) -> i64 {
    (share * 100.0) as i64
}
