//! Elections: pre-votes, votes, and the roles of those who have no leader.

use ottla_wire::ErrorCode;

use super::message::{BeginEpoch, EndEpoch, Fetch, Leader, ReplicaKey, ReplyBody, Request, Token, Vote};
use super::peers::Asked;
use super::{Ballot, Command, Destination, LogView, Raft, Role};
use crate::quorum_state::Election;
use crate::testing::{Rule, keeps};

/// Time between two nodes being asked who leads.
const DISCOVERY_MS: i64 = 100;
/// Head start of a successor before the next one.
const SUCCESSOR_MS: i64 = 150;
/// How much is read of a leader that was found by asking around: nothing that would be used.
const DISCOVERY_BYTES: i32 = 1;

impl Raft {
    pub(super) fn vote_request(&mut self, token: Token, vote: &Vote, now: i64, log: &dyn LogView) {
        let is_illegal =
            if vote.pre_vote { vote.last_epoch > vote.epoch } else { vote.last_epoch >= vote.epoch };
        let checked = match self.check_voter_request(vote.replica.id, vote.epoch) {
            _ if is_illegal => Err(ErrorCode::InvalidRequest),
            checked => checked,
        };
        if let Err(error) = checked {
            return self.reply(token, error, ReplyBody::Vote { granted: false });
        }
        self.learn(vote.epoch, None, now);
        if !self.is_meant(vote.voter) {
            return self.reply(token, ErrorCode::InvalidVoterKey, ReplyBody::Vote { granted: false });
        }
        let is_up_to_date = (vote.last_epoch, vote.end_offset) >= (log.last_epoch(), log.end_offset());
        let granted = self.would_grant(vote, is_up_to_date);
        if granted && !vote.pre_vote {
            self.grant(vote.replica, now);
        }
        self.reply(token, ErrorCode::None, ReplyBody::Vote { granted });
    }

    fn would_grant(&self, vote: &Vote, is_up_to_date: bool) -> bool {
        match &self.role {
            Role::Leader(_) => false,
            // Who hears of the leader does not help to depose it.
            Role::Follower(state) => vote.pre_vote && is_up_to_date && !state.has_fetched,
            Role::Candidate(_) | Role::Resigned(_) => vote.pre_vote && is_up_to_date,
            Role::Unattached(_) | Role::Prospective(_) if vote.pre_vote => is_up_to_date,
            Role::Unattached(_) | Role::Prospective(_) => match self.voted {
                Some(voted) => voted.fits(vote.replica),
                None => self.leader.is_none() && is_up_to_date,
            },
        }
    }

    /// The vote is remembered, and whoever has it gets the time to make use of it.
    fn grant(&mut self, replica: ReplicaKey, now: i64) {
        if self.voted.is_none() {
            self.voted = Some(replica);
            self.persist();
        }
        let deadline = now.saturating_add(self.patience());
        match &mut self.role {
            Role::Unattached(state) => state.election_deadline = deadline,
            Role::Prospective(ballot) => ballot.deadline = deadline,
            _ => {}
        }
    }

    pub(super) fn vote_response(
        &mut self,
        from: i32,
        asked: Asked,
        granted: bool,
        error: ErrorCode,
        now: i64,
    ) {
        let ballot = match (&mut self.role, asked) {
            (Role::Prospective(ballot), Asked::PreVote) | (Role::Candidate(ballot), Asked::Vote) => ballot,
            _ => return,
        };
        if granted {
            ballot.granted.insert(from);
        } else if !error.is_error() {
            ballot.rejected.insert(from);
        }
        let is_lost = self.is_lost();
        if asked == Asked::Vote && !granted && !error.is_error() {
            self.hurry(now);
        }
        let timeouts = self.config.timeouts;
        let pause = self.random.below(timeouts.election_backoff_max_ms.min(timeouts.election_ms)) + 1;
        if let Role::Prospective(ballot) | Role::Candidate(ballot) = &mut self.role
            && is_lost
        {
            ballot.deadline = ballot.deadline.min(now.saturating_add(pause));
        }
    }

    /// Somebody has given its vote to another: who has not answered may be gone, and decides. It is not waited for longer than ever.
    fn hurry(&mut self, now: i64) {
        let deadline = now.saturating_add(self.election_timeout());
        if let Role::Candidate(ballot) = &mut self.role {
            ballot.deadline = ballot.deadline.min(deadline);
        }
    }

    fn count(&self, ids: &std::collections::BTreeSet<i32>) -> usize {
        ids.iter().filter(|id| self.voters.get(**id).is_some()).count()
    }

    fn is_won(&self) -> bool {
        match &self.role {
            Role::Prospective(ballot) | Role::Candidate(ballot) => {
                self.count(&ballot.granted) >= self.voters.majority()
            }
            _ => false,
        }
    }

