//! What goes into a classic group and what comes out of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Member;
use crate::group::{GroupError, Str};

/// The time, as the rim read it: one clock that only goes forward, and one that records carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock; all deadlines are in it.
    pub monotonic_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

/// Names a request whose answer may come later; the rim maps it to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The broker's bounds on classic groups.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`.
    pub max_size: usize,
}

impl Limits {
    /// Whether a member may ask for this session timeout, in milliseconds.
    pub fn allows_session(&self, timeout_ms: i32) -> bool {
        (self.min_session_timeout_ms..=self.max_session_timeout_ms).contains(&timeout_ms)
    }
}

/// How long a join of a new member is parked before the member is taken for dead: its client may have gone
/// unnoticed while nothing is read from its connection.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

/// A protocol that a member offers, with its metadata for it (for consumers: an assignor and a subscription).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Str,
    /// Opaque to the broker.
    pub metadata: Bytes,
}

/// JoinGroup, as far as the group is concerned.
#[derive(Debug, Clone)]
pub struct Join {
    /// Whom to answer.
    pub token: Token,
    /// Empty for a member that has no id yet.
    pub member_id: Str,
    /// Never used before; what a member without an id shall be called.
    pub fresh_member_id: Str,
    /// Set by static members.
    pub instance_id: Option<Str>,
    /// The client's id.
    pub client_id: Str,
    /// The client's address, as Kafka prints it.
    pub client_host: Str,
    /// For consumers `consumer`.
    pub protocol_type: Str,
    /// In order of preference, without duplicate names.
    pub protocols: Vec<Protocol>,
    /// Milliseconds.
    pub session_timeout_ms: i32,
    /// Milliseconds; the session timeout where the request has none (v0).
    pub rebalance_timeout_ms: i32,
    /// v4 and later: a dynamic member joins in two steps (KIP-394).
    pub requires_known_member_id: bool,
    /// v9 and later: a returning static leader can be told not to assign (KIP-814).
    pub supports_skip_assignment: bool,
    /// What the client says is the reason.
    pub reason: Option<Str>,
}

/// The answer to a join that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: Str,
    /// The group's generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Str>,
    /// The protocol selected for this generation.
    pub protocol_name: Option<Str>,
    /// The leader's member id.
    pub leader: Str,
    /// The leader must not compute an assignment.
    pub skip_assignment: bool,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Str,
    /// Its instance id.
    pub instance_id: Option<Str>,
    /// Its metadata for the selected protocol.
    pub metadata: Bytes,
}

/// The answer to a join that did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    /// The id that the member shall use or had used; may be empty.
    pub member_id: Str,
    /// Why.
    pub error: GroupError,
}

/// SyncGroup, as far as the group is concerned.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Whom to answer.
    pub token: Token,
    /// The member.
    pub member_id: Str,
    /// Its instance id.
    pub instance_id: Option<Str>,
    /// The generation it thinks it is in.
    pub generation: i32,
    /// v5 and later: checked when given.
    pub protocol_type: Option<Str>,
    /// v5 and later: checked when given.
    pub protocol_name: Option<Str>,
    /// From the leader: an assignment for each member.
    pub assignments: BTreeMap<Str, Bytes>,
}

/// The answer to a sync that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Str>,
    /// The group's protocol.
    pub protocol_name: Option<Str>,
    /// The member's assignment.
    pub assignment: Bytes,
}

/// Who a request says it is from.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The member id; may be empty.
    pub member_id: &'a Str,
    /// The instance id of a static member.
    pub instance_id: Option<&'a Str>,
}

/// One member to remove; its id may be empty when the instance id names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The member id.
    pub member_id: Str,
    /// The instance id.
    pub instance_id: Option<Str>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To JoinGroup.
    Join(Result<Joined, JoinRefused>),
    /// To SyncGroup.
    Sync(Result<Synced, GroupError>),
}

/// The state of a group as its record keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSnapshot {
    /// `None` in a group that only stores offsets.
    pub protocol_type: Option<Str>,
    /// The generation.
    pub generation: i32,
    /// The selected protocol.
    pub protocol_name: Option<Str>,
    /// The leader's member id.
    pub leader: Option<Str>,
    /// When the group came into its state, milliseconds since the epoch; −1 unknown.
    pub state_timestamp_ms: i64,
    /// The members with the assignments to be written.
    pub members: Vec<MemberSnapshot>,
}

/// A member as the group's record keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSnapshot {
    /// Its id.
    pub member_id: Str,
    /// Its instance id.
    pub instance_id: Option<Str>,
    /// Its client's id.
    pub client_id: Str,
    /// Its client's address.
    pub client_host: Str,
    /// Milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Milliseconds.
    pub session_timeout_ms: i32,
    /// Its metadata for the selected protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A record to write, and what to do once its fate is known.
#[derive(Debug, Clone)]
pub struct GroupWrite {
    /// What to write.
    pub snapshot: GroupSnapshot,
    /// Handed back with the result.
    pub intent: Intent,
}

/// Why a group's record is written.
#[derive(Debug, Clone)]
pub enum Intent {
    /// The leader's assignment of a generation: on success the group is stable.
    Assign {
        /// The generation it is for.
        generation: i32,
        /// An entry for every member.
        assignment: BTreeMap<Str, Bytes>,
    },
    /// The last member went: nothing depends on the result.
    Empty,
    /// A static member came back under a new id while the group was stable: undone on failure.
    ReplaceStatic(Box<StaticReplacement>),
}

/// What is needed to finish or to undo the replacement of a static member.
#[derive(Debug, Clone)]
pub struct StaticReplacement {
    /// The member as it was.
    pub previous: Member,
    /// Its new id.
    pub new_id: Str,
    /// The generation in which it happened.
    pub generation: i32,
    /// The leader's id before it.
    pub previous_leader: Option<Str>,
    /// See [`Join::supports_skip_assignment`].
    pub supports_skip_assignment: bool,
}

/// What an event leads to: answers to send, records to write.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers, to parked requests too.
    pub answers: Vec<(Token, Answer)>,
    /// Records, in order.
    pub writes: Vec<GroupWrite>,
}

impl Effects {
    pub(super) fn refuse_join(&mut self, token: Token, member_id: Str, error: GroupError) {
        self.answers.push((token, Answer::Join(Err(JoinRefused { member_id, error }))));
    }

    pub(super) fn answer_sync(&mut self, token: Token, answer: Result<Synced, GroupError>) {
        self.answers.push((token, Answer::Sync(answer)));
    }
}
