//! Opening a log: what lies in the directory, what of it can be trusted, and the rest made good.
//!
//! After a clean stop only the newest batches are looked at. Otherwise every segment from the recovery point on is
//! read whole; the log ends at the first batch that is not, and everything behind it is deleted.

use super::append::marker_of;
use super::tail::Tail;
use super::{Log, Opening};
use crate::config::LogConfig;
use crate::disk::Disk;
use crate::epochs::Epochs;
use crate::error::LogError;
use crate::names;
use crate::producer::{ProducerStates, Snapshots};
use crate::segment::{Recovered, Scanned, Segment};
use crate::testing;
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use ottla_wire::batch::Batch;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Log {
    /// Opens the log in `dir`, making it if it is not there, and recovers it if the last stop was not clean.
    ///
    /// # Errors
    /// I/O errors only: damage is cut off, not reported.
    pub fn open(
        dir: PathBuf,
        config: LogConfig,
        disk: Arc<dyn Disk>,
        opening: Opening,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let names = names_in(&*disk, &dir)?;
        let names = tidy(&*disk, &dir, names)?;
        let found = Found::among(&*disk, &dir, &names)?;
        let mut log = Self {
            epochs: Epochs::open(disk.clone(), &dir)?,
            snapshots: Snapshots::new(disk.clone(), dir.clone(), found.snapshots),
            segments: BTreeMap::new(),
            start: opening.log_start_offset,
            end: Offset::ZERO,
            recovery_point: opening.recovery_point,
            last_flush: now,
            names_synced: opening.clean || opening.names_synced,
            truncations: 0,
            producers: ProducerStates::default(),
            tail: Tail::default(),
            places: Arc::default(),
            deleted: VecDeque::new(),
            swap: None,
            poisoned: None,
            dir,
            config,
            disk,
        };
        for (base, size) in found.logs {
            let segment = Segment::existing(&log.disk, &log.dir, base, size, now);
            log.segments.insert(base, Box::new(segment));
        }
        log.load(opening, now)?;
        Ok(log)
    }

    fn load(&mut self, opening: Opening, now: TimestampMs) -> Result<(), LogError> {
        if self.segments.is_empty() {
            self.begin_at(opening, now)?;
        } else {
            self.load_segments(opening, now)?;
        }
        if self.end < opening.log_start_offset {
            tracing::warn!(dir = %self.dir.display(), end = %self.end, start = %opening.log_start_offset,
                "log ends before its start offset, starting anew");
            self.try_start_at(opening.log_start_offset, now)?;
        }
        let first = self.segments.first_key_value().map_or(Offset::ZERO, |(base, _)| *base);
        self.start = first.max(opening.log_start_offset);
        self.epochs.truncate_from_end(self.end);
        self.epochs.truncate_from_start(self.start);
        let active = self.active()?.base();
        self.epochs.save_below(active)
    }

    /// The first segment of a log that has none. Nothing of it is durable before the first flush.
    fn begin_at(&mut self, opening: Opening, now: TimestampMs) -> Result<(), LogError> {
        let offset = opening.log_start_offset;
        let segment = Segment::create(&self.disk, &self.dir, offset, &self.config, now)?;
        self.segments.insert(offset, Box::new(segment));
        self.names_synced = opening.names_synced;
        self.snapshots.remove_above(Offset(-1))?;
        self.producers = ProducerStates::empty(offset);
        (self.end, self.recovery_point) = (offset, offset);
        Ok(())
    }

    fn load_segments(&mut self, opening: Opening, now: TimestampMs) -> Result<(), LogError> {
        if opening.clean {
            self.repair_indexes(Offset(i64::MAX))?;
            if self.resume_clean(now)? {
                return Ok(());
            }
        }
        self.names_synced = opening.names_synced;
        self.recover_from(opening.recovery_point, now)?;
        // What was read may only be in the page cache: it is not durable before the next flush.
        self.recovery_point = opening.recovery_point.min(self.end);
        Ok(())
    }

    /// Builds index files of the segments below `end` anew that are missing or cut off in the middle of an entry.
    fn repair_indexes(&mut self, end: Offset) -> Result<(), LogError> {
        for segment in self.segments.range_mut(..end).map(|(_, segment)| segment) {
            if segment.indexes_look_sane()? {
                continue;
            }
            tracing::warn!(dir = %self.dir.display(), base = %segment.base(), "rebuilding damaged indexes");
            // A damaged log file is found by the recovery, or when it is read.
            if let Err(error) = segment.rebuild_indexes(&self.config).and_then(|()| segment.sync())
                && !matches!(error, LogError::Corrupt { .. })
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Trusts the files after a clean stop; false if even the newest batches are damaged.
    fn resume_clean(&mut self, now: TimestampMs) -> Result<bool, LogError> {
        let active = self.active_mut()?;
        let resumed = active.resume().and_then(|()| active.last_batch());
        let last = match resumed {
            Ok(last) => last,
            Err(LogError::Corrupt { path, reason }) => {
                tracing::warn!(path = %path.display(), reason, "log is damaged although its stop was clean");
                return Ok(false);
            }
            Err(other) => return Err(other),
        };
        self.end = last.map_or(active.base(), |batch| Offset(batch.header.next_offset()));
        self.recovery_point = self.end;
        self.remove_stray_snapshots()?;
        self.producers = self.replay_producers(self.end, now)?;
        Ok(true)
    }

    /// Reads all segments from the one with the recovery point on.
    fn recover_from(&mut self, recovery_point: Offset, now: TimestampMs) -> Result<(), LogError> {
        let first = self.floor(recovery_point).unwrap_or_default();
        let bases: Vec<_> = self.segments.range(first..).map(|(base, _)| *base).collect();
        self.repair_indexes(first)?;
        self.producers = self.replay_producers(first, now)?;
        let files = self.segments.len() + self.snapshots.len();
        self.epochs.truncate_from_end(first);
        self.end = first;
        for base in bases {
            let recovered =
                if self.is_hole_before(base) { hole(self.end, base) } else { self.recover_segment(base)? };
            if let Some((bytes, reason)) = &recovered.cut {
                tracing::warn!(dir = %self.dir.display(), segment = %base, end = %recovered.end, bytes, reason,
                    "log ends at its first bad batch");
            }
            self.end = recovered.end;
            if recovered.cut.is_some() && testing::truncates() {
                self.drop_segments_after(base)?;
                break;
            }
        }
        self.producers.set_end(self.end);
        self.snapshots.remove_above(self.end)?;
        // What was beyond the end must not come back after a crash behind what is appended next.
        if self.segments.len() + self.snapshots.len() < files {
            self.sync_dir()?;
        }
        self.remove_stray_snapshots()
    }

    /// Offsets are missing between the segments before and `base`: its predecessor lost its end, or a file is gone.
    ///
    /// In a compacted log gaps are legitimate, and everything below one was flushed when it came to be.
    fn is_hole_before(&self, base: Offset) -> bool {
        base > self.end && !self.config.compact && testing::truncates()
    }

    fn recover_segment(&mut self, base: Offset) -> Result<Recovered, LogError> {
        let Some(segment) = self.segments.get_mut(&base) else {
            return Ok(Recovered { end: self.end, cut: None });
        };
        let (producers, epochs) = (&mut self.producers, &mut self.epochs);
        producers.set_end(base);
        segment.txn_index_mut().clear()?;
        segment.recover(&self.config, testing::truncates(), |segment, batch| {
            epochs.note(LeaderEpoch(batch.header.partition_leader_epoch), Offset(batch.header.base_offset));
            take_in(producers, segment, batch)
        })
    }

    /// Deletes the segments behind `base`, and `base` itself if nothing of it is left below the log's end.
    fn drop_segments_after(&mut self, base: Offset) -> Result<(), LogError> {
        let keep_base = base <= self.end;
        let from = if keep_base { base.plus(1) } else { base };
        for mut segment in self.segments.split_off(&from).into_values() {
            segment.remove()?;
        }
        Ok(())
    }

    fn remove_stray_snapshots(&mut self) -> Result<(), LogError> {
        let bases: BTreeSet<_> = self.segments.keys().copied().collect();
        self.snapshots.remove_stray(&bases)
    }

    /// The producers' state at `end`: from the newest snapshot below, and the batches since.
    pub(super) fn replay_producers(
        &mut self,
        end: Offset,
        now: TimestampMs,
    ) -> Result<ProducerStates, LogError> {
        let first = self.segments.first_key_value().map_or(end, |(base, _)| *base);
        let mut states = self.snapshots.load(first, end, now, self.config.producer_id_expiration_ms)?;
        let from = states.end();
        let floor = self.floor(from).unwrap_or_default();
        for segment in self.segments.range(floor..).map(|(_, segment)| segment) {
            if segment.base() >= end {
                break;
            }
            let Some(start) = segment.find(from)? else { continue };
            let mut walk = segment.walk_from(start.position)?;
            while let Some(batch) = walk.next()?.filter(|batch| batch.header.base_offset < end.0) {
                let control =
                    if batch.header.is_control() { Some(segment.read_batch(&batch)?) } else { None };
                let scanned = Scanned { header: batch.header, control };
                states.apply(&scanned.header, marker_in(&scanned));
            }
        }
        states.set_end(end);
        Ok(states)
    }
}

fn take_in(producers: &mut ProducerStates, segment: &mut Segment, batch: &Scanned) -> Result<(), LogError> {
    let completed = producers.apply(&batch.header, marker_in(batch));
    match completed.filter(|txn| txn.aborted) {
        Some(txn) => segment.txn_index_mut().push(&producers.aborted(&txn)),
        None => Ok(()),
    }
}

fn marker_in(batch: &Scanned) -> Option<crate::producer::Marker> {
    let control = batch.control.as_ref()?;
    let whole = Batch::parse(control).ok()?;
    marker_of(&batch.header, || whole.body())
}

fn hole(end: Offset, base: Offset) -> Recovered {
    Recovered { end, cut: Some((0, format!("offsets {end} to {base} are missing"))) }
}

/// What is in the directory, which is made if it is not there.
fn names_in(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, LogError> {
    match disk.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            disk.create_dir_all(dir).map_err(|e| LogError::io("create", dir, e))?;
            Ok(Vec::new())
        }
        other => other.map_err(|e| LogError::io("list", dir, e)),
    }
}

/// What there is of a log.
struct Found {
    logs: BTreeMap<Offset, u64>,
    snapshots: BTreeSet<Offset>,
}

impl Found {
    /// Index files without their log are removed.
    fn among(disk: &dyn Disk, dir: &Path, names: &[String]) -> Result<Self, LogError> {
        let mut found = Self { logs: BTreeMap::new(), snapshots: BTreeSet::new() };
        for name in names {
            match names::parse(name) {
                Some((base, names::LOG)) => {
                    let path = dir.join(name);
                    let len = disk.len(&path).map_err(|e| LogError::io("stat", &path, e))?;
                    found.logs.insert(base, len.unwrap_or_default());
                }
                Some((offset, names::SNAPSHOT)) => {
                    found.snapshots.insert(offset);
                }
                _ => {}
            }
        }
        for name in names {
            if let Some((base, names::INDEX | names::TIME_INDEX | names::TXN_INDEX)) = names::parse(name)
                && !found.logs.contains_key(&base)
            {
                remove(disk, &dir.join(name))?;
            }
        }
        Ok(found)
    }
}

/// Finishes or undoes what a crash interrupted: deletions, a cleaner's work, replaced checkpoints. Returns what is there
/// then.
fn tidy(disk: &dyn Disk, dir: &Path, names: Vec<String>) -> Result<Vec<String>, LogError> {
    let unfinished = [names::DELETED, ".tmp", names::CLEANED, names::SWAP];
    if !names.iter().any(|name| unfinished.iter().any(|suffix| name.ends_with(suffix))) {
        return Ok(names);
    }
    let suffixed = |suffix: &'static str| names.iter().filter(move |name| name.ends_with(suffix));
    for name in suffixed(names::DELETED).chain(suffixed(".tmp")) {
        remove(disk, &dir.join(name))?;
    }
    // A split that was not finished: neither its new files nor those already renamed to swap count.
    let min_cleaned = suffixed(names::CLEANED).filter_map(|name| Some(names::parse(name)?.0)).min();
    for name in suffixed(names::CLEANED) {
        remove(disk, &dir.join(name))?;
    }
    let swaps: Vec<_> = suffixed(names::SWAP).collect();
    for name in &swaps {
        if let (Some((base, _)), Some(min)) = (names::parse(name), min_cleaned)
            && base >= min
        {
            remove(disk, &dir.join(name))?;
        }
    }
    finish_swaps(disk, dir)?;
    list(disk, dir)
}

/// Puts cleaned segments in the place of those that they were made from.
fn finish_swaps(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let names = list(disk, dir)?;
    let swaps: Vec<_> = names.iter().filter(|name| name.ends_with(names::SWAP)).collect();
    for name in &swaps {
        let Some((base, "log.swap")) = names::parse(name) else { continue };
        let path = dir.join(name);
        let len = disk.len(&path).map_err(|e| LogError::io("stat", &path, e))?.unwrap_or_default();
        let file =
            disk.open(&path, crate::disk::OpenMode::Read).map_err(|e| LogError::io("open", &path, e))?;
        let mut walk = crate::segment::HeaderWalk::new(path, file, 0, len);
        let mut end = base.plus(1);
        while let Some(batch) = walk.next()? {
            end = Offset(batch.header.next_offset());
        }
        for old in &names {
            let replaced = |(at, extension): (Offset, &str)| {
                at >= base && at < end && !extension.ends_with(names::SWAP) && extension != names::SNAPSHOT
            };
            if names::parse(old).is_some_and(replaced) {
                remove(disk, &dir.join(old))?;
            }
        }
    }
    for name in swaps {
        let to = dir.join(name.strip_suffix(names::SWAP).unwrap_or(name));
        disk.rename(&dir.join(name), &to).map_err(|e| LogError::io("rename", &to, e))?;
    }
    Ok(())
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, LogError> {
    disk.list(dir).map_err(|e| LogError::io("list", dir, e))
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    disk.remove_file(path).map_err(|e| LogError::io("remove", path, e))
}