    fn is_lost(&self) -> bool {
        match &self.role {
            Role::Prospective(ballot) | Role::Candidate(ballot) => {
                self.voters.len().saturating_sub(self.count(&ballot.rejected)) < self.voters.majority()
            }
            _ => false,
        }
    }

    pub(super) fn poll_unattached(&mut self, now: i64, log: &dyn LogView) -> bool {
        let Role::Unattached(state) = &self.role else { return false };
        let (election_deadline, next_discovery) = (state.election_deadline, state.next_discovery);
        if self.may_stand() && (now >= election_deadline || self.voters.len() == 1) {
            self.stand(now);
            return true;
        }
        if now >= next_discovery {
            if let Role::Unattached(state) = &mut self.role {
                state.next_discovery = now.saturating_add(DISCOVERY_MS);
            }
            self.discover(now, log);
        }
        false
    }

    /// Asks somebody who leads, by a fetch.
    fn discover(&mut self, now: i64, log: &dyn LogView) {
        let mut known: Vec<Destination> = self.ready_voters(now).into_iter().map(|(_, to)| to).collect();
        for (index, (host, port)) in (0_i32..).zip(&self.config.bootstrap_servers) {
            let id = -2 - index;
            if self.peers.is_ready(id, now) {
                known.push(Destination { id, host: host.clone(), port: *port });
            }
        }
        let chosen = usize::try_from(self.random.below(i64::try_from(known.len()).unwrap_or(1))).unwrap_or(0);
        if known.is_empty() {
            return;
        }
        let to = known.swap_remove(chosen);
        let fetch = self.fetch_from(log, DISCOVERY_BYTES, 0);
        self.send(to, Asked::Fetch, Request::Fetch(fetch), now);
    }

    pub(super) fn fetch_from(&self, log: &dyn LogView, max_bytes: i32, max_wait_ms: i32) -> Fetch {
        Fetch {
            epoch: self.epoch,
            replica: self.key(),
            // Who does not lead has flushed all of it.
            offset: log.end_offset(),
            last_epoch: log.last_epoch(),
            high_watermark: self.high_watermark.unwrap_or(-1),
            max_wait_ms,
            max_bytes,
        }
    }

    /// Begins the way to an election. A lone voter needs nobody's word: one write says vote and leader.
    pub(super) fn stand(&mut self, now: i64) {
        if self.voters.len() > 1 {
            let deadline = now.saturating_add(self.patience());
            self.role = Role::Prospective(Ballot::of(self.config.local.id, deadline));
            return;
        }
        self.epoch = self.epoch.saturating_add(1);
        self.voted = None;
        self.become_leader(vec![self.config.local.id], now);
    }

    pub(super) fn poll_prospective(&mut self, now: i64, log: &dyn LogView) -> bool {
        if self.is_won() {
            self.become_candidate(now);
            return true;
        }
        let Role::Prospective(ballot) = &self.role else { return false };
        if now >= ballot.deadline {
            self.lost_ballots = self.lost_ballots.saturating_add(1);
            // The leader may be there for the others: it is tried again.
            match self.leader.clone() {
                Some(leader) if self.endpoint_of(&leader).is_some() => {
                    self.role = Role::Follower(self.following(now));
                }
                _ => self.role = self.unattached(now),
            }
            return true;
        }
        self.ask_for_votes(true, now, log);
        false
    }

    fn become_candidate(&mut self, now: i64) {
        if keeps(Rule::NewEpoch) {
            self.epoch = self.epoch.saturating_add(1);
        }
        self.voted = Some(self.key());
        self.leader = None;
        let deadline = now.saturating_add(self.patience());
        self.role = Role::Candidate(Ballot::of(self.config.local.id, deadline));
        self.persist();
    }

    pub(super) fn poll_candidate(&mut self, now: i64, log: &dyn LogView) -> bool {
        if self.is_won() {
            let Role::Candidate(ballot) = &self.role else { return false };
            let granting = ballot.granted.iter().copied().collect();
            self.become_leader(granting, now);
            return true;
        }
        let Role::Candidate(ballot) = &self.role else { return false };
        if now >= ballot.deadline {
            self.lost_ballots = self.lost_ballots.saturating_add(1);
            let deadline = now.saturating_add(self.patience());
            self.role = if self.may_stand() {
                Role::Prospective(Ballot::of(self.config.local.id, deadline))
            } else {
                self.unattached(now)
            };
            return true;
        }
        self.ask_for_votes(false, now, log);
        false
    }

    fn ask_for_votes(&mut self, pre_vote: bool, now: i64, log: &dyn LogView) {
        let (Role::Prospective(ballot) | Role::Candidate(ballot)) = &self.role else { return };
        let asked = if pre_vote { Asked::PreVote } else { Asked::Vote };
        let mut ready = self.ready_voters(now);
        ready.retain(|(key, _)| !ballot.granted.contains(&key.id) && !ballot.rejected.contains(&key.id));
        for (voter, to) in ready {
            let vote = Vote {
                epoch: self.epoch,
                replica: self.key(),
                voter: Some(voter),
                last_epoch: log.last_epoch(),
                end_offset: log.end_offset(),
                pre_vote,
            };
            self.send(to, asked, Request::Vote(vote), now);
        }
    }

