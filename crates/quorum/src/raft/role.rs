//! What a node is in its epoch, and what it remembers as such.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Fetch, ReplicaKey, Token};
use crate::snapshot::SnapshotId;

/// What a node is in its epoch. Times are ms of the monotonic clock.
#[derive(Clone, Debug)]
pub enum Role {
    /// Has no leader to follow.
    Unattached(Unattached),
    /// Asks whether it would be elected; nothing is promised and no epoch begun (KIP-996).
    Prospective(Ballot),
    /// Stands for election in a new epoch, with its own vote.
    Candidate(Ballot),
    /// Leads.
    Leader(Box<Leading>),
    /// Follows the leader: voters and observers.
    Follower(Following),
    /// Led, and has given up.
    Resigned(Resigned),
}

/// See [`Role::Unattached`].
#[derive(Clone, Copy, Debug)]
pub struct Unattached {
    /// When a voter stands for election.
    pub election_deadline: i64,
    /// When the next node is asked who leads.
    pub next_discovery: i64,
}

/// Votes asked for.
#[derive(Clone, Debug)]
pub struct Ballot {
    /// Voters that granted theirs, the node itself among them.
    pub granted: BTreeSet<i32>,
    /// Voters that did not.
    pub rejected: BTreeSet<i32>,
    /// When this has taken too long.
    pub deadline: i64,
}

impl Ballot {
    pub(super) fn of(own: i32, deadline: i64) -> Self {
        Self { granted: BTreeSet::from([own]), rejected: BTreeSet::new(), deadline }
    }
}

/// See [`Role::Follower`].
#[derive(Clone, Copy, Debug)]
pub struct Following {
    /// When nothing was heard of the leader for too long.
    pub fetch_deadline: i64,
    /// A fetch succeeded in this epoch: the leader is alive for all that is known.
    pub has_fetched: bool,
    /// The log is being changed; what to fetch next is not known before that is done.
    pub busy: bool,
    /// The snapshot that is being fetched, and how much of it is there.
    pub snapshot: Option<(SnapshotId, i64)>,
    /// When the leader may be told of this voter's addresses again.
    pub next_update: i64,
}

/// See [`Role::Resigned`].
#[derive(Clone, Debug)]
pub struct Resigned {
    /// When the node stands for election again.
    pub deadline: i64,
    /// Who should stand first.
    pub successors: Vec<ReplicaKey>,
    /// Voters that know.
    pub told: BTreeSet<i32>,
}

/// See [`Role::Leader`].
#[derive(Clone, Debug)]
pub struct Leading {
    /// Offset of the epoch's first record, once it is appended.
    pub epoch_start: Option<i64>,
    /// A record of the epoch is committed: what follows may be decided on.
    pub is_active: bool,
    /// When the epoch began.
    pub since: i64,
    /// Who granted a vote.
    pub granting: Vec<i32>,
    /// What is known of everybody who fetches.
    pub progress: BTreeMap<ReplicaKey, Progress>,
    /// When voters last acknowledged BeginQuorumEpoch.
    pub(super) begun: BTreeMap<i32, i64>,
    /// Fetches that wait for something to read.
    pub(super) parked: Vec<Parked>,
    /// A change of the voters that is under way.
    pub(super) change: Option<Change>,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its flushed log end.
    pub end_offset: i64,
    /// When it fetched last.
    pub last_fetch: i64,
    /// When it had all that there was; -1 if never.
    pub last_caught_up: i64,
    /// The leader's log end when it fetched last.
    pub(super) leader_end_at_last_fetch: i64,
}

/// A fetch that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub token: Token,
    pub fetch: Fetch,
    pub deadline: i64,
}

/// A change of the voters, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub kind: ChangeKind,
    /// Offset of the record, once it is appended.
    pub offset: Option<i64>,
    /// Who waits for it.
    pub token: Option<Token>,
    pub deadline: i64,
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Add,
    Remove,
    Update,
}
