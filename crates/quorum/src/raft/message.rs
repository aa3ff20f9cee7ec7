//! What the nodes of a quorum say to each other, as the state machine sees it; `crate::messages` has Kafka's form of it.

use bytes::Bytes;
use ottla_wire::{ErrorCode, Str, Uuid};

use crate::snapshot::SnapshotId;
use crate::voters::{Voter, VoterEndpoint};

/// A replica of the metadata log: a node and the directory that holds it (KIP-853).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// Node id.
    pub id: i32,
    /// Directory id; zero where it is not known.
    pub directory_id: Uuid,
}

impl ReplicaKey {
    /// The key of a node's directory.
    pub const fn new(id: i32, directory_id: Uuid) -> Self {
        Self { id, directory_id }
    }

    /// Whether a voter of this key is the replica: static voters have no directory and stand for any.
    pub fn covers(self, replica: Self) -> bool {
        self.id == replica.id && (self.directory_id.is_zero() || self.directory_id == replica.directory_id)
    }

    /// Whether both may be the same replica: a directory that is not known fits any.
    pub fn fits(self, other: Self) -> bool {
        let unknown = self.directory_id.is_zero() || other.directory_id.is_zero();
        self.id == other.id && (unknown || self.directory_id == other.directory_id)
    }
}

/// Identifies a request that waits for its reply; chosen by whoever passes it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Identifies a request that was sent; its answer comes back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Correlation(pub u64);

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Node id; negative for a bootstrap server, of which only the address is known.
    pub id: i32,
    /// Host.
    pub host: Str,
    /// Port.
    pub port: u16,
}

/// Who leads, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Node id.
    pub id: i32,
    /// What is known of its listeners; may be empty.
    pub endpoints: Vec<VoterEndpoint>,
}

/// Vote: asks for a vote, or whether it would be granted (KIP-996).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Epoch of the replica that asks.
    pub epoch: i32,
    /// Who asks.
    pub replica: ReplicaKey,
    /// Who is asked, if the request says so.
    pub voter: Option<ReplicaKey>,
    /// Epoch of the last record in the log of who asks.
    pub last_epoch: i32,
    /// End of that log.
    pub end_offset: i64,
    /// Nothing is to be promised yet.
    pub pre_vote: bool,
}

/// BeginQuorumEpoch: a leader tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginEpoch {
    /// The epoch.
    pub epoch: i32,
    /// Who leads.
    pub leader: Leader,
    /// Who is told, if the request says so.
    pub voter: Option<ReplicaKey>,
}

/// EndQuorumEpoch: a leader gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndEpoch {
    /// The epoch.
    pub epoch: i32,
    /// Who led.
    pub leader: Leader,
    /// Who should stand for election, best first.
    pub candidates: Vec<ReplicaKey>,
}

/// Fetch of the metadata log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Epoch of the replica.
    pub epoch: i32,
    /// Who fetches; a negative id for one that is no replica.
    pub replica: ReplicaKey,
    /// Its flushed log end: where it wants to read on.
    pub offset: i64,
    /// Epoch of the last record before.
    pub last_epoch: i32,
    /// The high watermark that it knows; `i64::MAX` if it does not say.
    pub high_watermark: i64,
    /// How long to wait for something to read, in ms.
    pub max_wait_ms: i32,
    /// How much to read.
    pub max_bytes: i32,
}

/// FetchSnapshot: a piece of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSnapshot {
    /// Epoch of the replica.
    pub epoch: i32,
    /// Who fetches.
    pub replica: ReplicaKey,
    /// Which snapshot.
    pub id: SnapshotId,
    /// From which byte on.
    pub position: i64,
    /// How much to read.
    pub max_bytes: i32,
}

