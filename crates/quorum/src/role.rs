//! Who leads the quorum: the roles of KRaft as a pure state machine. Events in, commands out.
//!
//! Today the quorum has one voter, so a node goes from unattached to candidate to leader and stays there. What a
//! quorum of more needs is already true of it: a vote counts only when it is on disk, an epoch's first record is the
//! leader's own, and nothing is committed before a majority has flushed it *and* a record of the leader's own epoch.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Uuid;

use crate::quorum_state::Election;
use crate::voters::VoterSet;

/// What a node is in its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Knows no leader of its epoch.
    Unattached,
    /// Asks for votes.
    Candidate {
        /// Voters that granted theirs; its own counts once it is on disk.
        granted: BTreeSet<i32>,
    },
    /// Leads.
    Leader {
        /// Offset of the epoch's first record, once it is appended.
        epoch_start: Option<i64>,
        /// Flushed log end of each voter.
        flushed: BTreeMap<i32, i64>,
    },
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// No leader was heard of for long enough.
    ElectionTimeout,
    /// The last election that was to be persisted is on disk.
    ElectionPersisted,
    /// The epoch's first record was appended.
    EpochStarted {
        /// Its offset.
        offset: i64,
    },
    /// A voter has everything below the offset on disk.
    Flushed {
        /// The voter.
        voter: i32,
        /// Its flushed log end.
        end_offset: i64,
    },
}

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write `quorum-state` durably, then report [`Event::ElectionPersisted`].
    Persist(Election),
    /// Append the epoch's first record, then report [`Event::EpochStarted`].
    AppendLeaderChange {
        /// The new epoch.
        epoch: i32,
        /// Who granted a vote.
        granting: Vec<i32>,
    },
    /// Everything below the offset is committed.
    Commit {
        /// The high watermark.
        high_watermark: i64,
    },
}

/// The state of one node.
#[derive(Clone, Debug)]
pub struct Raft {
    local: (i32, Uuid),
    voters: VoterSet,
    epoch: i32,
    role: Role,
    high_watermark: Option<i64>,
}

impl Raft {
    /// A node that starts: it knows the epoch that it was in, and no leader.
    pub fn new(local_id: i32, local_directory: Uuid, voters: VoterSet, epoch: i32) -> Self {
        Self {
            local: (local_id, local_directory),
            voters,
            epoch,
            role: Role::Unattached,
            high_watermark: None,
        }
    }

    /// The node's epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What the node is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The voters.
    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Takes a voter set that is in the log.
    pub fn set_voters(&mut self, voters: VoterSet) {
        self.voters = voters;
    }

    /// End of what is committed, once the leader knows.
    pub fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    /// Whether this node leads and has a committed record in its epoch.
    pub fn is_active_leader(&self) -> bool {
        matches!(self.role, Role::Leader { .. }) && self.high_watermark.is_some()
    }

