//! Leading: who has what, what is committed, whether a majority is still there.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::ErrorCode;

use super::message::{
    BeginEpoch, Fetch, FetchReply, FetchSnapshot, Leader, ReplicaKey, ReplyBody, Request, Token,
};
use super::peers::Asked;
use super::role::{Leading, Parked, Progress, Resigned, Role};
use super::{Command, LogView, Raft};
use crate::snapshot::SnapshotId;
use crate::testing::{Rule, keeps};

/// An observer that has not fetched for so long is forgotten.
const OBSERVER_SESSION_MS: i64 = 300_000;
/// More observers than any cluster has; more are served but not remembered.
const MAX_OBSERVERS: usize = 10_000;
/// Longest wait that a fetch may ask for.
const MAX_WAIT_MS: i64 = 60_000;

/// What is to be said to a fetch at an offset, by the leader's log.
enum Position {
    Valid,
    Diverging { epoch: i32, end_offset: i64 },
    Snapshot(SnapshotId),
}

impl Raft {
    pub(super) fn become_leader(&mut self, granting: Vec<i32>, now: i64) {
        self.leader = Some(Leader { id: self.config.local.id, endpoints: Vec::new() });
        self.role = Role::Leader(Box::new(Leading {
            epoch_start: None,
            is_active: false,
            since: now,
            granting: granting.clone(),
            progress: BTreeMap::new(),
            begun: BTreeMap::new(),
            parked: Vec::new(),
            change: None,
        }));
        self.persist_leading();
        self.out.push(Command::AppendLeaderChange { epoch: self.epoch, granting });
    }

    pub(super) fn epoch_started(&mut self, offset: i64, log: &dyn LogView) {
        if let Role::Leader(leading) = &mut self.role {
            leading.epoch_start = Some(offset);
        }
        self.update_high_watermark(log);
    }

    /// What a majority of the voters has flushed is committed, once that includes a record of this epoch.
    pub(super) fn update_high_watermark(&mut self, log: &dyn LogView) {
        let key = self.key();
        let Role::Leader(leading) = &mut self.role else { return };
        let Some(start) = leading.epoch_start else { return };
        let mut ends: Vec<i64> = self
            .voters
            .iter()
            .map(|voter| {
                let voter = ReplicaKey::new(voter.id, voter.directory_id);
                if voter.covers(key) {
                    log.flushed_end()
                } else {
                    progress_of(leading, voter).map_or(-1, |progress| progress.end_offset)
                }
            })
            .collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let decisive = if keeps(Rule::AskMajority) { self.voters.majority() - 1 } else { 0 };
        let Some(end) = ends.get(decisive).copied().map(|end| end.min(log.end_offset())) else {
            return;
        };
        if end > start {
            leading.is_active = true;
            self.lost_ballots = 0;
            self.advance_high_watermark(end);
        }
    }

    pub(super) fn fetch_request(&mut self, token: Token, fetch: Fetch, now: i64, log: &dyn LogView) {
        let is_malformed =
            fetch.max_wait_ms < 0 || fetch.offset < 0 || fetch.last_epoch < 0 || fetch.epoch < 0;
        if is_malformed {
            return self.refuse_fetch(token, ErrorCode::InvalidRequest);
        }
        if let Err(error) = self.check_leader_request(fetch.epoch) {
            return self.refuse_fetch(token, error);
        }
        match position(&fetch, log) {
            Position::Diverging { epoch, end_offset } => {
                let body = FetchReply::Diverging { epoch, end_offset };
                return self.reply(token, ErrorCode::None, ReplyBody::Fetch(body));
            }
            Position::Snapshot(id) => {
                self.contacted(fetch.replica, now);
                return self.reply(token, ErrorCode::None, ReplyBody::Fetch(FetchReply::Snapshot(id)));
            }
            Position::Valid => self.fetched(&fetch, now, log),
        }
        // What this fetch proved may have committed a change that ends the leadership.
        let wait = i64::from(fetch.max_wait_ms).min(MAX_WAIT_MS);
        let parked = Parked { token, fetch, deadline: now.saturating_add(wait) };
        match &mut self.role {
            Role::Leader(leading) if wait > 0 && !is_answerable(&parked, self.high_watermark, now, log) => {
                leading.parked.push(parked);
            }
            _ => self.answer(&parked),
        }
    }

    fn answer(&mut self, parked: &Parked) {
        let Parked { token, fetch, .. } = *parked;
        match self.check_leader_request(fetch.epoch) {
            Err(error) => self.refuse_fetch(token, error),
            Ok(()) => {
                let body = FetchReply::Read { offset: fetch.offset, max_bytes: fetch.max_bytes };
                self.reply(token, ErrorCode::None, ReplyBody::Fetch(body));
            }
        }
    }

