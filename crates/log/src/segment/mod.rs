//! One segment: a file of batches, its two sparse indexes and its aborted transactions.
//!
//! Invariants: `size` is the end of the last whole batch; index entries point at batch starts below it; both indexes
//! rise strictly. The log file is opened when it is used and stays open as long as [`crate::disk::OpenFiles`] allows; the
//! others are open only while they are used.

mod files;
mod recover;
mod scan;
mod search;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use files::DirtyFile;
pub(crate) use recover::{Recovered, Scanned, info};
pub(crate) use scan::{BatchAt, HeaderWalk};
pub(crate) use view::SegmentView;

use crate::config::LogConfig;
use crate::disk::{Disk, DiskFile, FileSlot, OpenMode};
use crate::error::LogError;
use crate::index::{Entry, IndexFile, OffsetEntry, TimeEntry, TxnIndex};
use crate::names;
use crate::types::{Offset, TimestampMs};
use ottla_wire::Records;
use parking_lot::Mutex;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an append tells the indexes about each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchInfo {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: TimestampMs,
    pub size: usize,
}

/// The largest timestamp of a segment, and the last offset of the first batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxTimestamp {
    pub timestamp: TimestampMs,
    pub offset: Offset,
}

/// A segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<FileSlot>,
    size: u64,
    offset_index: IndexFile<OffsetEntry>,
    time_index: IndexFile<TimeEntry>,
    txn_index: TxnIndex,
    /// `None` until it was asked for.
    max_timestamp: Mutex<Option<MaxTimestamp>>,
    /// Max timestamp of the first batch; `None` until it was asked for, or while there is none.
    first_timestamp: Mutex<Option<TimestampMs>>,
    bytes_since_index_entry: u64,
    created: TimestampMs,
}

