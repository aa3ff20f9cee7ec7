//! Putting a cleaned segment in the place of those that it was made from, so that a crash leaves one or the other.
//!
//! 1. `.cleaned` files are written and synced, without the lock.
//! 2. With the lock they are renamed to `.swap`; without it the directory is synced. A crash before the end of this
//!    leaves at least one `.cleaned` name, and the next opening undoes all of it; after it the opening goes on with 3.
//! 3. With the lock the sources become `.deleted`, and `.swap` goes from the names. Without it the directory is synced.
//!
//! A truncation between 2 and 3 removes the `.swap` files before it goes on: they hold what it cuts off.

use super::Log;
use crate::cleaner::{Aborted, CleanError, Cleanable, Cleaning, LogAccess, Replacement, Source};
use crate::disk::Disk;
use crate::error::LogError;
use crate::names;
use crate::segment::Segment;
use crate::types::{Offset, TimestampMs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that have the suffix `.swap`, and what they stand for.
#[derive(Debug)]
pub(super) struct Swap {
    base: Offset,
    size: u64,
    files: Vec<PathBuf>,
    sources: Vec<(Offset, u64)>,
}

/// Does the steps after the first.
pub(crate) fn swap(
    access: &impl LogAccess,
    disk: &dyn Disk,
    dir: &Path,
    replacement: Replacement,
    now: TimestampMs,
) -> Result<(), CleanError> {
    let sync = || disk.sync_dir(dir).map_err(|e| LogError::io("sync", dir, e));
    access.with_log(|log| log.begin_swap(replacement)).unwrap_or(Err(CleanError::Changed))?;
    sync()?;
    access.with_log(|log| log.complete_swap(now)).unwrap_or(Err(CleanError::Changed))?;
    Ok(sync()?)
}

impl Log {
    /// What of this log can be cleaned. `checkpoint` is where the last cleaning ended, if there was one; `stable` is
    /// the last stable offset.
    ///
    /// # Errors
    /// When indexes cannot be read.
    pub fn cleanable(
        &self,
        checkpoint: Option<Offset>,
        stable: Offset,
        now: TimestampMs,
    ) -> Result<Cleanable, LogError> {
        let checkpoint = checkpoint.unwrap_or(self.start);
        let fits = checkpoint >= self.start && checkpoint <= self.end;
        let first_dirty = if fits { checkpoint } else { self.start };
        let first_uncleanable = self.first_uncleanable(first_dirty, stable, now)?;
        let floor = self.floor(first_dirty).unwrap_or_default();
        let bytes = |from: Offset, to: Offset| -> u64 {
            if from < to { self.segments.range(from..to).map(|(_, segment)| segment.size()).sum() } else { 0 }
        };
        Ok(Cleanable {
            first_dirty,
            first_uncleanable,
            clean_bytes: bytes(Offset(i64::MIN), first_dirty.min(first_uncleanable)),
            dirty_bytes: bytes(floor, first_uncleanable),
            overdue_ms: self.compaction_overdue(floor, now)?,
            min_ratio: self.config.min_cleanable_dirty_ratio,
            checkpoint_invalid: !fits,
        })
    }

    /// Base of the first segment, at or after the one with `first_dirty`, that must stay as it is.
    fn first_uncleanable(
        &self,
        first_dirty: Offset,
        stable: Offset,
        now: TimestampMs,
    ) -> Result<Offset, LogError> {
        let active = self.active()?.base();
        let mut limit = stable.min(active).min(self.recovery_point);
        let lag = self.config.min_compaction_lag_ms;
        if lag > 0 {
            let floor = self.floor(first_dirty).unwrap_or_default();
            for (base, segment) in self.segments.range(floor..active.max(floor)) {
                if segment.max_timestamp()?.timestamp.0 > now.0.saturating_sub(lag) {
                    limit = limit.min(*base);
                    break;
                }
            }
        }
        Ok(self.floor(limit.max(first_dirty)).unwrap_or(active).min(active))
    }

    /// By how much the oldest record from `floor` on is over `max.compaction.lag.ms`.
    fn compaction_overdue(&self, floor: Offset, now: TimestampMs) -> Result<i64, LogError> {
        let until = now.0.saturating_sub(self.config.max_compaction_lag_ms.max(0));
        let active = self.active()?.base();
        let mut overdue = 0;
        if until <= 0 || floor >= active {
            return Ok(0);
        }
        for segment in self.segments.range(floor..active).map(|(_, segment)| segment) {
            if let Some(first) = segment.first_timestamp()?.filter(|first| first.0 > 0) {
                overdue = overdue.max(until - first.0);
            }
        }
        Ok(overdue)
    }

    /// Notes what there is, for a cleaning that then goes on without the lock.
    ///
    /// # Errors
    /// When indexes cannot be read.
    pub fn cleaning(&self, cleanable: &Cleanable) -> Result<Cleaning, LogError> {
        self.check_usable()?;
        let upper = cleanable.first_uncleanable;
        let mut aborted = Aborted::default();
        let mut sources = Vec::new();
        let mut dirty_position = 0;
        let mut segments = self.segments.values().peekable();
        while let Some(segment) = segments.next() {
            let next_base = segments.peek().map_or(self.end, |next| next.base());
            if segment.base() >= upper {
                // The marker of a transaction may come long after its records.
                aborted.add(&segment.txn_index().read()?);
                continue;
            }
            if segment.base() < cleanable.first_dirty && cleanable.first_dirty < next_base {
                dirty_position =
                    segment.find(cleanable.first_dirty)?.map_or(segment.size(), |batch| batch.position);
            }
            let source = Source::new(segment, next_base)?;
            aborted.add(&source.aborted);
            sources.push(source);
        }
        Ok(Cleaning {
            dir: self.dir.clone(),
            disk: self.disk.clone(),
            config: self.config.clone(),
            sources,
            aborted,
            producers: self.producers.last_data_offsets(),
            first_dirty: cleanable.first_dirty,
            dirty_position,
            upper,
            truncations: self.truncations,
        })
    }

    /// Whether nothing was cut off at the end since, and `first` is still there. A cleaning's own swaps take away
    /// other segments, but never the first.
    pub(crate) fn has_segment_since(&self, truncations: u64, first: Option<Offset>) -> bool {
        self.truncations == truncations && first.is_none_or(|first| self.segments.contains_key(&first))
    }

    fn begin_swap(&mut self, mut replacement: Replacement) -> Result<(), CleanError> {
        let intact = |(base, size): &(Offset, u64)| {
            self.segments.get(base).is_some_and(|segment| segment.size() == *size)
        };
        let unchanged = self.truncations == replacement.truncations
            && self.swap.is_none()
            && self.poisoned.is_none()
            && replacement.sources.iter().all(intact);
        if !unchanged {
            replacement.segment.remove()?;
            return Err(CleanError::Changed);
        }
        let renamed = self.rename_to_swap(&replacement.segment);
        let files = self.poison_on_error(renamed)?;
        self.swap = Some(Swap {
            base: replacement.segment.base(),
            size: replacement.segment.size(),
            files,
            sources: replacement.sources,
        });
        Ok(())
    }

    fn rename_to_swap(&self, cleaned: &Segment) -> Result<Vec<PathBuf>, LogError> {
        let mut files = Vec::new();
        for path in cleaned.paths() {
            if self.disk.len(&path).map_err(|e| LogError::io("stat", &path, e))?.is_none() {
                continue;
            }
            let to = with_suffix(&without_suffix(&path, names::CLEANED), names::SWAP);
            self.disk.rename(&path, &to).map_err(|e| LogError::io("rename", &path, e))?;
            files.push(to);
        }
        Ok(files)
    }

    fn complete_swap(&mut self, now: TimestampMs) -> Result<(), CleanError> {
        let Some(swap) = self.swap.take() else { return Err(CleanError::Changed) };
        let done = self.replace_segments(&swap, now);
        Ok(self.poison_on_error(done)?)
    }

    fn replace_segments(&mut self, swap: &Swap, now: TimestampMs) -> Result<(), LogError> {
        let due = TimestampMs(now.0.saturating_add(self.config.file_delete_delay_ms));
        for (base, _) in &swap.sources {
            let Some(mut old) = self.segments.remove(base) else { continue };
            self.deleted.extend(old.rename_to_deleted()?.into_iter().map(|path| (due, path)));
            if *base != swap.base {
                self.delete_snapshot(*base, due)?;
            }
        }
        for path in &swap.files {
            let to = without_suffix(path, names::SWAP);
            self.disk.rename(path, &to).map_err(|e| LogError::io("rename", path, e))?;
        }
        let new = Segment::existing(&self.disk, &self.dir, swap.base, swap.size, now);
        self.segments.insert(swap.base, Box::new(new));
        self.places = Arc::default();
        Ok(())
    }

    /// Before a truncation: what waits to be put in place holds records that are about to be cut off.
    pub(super) fn abandon_swap(&mut self) -> Result<(), LogError> {
        let Some(swap) = self.swap.take() else { return Ok(()) };
        for path in &swap.files {
            self.disk.remove_file(path).map_err(|e| LogError::io("remove", path, e))?;
        }
        self.sync_dir()
    }
}

fn without_suffix(path: &Path, suffix: &str) -> PathBuf {
    let name = path.to_string_lossy();
    PathBuf::from(name.strip_suffix(suffix).unwrap_or(&name))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_path_buf().into_os_string();
    name.push(suffix);
    name.into()
}