/// A request between nodes, or from an administrator about voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// See [`Vote`].
    Vote(Vote),
    /// See [`BeginEpoch`].
    BeginEpoch(BeginEpoch),
    /// See [`EndEpoch`].
    EndEpoch(EndEpoch),
    /// See [`Fetch`].
    Fetch(Fetch),
    /// See [`FetchSnapshot`].
    FetchSnapshot(FetchSnapshot),
    /// AddRaftVoter.
    AddVoter {
        /// The voter to be.
        voter: Voter,
        /// How long it may take, in ms.
        timeout_ms: i32,
        /// Whether the answer waits for the commit.
        ack_when_committed: bool,
    },
    /// RemoveRaftVoter.
    RemoveVoter {
        /// The voter.
        voter: ReplicaKey,
    },
    /// UpdateRaftVoter: a voter tells of its new addresses.
    UpdateVoter {
        /// Epoch of the voter.
        epoch: i32,
        /// The voter as it is now.
        voter: Voter,
    },
}

/// What this node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What is wrong, if anything.
    pub error: ErrorCode,
    /// This node's epoch.
    pub epoch: i32,
    /// Who leads in it, if known.
    pub leader: Option<Leader>,
    /// The rest, by the kind of the request.
    pub body: ReplyBody,
}

/// The part of a reply that differs from request to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// To [`Vote`].
    Vote {
        /// Whether the vote is granted.
        granted: bool,
    },
    /// To [`BeginEpoch`].
    BeginEpoch,
    /// To [`EndEpoch`].
    EndEpoch,
    /// To [`Fetch`].
    Fetch(FetchReply),
    /// To [`FetchSnapshot`]: the piece to be read, `None` with an error.
    FetchSnapshot(FetchSnapshot),
    /// To `AddVoter`.
    AddVoter {
        /// What is wrong, in words.
        message: Option<String>,
    },
    /// To `RemoveVoter`.
    RemoveVoter {
        /// What is wrong, in words.
        message: Option<String>,
    },
    /// To `UpdateVoter`.
    UpdateVoter,
}

/// What a fetch is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchReply {
    /// An error alone.
    Nothing,
    /// Records from the offset on, if there are any.
    Read {
        /// From where.
        offset: i64,
        /// How much.
        max_bytes: i32,
    },
    /// The logs differ from here on, or before (KIP-595).
    Diverging {
        /// Largest epoch of this log that is not above the one asked with.
        epoch: i32,
        /// Where it ends here.
        end_offset: i64,
    },
    /// The log here begins too late (KIP-630).
    Snapshot(SnapshotId),
}

/// What another node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Error of the whole response, or of its one partition.
    pub error: ErrorCode,
    /// The other's epoch, -1 if it does not say.
    pub epoch: i32,
    /// Who leads in it, if it says so.
    pub leader: Option<Leader>,
    /// The rest, by the kind of the request.
    pub body: ResponseBody,
}

/// The part of a response that differs from request to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// To [`Vote`].
    Vote {
        /// Whether the vote is granted.
        granted: bool,
    },
    /// To [`BeginEpoch`].
    BeginEpoch,
    /// To [`EndEpoch`].
    EndEpoch,
    /// To [`Fetch`].
    Fetch(Fetched),
    /// To [`FetchSnapshot`].
    FetchSnapshot {
        /// The snapshot.
        id: SnapshotId,
        /// Its size in bytes.
        size: i64,
        /// Position of the piece.
        position: i64,
        /// The piece.
        bytes: Bytes,
    },
    /// To `UpdateVoter`.
    UpdateVoter,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Batches that follow the offset asked for; may be none.
    Records {
        /// The batches.
        records: Bytes,
        /// The leader's high watermark, -1 if it does not know.
        high_watermark: i64,
    },
    /// See [`FetchReply::Diverging`].
    Diverging {
        /// The epoch.
        epoch: i32,
        /// Its end in the leader's log.
        end_offset: i64,
    },
    /// See [`FetchReply::Snapshot`].
    Snapshot(SnapshotId),
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection was refused or broke: the process is gone, or about to be.
    Disconnected,
    /// No answer in time, or the address cannot be reached.
    TimedOut,
    /// The other node does not know the request in this version.
    UnsupportedVersion,
}