    /// Notes how far a replica is.
    fn fetched(&mut self, fetch: &Fetch, now: i64, log: &dyn LogView) {
        let is_voter = self.voters.contains(fetch.replica);
        let leader_end = log.end_offset();
        let Role::Leader(leading) = &mut self.role else { return };
        let is_known = leading.progress.contains_key(&fetch.replica);
        let is_own = fetch.replica.id == self.config.local.id;
        if fetch.replica.id < 0
            || is_own
            || (!is_known && !is_voter && leading.progress.len() >= MAX_OBSERVERS)
        {
            return;
        }
        let progress = leading.progress.entry(fetch.replica).or_insert(Progress::NONE);
        if fetch.offset >= leader_end {
            progress.last_caught_up = now;
        } else if progress.leader_end_at_last_fetch > 0 && fetch.offset >= progress.leader_end_at_last_fetch {
            progress.last_caught_up = progress.last_caught_up.max(progress.last_fetch);
        }
        progress.end_offset = fetch.offset;
        progress.last_fetch = now;
        progress.leader_end_at_last_fetch = leader_end;
        if is_voter {
            self.update_high_watermark(log);
        }
    }

    /// A replica is there, wherever its log is.
    fn contacted(&mut self, replica: ReplicaKey, now: i64) {
        if !self.voters.contains(replica) {
            return;
        }
        if let Role::Leader(leading) = &mut self.role {
            leading.progress.entry(replica).or_insert(Progress::NONE).last_fetch = now;
        }
    }

    pub(super) fn snapshot_request(&mut self, token: Token, fetch: FetchSnapshot, now: i64) {
        let error = self.check_leader_request(fetch.epoch).err().unwrap_or_default();
        if !error.is_error() {
            self.contacted(fetch.replica, now);
        }
        self.reply(token, error, ReplyBody::FetchSnapshot(fetch));
    }

    pub(super) fn poll_leader(&mut self, now: i64, log: &dyn LogView) -> bool {
        if self.finish_change(now) {
            return true;
        }
        if now >= self.check_quorum_deadline() {
            tracing::warn!(epoch = self.epoch, "a majority of the voters has not fetched in time, resigning");
            self.resign(now);
            return true;
        }
        self.answer_parked(now, log);
        self.forget_observers(now);
        self.tell_voters(now);
        false
    }

    fn answer_parked(&mut self, now: i64, log: &dyn LogView) {
        let high_watermark = self.high_watermark;
        let Role::Leader(leading) = &mut self.role else { return };
        let (ready, waiting) = std::mem::take(&mut leading.parked)
            .into_iter()
            .partition(|parked| is_answerable(parked, high_watermark, now, log));
        leading.parked = waiting;
        let ready: Vec<Parked> = ready;
        for parked in ready {
            self.answer(&parked);
        }
    }

    fn forget_observers(&mut self, now: i64) {
        let voters = &self.voters;
        if let Role::Leader(leading) = &mut self.role {
            leading.progress.retain(|key, progress| {
                voters.contains(*key) || now.saturating_sub(progress.last_fetch) < OBSERVER_SESSION_MS
            });
        }
    }

    /// BeginQuorumEpoch to voters that do not fetch: they may follow nobody, or somebody else.
    fn tell_voters(&mut self, now: i64) {
        let ready = self.ready_voters(now);
        let Role::Leader(leading) = &self.role else { return };
        let quiet = self.config.timeouts.fetch_ms / 2;
        let needs_it: Vec<_> = ready
            .into_iter()
            .filter(|(key, _)| {
                let fetched = progress_of(leading, *key).map(|progress| progress.last_fetch);
                let begun = leading.begun.get(&key.id).copied();
                fetched.max(begun).is_none_or(|heard| now.saturating_sub(heard) >= quiet)
            })
            .collect();
        let Some(leader) = self.leader_with_endpoints() else { return };
        for (voter, to) in needs_it {
            let begin = BeginEpoch { epoch: self.epoch, leader: leader.clone(), voter: Some(voter) };
            self.send(to, Asked::BeginEpoch, Request::BeginEpoch(begin), now);
        }
    }

    pub(super) fn begun(&mut self, from: i32, now: i64) {
        if let Role::Leader(leading) = &mut self.role {
            leading.begun.insert(from, now);
        }
    }

    /// When a majority, this node included, was heard of too long ago.
    fn check_quorum_deadline(&self) -> i64 {
        let Role::Leader(leading) = &self.role else { return i64::MAX };
        let key = self.key();
        let mut heard: Vec<i64> = self
            .voters
            .iter()
            .map(|voter| {
                let voter = ReplicaKey::new(voter.id, voter.directory_id);
                if voter.covers(key) {
                    return i64::MAX;
                }
                progress_of(leading, voter)
                    .map_or(leading.since, |progress| progress.last_fetch.max(leading.since))
            })
            .collect();
        heard.sort_unstable_by(|a, b| b.cmp(a));
        let decisive = heard.get(self.voters.majority() - 1).copied().unwrap_or(i64::MAX);
        decisive.saturating_add(self.config.timeouts.fetch_ms.saturating_mul(3) / 2)
    }

