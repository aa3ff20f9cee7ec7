//! One node's part in the quorum: the metadata log, `quorum-state`, snapshots, and the image at the high watermark.
//!
//! [`Quorum`] owns the directory `__cluster_metadata-0`. It does what [`crate::role`] says, in that order: a vote is on
//! disk before it counts, and records are flushed before they are committed.
//! It is synchronous; its owner calls it from one thread. Any failed write or sync makes it useless for good.

#[cfg(test)]
mod crash_tests;
mod open;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::disk::Disk;
use ottla_log::{AppendError, LeaderEpoch, Log, LogError, Origin, TimestampMs};
use ottla_wire::{Str, Uuid};

use crate::control::{ControlRecord, control_batch};
use crate::features::{FeatureError, KRaftVersion};
use crate::image::{MetadataImage, Provenance};
use crate::load::LoadError;
use crate::quorum_state::{self, Election, QuorumStateError};
use crate::record::{RecordError, VersionedRecord};
use crate::replay::{Replay, ReplayError};
use crate::role::{Command, Event, Raft, Role};
use crate::snapshot::{self, SnapshotError, SnapshotId};
use crate::voters::{Voter, VoterEndpoint, VoterSet};

/// Largest batch of metadata records, in bytes.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
/// Most records that count all together or not at all.
pub const MAX_RECORDS_PER_BATCH: usize = 40_000;
/// Records in a batch where they need not: Kafka's own bound.
const RECORDS_AT_ONCE: usize = 10_000;

