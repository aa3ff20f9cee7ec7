//! JoinGroup: who is let in, who must come again, and when a rebalance follows.

use bytes::Bytes;

use super::{
    Answer, ClassicGroup, Effects, Identity, Intent, Join, Joined, JoinedMember, Limits, Member,
    NEW_MEMBER_JOIN_TIMEOUT_MS, Now, State, StaticReplacement, Timer,
};
use crate::group::{GroupError, Str, WriteResult};

impl ClassicGroup {
    /// Handles JoinGroup. The answer may come with a later event.
    pub fn join(&mut self, request: Join, limits: &Limits, now: Now, out: &mut Effects) {
        let refused = if !limits.allows_session(request.session_timeout_ms) {
            Some((request.member_id.clone(), GroupError::InvalidSessionTimeout))
        } else if self.state == State::Dead {
            Some((request.member_id.clone(), GroupError::CoordinatorNotAvailable))
        } else if !self.has_room_for(&request.member_id, limits) {
            self.turn_away(&request.member_id, limits, now, out);
            Some((Str::default(), GroupError::GroupMaxSizeReached))
        } else if !self.supports(&request) {
            Some((request.member_id.clone(), GroupError::InconsistentGroupProtocol))
        } else {
            None
        };
        match refused {
            Some((member_id, error)) => out.refuse_join(request.token, member_id, error),
            None if request.member_id.is_empty() => self.join_new(request, limits, now, out),
            None => self.join_known(request, limits, now, out),
        }
    }

    fn join_new(&mut self, request: Join, limits: &Limits, now: Now, out: &mut Effects) {
        let id = request.fresh_member_id.clone();
        if let Some(instance_id) = &request.instance_id {
            match self.roster.static_member(instance_id).cloned() {
                Some(old_id) => self.replace_static(&old_id, request, limits, now, out),
                None => self.add_member(id, request, limits, now, out),
            }
        } else if request.requires_known_member_id {
            let deadline = now.monotonic_ms + i64::from(request.session_timeout_ms);
            self.timers.schedule(Timer::Session(id.clone()), deadline);
            self.pending_joins.insert(id.clone());
            out.refuse_join(request.token, id, GroupError::MemberIdRequired);
        } else {
            self.add_member(id, request, limits, now, out);
        }
    }

    fn join_known(&mut self, request: Join, limits: &Limits, now: Now, out: &mut Effects) {
        let id = request.member_id.clone();
        if self.pending_joins.contains(&id) && request.instance_id.is_none() {
            return self.add_member(id, request, limits, now, out);
        }
        let from = Identity { member_id: &id, instance_id: request.instance_id.as_ref() };
        if let Err(error) = self.check_member(from) {
            return out.refuse_join(request.token, id, error);
        }
        let unchanged = self.roster.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let keeps_generation = match self.state {
            State::CompletingRebalance => unchanged,
            // The leader joins again to have an assignment made for changes that only it sees.
            State::Stable => unchanged && !self.roster.is_leader(&id),
            State::Empty | State::PreparingRebalance | State::Dead => false,
        };
        if keeps_generation {
            // It may have missed the first answer.
            let joined = self.joined(&id);
            out.answers.push((request.token, Answer::Join(Ok(joined))));
        } else {
            self.update_member(&id, request, out);
            self.rebalance_or_complete("a member joined again", limits, now, out);
        }
    }

    fn add_member(&mut self, id: Str, request: Join, limits: &Limits, now: Now, out: &mut Effects) {
        if self.state == State::PreparingRebalance && self.previous_state == State::Empty {
            self.new_member_added = true;
        }
        if self.roster.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.pending_joins.remove(&id);
        self.timers.schedule(Timer::Session(id.clone()), now.monotonic_ms + NEW_MEMBER_JOIN_TIMEOUT_MS);
        tracing::info!(group = %self.id, member = %id, instance = ?request.instance_id, client = %request.client_id,
            reason = request.reason.as_deref().unwrap_or("not given"), "a member joins");
        self.roster.add(Member {
            id,
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: Some(request.token),
            awaiting_sync: None,
        });
        self.rebalance_or_complete("a new member", limits, now, out);
    }

    /// Parks the request at the member with what it now offers; a request that was parked before is let go.
    fn update_member(&mut self, id: &Str, request: Join, out: &mut Effects) {
        let earlier = self.roster.update(id, |member| {
            member.protocols = request.protocols;
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
            member.awaiting_join.replace(request.token)
        });
        if let Some(token) = earlier.flatten() {
            out.refuse_join(token, id.clone(), GroupError::RebalanceInProgress);
        }
    }

