//! What DescribeQuorum tells.

use super::Quorum;
use crate::features::KRaftVersion;
use crate::raft::Progress;
use crate::raft::message::ReplicaKey;
use crate::voters::Voter;

/// Who leads, who votes, how far everybody is.
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
    /// Voters and observers that have fetched, this node among them; known to the leader only.
    pub replicas: Vec<ReplicaStatus>,
    /// Level of `kraft.version`.
    pub kraft_version: KRaftVersion,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// The replica.
    pub key: ReplicaKey,
    /// Whether it is one of the voters.
    pub is_voter: bool,
    /// Its log end, -1 if not known.
    pub log_end_offset: i64,
    /// When it fetched last, in ms since 1970; -1 if never.
    pub last_fetch_ms: i64,
    /// When it had everything, in ms since 1970; -1 if never.
    pub last_caught_up_ms: i64,
}

impl Quorum {
    /// Who leads, and how far everybody is.
    pub fn status(&self) -> QuorumStatus {
        QuorumStatus {
            leader_id: self.leader_id(),
            leader_epoch: self.raft.epoch(),
            high_watermark: self.high_watermark(),
            log_end_offset: self.next_offset(),
            voters: self.raft.voters().iter().cloned().collect(),
            replicas: self.replicas(),
            kraft_version: self.raft.kraft_version(),
        }
    }

    /// The other nodes that have fetched from this one since it leads.
    pub fn fetching(&self) -> impl Iterator<Item = i32> {
        let fetched = |(key, progress): (ReplicaKey, Progress)| (progress.last_fetch >= 0).then_some(key.id);
        self.raft.progress().into_iter().filter_map(fetched)
    }

    fn replicas(&self) -> Vec<ReplicaStatus> {
        if !self.raft.is_leader() {
            return Vec::new();
        }
        let own = ReplicaKey::new(self.config.node_id, self.config.directory_id);
        let wall = |at: i64| if at < 0 { -1 } else { self.now.wall - (self.now.monotonic - at) };
        let others = self.raft.progress().into_iter().map(|(key, progress)| ReplicaStatus {
            key,
            is_voter: self.raft.voters().contains(key),
            log_end_offset: progress.end_offset,
            last_fetch_ms: wall(progress.last_fetch),
            last_caught_up_ms: wall(progress.last_caught_up),
        });
        let own = ReplicaStatus {
            key: own,
            is_voter: self.raft.is_voter(),
            log_end_offset: self.next_offset(),
            last_fetch_ms: self.now.wall,
            last_caught_up_ms: self.now.wall,
        };
        std::iter::once(own).chain(others).collect()
    }
}
