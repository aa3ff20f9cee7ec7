//! The two phases of a rebalance: everybody joins, then everybody gets the leader's assignment.

use bytes::Bytes;

use super::{
    Answer, ClassicGroup, Effects, GroupWrite, InitialDelay, Intent, Limits, Member, Now, State, Timer,
};
use crate::group::{GroupError, Str, WriteResult};

impl ClassicGroup {
    /// The fate of a record from [`Effects::writes`], in the order in which they were asked for.
    pub fn on_written(
        &mut self,
        intent: Intent,
        result: WriteResult,
        limits: &Limits,
        now: Now,
        out: &mut Effects,
    ) {
        if result.is_ok() {
            self.persisted = true;
        }
        match intent {
            Intent::Assign { generation, assignment } => {
                self.on_assigned(
                    generation,
                    |member| assignment.get(&member.id).cloned(),
                    result,
                    limits,
                    now,
                    out,
                );
            }
            Intent::Empty => {
                if let Err(error) = result {
                    // The log still has the last generation, whose members would time out after a restart.
                    tracing::warn!(group = %self.id, %error, "the empty group was not written");
                }
            }
            Intent::ReplaceStatic(replaced) => self.on_static_replaced(*replaced, result, now, out),
        }
    }

    /// Starts a rebalance if the state allows it, else completes the one that is going on if everybody is there.
    pub(super) fn rebalance_or_complete(
        &mut self,
        reason: &str,
        limits: &Limits,
        now: Now,
        out: &mut Effects,
    ) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => {
                self.prepare_rebalance(reason, limits, now, out);
            }
            State::PreparingRebalance | State::Dead => self.maybe_complete_join(limits, now, out),
        }
    }

    /// Starts a rebalance; members that wait for an assignment are told to join again.
    pub(super) fn prepare_rebalance(&mut self, reason: &str, limits: &Limits, now: Now, out: &mut Effects) {
        if self.state == State::CompletingRebalance {
            self.propagate_failure(GroupError::RebalanceInProgress, now, out);
        }
        self.pending_syncs.clear();
        self.timers.cancel(&Timer::SyncPhase);
        tracing::info!(group = %self.id, generation = self.generation, members = self.roster.len(), reason, "rebalance begins");
        let first = self.state == State::Empty;
        self.transition(State::PreparingRebalance, now);
        if first {
            self.start_initial_delay(limits, now);
        } else if self.everybody_joined() {
            self.complete_join(now, out);
        } else {
            self.schedule_join_phase(self.rebalance_timeout(), now);
        }
    }

    /// Completes the join phase if nobody is missing; the first rebalance waits its delay out.
    pub(super) fn maybe_complete_join(&mut self, _limits: &Limits, now: Now, out: &mut Effects) {
        if self.state == State::PreparingRebalance
            && self.previous_state != State::Empty
            && self.everybody_joined()
        {
            self.complete_join(now, out);
        }
    }

    /// Completes the join phase after a removal, even the first one when it is about nobody any more.
    pub(super) fn complete_join_after_removal(&mut self, now: Now, out: &mut Effects) {
        if self.state == State::PreparingRebalance && self.everybody_joined() {
            self.complete_join(now, out);
        }
    }

    /// The join phase's deadline: the initial delay is extended while members keep coming.
    pub(super) fn on_join_phase_over(&mut self, limits: &Limits, now: Now, out: &mut Effects) {
        if self.state != State::PreparingRebalance {
            return;
        }
        if let Some(initial) = self.initial_delay
            && self.new_member_added
            && initial.remaining_ms > 0
        {
            self.new_member_added = false;
            let delay_ms = i64::from(limits.initial_rebalance_delay_ms).min(initial.remaining_ms);
            let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
            self.initial_delay = Some(InitialDelay { delay_ms, remaining_ms });
            self.schedule_join_phase(delay_ms, now);
        } else {
            self.complete_join(now, out);
        }
    }

    /// Who has not synced in time is removed, and the others rebalance.
    pub(super) fn on_sync_phase_over(&mut self, limits: &Limits, now: Now, out: &mut Effects) {
        let syncing = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !syncing || self.pending_syncs.is_empty() {
            return;
        }
        for id in self.pending_syncs.clone() {
            tracing::info!(group = %self.id, member = %id, "a member did not sync in time and is removed");
            self.remove_member(&id, out);
        }
        self.prepare_rebalance("members did not sync in time", limits, now, out);
    }

    /// Asks for the group's record to be written.
    pub(super) fn write(&mut self, intent: Intent, assignment: impl Fn(&Member) -> Bytes, out: &mut Effects) {
        out.writes.push(GroupWrite { snapshot: self.snapshot(assignment), intent });
    }

    pub(super) fn everybody_joined(&self) -> bool {
        self.roster.len() == self.roster.awaiting_join() && self.pending_joins.is_empty()
    }

    fn start_initial_delay(&mut self, limits: &Limits, now: Now) {
        let delay_ms = i64::from(limits.initial_rebalance_delay_ms);
        let remaining_ms = (self.rebalance_timeout() - delay_ms).max(0);
        self.initial_delay = Some(InitialDelay { delay_ms, remaining_ms });
        self.new_member_added = false;
        self.schedule_join_phase(delay_ms, now);
    }

    fn schedule_join_phase(&mut self, delay_ms: i64, now: Now) {
        self.timers.schedule(Timer::JoinPhase, now.monotonic_ms + delay_ms);
    }

    fn rebalance_timeout(&self) -> i64 {
        i64::from(self.roster.rebalance_timeout_ms())
    }

    fn complete_join(&mut self, now: Now, out: &mut Effects) {
        self.timers.cancel(&Timer::JoinPhase);
        self.remove_absent_members(out);
        if !self.roster.elect_joined_leader() && !self.roster.is_empty() {
            // Only static members are left, and none of them has joined: their sessions decide.
            self.schedule_join_phase(self.rebalance_timeout(), now);
            return;
        }
        self.initial_delay = None;
        self.start_generation(now);
        if self.state == State::Empty {
            tracing::info!(group = %self.id, generation = self.generation, "the group is empty");
            self.write(Intent::Empty, |_| Bytes::new(), out);
        } else {
            tracing::info!(group = %self.id, generation = self.generation, members = self.roster.len(),
                protocol = self.protocol_name.as_deref(), "everybody has joined");
            self.answer_joins(now, out);
        }
    }

    /// Static members may be away for as long as their session lasts.
    fn remove_absent_members(&mut self, out: &mut Effects) {
        let absent = |member: &&Member| !member.is_awaiting_join() && member.instance_id.is_none();
        let ids: Vec<Str> = self.roster.iter().filter(absent).map(|member| member.id.clone()).collect();
        for id in ids {
            tracing::info!(group = %self.id, member = %id, "a member did not join again and is removed");
            self.remove_member(&id, out);
        }
    }

    fn start_generation(&mut self, now: Now) {
        self.generation = if self.generation == i32::MAX { 1 } else { self.generation + 1 };
        self.pending_syncs.clear();
        let next = if self.roster.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.protocol_name = self.roster.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        self.transition(next, now);
    }

    fn answer_joins(&mut self, now: Now, out: &mut Effects) {
        for id in self.roster.ids() {
            if let Some(token) = self.roster.take_join(&id) {
                out.answers.push((token, Answer::Join(Ok(self.joined(&id)))));
            }
            self.roster.update(&id, |member| member.is_new = false);
            self.restart_session(&id, now);
            self.pending_syncs.insert(id);
        }
        self.timers.schedule(Timer::SyncPhase, now.monotonic_ms + self.rebalance_timeout());
    }

    fn on_assigned(
        &mut self,
        generation: i32,
        assignment: impl Fn(&Member) -> Option<Bytes>,
        result: WriteResult,
        limits: &Limits,
        now: Now,
        out: &mut Effects,
    ) {
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        match result {
            Ok(()) => {
                for id in self.roster.ids() {
                    self.roster
                        .update(&id, |member| member.assignment = assignment(member).unwrap_or_default());
                }
                self.transition(State::Stable, now);
                self.propagate_assignment(now, out);
            }
            Err(error) => {
                tracing::warn!(group = %self.id, generation, %error, "the assignment was not written");
                self.propagate_failure(error, now, out);
                self.rebalance_or_complete("the assignment was not written", limits, now, out);
            }
        }
    }

    fn propagate_assignment(&mut self, now: Now, out: &mut Effects) {
        for id in self.roster.ids() {
            if let Some(token) = self.roster.take_sync(&id) {
                out.answer_sync(token, self.synced(&id));
                self.restart_session(&id, now);
            }
        }
    }

    fn propagate_failure(&mut self, error: GroupError, now: Now, out: &mut Effects) {
        for id in self.roster.ids() {
            self.roster.update(&id, |member| member.assignment = Bytes::new());
            if let Some(token) = self.roster.take_sync(&id) {
                out.answer_sync(token, Err(error));
                self.restart_session(&id, now);
            }
        }
    }
}
