//! Following: fetching the leader's log or its snapshot, truncating where the logs differ.

use bytes::Bytes;
use ottla_wire::ErrorCode;

use super::message::{FetchSnapshot, Fetched, ReplicaKey, Request};
use super::peers::Asked;
use super::{Command, LogView, Raft, Role};
use crate::features::KRaftVersion;
use crate::snapshot::SnapshotId;
use crate::voters::Voter;

/// How much is fetched at once.
const MAX_FETCH_BYTES: i32 = 8 << 20;

impl Raft {
    pub(super) fn poll_follower(&mut self, now: i64, log: &dyn LogView) -> bool {
        let Role::Follower(state) = &self.role else { return false };
        let state = *state;
        if now >= state.fetch_deadline && !state.busy {
            if self.may_stand() {
                self.stand(now);
            } else {
                // The leader may be another one by now: somebody knows.
                self.leader = None;
                self.role = self.unattached(now);
            }
            return true;
        }
        let Some(to) = self.leader.as_ref().and_then(|leader| self.endpoint_of(leader)) else { return false };
        if state.busy || !self.peers.is_ready(to.id, now) {
            return false;
        }
        if let Some(voter) = self.outdated_voter().filter(|_| now >= state.next_update) {
            let next_update = now.saturating_add(self.config.timeouts.fetch_ms);
            if let Role::Follower(state) = &mut self.role {
                state.next_update = next_update;
            }
            self.send(to, Asked::UpdateVoter, Request::UpdateVoter { epoch: self.epoch, voter }, now);
            return false;
        }
        match state.snapshot {
            Some((id, position)) => {
                let (epoch, replica, max_bytes) = (self.epoch, self.key(), MAX_FETCH_BYTES);
                let fetch = FetchSnapshot { epoch, replica, id, position, max_bytes };
                self.send(to, Asked::FetchSnapshot, Request::FetchSnapshot(fetch), now);
            }
            None => {
                let fetch = self.fetch_from(log, MAX_FETCH_BYTES, self.config.timeouts.fetch_wait_ms);
                self.send(to, Asked::Fetch, Request::Fetch(fetch), now);
            }
        }
        false
    }

    /// This node as it is now, if the voters have it differently.
    fn outdated_voter(&self) -> Option<Voter> {
        let known = self.voters.get(self.config.local.id).filter(|_| self.is_voter())?;
        let local = &self.config.local;
        let has_moved = !local.endpoints.is_empty() && known.endpoints != local.endpoints;
        let is_outdated = has_moved || known.kraft_versions != local.kraft_versions;
        (self.version == KRaftVersion::Dynamic && is_outdated).then(|| self.renewed(known))
    }

    /// The voter with this node's own addresses and versions.
    pub(crate) fn renewed(&self, known: &Voter) -> Voter {
        let local = &self.config.local;
        let endpoints = if local.endpoints.is_empty() { &known.endpoints } else { &local.endpoints };
        Voter { endpoints: endpoints.clone(), kraft_versions: local.kraft_versions, ..known.clone() }
    }

    pub(super) fn fetch_response(
        &mut self,
        from: i32,
        error: ErrorCode,
        fetched: Fetched,
        now: i64,
        log: &dyn LogView,
    ) {
        let is_leader = self.leader.as_ref().is_some_and(|leader| leader.id == from);
        let fetch_deadline = now.saturating_add(self.config.timeouts.fetch_ms);
        let Role::Follower(state) = &mut self.role else { return };
        if error.is_error() || !is_leader {
            return;
        }
        self.lost_ballots = 0;
        state.fetch_deadline = fetch_deadline;
        state.has_fetched = true;
        match fetched {
            Fetched::Records { records, high_watermark } if records.is_empty() => {
                self.follow_high_watermark(high_watermark, log);
            }
            Fetched::Records { records, high_watermark } => {
                state.busy = true;
                self.out.push(Command::AppendFetched { records, high_watermark });
            }
            Fetched::Diverging { epoch, end_offset } => {
                self.peers.back_off(from, now);
                self.truncate(epoch, end_offset, log);
            }
            Fetched::Snapshot(id) if id.end_offset < 0 || id.epoch < 0 => self.peers.back_off(from, now),
            Fetched::Snapshot(id) => state.snapshot = Some((id, 0)),
        }
    }