    pub(super) fn leader_deadline(&self, leading: &Leading) -> i64 {
        let quiet = self.config.timeouts.fetch_ms / 2;
        let others = self.voter_keys().filter(|voter| !voter.covers(self.key()));
        let begin = others
            .filter_map(|voter| {
                let fetched = progress_of(leading, voter).map(|progress| progress.last_fetch);
                fetched.max(leading.begun.get(&voter.id).copied())
            })
            .map(|heard| heard.saturating_add(quiet))
            .filter(|deadline| *deadline > self.now);
        let parked = leading.parked.iter().map(|parked| parked.deadline);
        let change =
            leading.change.iter().filter(|change| change.token.is_some()).map(|change| change.deadline);
        begin.chain(parked).chain(change).chain([self.check_quorum_deadline()]).min().unwrap_or(i64::MAX)
    }

    /// Gives the leadership up, and says who should have it.
    pub(super) fn resign(&mut self, now: i64) {
        let Role::Leader(leading) = &self.role else { return };
        let mut successors: Vec<(i64, ReplicaKey)> = self
            .voter_keys()
            .filter(|voter| voter.id != self.config.local.id)
            .map(|voter| (progress_of(leading, voter).map_or(-1, |progress| progress.end_offset), voter))
            .collect();
        successors.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        self.stop_leading();
        self.role = Role::Resigned(Resigned {
            deadline: now.saturating_add(self.election_timeout()),
            successors: successors.into_iter().map(|(_, voter)| voter).collect(),
            told: BTreeSet::new(),
        });
    }

    /// What was decided and is not committed does not count any more, and those who wait are told.
    pub(super) fn stop_leading(&mut self) {
        let Role::Leader(leading) = &mut self.role else { return };
        let parked = std::mem::take(&mut leading.parked);
        let change = leading.change.take();
        self.out.push(Command::StopLeading);
        self.out.push(Command::Flush);
        for parked in parked {
            self.refuse_fetch(parked.token, ErrorCode::NotLeaderOrFollower);
        }
        if let Some((token, kind)) = change.and_then(|change| Some((change.token?, change.kind))) {
            self.answer_change(token, kind, ErrorCode::NotLeaderOrFollower, "this node leads no more");
        }
    }

    /// How far every replica is, voters first in the order of their ids; this node is not among them.
    pub fn progress(&self) -> Vec<(ReplicaKey, Progress)> {
        match &self.role {
            Role::Leader(leading) => {
                leading.progress.iter().map(|(key, progress)| (*key, *progress)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Progress {
    pub(super) const NONE: Self =
        Self { end_offset: -1, last_fetch: -1, last_caught_up: -1, leader_end_at_last_fetch: -1 };
}

/// Of a voter whose directory is not known, the one heard of last.
pub(super) fn progress_of(leading: &Leading, voter: ReplicaKey) -> Option<Progress> {
    let fitting =
        leading.progress.iter().filter(|(key, _)| voter.covers(**key)).map(|(_, progress)| *progress);
    fitting.max_by_key(|progress| progress.last_fetch)
}

fn is_answerable(parked: &Parked, high_watermark: Option<i64>, now: i64, log: &dyn LogView) -> bool {
    now >= parked.deadline
        || log.end_offset() > parked.fetch.offset
        || high_watermark.is_some_and(|known| known > parked.fetch.high_watermark)
}

/// Whether the log can be read on from there, after a record of that epoch.
fn position(fetch: &Fetch, log: &dyn LogView) -> Position {
    let (offset, epoch, start) = (fetch.offset, fetch.last_epoch, log.start_offset());
    if (start, offset, epoch) == (0, 0, 0) {
        return Position::Valid;
    }
    if let (Some(earliest), Some(latest)) = (log.earliest_snapshot(), log.latest_snapshot()) {
        let is_other_epoch = offset == start && start != 0 && epoch != earliest.epoch;
        if offset < start || is_other_epoch || epoch < earliest.epoch {
            return Position::Snapshot(latest);
        }
        if (offset, epoch) == (earliest.end_offset, earliest.epoch) && offset >= start {
            return Position::Valid;
        }
    }
    let (own_epoch, end_offset) = log.end_offset_for_epoch(epoch);
    if own_epoch == epoch && offset <= end_offset {
        Position::Valid
    } else {
        Position::Diverging { epoch: own_epoch, end_offset }
    }
}