    fn replace_static(&mut self, old_id: &Str, request: Join, limits: &Limits, now: Now, out: &mut Effects) {
        let new_id = request.fresh_member_id.clone();
        let Some(previous) = self.roster.get(old_id).cloned() else {
            return out.refuse_join(request.token, Str::default(), GroupError::UnknownMemberId);
        };
        let previous_leader = self.roster.leader().cloned();
        tracing::info!(group = %self.id, old = %old_id, new = %new_id, instance = ?request.instance_id, "a static member returns");
        self.fence(old_id, &new_id, out);
        let supports_skip_assignment = request.supports_skip_assignment;
        self.update_member(&new_id, request, out);
        self.restart_session(&new_id, now);

        match self.state {
            State::Stable if self.roster.select_protocol() == self.protocol_name => {
                let replacement = StaticReplacement {
                    previous,
                    new_id,
                    generation: self.generation,
                    previous_leader,
                    supports_skip_assignment,
                };
                self.write(
                    Intent::ReplaceStatic(Box::new(replacement)),
                    |member| member.assignment.clone(),
                    out,
                );
            }
            State::Stable | State::CompletingRebalance => {
                // The leader may be assigning to the id that is gone.
                self.prepare_rebalance("a static member returned", limits, now, out);
            }
            State::PreparingRebalance | State::Empty | State::Dead => {
                self.maybe_complete_join(limits, now, out);
            }
        }
    }

    fn fence(&mut self, old_id: &Str, new_id: &Str, out: &mut Effects) {
        let (join, sync) = self.roster.replace_static(old_id, new_id);
        if let Some(token) = join {
            out.refuse_join(token, old_id.clone(), GroupError::FencedInstanceId);
        }
        if let Some(token) = sync {
            out.answer_sync(token, Err(GroupError::FencedInstanceId));
        }
        self.timers.cancel(&Timer::Session(old_id.clone()));
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(new_id.clone());
        }
    }

    /// The record of a replaced static member was written, or not.
    pub(super) fn on_static_replaced(
        &mut self,
        replaced: StaticReplacement,
        result: WriteResult,
        now: Now,
        out: &mut Effects,
    ) {
        let current = self.state == State::Stable
            && self.generation == replaced.generation
            && self.roster.get(&replaced.new_id).is_some_and(Member::is_awaiting_join);
        if !current {
            // A rebalance has begun: it answers the member and writes the group again.
            return;
        }
        let Some(token) = self.roster.take_join(&replaced.new_id) else {
            return;
        };
        match result {
            Ok(()) => {
                let mut joined = self.joined(&replaced.new_id);
                let leads = self.roster.is_leader(&replaced.new_id);
                joined.skip_assignment = leads && replaced.supports_skip_assignment;
                if leads && !replaced.supports_skip_assignment {
                    // An old client would assign; as long as it takes itself for a follower it does not.
                    joined.members = Vec::new();
                    joined.leader = replaced.previous_leader.unwrap_or_default();
                }
                out.answers.push((token, Answer::Join(Ok(joined))));
                self.restart_session(&replaced.new_id, now);
            }
            Err(error) => {
                self.undo_replacement(&replaced, now);
                out.refuse_join(token, Str::default(), error);
            }
        }
    }

    fn undo_replacement(&mut self, replaced: &StaticReplacement, now: Now) {
        let old_id = replaced.previous.id.clone();
        self.roster.replace_static(&replaced.new_id, &old_id);
        self.roster.update(&old_id, |member| {
            member.protocols.clone_from(&replaced.previous.protocols);
            member.rebalance_timeout_ms = replaced.previous.rebalance_timeout_ms;
            member.session_timeout_ms = replaced.previous.session_timeout_ms;
        });
        self.timers.cancel(&Timer::Session(replaced.new_id.clone()));
        if self.pending_syncs.remove(&replaced.new_id) {
            self.pending_syncs.insert(old_id.clone());
        }
        self.restart_session(&old_id, now);
    }

    /// The answer that tells a member the current generation.
    pub(super) fn joined(&self, id: &Str) -> Joined {
        let members = if self.roster.is_leader(id) { self.members_for_leader() } else { Vec::new() };
        Joined {
            member_id: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.roster.leader().cloned().unwrap_or_default(),
            skip_assignment: false,
            members,
        }
    }

    fn members_for_leader(&self) -> Vec<JoinedMember> {
        let joined = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(self.protocol_name.as_ref()),
        };
        self.roster.iter().map(joined).collect()
    }

    /// While members join, those that are there already are counted, so that a lowered limit turns away the last to
    /// come back; afterwards the members are.
    fn has_room_for(&self, id: &Str, limits: &Limits) -> bool {
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                self.roster.get(id).is_some_and(Member::is_awaiting_join)
                    || self.roster.awaiting_join() < limits.max_size
            }
            State::CompletingRebalance | State::Stable => {
                self.roster.contains(id) || self.roster.len() < limits.max_size
            }
        }
    }

    fn turn_away(&mut self, id: &Str, limits: &Limits, now: Now, out: &mut Effects) {
        self.remove_member(id, out);
        self.maybe_complete_join(limits, now, out);
    }

    fn supports(&self, request: &Join) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        if self.state == State::Empty || self.roster.is_empty() {
            return true;
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && self.roster.supports_any(request.protocols.iter().map(|protocol| &protocol.name))
    }
}
