//! SyncGroup: the leader brings the assignment, the others fetch theirs.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ClassicGroup, Effects, Identity, Intent, State, Sync, Synced, Timer};
use crate::group::{GroupError, Str};

impl ClassicGroup {
    /// Handles SyncGroup. The answer may come with a later event.
    pub fn sync(&mut self, request: Sync, out: &mut Effects) {
        let token = request.token;
        if let Err(error) = self.check_sync(&request) {
            return out.answer_sync(token, Err(error));
        }
        match self.state {
            State::Empty | State::Dead => out.answer_sync(token, Err(GroupError::UnknownMemberId)),
            State::PreparingRebalance => out.answer_sync(token, Err(GroupError::RebalanceInProgress)),
            State::CompletingRebalance => self.park_sync(request, out),
            State::Stable => {
                self.note_synced(&request.member_id);
                out.answer_sync(token, self.synced(&request.member_id));
            }
        }
    }

    /// The member's assignment in the current generation.
    pub(super) fn synced(&self, id: &Str) -> Result<Synced, GroupError> {
        let member = self.roster.get(id).ok_or(GroupError::UnknownMemberId)?;
        Ok(Synced {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: member.assignment.clone(),
        })
    }

    fn check_sync(&self, request: &Sync) -> Result<(), GroupError> {
        match self.state {
            State::Dead => return Err(GroupError::CoordinatorNotAvailable),
            State::Empty => return Err(GroupError::UnknownMemberId),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {}
        }
        self.check_member(Identity {
            member_id: &request.member_id,
            instance_id: request.instance_id.as_ref(),
        })?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        let differs =
            |given: &Option<Str>, ours: &Option<Str>| given.is_some() && ours.is_some() && given != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, request: Sync, out: &mut Effects) {
        let earlier =
            self.roster.update(&request.member_id, |member| member.awaiting_sync.replace(request.token));
        if let Some(token) = earlier.flatten() {
            out.answer_sync(token, Err(GroupError::RebalanceInProgress));
        }
        self.note_synced(&request.member_id);
        if self.roster.is_leader(&request.member_id) {
            let assignment = self.assignment_for_all(request.assignments);
            let of_member = assignment.clone();
            let intent = Intent::Assign { generation: self.generation, assignment };
            self.write(intent, |member| of_member.get(&member.id).cloned().unwrap_or_default(), out);
        }
    }

    /// Members that the leader forgot get nothing; assignments for others are dropped.
    fn assignment_for_all(&self, mut given: BTreeMap<Str, Bytes>) -> BTreeMap<Str, Bytes> {
        let entry = |id: Str| {
            let assignment = given.remove(&id).unwrap_or_default();
            (id, assignment)
        };
        self.roster.ids().into_iter().map(entry).collect()
    }

    fn note_synced(&mut self, id: &Str) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            self.timers.cancel(&Timer::SyncPhase);
        }
    }
}
