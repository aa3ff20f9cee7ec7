//! The classic group: members that join in rounds, a leader that assigns (KIP-62, 134, 345, 394, 814).
//!
//! A pure state machine: an event and the time go in, answers and records come out ([`Effects`]), deadlines are
//! data ([`ClassicGroup::next_deadline`]). What must be durable becomes state only when the record's fate is known
//! ([`ClassicGroup::on_written`]), so a failed write leaves the group as it was.
//!
//! ```text
//!   Empty ─join─▶ PreparingRebalance ─all joined / timeout─▶ CompletingRebalance ─leader's sync written─▶ Stable
//!     ▲                 │   ▲                                      │                                        │
//!     └── nobody left ──┘   └──────── join, leave, expiry ─────────┴────────────────────────────────────────┘
//! ```

mod effects;
mod join;
mod member;
#[cfg(test)]
mod properties;
mod rebalance;
mod roster;
mod session;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;

pub use effects::{
    Answer, Effects, GroupSnapshot, GroupWrite, Identity, Intent, Join, JoinRefused, Joined, JoinedMember,
    Leaving, Limits, MemberSnapshot, NEW_MEMBER_JOIN_TIMEOUT_MS, Now, Protocol, StaticReplacement, Sync,
    Synced, Token,
};
pub use member::Member;
pub use roster::Roster;

use super::{GroupError, Str, timers::Timers};

/// The protocol type of consumers; the broker can read its subscriptions.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members; offsets perhaps.
    Empty,
    /// Members are asked to join (again).
    PreparingRebalance,
    /// Everybody has joined; the leader's assignment is awaited or being written.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// Removed; whoever still reaches it must look for the coordinator again.
    Dead,
}

impl State {
    /// As it is called on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The member's heartbeat is overdue.
    Session(Str),
    /// The join phase ends.
    JoinPhase,
    /// Members that have not synced are removed.
    SyncPhase,
}

/// The first rebalance of a group waits for more members, again for each that comes, within the rebalance timeout.
#[derive(Debug, Clone, Copy)]
struct InitialDelay {
    delay_ms: i64,
    remaining_ms: i64,
}

/// One classic group. See the module's documentation.
#[derive(Debug, Clone)]
pub struct ClassicGroup {
    id: Str,
    state: State,
    previous_state: State,
    state_timestamp_ms: i64,
    generation: i32,
    protocol_type: Option<Str>,
    protocol_name: Option<Str>,
    roster: Roster,
    /// Ids that were given out and have not joined.
    pending_joins: BTreeSet<Str>,
    /// Members of the generation that have not synced.
    pending_syncs: BTreeSet<Str>,
    initial_delay: Option<InitialDelay>,
    new_member_added: bool,
    timers: Timers<Timer>,
    /// The topics that consumers subscribe to, when known.
    subscribed_topics: Option<BTreeSet<Str>>,
    /// The log holds a record of this group.
    persisted: bool,
}

