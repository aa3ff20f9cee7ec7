//! One node's part in the quorum: the metadata log, `quorum-state`, snapshots, and the image at the high watermark.
//!
//! [`Quorum`] owns the directory `__cluster_metadata-0`. It does what [`crate::raft`] says, in that order: a vote is on
//! disk before it counts, and records are flushed before they are committed.
//!
//! It is synchronous and has neither threads nor sockets: its owner calls it from one thread, hands in what came from
//! other nodes ([`Quorum::receive`]), calls [`Quorum::tick`] when [`Quorum::next_deadline`] has come, and sends what
//! [`Quorum::take_outbound`] gives. Any failed write or sync makes it useless for good.
//!
//! There are two images. The *committed* one only grows, on every node. A leader has in addition the *decided* one
//! ([`Quorum::image`]): what it appended, committed or not. Decisions are made on it, nobody else may see it, and it is
//! dropped when the node leads no more.

#[cfg(test)]
mod crash_tests;
mod drive;
mod lead;
mod open;
mod replicate;
mod retention;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::disk::{Disk, DiskFile};
use ottla_log::{AppendError, Log, LogError, TimestampMs};
use ottla_wire::{Str, Uuid};

use crate::bootstrap::Bootstrap;
use crate::features::FeatureError;
use crate::history::VoterHistory;
use crate::image::MetadataImage;
use crate::load::LoadError;
use crate::messages::{QuorumRequest, QuorumResponse};
use crate::quorum_state::QuorumStateError;
use crate::raft::message::{Correlation, Destination, Failure, Token};
use crate::raft::{Raft, Timeouts};
use crate::record::RecordError;
use crate::replay::{Replay, ReplayError};
use crate::room::LastRoom;
use crate::snapshot::{SnapshotError, SnapshotId};
use crate::voters::{VoterEndpoint, VoterSet};
pub use open::Examined;
pub use status::{QuorumStatus, ReplicaStatus};

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
    /// Name of the listener by which the nodes of the quorum reach each other: the first of `controller.listener.names`.
    pub listener: Str,
    /// `controller.quorum.bootstrap.servers`: who is asked for the leader.
    pub bootstrap_servers: Vec<(Str, u16)>,
    /// Times of elections and requests.
    pub timeouts: Timeouts,
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
    /// `min.insync.replicas` as the node is configured. A new cluster with eligible leader replicas begins with it as the
    /// one value for all (KIP-966).
    pub min_insync_replicas: i32,
    /// Asked for room when the disk is full and an election must be noted.
    pub last_room: LastRoom,
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
            listener: "CONTROLLER".into(),
            bootstrap_servers: Vec::new(),
            timeouts: Timeouts::default(),
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            retention_bytes: 100 << 20,
            retention_ms: 7 * 24 * 3_600_000,
            snapshot_bytes: 20 << 20,
            snapshot_interval_ms: 3_600_000,
            min_insync_replicas: 1,
            last_room: LastRoom::default(),
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
    /// The voters do not fit this node. Nothing was written.
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

/// A moment: what a record is stamped with, and what timers run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// ms since 1970; may jump.
    pub wall: i64,
    /// ms of a clock that never goes back, from any origin.
    pub monotonic: i64,
}

impl Now {
    /// Both clocks say the same.
    pub fn at(ms: i64) -> Self {
        Self { wall: ms, monotonic: ms }
    }
}

/// What comes from other nodes.
#[derive(Clone, Debug)]
pub enum Inbound {
    /// A request; its response comes out with the token, at once or later.
    Request {
        /// Chosen by the caller, different for each request that waits.
        token: Token,
        /// The request.
        request: QuorumRequest,
    },
    /// The answer to an [`Outbound::Request`].
    Response {
        /// Id in the destination.
        from: i32,
        /// Number of the request.
        correlation: Correlation,
        /// The answer.
        response: QuorumResponse,
    },
    /// There will be no answer to an [`Outbound::Request`].
    Failed {
        /// Id in the destination.
        from: i32,
        /// Number of the request.
        correlation: Correlation,
        /// Why.
        failure: Failure,
    },
}