/// Where a node keeps its metadata, and who it is.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// `metadata.log.dir`, or the first of `log.dirs`; the log lies in a directory below.
    pub log_dir: PathBuf,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id` of `log_dir`.
    pub directory_id: Uuid,
    /// `cluster.id`.
    pub cluster_id: Str,
    /// `controller.quorum.voters`, if it is set.
    pub static_voters: Option<VoterSet>,
    /// This node's controller listeners, as they are advertised.
    pub endpoints: Vec<VoterEndpoint>,
    /// `metadata.log.segment.bytes`.
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`.
    pub segment_ms: i64,
    /// `metadata.max.retention.bytes`, -1 for no limit.
    pub retention_bytes: i64,
    /// `metadata.max.retention.ms`, -1 for no limit.
    pub retention_ms: i64,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`, 0 for none by time.
    pub snapshot_interval_ms: i64,
}

impl QuorumConfig {
    /// Kafka's defaults for everything that has one.
    pub fn new(log_dir: PathBuf, node_id: i32, directory_id: Uuid, cluster_id: Str) -> Self {
        Self {
            log_dir,
            node_id,
            directory_id,
            cluster_id,
            static_voters: None,
            endpoints: Vec::new(),
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            retention_bytes: 100 << 20,
            retention_ms: 7 * 24 * 3_600_000,
            snapshot_bytes: 20 << 20,
            snapshot_interval_ms: 3_600_000,
        }
    }

    /// Directory of the metadata log.
    pub fn dir(&self) -> PathBuf {
        self.log_dir.join(crate::METADATA_DIR)
    }
}

/// Why a node cannot take part in the quorum, or something was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// The directory finalises what this broker does not serve. Nothing was written.
    #[error("{path}: {cause}")]
    Feature {
        /// Where it is finalised.
        path: PathBuf,
        /// Feature and level.
        cause: FeatureError,
    },
    /// The metadata cannot be read. Nothing was written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// `quorum-state` cannot be read. Nothing was written.
    #[error(transparent)]
    State(#[from] QuorumStateError),
    /// The voters do not allow this node to lead. Nothing was written.
    #[error("{0}")]
    Voters(String),
    /// A snapshot cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log refused a batch. Nothing was written.
    #[error("metadata log: {0}")]
    Append(#[from] AppendError),
    /// The system refuses.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
    /// A record cannot be encoded. Nothing was written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Records do not fit the image. Nothing was written.
    #[error("metadata records do not fit: {0}")]
    Replay(#[from] ReplayError),
    /// More than one batch holds. Nothing was written.
    #[error("{records} metadata records of {bytes} bytes are too many for one batch")]
    TooLarge {
        /// Number of records.
        records: usize,
        /// Their size.
        bytes: usize,
    },
    /// Another node leads, or nobody does.
    #[error("this node is not the active controller")]
    NotLeader,
    /// An earlier write failed.
    #[error("metadata log failed earlier: {0}")]
    Failed(String),
}

impl QuorumError {
    /// Whether it is only that the disk is full.
    pub fn is_no_space(&self) -> bool {
        let full = |cause: &io::Error| cause.kind() == io::ErrorKind::StorageFull;
        match self {
            Self::Log(error) | Self::Append(AppendError::Log(error)) => error.is_no_space(),
            Self::Io { cause, .. } | Self::Snapshot(SnapshotError::Io { cause, .. }) => full(cause),
            _ => false,
        }
    }
}

/// What DescribeQuorum tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumStatus {
    /// Who leads.
    pub leader_id: Option<i32>,
    /// In which epoch.
    pub leader_epoch: i32,
    /// End of what is committed.
    pub high_watermark: i64,
    /// This node's log end.
    pub log_end_offset: i64,
    /// The voters.
    pub voters: Vec<Voter>,
    /// Level of `kraft.version`.
    pub kraft_version: KRaftVersion,
}

/// A node of the quorum that leads.
#[derive(Debug)]
pub struct Quorum {
    config: QuorumConfig,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    log: Log,
    raft: Raft,
    replay: Replay,
    snapshots: BTreeSet<SnapshotId>,
    bytes_since_snapshot: u64,
    last_snapshot_ms: i64,
    /// The voters are to be written with the next epoch's first record.
    announce_voters: bool,
    failed: Option<String>,
}

impl Quorum {
    /// The image at the log's end; after [`Quorum::commit`] that is the high watermark.
    pub fn image(&self) -> &MetadataImage {
        self.replay.image()
    }

    /// Offset that the next record gets.
    pub fn next_offset(&self) -> i64 {
        self.log.end_offset().0
    }

    /// Offset of a `BeginTransaction` that has no end.
    pub fn open_transaction(&self) -> Option<i64> {
        self.replay.open_transaction()
    }

    /// Who leads, and how far everybody is.
    pub fn status(&self) -> QuorumStatus {
        QuorumStatus {
            leader_id: matches!(self.raft.role(), Role::Leader { .. }).then_some(self.config.node_id),
            leader_epoch: self.raft.epoch(),
            high_watermark: self.raft.high_watermark().unwrap_or(-1),
            log_end_offset: self.next_offset(),
            voters: self.raft.voters().iter().cloned().collect(),
            kraft_version: self.image().features.kraft_version,
        }
    }

    /// Appends the records as one batch: they count all together or not at all. Returns the offset of the first. They
    /// are in the image at once, and durable after [`Quorum::commit`]; nobody may be told before.
    ///
    /// # Errors
    /// See [`QuorumError`]. After `Log` and `Failed` nothing can be written any more; the node must stop.
    pub fn append(&mut self, records: &[VersionedRecord], now: i64) -> Result<i64, QuorumError> {
        self.check_leader()?;
        let first = self.next_offset();
        if records.is_empty() {
            return Ok(first);
        }
        if records.len() > MAX_RECORDS_PER_BATCH {
            return Err(QuorumError::TooLarge { records: records.len(), bytes: 0 });
        }
        let (replay, batch) = self.prepare(records, now)?;
        self.append_batch(batch, now)?;
        self.replay = replay;
        Ok(first)
    }

    /// Appends the records in as many batches as it takes: after a failure or crash only the first of them may be there.
    ///
    /// # Errors
    /// As [`Quorum::append`].
    pub fn append_all(&mut self, records: &[VersionedRecord], now: i64) -> Result<i64, QuorumError> {
        let first = self.next_offset();
        for chunk in records.chunks(RECORDS_AT_ONCE) {
            self.append(chunk, now)?;
        }
        Ok(first)
    }

    /// Makes everything appended durable and commits it.
    ///
    /// # Errors
    /// The log failed; the node must stop.
    pub fn commit(&mut self, now: i64) -> Result<(), QuorumError> {
        if self.raft.high_watermark() == Some(self.next_offset()) {
            return Ok(());
        }
        self.check_leader()?;
        if let Err(error) = self.log.flush(TimestampMs(now)) {
            self.failed = Some(error.to_string());
            return Err(error.into());
        }
        let flushed = Event::Flushed { voter: self.config.node_id, end_offset: self.next_offset() };
        self.drive(flushed, now)
    }

    /// Tries the records on a copy of the image and encodes them; nothing is written yet.
    fn prepare(&self, records: &[VersionedRecord], now: i64) -> Result<(Replay, Bytes), QuorumError> {
        let epoch = self.raft.epoch();
        let mut offset = self.next_offset();
        let batch = snapshot::data_batch(records, offset, epoch, now)?;
        if batch.len() > MAX_BATCH_BYTES {
            return Err(QuorumError::TooLarge { records: records.len(), bytes: batch.len() });
        }
        let mut replay = self.replay.clone();
        for record in records {
            replay.record(offset, &record.record)?;
            offset += 1;
        }
        replay.advance(Provenance { offset: offset - 1, epoch, timestamp: now });
        Ok((replay, batch))
    }

    fn append_batch(&mut self, batch: Bytes, now: i64) -> Result<i64, QuorumError> {
        let size = batch.len() as u64;
        let epoch = LeaderEpoch(self.raft.epoch());
        let appended = match self.log.append_as_leader(batch, epoch, Origin::Raft, TimestampMs(now)) {
            Ok(appended) => appended,
            Err(error) => {
                if let AppendError::Log(cause) = &error
                    && !matches!(cause, LogError::NoSpace { .. })
                {
                    self.failed = Some(cause.to_string());
                }
                return Err(error.into());
            }
        };
        self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_add(size);
        Ok(appended.base_offset.0)
    }

    fn check_leader(&self) -> Result<(), QuorumError> {
        match &self.failed {
            Some(reason) => Err(QuorumError::Failed(reason.clone())),
            None if self.raft.is_active_leader() => Ok(()),
            None => Err(QuorumError::NotLeader),
        }
    }

    /// Does what the state machine asks for until it asks for nothing more.
    fn drive(&mut self, event: Event, now: i64) -> Result<(), QuorumError> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for command in self.raft.handle(event) {
                events.extend(self.execute(command, now)?);
            }
        }
        Ok(())
    }

    fn execute(&mut self, command: Command, now: i64) -> Result<Vec<Event>, QuorumError> {
        match command {
            Command::Persist(election) => {
                self.persist(&election)?;
                Ok(vec![Event::ElectionPersisted])
            }
            Command::AppendLeaderChange { epoch, granting } => {
                let offset = self.append_leader_change(epoch, &granting, now)?;
                if let Err(error) = self.log.flush(TimestampMs(now)) {
                    self.failed = Some(error.to_string());
                    return Err(error.into());
                }
                let flushed = Event::Flushed { voter: self.config.node_id, end_offset: self.next_offset() };
                Ok(vec![Event::EpochStarted { offset }, flushed])
            }
            // The owner sees the image change; with one voter nobody else waits for the high watermark.
            Command::Commit { .. } => Ok(Vec::new()),
        }
    }

    fn persist(&mut self, election: &Election) -> Result<(), QuorumError> {
        let voters: Vec<i32> = self.raft.voters().ids().collect();
        let version = self.image().features.kraft_version;
        quorum_state::write(&*self.disk, &self.dir, election, version, &voters).map_err(|cause| {
            self.failed = Some(cause.to_string());
            QuorumError::Io { path: self.dir.clone(), cause }
        })
    }

    fn append_leader_change(&mut self, epoch: i32, granting: &[i32], now: i64) -> Result<i64, QuorumError> {
        let voters: Vec<i32> = self.raft.voters().ids().collect();
        let mut records = vec![ControlRecord::leader_change(self.config.node_id, &voters, granting)];
        if self.announce_voters {
            if self.next_offset() == 0 {
                records.push(ControlRecord::kraft_version(KRaftVersion::Dynamic.level()));
            }
            records.push(ControlRecord::Voters(self.raft.voters().to_record()));
        }
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let batch = control_batch(&records, self.next_offset(), epoch, now)?;
        let offset = self.append_batch(batch, now)?;
        self.announce_voters = false;
        self.replay.advance(Provenance { offset: offset + count - 1, epoch, timestamp: now });
        Ok(offset)
    }

    fn path_of(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// Directory of the metadata log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Flushes and closes the log.
    ///
    /// # Errors
    /// The system's.
    pub fn close(self, now: i64) -> Result<(), QuorumError> {
        Ok(self.log.close_clean(TimestampMs(now))?)
    }
}