    pub(super) fn begin_request(&mut self, token: Token, begin: BeginEpoch, now: i64) {
        let contradicts = begin.epoch == self.epoch
            && self.leader.as_ref().is_some_and(|known| known.id != begin.leader.id);
        let checked = match self.check_voter_request(begin.leader.id, begin.epoch) {
            Ok(()) if contradicts || begin.leader.id == self.config.local.id => {
                Err(ErrorCode::InvalidRequest)
            }
            checked => checked,
        };
        if let Err(error) = checked {
            return self.reply(token, error, ReplyBody::BeginEpoch);
        }
        let is_meant = self.is_meant(begin.voter);
        self.hear_of(begin.epoch, begin.leader, now);
        let fetch_deadline = now.saturating_add(self.config.timeouts.fetch_ms);
        if let Role::Follower(state) = &mut self.role {
            state.fetch_deadline = state.fetch_deadline.max(fetch_deadline);
        }
        let error = if is_meant { ErrorCode::None } else { ErrorCode::InvalidVoterKey };
        self.reply(token, error, ReplyBody::BeginEpoch);
    }

    /// A leader speaks of itself: its addresses are newer than what is known.
    fn hear_of(&mut self, epoch: i32, leader: Leader, now: i64) {
        self.learn(epoch, Some(leader.clone()), now);
        if leader.endpoints.is_empty() || self.leader.as_ref().is_none_or(|known| known.id != leader.id) {
            return;
        }
        self.leader = Some(leader);
        if matches!(self.role, Role::Unattached(_) | Role::Prospective(_)) {
            self.role = Role::Follower(self.following(now));
        }
    }

    pub(super) fn end_request(&mut self, token: Token, end: EndEpoch, now: i64) {
        let contradicts =
            end.epoch == self.epoch && self.leader.as_ref().is_some_and(|known| known.id != end.leader.id);
        let checked = match self.check_voter_request(end.leader.id, end.epoch) {
            Ok(()) if contradicts || end.leader.id == self.config.local.id => Err(ErrorCode::InvalidRequest),
            checked => checked,
        };
        if let Err(error) = checked {
            return self.reply(token, error, ReplyBody::EndEpoch);
        }
        self.learn(end.epoch, Some(end.leader), now);
        let key = self.key();
        let place = end.candidates.iter().position(|candidate| candidate.fits(key));
        let place = i64::try_from(place.unwrap_or(end.candidates.len())).unwrap_or(i64::MAX);
        let pause = place.saturating_mul(SUCCESSOR_MS).min(self.config.timeouts.election_backoff_max_ms);
        if let Role::Follower(state) = &mut self.role {
            state.fetch_deadline = state.fetch_deadline.min(now.saturating_add(pause));
            // It is gone by its own word: whoever wants to succeed it may ask.
            state.has_fetched = false;
        }
        self.reply(token, ErrorCode::None, ReplyBody::EndEpoch);
    }

    pub(super) fn told(&mut self, from: i32) {
        if let Role::Resigned(state) = &mut self.role {
            state.told.insert(from);
        }
    }

    pub(super) fn poll_resigned(&mut self, now: i64) -> bool {
        let Role::Resigned(state) = &self.role else { return false };
        let (deadline, candidates) = (state.deadline, state.successors.clone());
        let mut ready = self.ready_voters(now);
        ready.retain(|(key, _)| !state.told.contains(&key.id));
        if now >= deadline {
            // Nobody else can lead in the epoch that was this node's; its vote in it is gone.
            (self.voted, self.leader) = (Some(self.key()), None);
            self.role = self.unattached(now);
            return true;
        }
        let Some(leader) = self.leader_with_endpoints() else { return false };
        for (_, to) in ready {
            let end = EndEpoch { epoch: self.epoch, leader: leader.clone(), candidates: candidates.clone() };
            self.send(to, Asked::EndEpoch, Request::EndEpoch(end), now);
        }
        false
    }

    /// The node stops: a leader tells the others, everybody else stands for election no more.
    pub(super) fn stop(&mut self, now: i64) {
        self.is_stopping = true;
        match self.role {
            Role::Leader(_) => self.resign(now),
            Role::Prospective(_) | Role::Candidate(_) => self.role = self.unattached(now),
            _ => {}
        }
    }

    /// Writes down that this node leads; the rest is [`Command::AppendLeaderChange`].
    pub(super) fn persist_leading(&mut self) {
        let election = Election { epoch: self.epoch, leader: Some(self.config.local.id), voted: None };
        self.out.push(Command::Persist(election));
    }
}