/// What goes to other nodes.
#[derive(Clone, Debug)]
pub enum Outbound {
    /// A request. The connection may be kept for the next.
    Request {
        /// To whom.
        to: Destination,
        /// Comes back with the answer.
        correlation: Correlation,
        /// The request.
        request: QuorumRequest,
    },
    /// The answer to an [`Inbound::Request`].
    Response {
        /// Which request.
        token: Token,
        /// The answer.
        response: QuorumResponse,
    },
}

/// A snapshot that is being fetched.
#[derive(Debug)]
struct Part {
    id: SnapshotId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

/// A node of the quorum: voter or observer, leader or not.
#[derive(Debug)]
pub struct Quorum {
    config: QuorumConfig,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    log: Log,
    raft: Raft,
    /// The image at the high watermark.
    committed: Replay,
    /// The image at the log's end, where it is known.
    tip: Option<Replay>,
    /// What a leader decided and is not committed: images by the log end that they stand for.
    undecided: VecDeque<(i64, Replay)>,
    history: VoterHistory,
    snapshots: BTreeSet<SnapshotId>,
    bytes_since_snapshot: u64,
    /// What the leader sends has not been appended lately: told once.
    refuses: bool,
    last_snapshot_ms: i64,
    bootstrap: Bootstrap,
    /// The last epoch in which this node has begun to decide.
    active_epoch: i32,
    part: Option<Part>,
    outbound: Vec<Outbound>,
    now: Now,
    failed: Option<String>,
}

impl Quorum {
    /// What decisions are made on: on the leader everything decided so far, elsewhere the committed image.
    pub fn image(&self) -> &MetadataImage {
        match &self.tip {
            Some(tip) if self.raft.is_leader() => tip.image(),
            _ => self.committed.image(),
        }
    }

    /// What is committed, as far as this node knows.
    pub fn committed_image(&self) -> &MetadataImage {
        self.committed.image()
    }

    /// Everything below is committed; -1 if nothing is known to be.
    pub fn high_watermark(&self) -> i64 {
        self.raft.high_watermark().unwrap_or(-1)
    }

    /// Offset that the next record gets.
    pub fn next_offset(&self) -> i64 {
        self.log.end_offset().0
    }

    /// Offset of a `BeginTransaction` that has no end.
    pub fn open_transaction(&self) -> Option<i64> {
        match &self.tip {
            Some(tip) if self.raft.is_leader() => tip.open_transaction(),
            _ => self.committed.open_transaction(),
        }
    }

    /// Whether this node is the active controller: it leads, a record of its epoch is committed, and a new log has its
    /// first records.
    pub fn is_active(&self) -> bool {
        self.failed.is_none() && self.raft.is_active_leader() && self.active_epoch == self.raft.epoch()
    }

    /// Whether this node leads its epoch, be it that nothing of the epoch is committed yet.
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }

    /// The node's epoch.
    pub fn epoch(&self) -> i32 {
        self.raft.epoch()
    }

    /// Who leads in the node's epoch, as far as it knows; it may be itself.
    pub fn leader_id(&self) -> Option<i32> {
        self.raft.leader().map(|leader| leader.id)
    }

    /// Host and port of who leads, on the listener by which the nodes of the quorum reach each other.
    pub fn leader_address(&self) -> Option<(Str, u16)> {
        let at = self.raft.leader_destination()?;
        Some((at.host, at.port))
    }

    /// Monotonic ms at which [`Quorum::tick`] is due.
    pub fn next_deadline(&self) -> i64 {
        self.raft.next_deadline()
    }

    /// What is to be sent, in order.
    pub fn take_outbound(&mut self) -> Vec<Outbound> {
        std::mem::take(&mut self.outbound)
    }

    fn path_of(&self, id: SnapshotId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// Directory of the metadata log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Flushes and closes the log. A leader [resigns](Quorum::resign) before.
    ///
    /// # Errors
    /// The system's.
    pub fn close(self, now: i64) -> Result<(), QuorumError> {
        Ok(self.log.close_clean(TimestampMs(now))?)
    }
}
