//! Requests about groups, and what a shard answers.

use ottla_wire::Uuid;

use super::{Commands, DescribedGroup, ListFilter, ListedGroup, Shard};
use crate::group::classic::{
    ClassicGroup, Identity, Join, JoinRefused, Joined, Leaving, Now, Sync, Synced, Token,
};
use crate::group::offsets::{CommittedOffset, TopicIndex};
use crate::group::{GroupError, Str};

/// A request to the coordinator of a group.
#[derive(Debug)]
pub enum Request {
    /// JoinGroup.
    Join {
        /// The group's id.
        group: Str,
        /// The rest.
        join: Join,
    },
    /// SyncGroup.
    Sync {
        /// The group's id.
        group: Str,
        /// The rest.
        sync: Sync,
    },
    /// Heartbeat.
    Heartbeat {
        /// Whom to answer.
        token: Token,
        /// The group's id.
        group: Str,
        /// The member.
        member_id: Str,
        /// Its instance id.
        instance_id: Option<Str>,
        /// Its generation.
        generation: i32,
    },
    /// LeaveGroup.
    Leave {
        /// Whom to answer.
        token: Token,
        /// The group's id.
        group: Str,
        /// Who leaves.
        leaving: Vec<Leaving>,
    },
    /// OffsetCommit.
    Commit(Commit),
    /// OffsetFetch, of one group.
    Fetch(Fetch),
    /// ListGroups, of one partition.
    List {
        /// Whom to answer.
        token: Token,
        /// Which groups.
        filter: ListFilter,
    },
    /// DescribeGroups, of one group.
    Describe {
        /// Whom to answer.
        token: Token,
        /// The group's id.
        group: Str,
    },
    /// DeleteGroups, of one group.
    Delete {
        /// Whom to answer.
        token: Token,
        /// The group's id.
        group: Str,
    },
    /// OffsetDelete, for topics that exist.
    DeleteOffsets {
        /// Whom to answer.
        token: Token,
        /// The group's id.
        group: Str,
        /// What shall be forgotten.
        partitions: Vec<TopicIndex>,
    },
}

/// OffsetCommit for topics that exist.
#[derive(Debug)]
pub struct Commit {
    /// Whom to answer.
    pub token: Token,
    /// The group's id; may be empty, as of old.
    pub group: Str,
    /// The member; empty for clients that do not use groups.
    pub member_id: Str,
    /// Its instance id.
    pub instance_id: Option<Str>,
    /// Its generation; negative for clients that do not use groups.
    pub generation: i32,
    /// v2 to v4: milliseconds for which the offsets shall be kept.
    pub retention_ms: Option<i64>,
    /// v9 and later: an unknown group has an error of its own.
    pub knows_group_id_not_found: bool,
    /// What to commit.
    pub partitions: Vec<CommitPartition>,
}

/// One partition of an OffsetCommit.
#[derive(Debug, Clone)]
pub struct CommitPartition {
    /// The topic's name.
    pub topic: Str,
    /// The topic's id; zero if the client did not give it.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The next offset to consume.
    pub offset: i64,
    /// −1 unknown.
    pub leader_epoch: i32,
    /// Bounded by `offset.metadata.max.bytes`.
    pub metadata: Str,
}

/// OffsetFetch of one group.
#[derive(Debug)]
pub struct Fetch {
    /// Whom to answer.
    pub token: Token,
    /// The group's id.
    pub group: Str,
    /// `None`: everything that the group has committed.
    pub topics: Option<Vec<WantedTopic>>,
    /// Wait for commits in flight, and do not return offsets that an open transaction will replace.
    pub require_stable: bool,
}

/// A topic of an OffsetFetch.
#[derive(Debug, Clone)]
pub struct WantedTopic {
    /// Its name.
    pub name: Str,
    /// Its id; zero if unknown.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<i32>,
}

/// A topic of an answer to OffsetFetch.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchedTopic {
    /// Its name.
    pub name: Str,
    /// Its id as asked for; zero when everything was asked for.
    pub topic_id: Uuid,
    /// The partitions.
    pub partitions: Vec<(i32, FetchedOffset)>,
}

/// What OffsetFetch says about a partition.
#[derive(Debug, Clone, PartialEq)]
pub enum FetchedOffset {
    /// Committed.
    Committed(CommittedOffset),
    /// Never committed, or expired.
    Absent,
    /// About to be decided by an open transaction.
    Unstable,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum ShardAnswer {
    /// To JoinGroup.
    Join(Result<Joined, JoinRefused>),
    /// To SyncGroup.
    Sync(Result<Synced, GroupError>),
    /// To Heartbeat.
    Heartbeat(Result<(), GroupError>),
    /// To LeaveGroup: the fate of each.
    Leave(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To OffsetCommit: the fate of each.
    Commit(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To OffsetFetch.
    Fetch(Result<Vec<FetchedTopic>, GroupError>),
    /// To ListGroups.
    List(Vec<ListedGroup>),
    /// To DescribeGroups; none: there is no such group.
    Describe(Option<DescribedGroup>),
    /// To DeleteGroups.
    Delete(Result<(), GroupError>),
    /// To OffsetDelete: the fate of each.
    DeleteOffsets(Result<Vec<Result<(), GroupError>>, GroupError>),
}

impl Shard {
    pub(super) fn join(&mut self, id: &Str, join: Join, now: Now, out: &mut Commands) {
        if !self.config.limits.allows_session(join.session_timeout_ms) {
            // Not a reason for a group to come into being.
            let refused = JoinRefused { member_id: join.member_id, error: GroupError::InvalidSessionTimeout };
            out.answers.push((join.token, ShardAnswer::Join(Err(refused))));
            return;
        }
        if join.member_id.is_empty() {
            self.groups.entry(id.clone()).or_insert_with(|| ClassicGroup::new(id.clone(), now));
        } else if !self.groups.contains_key(id) {
            let refused = JoinRefused { member_id: join.member_id, error: GroupError::UnknownMemberId };
            out.answers.push((join.token, ShardAnswer::Join(Err(refused))));
            return;
        }
        let limits = self.config.limits;
        self.with_group(id, now, out, |group, effects| group.join(join, &limits, now, effects));
    }

    pub(super) fn sync(&mut self, id: &Str, sync: Sync, now: Now, out: &mut Commands) {
        let token = sync.token;
        if self.with_group(id, now, out, |group, effects| group.sync(sync, effects)).is_none() {
            out.answers.push((token, ShardAnswer::Sync(Err(GroupError::UnknownMemberId))));
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        id: &Str,
        member_id: &Str,
        instance_id: Option<&Str>,
        generation: i32,
        now: Now,
    ) -> Result<(), GroupError> {
        let from = Identity { member_id, instance_id };
        let answer = self
            .with_group(id, now, &mut Commands::default(), |group, _| group.heartbeat(from, generation, now));
        answer.unwrap_or(Err(GroupError::UnknownMemberId))
    }

    pub(super) fn leave(
        &mut self,
        token: Token,
        id: &Str,
        leaving: &[Leaving],
        now: Now,
        out: &mut Commands,
    ) {
        let limits = self.config.limits;
        let fates =
            self.with_group(id, now, out, |group, effects| group.leave(leaving, &limits, now, effects));
        let unknown = || Ok(leaving.iter().map(|_| Err(GroupError::UnknownMemberId)).collect());
        out.answers.push((token, ShardAnswer::Leave(fates.unwrap_or_else(unknown))));
    }
}
