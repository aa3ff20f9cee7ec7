//! One partition's log: an ordered list of segments, the last of which is appended to.
//!
//! The caller holds one lock per log: writers `&mut`, readers `&`. Nothing here knows the time; `now` is passed in.

use crate::config::LogConfig;
use crate::disk::Disk;
use crate::error::{AppendError, LogError, ReadError};
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use bytes::Bytes;
use ottla_wire::{FileRegion, Records};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the caller knows about a log before it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// The directory was shut down cleanly (`.kafka_cleanshutdown`): only cheap checks are made.
    pub clean: bool,
    /// From the recovery point checkpoint: everything below is on disk. 0 if unknown.
    pub recovery_point: Offset,
    /// From the log start checkpoint: everything below is deleted. 0 if unknown.
    pub log_start_offset: Offset,
    /// Leader epoch of batches written by an older format; `None` is right for all that Ottla reads.
    pub leader_epoch_hint: Option<LeaderEpoch>,
}

/// Who appends; decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A produce request: everything is checked.
    Client,
    /// A coordinator of this broker, control batches included.
    Coordinator,
    /// The metadata quorum's leader: offsets and epochs are already set.
    Raft,
}

/// An append that succeeded, or repeated an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp of the batch.
    pub max_timestamp: TimestampMs,
    /// Append time if the topic uses `LogAppendTime`, else -1.
    pub log_append_time: TimestampMs,
    /// Log start offset at that time.
    pub log_start_offset: Offset,
    /// Epoch under which it was appended.
    pub leader_epoch: LeaderEpoch,
    /// The batch was there already (same producer, epoch and sequence): nothing was written.
    pub duplicate: bool,
    /// Bytes written.
    pub size: usize,
    /// Number of records.
    pub record_count: i32,
}

/// Whole batches, beginning with the one that contains the offset asked for.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The batches; empty if there are none yet.
    pub records: Records,
    /// Base offset of the first batch; the offset asked for if there is none.
    pub first_offset: Offset,
    /// Offset after the last batch; the offset asked for if there is none.
    pub next_offset: Offset,
}

/// A record found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Its offset.
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// An aborted transaction that overlaps a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Producer of the transaction.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: Offset,
    /// Offset of the abort marker.
    pub last_offset: Offset,
    /// Last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    config: LogConfig,
    disk: Arc<dyn Disk>,
    start: Offset,
    end: Offset,
}

fn not_yet(dir: &Path) -> LogError {
    LogError::Corrupt { path: dir.to_path_buf(), reason: "not implemented yet".into() }
}

#[expect(
    clippy::needless_pass_by_value,
    clippy::missing_errors_doc,
    unused_variables,
    missing_docs,
    reason = "signatures first"
)]
impl Log {
    pub fn open(
        dir: PathBuf,
        config: LogConfig,
        disk: Arc<dyn Disk>,
        opening: Opening,
        now: TimestampMs,
    ) -> Result<Self, LogError> {
        Err(not_yet(&dir))
    }
    pub fn append_as_leader(
        &mut self,
        records: Bytes,
        epoch: LeaderEpoch,
        origin: Origin,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        Err(not_yet(&self.dir).into())
    }
    /// Batches as a leader sent them; `None` if there were none.
    pub fn append_as_follower(
        &mut self,
        records: Bytes,
        now: TimestampMs,
    ) -> Result<Option<Appended>, AppendError> {
        Err(not_yet(&self.dir).into())
    }
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        up_to: Offset,
        min_one: bool,
    ) -> Result<Slice, ReadError> {
        Err(not_yet(&self.dir).into())
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    pub fn config(&self) -> &LogConfig {
        &self.config
    }
    pub fn start_offset(&self) -> Offset {
        self.start
    }
    pub fn end_offset(&self) -> Offset {
        self.end
    }
    /// Everything below is on disk.
    pub fn recovery_point(&self) -> Offset {
        self.start
    }
    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        0
    }
    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        0
    }
    /// First record with this timestamp or a later one.
    pub fn offset_for_timestamp(&self, at: TimestampMs) -> Result<Option<TimestampOffset>, LogError> {
        Err(not_yet(&self.dir))
    }
    /// First record with the largest timestamp.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        Err(not_yet(&self.dir))
    }
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        None
    }
    /// Largest epoch at or below `epoch`, and where it ends.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        None
    }
    /// First offset of the epoch now leading here.
    pub fn epoch_start_offset(&self, epoch: LeaderEpoch) -> Option<Offset> {
        None
    }
    /// First offset of an open transaction, or of one whose marker lies at or above the high watermark.
    pub fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        None
    }
    /// Aborted transactions that overlap `[from, up_to)`.
    pub fn aborted_transactions(&self, from: Offset, up_to: Offset) -> Result<Vec<AbortedTxn>, LogError> {
        Err(not_yet(&self.dir))
    }
    /// Removes everything at and above `offset`.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
    /// Removes everything; the next append begins at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset, now: TimestampMs) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
    /// Hides everything below `offset`; files go with the next [`Log::retain`]. Returns whether it moved.
    pub fn advance_start_offset(&mut self, offset: Offset) -> Result<bool, LogError> {
        Err(not_yet(&self.dir))
    }
    /// Starts the next segment; the finished one is flushed with the next flush.
    pub fn roll(&mut self, now: TimestampMs) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
    /// Whether `flush.messages` or `flush.ms` ask for a flush.
    pub fn should_flush(&self, now: TimestampMs) -> bool {
        false
    }
    /// Makes everything appended durable and moves the recovery point there.
    pub fn flush(&mut self, now: TimestampMs) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
    /// Deletes segments by time, size and log start, never beyond the high watermark; returns how many.
    pub fn retain(&mut self, now: TimestampMs, high_watermark: Offset) -> Result<usize, LogError> {
        Err(not_yet(&self.dir))
    }
    /// Unlinks files that were deleted `file.delete.delay.ms` ago.
    pub fn purge(&mut self, now: TimestampMs) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: TimestampMs) {}
    pub fn update_config(&mut self, config: LogConfig) {
        self.config = config;
    }
    /// Renames the directory to `<topic>-<n>.<unique>-delete`; returns its new path. Nothing can be appended any more.
    pub fn rename_for_delete(&mut self, unique: &str) -> Result<PathBuf, LogError> {
        Err(not_yet(&self.dir))
    }
    /// Removes the directory with everything in it.
    pub fn delete(self) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
    /// Flushes, takes a producer snapshot and closes all files.
    pub fn close_clean(self, now: TimestampMs) -> Result<(), LogError> {
        Err(not_yet(&self.dir))
    }
}