impl Segment {
    /// Makes the files of a new segment; leftovers under their names are emptied.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base: Offset,
        config: &LogConfig,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let segment = Self::create_named(disk, dir, base, "", now)?;
        if config.preallocate {
            let reserved = segment.file()?.reserve(u64::from(config.segment_bytes));
            reserved.map_err(|e| LogError::io("reserve", &segment.path, e))?;
        }
        Ok(segment)
    }

    /// Makes the files of a segment whose names end with `.cleaned`.
    pub(crate) fn create_cleaned(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base: Offset,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        Self::create_named(disk, dir, base, names::CLEANED, now)
    }

    fn create_named(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base: Offset,
        suffix: &str,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        let index = |extension| dir.join(names::file_name(base, extension) + suffix);
        let path = index(names::LOG);
        let file = disk.open(&path, OpenMode::Truncate).map_err(|e| LogError::io("create", &path, e))?;
        Ok(Self {
            base,
            disk: disk.clone(),
            file: FileSlot::made(&**disk, file),
            size: 0,
            offset_index: IndexFile::create(disk.clone(), index(names::INDEX))?,
            time_index: IndexFile::create(disk.clone(), index(names::TIME_INDEX))?,
            txn_index: TxnIndex::new(disk.clone(), index(names::TXN_INDEX)),
            max_timestamp: Mutex::new(Some(MaxTimestamp { timestamp: TimestampMs::NONE, offset: base })),
            first_timestamp: Mutex::new(None),
            bytes_since_index_entry: 0,
            created: now,
            path,
        })
    }

    /// A segment whose files are there; none is opened.
    pub(crate) fn existing(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        base: Offset,
        size: u64,
        now: TimestampMs,
    ) -> Self {
        let index = |extension| dir.join(names::file_name(base, extension));
        Self {
            base,
            disk: disk.clone(),
            path: index(names::LOG),
            file: Arc::default(),
            size,
            offset_index: IndexFile::existing(disk.clone(), index(names::INDEX)),
            time_index: IndexFile::existing(disk.clone(), index(names::TIME_INDEX)),
            txn_index: TxnIndex::new(disk.clone(), index(names::TXN_INDEX)),
            max_timestamp: Mutex::new(None),
            first_timestamp: Mutex::new(None),
            bytes_since_index_entry: 0,
            created: now,
        }
    }

    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// Bytes of whole batches.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// When it was made or, after opening, when it was opened.
    pub(crate) fn created(&self) -> TimestampMs {
        self.created
    }

    /// The log file, opened if it is not.
    pub(crate) fn file(&self) -> Result<Arc<dyn DiskFile>, LogError> {
        self.file.get(&*self.disk, &self.path)
    }

    /// A stretch of the log file, to be sent.
    pub(crate) fn records(&self, position: u64, len: usize) -> Result<Records, LogError> {
        let records = self.file()?.records(position, len);
        records.map_err(|e| LogError::io("read", &self.path, e))
    }

    /// Whether an offset fits into the 32-bit relative offsets of the indexes.
    pub(crate) fn fits(&self, offset: Offset) -> bool {
        self.relative(offset).is_some()
    }

    fn relative(&self, offset: Offset) -> Option<i32> {
        i32::try_from(offset.0.checked_sub(self.base.0)?).ok().filter(|relative| *relative >= 0)
    }

    /// Whether an index has no room for another batch.
    pub(crate) fn indexes_are_full(&self, config: &LogConfig) -> Result<bool, LogError> {
        let room = usize::try_from(config.segment_index_bytes).unwrap_or(usize::MAX);
        let offsets_full = self.offset_index.len()? >= room / OffsetEntry::SIZE;
        // The last time entry is kept free for closing the segment.
        Ok(offsets_full || self.time_index.len()? >= (room / TimeEntry::SIZE).saturating_sub(1))
    }

    /// Writes batches behind the last one and indexes them. `parts` are the bytes of `batches`, one after the other.
    ///
    /// # Errors
    /// With [`LogError::NoSpace`] the file is cut back and the segment unchanged; after any other error its state is
    /// unknown.
    pub(crate) fn append(
        &mut self,
        parts: &[IoSlice<'_>],
        batches: &[BatchInfo],
        config: &LogConfig,
    ) -> Result<(), LogError> {
        let file = self.file()?;
        let written = file.write_at(parts, self.size);
        // Even if it failed: what was written of it, and that it was cut off again, are no more durable than the rest.
        self.file.set_unsynced();
        if let Err(e) = written {
            file.set_len(self.size).map_err(|e| LogError::io("cut back", &self.path, e))?;
            return Err(LogError::io("append to", &self.path, e));
        }
        for batch in batches {
            self.index_batch(batch, config)?;
        }
        Ok(())
    }

    /// Counts a batch at the current end, adding index entries every `index.interval.bytes`.
    fn index_batch(&mut self, batch: &BatchInfo, config: &LogConfig) -> Result<(), LogError> {
        let max = self.note_timestamp(batch)?;
        if self.size == 0 {
            *self.first_timestamp.get_mut() = Some(batch.max_timestamp);
        }
        if self.bytes_since_index_entry > u64::from(config.index_interval_bytes) {
            if let (Some(relative_offset), Ok(position)) =
                (self.relative(batch.last_offset), i32::try_from(self.size))
            {
                self.offset_index.push(OffsetEntry { relative_offset, position })?;
            }
            self.push_time(max)?;
            self.bytes_since_index_entry = 0;
        }
        let size = u64::try_from(batch.size).unwrap_or_default();
        self.size += size;
        self.bytes_since_index_entry += size;
        Ok(())
    }

    fn note_timestamp(&mut self, batch: &BatchInfo) -> Result<MaxTimestamp, LogError> {
        let mut max = self.max_timestamp()?;
        if batch.max_timestamp > max.timestamp {
            max = MaxTimestamp { timestamp: batch.max_timestamp, offset: batch.last_offset };
            *self.max_timestamp.get_mut() = Some(max);
        }
        Ok(max)
    }

    /// Adds a time index entry if it is later than the last one.
    fn push_time(&mut self, max: MaxTimestamp) -> Result<(), LogError> {
        let last = self.time_index.last()?.map_or(TimestampMs::NONE.0, |last| last.timestamp);
        match self.relative(max.offset) {
            Some(relative_offset) if max.timestamp.0 > last => {
                self.time_index.push(TimeEntry { timestamp: max.timestamp.0, relative_offset })
            }
            _ => Ok(()),
        }
    }

    /// The largest timestamp; -1 if there is none.
    pub(crate) fn max_timestamp(&self) -> Result<MaxTimestamp, LogError> {
        let mut slot = self.max_timestamp.lock();
        if let Some(max) = *slot {
            return Ok(max);
        }
        let last = match self.time_index.last() {
            Err(LogError::Corrupt { .. }) => {
                let max = self.scan_max_timestamp()?;
                *slot = Some(max);
                return Ok(max);
            }
            other => other?,
        };
        let max = last.map_or(MaxTimestamp { timestamp: TimestampMs::NONE, offset: self.base }, |last| {
            MaxTimestamp {
                timestamp: TimestampMs(last.timestamp),
                offset: self.base.plus(i64::from(last.relative_offset)),
            }
        });
        *slot = Some(max);
        Ok(max)
    }

    /// Without the time index: from all headers.
    fn scan_max_timestamp(&self) -> Result<MaxTimestamp, LogError> {
        let mut max = MaxTimestamp { timestamp: TimestampMs::NONE, offset: self.base };
        let mut walk = self.walk_from(0)?;
        while let Some(batch) = walk.next()? {
            if batch.header.max_timestamp > max.timestamp.0 {
                let offset = Offset(batch.header.last_offset());
                max = MaxTimestamp { timestamp: TimestampMs(batch.header.max_timestamp), offset };
            }
        }
        Ok(max)
    }

    /// Time by which retention judges the segment: its largest timestamp or else its file's modification.
    pub(crate) fn retention_time(&self) -> Result<TimestampMs, LogError> {
        let max = self.max_timestamp()?.timestamp;
        if max >= TimestampMs(0) {
            return Ok(max);
        }
        self.disk.modified_ms(&self.path).map(TimestampMs).map_err(|e| LogError::io("stat", &self.path, e))
    }

    /// Max timestamp of the first batch, if it has one.
    pub(crate) fn first_timestamp(&self) -> Result<Option<TimestampMs>, LogError> {
        let mut slot = self.first_timestamp.lock();
        if slot.is_none() {
            *slot = self.walk_from(0)?.next()?.map(|batch| TimestampMs(batch.header.max_timestamp));
        }
        Ok(slot.filter(|timestamp| *timestamp >= TimestampMs(0)))
    }

    /// Adds the last time index entry, as for every segment that is not appended to any more.
    pub(crate) fn finish(&mut self) -> Result<(), LogError> {
        let max = self.max_timestamp()?;
        self.push_time(max)?;
        self.offset_index.write_out()?;
        self.time_index.write_out()
    }

    /// The aborted transactions.
    pub(crate) fn txn_index(&self) -> &TxnIndex {
        &self.txn_index
    }

    /// The aborted transactions, to add one.
    pub(crate) fn txn_index_mut(&mut self) -> &mut TxnIndex {
        &mut self.txn_index
    }
}