    /// Back to where both logs are the same, or further (KIP-595).
    fn truncate(&mut self, epoch: i32, end_offset: i64, log: &dyn LogView) {
        let (own_epoch, own_end) = log.end_offset_for_epoch(epoch);
        let offset = if own_epoch == epoch { own_end.min(end_offset) } else { own_end };
        let snapshot = log.latest_snapshot().map_or(0, |id| id.end_offset);
        let committed = self.high_watermark.unwrap_or(0).max(snapshot);
        if offset < committed {
            self.out.push(Command::Halt(format!(
                "the leader's log ends epoch {epoch} at {end_offset}, below what is committed here ({committed})"
            )));
            return;
        }
        if let Role::Follower(state) = &mut self.role
            && offset < log.end_offset()
        {
            state.busy = true;
            self.out.push(Command::TruncateTo { offset });
        }
    }

    pub(super) fn log_changed(&mut self, high_watermark: i64, log: &dyn LogView) {
        let Role::Follower(state) = &mut self.role else { return };
        state.busy = false;
        self.follow_high_watermark(high_watermark, log);
    }

    fn follow_high_watermark(&mut self, high_watermark: i64, log: &dyn LogView) {
        let to = high_watermark.min(log.flushed_end());
        if to > 0 {
            self.advance_high_watermark(to);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one response")]
    pub(super) fn snapshot_response(
        &mut self,
        from: i32,
        error: ErrorCode,
        id: SnapshotId,
        size: i64,
        position: i64,
        bytes: Bytes,
        now: i64,
    ) {
        let is_leader = self.leader.as_ref().is_some_and(|leader| leader.id == from);
        let fetch_deadline = now.saturating_add(self.config.timeouts.fetch_ms);
        let Role::Follower(state) = &mut self.role else { return };
        if !is_leader {
            return;
        }
        let gone =
            [ErrorCode::SnapshotNotFound, ErrorCode::PositionOutOfRange, ErrorCode::UnknownTopicOrPartition];
        if gone.contains(&error) {
            state.snapshot = None;
            return;
        }
        let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let end = position.saturating_add(length);
        let fits = state.snapshot == Some((id, position)) && length > 0 && end <= size;
        if error.is_error() || !fits {
            self.peers.back_off(from, now);
            return;
        }
        state.fetch_deadline = fetch_deadline;
        state.has_fetched = true;
        state.busy = true;
        state.snapshot = Some((id, end));
        self.out.push(Command::WriteSnapshot { id, position, bytes, is_last: end == size });
    }

    pub(super) fn snapshot_grown(&mut self) {
        if let Role::Follower(state) = &mut self.role {
            state.busy = false;
        }
    }

    pub(super) fn snapshot_installed(&mut self, id: SnapshotId) {
        if let Role::Follower(state) = &mut self.role {
            (state.busy, state.snapshot) = (false, None);
        }
        self.advance_high_watermark(id.end_offset);
    }

    pub(super) fn refused(&mut self, now: i64) {
        let leader = self.leader.as_ref().map(|leader| leader.id);
        if let Role::Follower(state) = &mut self.role {
            (state.busy, state.snapshot) = (false, None);
        }
        if let Some(leader) = leader {
            self.peers.back_off(leader, now);
        }
    }

    /// The process may be gone: it gets a moment to answer again. The pre-vote keeps this from deposing one that is not.
    pub(super) fn leader_disconnected(&mut self, from: i32, now: i64) {
        let patience = self.config.timeouts.disconnected_ms;
        if patience <= 0 || self.leader.as_ref().is_none_or(|leader| leader.id != from) {
            return;
        }
        let deadline = now.saturating_add(patience + self.random.below(patience));
        if let Role::Follower(state) = &mut self.role {
            state.fetch_deadline = state.fetch_deadline.min(deadline);
        }
    }

    /// The keys of the voters.
    pub fn voter_keys(&self) -> impl Iterator<Item = ReplicaKey> {
        self.voters.iter().map(|voter| ReplicaKey::new(voter.id, voter.directory_id))
    }
}
