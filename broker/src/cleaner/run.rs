//! What a cleaner thread does.

use std::sync::Arc;
use std::time::Instant;

use ottla_log::cleaner::{Buffers, CleanError, Cleanable, Cleaned, filthiest};
use ottla_log::{LogError, TimestampMs};
use tracing::{debug, info, warn};

use super::LogCleaner;
use super::figures::{LastLook, LastRun};
use super::pace::SharedPace;
use crate::clock;
use crate::partition::Partition;

/// A log that a thread has taken for itself.
struct Taken {
    partition: Arc<Partition>,
    cleanable: Cleanable,
}

impl LogCleaner {
    /// Cleans the dirtiest log until there is none, rests, and looks again.
    pub(super) fn serve(&self, index: usize) {
        while let Some((buffers, backoff)) = self.share(index) {
            if !self.clean_filthiest(index, &buffers) {
                self.rest(index, backoff);
            }
        }
    }

    /// Cleans one log; false if nothing came of it.
    fn clean_filthiest(&self, index: usize, buffers: &Buffers) -> bool {
        let now = clock::now();
        let Some(taken) = self.take_filthiest(now) else { return false };
        let began = Instant::now();
        let result = self.clean(&taken, index, buffers, now);
        self.in_progress.lock().remove(taken.partition.name());
        match result {
            Ok(cleaned) => {
                self.note(index, &taken, &cleaned, began);
                true
            }
            Err(error) => self.judge(&taken.partition, &error),
        }
    }

    /// Looks at all logs that are to be compacted and nobody cleans. One thread at a time.
    fn take_filthiest(&self, now: TimestampMs) -> Option<Taken> {
        let mut in_progress = self.in_progress.lock();
        let mut look = LastLook::new(now);
        let mut candidates = Vec::new();
        let mut invalid = false;
        for partition in self.partitions.all() {
            let skipped = partition.directory().is_offline()
                || partition.is_cleaning_paused()
                || partition.is_uncleanable()
                || !partition.directory().file_system().has_room_for(partition.cleaning_bytes())
                || in_progress.contains(partition.name());
            if skipped {
                continue;
            }
            match partition.cleanable(now) {
                Ok(None) => {}
                Ok(Some(cleanable)) => {
                    look.saw(&cleanable);
                    if cleanable.checkpoint_invalid {
                        invalid = true;
                        partition.set_cleaned_up_to(cleanable.first_dirty);
                    }
                    candidates.push((partition, cleanable));
                }
                Err(error) => {
                    self.judge(&partition, &CleanError::Log(error));
                }
            }
        }
        *self.last_look.lock() = look;
        if invalid {
            self.partitions.checkpoint_cleaning();
        }
        let (partition, cleanable) = filthiest(candidates)?;
        in_progress.insert(partition.name().clone());
        Some(Taken { partition, cleanable })
    }

    fn clean(
        &self,
        taken: &Taken,
        index: usize,
        buffers: &Buffers,
        now: TimestampMs,
    ) -> Result<Cleaned, CleanError> {
        let partition = &*taken.partition;
        let cleaning = partition.begin_cleaning(&taken.cleanable)?.ok_or(CleanError::Changed)?;
        let mut pace = SharedPace { cleaner: self, index, partition };
        let cleaned = cleaning.run(buffers, &mut pace, &partition, now);
        partition.end_cleaning();
        let cleaned = cleaned?;
        partition.set_cleaned_up_to(cleaned.end);
        self.partitions.checkpoint_cleaning();
        Ok(cleaned)
    }

    fn note(&self, index: usize, taken: &Taken, cleaned: &Cleaned, began: Instant) {
        let took = began.elapsed();
        info!(
            partition = %taken.partition.name(), from = %taken.cleanable.first_dirty, to = %cleaned.end, ?took,
            bytes_before = cleaned.bytes_before, bytes_after = cleaned.bytes_after,
            records_before = cleaned.records_before, records_after = cleaned.records_after,
            map_utilisation = cleaned.map_utilisation, "log cleaned"
        );
        if cleaned.keyless > 0 {
            warn!(partition = %taken.partition.name(), records = cleaned.keyless, "records without a key dropped");
        }
        let mut runs = self.last_runs.lock();
        if runs.len() <= index {
            runs.resize(index + 1, LastRun::default());
        }
        if let Some(run) = runs.get_mut(index) {
            *run = LastRun::new(cleaned, took);
        }
    }

    /// What an error means for the partition. Says whether the next log may follow at once.
    fn judge(&self, partition: &Partition, error: &CleanError) -> bool {
        let name = partition.name();
        match error {
            CleanError::Interrupted | CleanError::Changed => debug!(partition = %name, %error, "not cleaned"),
            CleanError::Log(error @ LogError::NoSpace { .. }) => {
                warn!(partition = %name, %error, "no space to clean the log");
            }
            CleanError::Log(error @ (LogError::Corrupt { .. } | LogError::Poisoned(_))) => {
                warn!(partition = %name, %error, "log cannot be cleaned and is left alone");
                partition.set_uncleanable();
                return true;
            }
            CleanError::Log(error) => partition.directory().judge(name, error),
            other => warn!(partition = %name, error = %other, "not cleaned"),
        }
        false
    }
}