impl ClassicGroup {
    /// A group without members.
    pub fn new(id: Str, now: Now) -> Self {
        Self {
            id,
            state: State::Empty,
            previous_state: State::Dead,
            state_timestamp_ms: now.wall_ms,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            roster: Roster::default(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            initial_delay: None,
            new_member_added: false,
            timers: Timers::default(),
            subscribed_topics: None,
            persisted: false,
        }
    }

    /// The group as its record says; sessions start with [`ClassicGroup::on_loaded`].
    pub fn from_snapshot(id: Str, snapshot: GroupSnapshot) -> Self {
        let mut group = Self::new(id, Now { monotonic_ms: 0, wall_ms: snapshot.state_timestamp_ms });
        group.state = if snapshot.members.is_empty() { State::Empty } else { State::Stable };
        group.generation = snapshot.generation;
        group.protocol_type = snapshot.protocol_type.filter(|name| !name.is_empty());
        group.protocol_name = snapshot.protocol_name;
        group.persisted = true;
        for member in snapshot.members {
            group.roster.add(restored(member, group.protocol_name.as_ref()));
        }
        group.roster.restore_leader(snapshot.leader);
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    /// Its id.
    pub fn id(&self) -> &Str {
        &self.id
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its generation; never decreases.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Its protocol type; none while it only stores offsets.
    pub fn protocol_type(&self) -> Option<&Str> {
        self.protocol_type.as_ref()
    }

    /// The protocol of its generation.
    pub fn protocol_name(&self) -> Option<&Str> {
        self.protocol_name.as_ref()
    }

    /// Its members.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// When it came into its state, milliseconds since the epoch; −1 if unknown.
    pub fn state_timestamp_ms(&self) -> i64 {
        self.state_timestamp_ms
    }

    /// Whether the log holds a record of it.
    pub fn is_persisted(&self) -> bool {
        self.persisted
    }

    /// Whether nobody is in it or about to be.
    pub fn is_vacant(&self) -> bool {
        self.state == State::Empty && self.pending_joins.is_empty()
    }

    /// The earliest monotonic deadline at which [`ClassicGroup::on_deadline`] must be called.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next()
    }

    /// Starts the sessions of loaded members; rebalances a group that is over the limit.
    pub fn on_loaded(&mut self, limits: &Limits, now: Now, out: &mut Effects) {
        for id in self.roster.ids() {
            self.restart_session(&id, now);
        }
        if self.roster.len() > limits.max_size {
            self.prepare_rebalance("the loaded group is over its maximum size", limits, now, out);
        }
    }

    /// The log holds a record of it, or holds none any more.
    pub fn set_persisted(&mut self, persisted: bool) {
        self.persisted = persisted;
    }

    /// The group is coordinated elsewhere from now on: whoever waits here is told `error`.
    pub fn abandon(&mut self, error: GroupError, out: &mut Effects) {
        self.state = State::Dead;
        self.timers = Timers::default();
        for id in self.roster.ids() {
            if let Some(token) = self.roster.take_join(&id) {
                out.refuse_join(token, id.clone(), error);
            }
            if let Some(token) = self.roster.take_sync(&id) {
                out.answer_sync(token, Err(error));
            }
        }
    }

    /// The group's state for its record, with the assignments given or the present ones.
    pub fn snapshot(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupSnapshot {
        let members = self.roster.iter().map(|member| MemberSnapshot {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(self.protocol_name.as_ref()),
            assignment: assignment(member),
        });
        GroupSnapshot {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol_name: self.protocol_name.clone(),
            leader: self.roster.leader().cloned(),
            state_timestamp_ms: self.state_timestamp_ms,
            members: members.collect(),
        }
    }

    /// A request from a member: is it one, and not fenced?
    fn check_member(&self, from: Identity<'_>) -> Result<(), GroupError> {
        if let Some(instance_id) = from.instance_id {
            match self.roster.static_member(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(id) if id != from.member_id => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.roster.contains(from.member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn transition(&mut self, state: State, now: Now) {
        tracing::debug!(group = %self.id, from = ?self.state, to = ?state, generation = self.generation, "group changes state");
        self.previous_state = self.state;
        self.state = state;
        self.state_timestamp_ms = now.wall_ms;
    }

    fn restart_session(&mut self, id: &Str, now: Now) {
        if let Some(member) = self.roster.get(id) {
            let deadline = now.monotonic_ms + i64::from(member.session_timeout_ms);
            self.timers.schedule(Timer::Session(id.clone()), deadline);
        }
    }

    /// Takes a member out, with its session, and refuses its parked requests.
    fn remove_member(&mut self, id: &Str, out: &mut Effects) {
        self.timers.cancel(&Timer::Session(id.clone()));
        self.pending_joins.remove(id);
        self.pending_syncs.remove(id);
        if let Some(member) = self.roster.remove(id) {
            if let Some(token) = member.awaiting_join {
                out.refuse_join(token, Str::default(), GroupError::UnknownMemberId);
            }
            if let Some(token) = member.awaiting_sync {
                out.answer_sync(token, Err(GroupError::UnknownMemberId));
            }
        }
    }
}

fn restored(member: MemberSnapshot, protocol: Option<&Str>) -> Member {
    let rebalance_timeout_ms = if member.rebalance_timeout_ms == -1 {
        member.session_timeout_ms
    } else {
        member.rebalance_timeout_ms
    };
    let protocols = protocol.map(|name| Protocol { name: name.clone(), metadata: member.subscription });
    Member {
        id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        protocols: protocols.into_iter().collect(),
        assignment: member.assignment,
        is_new: false,
        awaiting_join: None,
        awaiting_sync: None,
    }
}