    /// What to do about the event.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::ElectionTimeout => self.stand(),
            Event::ElectionPersisted => self.count_own_vote(),
            Event::EpochStarted { offset } => {
                if let Role::Leader { epoch_start, .. } = &mut self.role {
                    *epoch_start = Some(offset);
                }
                Vec::new()
            }
            Event::Flushed { voter, end_offset } => self.flushed(voter, end_offset),
        }
    }

    fn stand(&mut self) -> Vec<Command> {
        let may_stand = !matches!(self.role, Role::Leader { .. }) && self.voters.get(self.local.0).is_some();
        if !may_stand {
            return Vec::new();
        }
        self.epoch = self.epoch.saturating_add(1);
        self.role = Role::Candidate { granted: BTreeSet::new() };
        // Where the own vote decides, one write says both whom it was for and who leads.
        let election = if self.voters.majority() == 1 {
            Election { epoch: self.epoch, leader: Some(self.local.0), voted: None }
        } else {
            Election { epoch: self.epoch, leader: None, voted: Some(self.local) }
        };
        vec![Command::Persist(election)]
    }

    fn count_own_vote(&mut self) -> Vec<Command> {
        let Role::Candidate { granted } = &mut self.role else {
            return Vec::new();
        };
        granted.insert(self.local.0);
        if granted.len() < self.voters.majority() {
            return Vec::new();
        }
        let granting = granted.iter().copied().collect();
        self.role = Role::Leader { epoch_start: None, flushed: BTreeMap::new() };
        vec![Command::AppendLeaderChange { epoch: self.epoch, granting }]
    }

    fn flushed(&mut self, voter: i32, end_offset: i64) -> Vec<Command> {
        let Role::Leader { epoch_start, flushed } = &mut self.role else {
            return Vec::new();
        };
        if self.voters.get(voter).is_none() {
            return Vec::new();
        }
        let known = flushed.entry(voter).or_insert(end_offset);
        *known = end_offset.max(*known);
        let mut ends: Vec<i64> = flushed.values().copied().collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let decided = ends.get(self.voters.majority() - 1).copied();
        match (decided, *epoch_start) {
            (Some(end), Some(start))
                if end > start && self.high_watermark.is_none_or(|known| end > known) =>
            {
                self.high_watermark = Some(end);
                vec![Command::Commit { high_watermark: end }]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voters::Voter;

    fn voters(ids: &[i32]) -> VoterSet {
        ids.iter().fold(VoterSet::default(), |set, id| {
            set.with(Voter::standalone(*id, Uuid::from_bytes([1; 16]), Vec::new()))
        })
    }

    fn raft(ids: &[i32]) -> Raft {
        Raft::new(1, Uuid::from_bytes([1; 16]), voters(ids), 4)
    }

    #[test]
    fn one_voter_leads_a_new_epoch_once_its_vote_is_on_disk() {
        let mut raft = raft(&[1]);
        let won = Election { epoch: 5, leader: Some(1), voted: None };
        assert_eq!(raft.handle(Event::ElectionTimeout), [Command::Persist(won)]);
        assert!(matches!(raft.role(), Role::Candidate { granted } if granted.is_empty()));
        assert_eq!(
            raft.handle(Event::ElectionPersisted),
            [Command::AppendLeaderChange { epoch: 5, granting: vec![1] }]
        );
        assert!(!raft.is_active_leader(), "nothing of the epoch is committed yet");
    }

    #[test]
    fn commits_follow_the_flushed_end_and_never_go_back() {
        let mut raft = raft(&[1]);
        raft.handle(Event::ElectionTimeout);
        raft.handle(Event::ElectionPersisted);
        assert_eq!(
            raft.handle(Event::Flushed { voter: 1, end_offset: 10 }),
            [],
            "no record of the epoch yet"
        );
        raft.handle(Event::EpochStarted { offset: 10 });
        assert_eq!(raft.handle(Event::Flushed { voter: 1, end_offset: 10 }), []);
        assert_eq!(
            raft.handle(Event::Flushed { voter: 1, end_offset: 11 }),
            [Command::Commit { high_watermark: 11 }]
        );
        assert!(raft.is_active_leader());
        assert_eq!(raft.handle(Event::Flushed { voter: 1, end_offset: 9 }), []);
        assert_eq!(raft.high_watermark(), Some(11));
    }

    #[test]
    fn one_vote_of_three_elects_nobody() {
        let mut raft = raft(&[1, 2, 3]);
        raft.handle(Event::ElectionTimeout);
        assert_eq!(raft.handle(Event::ElectionPersisted), []);
        assert!(matches!(raft.role(), Role::Candidate { .. }));
    }

    #[test]
    fn who_is_no_voter_does_not_stand() {
        let mut raft = raft(&[2]);
        assert_eq!(raft.handle(Event::ElectionTimeout), []);
        assert_eq!(raft.epoch(), 4);
    }
}
