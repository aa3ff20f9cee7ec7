//! Staying in the group and leaving it: heartbeats, commits, LeaveGroup, expiry.

use super::{ClassicGroup, Effects, Identity, Leaving, Limits, Member, Now, State, Timer};
use crate::group::{GroupError, Str};

impl ClassicGroup {
    /// Handles Heartbeat.
    ///
    /// # Errors
    /// [`GroupError::RebalanceInProgress`] asks the member to join again; others refuse it.
    pub fn heartbeat(&mut self, from: Identity<'_>, generation: i32, now: Now) -> Result<(), GroupError> {
        match self.state {
            State::Dead => return Err(GroupError::CoordinatorNotAvailable),
            State::Empty => return Err(GroupError::UnknownMemberId),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {}
        }
        self.check_member(from)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.restart_session(from.member_id, now);
        if self.state == State::PreparingRebalance { Err(GroupError::RebalanceInProgress) } else { Ok(()) }
    }

    /// Whether an offset commit may be taken; a member's commit counts as a heartbeat.
    ///
    /// A negative generation without a member comes from a client that does not use groups, or from an administrator:
    /// allowed only while nobody is in the group.
    ///
    /// # Errors
    /// The error that all partitions of the request get.
    pub fn check_commit(&mut self, from: Identity<'_>, generation: i32, now: Now) -> Result<(), GroupError> {
        match self.state {
            State::Dead => return Err(GroupError::CoordinatorNotAvailable),
            State::Empty if generation < 0 => return Ok(()),
            State::Empty | State::PreparingRebalance | State::CompletingRebalance | State::Stable => {}
        }
        if generation < 0 && from.member_id.is_empty() && from.instance_id.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        self.check_member(from)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        self.restart_session(from.member_id, now);
        Ok(())
    }

    /// Handles LeaveGroup: the fate of each, in the order given.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn leave(
        &mut self,
        leaving: &[Leaving],
        limits: &Limits,
        now: Now,
        out: &mut Effects,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let fates: Vec<_> = leaving.iter().map(|member| self.leave_one(member, out)).collect();
        if fates.iter().any(Result::is_ok) {
            match self.state {
                State::Stable | State::CompletingRebalance => {
                    self.rebalance_or_complete("members left", limits, now, out);
                }
                State::PreparingRebalance => self.maybe_complete_join(limits, now, out),
                State::Empty | State::Dead => {}
            }
        }
        Ok(fates)
    }

    /// Everything whose deadline is not after `now`.
    pub fn on_deadline(&mut self, limits: &Limits, now: Now, out: &mut Effects) {
        while let Some(timer) = self.timers.pop_due(now.monotonic_ms) {
            match timer {
                Timer::Session(id) => self.expire_member(&id, limits, now, out),
                Timer::JoinPhase => self.on_join_phase_over(limits, now, out),
                Timer::SyncPhase => self.on_sync_phase_over(limits, now, out),
            }
        }
    }

    fn expire_member(&mut self, id: &Str, limits: &Limits, now: Now, out: &mut Effects) {
        if self.pending_joins.remove(id) {
            return self.complete_join_after_removal(now, out);
        }
        let overdue = self.roster.get(id).is_some_and(|member| !Member::has_satisfied_heartbeat(member));
        if !overdue {
            // What it waits for restarts its session.
            return;
        }
        tracing::info!(group = %self.id, member = %id, "a member's session has expired");
        self.remove_member(id, out);
        match self.state {
            State::Stable | State::CompletingRebalance => {
                self.rebalance_or_complete("a member's session expired", limits, now, out);
            }
            State::PreparingRebalance => self.complete_join_after_removal(now, out),
            State::Empty | State::Dead => {}
        }
    }

    fn leave_one(&mut self, leaving: &Leaving, out: &mut Effects) -> Result<(), GroupError> {
        let id = if leaving.member_id.is_empty() {
            // An administrator names a static member by its instance id alone.
            let held =
                leaving.instance_id.as_ref().and_then(|instance_id| self.roster.static_member(instance_id));
            held.cloned().ok_or(GroupError::UnknownMemberId)?
        } else if self.pending_joins.contains(&leaving.member_id) {
            leaving.member_id.clone()
        } else {
            self.check_member(Identity {
                member_id: &leaving.member_id,
                instance_id: leaving.instance_id.as_ref(),
            })?;
            leaving.member_id.clone()
        };
        tracing::info!(group = %self.id, member = %id, "a member leaves");
        self.remove_member(&id, out);
        Ok(())
    }
}
