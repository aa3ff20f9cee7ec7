//! One partition's log: an ordered list of segments, the last of which is appended to.
//!
//! The caller holds one lock per log: writers `&mut`, readers `&`. Nothing here knows the time; `now` is passed in.

mod append;
mod cut;
mod flush;
mod lookup;
mod open;
mod places;
mod read;
mod relocate;
mod retain;
mod roll;
mod swap;
mod tail;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod relocate_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use flush::{Flush, Names};
pub(crate) use swap::swap;

use crate::config::LogConfig;
use crate::disk::Disk;
use crate::epochs::Epochs;
use crate::error::LogError;
use crate::producer::{ProducerEntry, ProducerStates, Snapshots};
use crate::segment::Segment;
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use ottla_wire::Records;
use places::Places;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tail::Tail;

pub use lookup::Lookup;

/// What the caller knows about a log before it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// The directory was shut down cleanly (`.kafka_cleanshutdown`): only cheap checks are made.
    pub clean: bool,
    /// From the recovery point checkpoint: everything below is on disk. 0 if unknown.
    pub recovery_point: Offset,
    /// From the log start checkpoint: everything below is deleted. 0 if unknown.
    pub log_start_offset: Offset,
    /// The caller makes the directory's name and those in it durable before the first flush. Otherwise that flush does.
    pub names_synced: bool,
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

/// An idempotent producer as the log remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// Sequence of its last record, -1 if none is known.
    pub last_sequence: i32,
    /// Timestamp of its last batch, -1 if none is known.
    pub last_timestamp: TimestampMs,
    /// Epoch of the coordinator that wrote its last marker, -1 if none did.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub txn_start: Option<Offset>,
}

/// One partition's log. See the module for what the caller must do about locks and time.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    config: LogConfig,
    disk: Arc<dyn Disk>,
    /// Never empty; the last one is appended to.
    segments: BTreeMap<Offset, Box<Segment>>,
    start: Offset,
    end: Offset,
    recovery_point: Offset,
    last_flush: TimestampMs,
    /// Whether the directory's name, those of the first files in it and `partition.metadata` are durable. Nothing that
    /// is not flushed needs them to be; the first flush sees to it at the latest.
    names_synced: bool,
    /// Counts truncations, so that a flush under way does not claim what was cut meanwhile.
    truncations: u64,
    epochs: Epochs,
    producers: ProducerStates,
    snapshots: Snapshots,
    tail: Tail,
    /// Replaced, not emptied, where it holds no more: a look-up that is under way may still write into it.
    places: Arc<Places>,
    /// Files to be removed, and when.
    deleted: VecDeque<(TimestampMs, PathBuf)>,
    /// A cleaned segment on its way into place.
    swap: Option<swap::Swap>,
    poisoned: Option<String>,
}

impl Log {
    /// The partition's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Puts other settings in force, from the next append, flush and retention on.
    pub fn update_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// First offset that can be read.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// Offset of the next record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything below is durable.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segments.values().map(|segment| segment.size()).sum()
    }

    /// Number of segments.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Number of producers remembered.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// The producers remembered, by id.
    #[must_use]
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let active = |entry: ProducerEntry| ActiveProducer {
            producer_id: entry.producer_id,
            epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: TimestampMs(entry.last_timestamp),
            coordinator_epoch: entry.coordinator_epoch,
            txn_start: entry.current_txn_first_offset.map(Offset),
        };
        self.producers.entries().into_iter().map(active).collect()
    }

    /// Newest leader epoch that wrote here.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last().map(|last| last.epoch)
    }

    /// The largest epoch at or below `epoch` and the offset where it ends; `None` for an epoch not heard of yet.
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_of(epoch, self.end)
    }

    /// First offset that was written under exactly this epoch.
    #[must_use]
    pub fn epoch_start_offset(&self, epoch: LeaderEpoch) -> Option<Offset> {
        self.epochs.start_of(epoch)
    }

    /// Notes that this broker leads under `epoch` from the log's end on. In memory: the epoch's batches tell of it, and an
    /// epoch without batches is forgotten when the log is opened again, as in Kafka.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.note(epoch, self.end);
    }

    /// Epoch under which the batch at `offset` was written.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.at(offset)
    }

    /// First offset of an open transaction, or of one whose marker is not below the high watermark.
    #[must_use]
    pub fn first_unstable_offset(&self, high_watermark: Offset) -> Option<Offset> {
        self.producers.first_unstable_offset(high_watermark)
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: TimestampMs) {
        self.producers.expire(now, self.config.producer_id_expiration_ms);
    }

    /// Why nothing can be written any more, if so: an earlier write or fsync failed, or the log is deleted.
    #[must_use]
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    fn check_usable(&self) -> Result<(), LogError> {
        match &self.poisoned {
            Some(reason) => Err(LogError::Poisoned(reason.clone())),
            None => Ok(()),
        }
    }

    /// Notes an error after which the state of the files is unknown. A full disk leaves them as they were.
    fn poison_on_error<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result
            && !matches!(error, LogError::NoSpace { .. })
            && self.poisoned.is_none()
        {
            self.poisoned = Some(error.to_string());
        }
        result
    }

    fn active(&self) -> Result<&Segment, LogError> {
        self.segments.values().next_back().map(|active| &**active).ok_or_else(|| no_segment(&self.dir))
    }

    fn active_mut(&mut self) -> Result<&mut Segment, LogError> {
        let dir = &self.dir;
        self.segments.values_mut().next_back().map(|active| &mut **active).ok_or_else(|| no_segment(dir))
    }

    /// Base of the segment that holds `offset`, or of the first one.
    fn floor(&self, offset: Offset) -> Option<Offset> {
        let below = self.segments.range(..=offset).next_back();
        below.or_else(|| self.segments.first_key_value()).map(|(base, _)| *base)
    }

    fn sync_dir(&self) -> Result<(), LogError> {
        self.disk.sync_dir(&self.dir).map_err(|e| LogError::io("sync", &self.dir, e))
    }
}

fn no_segment(dir: &Path) -> LogError {
    LogError::Corrupt { path: dir.to_path_buf(), reason: "log has no segment".into() }
}
