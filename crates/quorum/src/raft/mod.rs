//! KRaft as a pure state machine: who leads, who follows, what is committed. Events in, commands out.
//!
//! It has no clock, no disk and no network. Its owner carries commands out *in their order* and stops for good when one
//! fails; so a [`Command::Persist`] is durable before any reply or request behind it is seen by anyone.
//!
//! What holds (KIP-595, KIP-630, KIP-853, KIP-996):
//! - a node votes once in an epoch and remembers it; only a log at least as new as its own gets the vote;
//! - a leader never takes a record back; what it counts is flushed, its own and the others' (who fetch from their flushed
//!   end); nothing is committed before a record of the leader's own epoch is;
//! - a follower never truncates what it knows to be committed;
//! - a voter set counts from the moment it is in the log, committed or not; there is one change at a time.

mod change;
mod election;
mod follower;
mod leader;
pub mod message;
mod peers;
mod role;
#[cfg(test)]
mod starved_tests;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use ottla_wire::{ErrorCode, Str};

use crate::features::KRaftVersion;
use crate::quorum_state::Election;
use crate::snapshot::SnapshotId;
use crate::voters::{Voter, VoterEndpoint, VoterSet};
use message::{
    Correlation, Destination, Failure, FetchReply, Leader, ReplicaKey, Reply, ReplyBody, Request, Response,
    Token,
};
use peers::{Asked, Peers};
use role::Unattached;
pub use role::{Ballot, Following, Leading, Progress, Resigned, Role};

/// Times in ms; the defaults are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `controller.quorum.election.timeout.ms`: an election takes this long at most, and up to twice as long passes before
    /// the next.
    pub election_ms: i64,
    /// `controller.quorum.fetch.timeout.ms`: a leader that was not heard of for so long is taken for gone. A leader resigns
    /// when a majority has not fetched for one and a half times as long.
    pub fetch_ms: i64,
    /// `controller.quorum.election.backoff.max.ms`: longest pause after a lost election.
    pub election_backoff_max_ms: i64,
    /// `controller.quorum.request.timeout.ms`: how long an answer is waited for.
    pub request_ms: i64,
    /// `controller.quorum.retry.backoff.ms`: pause after a failed request; doubles with each, up to 16 times.
    pub retry_backoff_ms: i64,
    /// How long a leader's fetches may wait for records.
    pub fetch_wait_ms: i32,
    /// A leader whose connection breaks and that does not answer for so long again is taken for gone. Not Kafka's: there
    /// only the fetch timeout counts. It is safe as the pre-vote asks the others before anything changes.
    pub disconnected_ms: i64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            election_ms: 1000,
            fetch_ms: 2000,
            election_backoff_max_ms: 1000,
            request_ms: 2000,
            retry_backoff_ms: 20,
            fetch_wait_ms: 500,
            disconnected_ms: 200,
        }
    }
}

/// Who a node is, and whom it knows from its configuration.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node as a voter.
    pub local: Voter,
    /// Name of the listener by which nodes reach each other.
    pub listener: Str,
    /// Nodes to ask who leads, by host and port.
    pub bootstrap_servers: Vec<(Str, u16)>,
    /// Times.
    pub timeouts: Timeouts,
    /// Randomised times follow from it; no two nodes should have the same.
    pub seed: u64,
}

/// Patience with voters grows to this power of two with lost ballots.
const MAX_GROWTH_SHIFT: u32 = 3;

/// What the state machine has to know of the log.
pub trait LogView {
    /// First offset that is there.
    fn start_offset(&self) -> i64;
    /// Offset of the next record.
    fn end_offset(&self) -> i64;
    /// Everything below is durable.
    fn flushed_end(&self) -> i64;
    /// Epoch of the last record, of the newest snapshot if there is none, else 0.
    fn last_epoch(&self) -> i32;
    /// Largest epoch at or below and where it ends; the last one of the log for an epoch that is newer.
    fn end_offset_for_epoch(&self, epoch: i32) -> (i32, i64);
    /// Oldest snapshot.
    fn earliest_snapshot(&self) -> Option<SnapshotId>;
    /// Newest snapshot.
    fn latest_snapshot(&self) -> Option<SnapshotId>;
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// Somebody asks.
    Request {
        /// Comes back with the reply.
        token: Token,
        /// What is asked.
        request: Request,
    },
    /// An answer to [`Command::Send`].
    Response {
        /// Node id as it was in the destination.
        from: i32,
        /// Number of the request.
        correlation: Correlation,
        /// The answer.
        response: Response,
    },
    /// There will be no answer.
    Failed {
        /// Node id as it was in the destination.
        from: i32,
        /// Number of the request.
        correlation: Correlation,
        /// Why.
        failure: Failure,
    },
    /// [`Command::AppendLeaderChange`] is done.
    EpochStarted {
        /// Offset of the record.
        offset: i64,
    },
    /// The leader's flushed end has moved.
    Flushed,
    /// [`Command::AppendFetched`] or [`Command::TruncateTo`] is done, the log is flushed.
    LogChanged {
        /// The leader's high watermark, -1 if it said nothing.
        high_watermark: i64,
    },
    /// [`Command::WriteSnapshot`] is done, and it was not the last piece.
    SnapshotGrown,
    /// The snapshot is whole, the log begins at its end.
    SnapshotInstalled(SnapshotId),
    /// What the leader sent cannot be used, or not be stored.
    Refused,
    /// Another voter set is the newest in the log, by an append or by a truncation.
    VotersChanged {
        /// The voters.
        voters: VoterSet,
        /// Level of `kraft.version` at the log's end.
        version: KRaftVersion,
    },
    /// [`Command::AppendVoters`] is done.
    VotersAppended {
        /// Offset of the record; `None` if it could not be appended.
        offset: Option<i64>,
    },
    /// The node is to stop: it leads no more and does not stand for election.
    Resign,
}

/// Something to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write `quorum-state` durably.
    Persist(Election),
    /// The node leads no more: what it has decided and not committed does not count.
    StopLeading,
    /// Make the log durable.
    Flush,
    /// The node leads: append the epoch's first record and flush, then report [`Event::EpochStarted`].
    AppendLeaderChange {
        /// The new epoch.
        epoch: i32,
        /// Who granted a vote.
        granting: Vec<i32>,
    },
    /// Append the voters and flush, then report [`Event::VotersAppended`].
    AppendVoters(VoterSet),
    /// Remove the offset and what is behind, then report [`Event::LogChanged`].
    TruncateTo {
        /// New end of the log.
        offset: i64,
    },
    /// Append what a leader sent and flush, then report [`Event::LogChanged`].
    AppendFetched {
        /// Whole batches, not checked yet.
        records: Bytes,
        /// Goes back with the event.
        high_watermark: i64,
    },
    /// Write a piece of a snapshot. If it is the last: check the whole, put it in place, begin the log at its end. Then
    /// report one of [`Event::SnapshotGrown`], [`Event::SnapshotInstalled`], [`Event::Refused`].
    WriteSnapshot {
        /// Which snapshot.
        id: SnapshotId,
        /// Where the piece belongs.
        position: i64,
        /// The piece.
        bytes: Bytes,
        /// Whether it is the last.
        is_last: bool,
    },
    /// Everything below the offset is committed.
    Commit {
        /// The high watermark.
        high_watermark: i64,
    },
    /// Send a request.
    Send {
        /// To whom.
        to: Destination,
        /// Comes back with the answer.
        correlation: Correlation,
        /// The request.
        request: Request,
    },
    /// Answer a request.
    Reply {
        /// Which one.
        token: Token,
        /// The answer.
        reply: Reply,
    },
    /// Stop for good: what must not happen has happened.
    Halt(String),
}

/// The state of one node.
#[derive(Clone, Debug)]
pub struct Raft {
    config: RaftConfig,
    voters: VoterSet,
    version: KRaftVersion,
    epoch: i32,
    voted: Option<ReplicaKey>,
    leader: Option<Leader>,
    role: Role,
    high_watermark: Option<i64>,
    peers: Peers,
    random: Random,
    is_stopping: bool,
    /// Ballots, pre-votes too, without an outcome in time since this node last heard from a leader, or was an active one.
    lost_ballots: u32,
    /// The time of the last event.
    now: i64,
    out: Vec<Command>,
}

impl Raft {
    /// A node that starts, with what it had written down. It led an epoch, or stood for it: then it has voted in it.
    pub fn new(
        config: RaftConfig,
        voters: VoterSet,
        version: KRaftVersion,
        last: Election,
        last_epoch: i32,
        now: i64,
    ) -> Self {
        let election =
            if last.epoch < last_epoch { Election { epoch: last_epoch, ..Election::NONE } } else { last };
        let own = ReplicaKey::new(config.local.id, config.local.directory_id);
        let led = election.leader == Some(own.id);
        let voted = election.voted.map(|(id, directory)| ReplicaKey::new(id, directory));
        let peers = Peers::new(config.timeouts.request_ms, config.timeouts.retry_backoff_ms);
        let random = Random(config.seed);
        let leader =
            election.leader.filter(|id| *id != own.id).map(|id| Leader { id, endpoints: Vec::new() });
        let mut raft = Self {
            config,
            voters,
            version,
            epoch: election.epoch,
            voted: if led { Some(own) } else { voted },
            leader: None,
            role: Role::Unattached(Unattached { election_deadline: now, next_discovery: now }),
            high_watermark: None,
            peers,
            random,
            is_stopping: false,
            lost_ballots: 0,
            now,
            out: Vec::new(),
        };
        raft.role = raft.unattached(now);
        if let Some(leader) = leader {
            raft.follow(leader, now);
        }
        raft.out.clear();
        raft
    }

    /// The node's epoch.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What the node is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Who leads in the node's epoch, if it knows; it may be itself.
    pub fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Whom the node has voted for in its epoch.
    pub fn voted(&self) -> Option<ReplicaKey> {
        self.voted
    }

    /// The newest voters of the log.
    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// This node as a voter.
    pub fn local(&self) -> &Voter {
        &self.config.local
    }

    /// Level of `kraft.version` at the log's end.
    pub fn kraft_version(&self) -> KRaftVersion {
        self.version
    }

    /// End of what is known to be committed.
    pub fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this node leads and has a committed record in its epoch.
    pub fn is_active_leader(&self) -> bool {
        matches!(&self.role, Role::Leader(leading) if leading.is_active)
    }

    /// Whether this node may vote and lead.
    pub fn is_voter(&self) -> bool {
        self.voters.contains(self.key())
    }

    /// When something is to be done by time alone.
    pub fn next_deadline(&self) -> i64 {
        let now = self.now;
        let by_role = match &self.role {
            Role::Unattached(state) => {
                let election = if self.may_stand() { state.election_deadline } else { i64::MAX };
                election.min(state.next_discovery.max(now + 1))
            }
            Role::Prospective(ballot) | Role::Candidate(ballot) => ballot.deadline,
            Role::Leader(leading) => self.leader_deadline(leading),
            Role::Follower(state) => state.fetch_deadline,
            Role::Resigned(state) => state.deadline,
        };
        by_role.min(self.peers.deadline(now))
    }

    /// What to do about the event. `now` is ms of a clock that never goes back.
    pub fn handle(&mut self, event: Event, now: i64, log: &dyn LogView) -> Vec<Command> {
        self.now = now.max(self.now);
        let now = self.now;
        self.peers.expire(now);
        match event {
            Event::Tick => {}
            Event::Request { token, request } => self.request(token, request, now, log),
            Event::Response { from, correlation, response } => {
                self.response(from, correlation, response, now, log);
            }
            Event::Failed { from, correlation, failure } => self.failed(from, correlation, failure, now),
            Event::EpochStarted { offset } => self.epoch_started(offset, log),
            Event::Flushed => self.update_high_watermark(log),
            Event::LogChanged { high_watermark } => self.log_changed(high_watermark, log),
            Event::SnapshotGrown => self.snapshot_grown(),
            Event::SnapshotInstalled(id) => self.snapshot_installed(id),
            Event::Refused => self.refused(now),
            Event::VotersChanged { voters, version } => self.voters_changed(voters, version, now, log),
            Event::VotersAppended { offset } => self.voters_appended(offset, log),
            Event::Resign => self.stop(now),
        }
        self.poll(now, log);
        std::mem::take(&mut self.out)
    }

    fn request(&mut self, token: Token, request: Request, now: i64, log: &dyn LogView) {
        match request {
            Request::Vote(vote) => self.vote_request(token, &vote, now, log),
            Request::BeginEpoch(begin) => self.begin_request(token, begin, now),
            Request::EndEpoch(end) => self.end_request(token, end, now),
            Request::Fetch(fetch) => self.fetch_request(token, fetch, now, log),
            Request::FetchSnapshot(fetch) => self.snapshot_request(token, fetch, now),
            Request::AddVoter { voter, timeout_ms, ack_when_committed } => {
                self.add_voter(token, voter, timeout_ms, ack_when_committed, now);
            }
            Request::RemoveVoter { voter } => self.remove_voter(token, voter, now),
            Request::UpdateVoter { epoch, voter } => self.update_voter(token, epoch, voter, now),
        }
    }

    /// Answers count once, and only for what was asked. What they say of the epoch is taken first.
    fn response(
        &mut self,
        from: i32,
        correlation: Correlation,
        response: Response,
        now: i64,
        log: &dyn LogView,
    ) {
        let Some(asked) = self.peers.answered(from, correlation) else { return };
        if response.error.is_error() {
            self.peers.back_off(from, now);
        }
        let is_discovery = asked.asked == Asked::Fetch && !matches!(self.role, Role::Follower(_));
        if response.epoch > self.epoch || (response.epoch == self.epoch && self.cannot_reach_leader()) {
            self.learn(response.epoch, response.leader.clone(), now);
        }
        let is_of_this_epoch = asked.epoch == self.epoch && response.epoch <= self.epoch;
        if !is_of_this_epoch || is_discovery {
            return;
        }
        self.response_of_epoch(from, asked.asked, response, now, log);
    }

    fn response_of_epoch(
        &mut self,
        from: i32,
        asked: Asked,
        response: Response,
        now: i64,
        log: &dyn LogView,
    ) {
        use message::ResponseBody as Body;
        match (asked, response.body) {
            (Asked::Vote | Asked::PreVote, Body::Vote { granted }) => {
                let granted = granted && !response.error.is_error() && response.epoch == self.epoch;
                self.vote_response(from, asked, granted, response.error, now);
            }
            (Asked::BeginEpoch, Body::BeginEpoch) if !response.error.is_error() => self.begun(from, now),
            (Asked::EndEpoch, Body::EndEpoch) if !response.error.is_error() => self.told(from),
            (Asked::Fetch, Body::Fetch(fetched)) => {
                self.fetch_response(from, response.error, fetched, now, log);
            }
            (Asked::FetchSnapshot, Body::FetchSnapshot { id, size, position, bytes }) => {
                self.snapshot_response(from, response.error, id, size, position, bytes, now);
            }
            _ => {}
        }
    }

    fn failed(&mut self, from: i32, correlation: Correlation, failure: Failure, now: i64) {
        let Some(asked) = self.peers.failed(from, correlation, now) else { return };
        if asked.epoch != self.epoch {
            return;
        }
        match (asked.asked, failure) {
            (Asked::PreVote, Failure::UnsupportedVersion) => {
                self.vote_response(from, Asked::PreVote, true, ErrorCode::None, now);
            }
            (Asked::Fetch | Asked::FetchSnapshot, Failure::Disconnected) => {
                self.leader_disconnected(from, now);
            }
            _ => {}
        }
    }

    /// Does what the role asks for by now, until that changes nothing more.
    fn poll(&mut self, now: i64, log: &dyn LogView) {
        // Unattached, prospective, candidate, leader: the longest way there is in one go.
        for _ in 0..6 {
            let changed = match self.role {
                Role::Unattached(_) => self.poll_unattached(now, log),
                Role::Prospective(_) => self.poll_prospective(now, log),
                Role::Candidate(_) => self.poll_candidate(now, log),
                Role::Leader(_) => self.poll_leader(now, log),
                Role::Follower(_) => self.poll_follower(now, log),
                Role::Resigned(_) => self.poll_resigned(now),
            };
            if !changed {
                return;
            }
        }
    }

    /// Takes another's word for epoch and leader, if it is newer than what is known.
    fn learn(&mut self, epoch: i32, leader: Option<Leader>, now: i64) {
        let leader = leader.filter(|leader| leader.id != self.config.local.id);
        if epoch > self.epoch {
            self.leave_role();
            (self.epoch, self.voted, self.leader) = (epoch, None, None);
            match leader {
                Some(leader) => self.follow(leader, now),
                None => {
                    self.role = self.unattached(now);
                    self.persist();
                }
            }
        } else if epoch == self.epoch
            && self.cannot_reach_leader()
            && let Some(leader) = leader
            && self.leader.as_ref().is_none_or(|known| known.id == leader.id)
        {
            self.leave_role();
            self.follow(leader, now);
        }
    }

    /// Whether it has yet to be told who leads its epoch, or where that is: what was written down is only the leader's id,
    /// and a node whose log is empty does not know the voters.
    fn cannot_reach_leader(&self) -> bool {
        let reachable = |leader: &Leader| self.endpoint_of(leader).is_some();
        !self.is_leader() && !self.leader.as_ref().is_some_and(reachable)
    }

    /// Follows the leader of the epoch, if it is known where that is.
    fn follow(&mut self, leader: Leader, now: i64) {
        let is_reachable = self.endpoint_of(&leader).is_some();
        self.leader = Some(leader);
        self.role = if is_reachable { Role::Follower(self.following(now)) } else { self.unattached(now) };
        self.persist();
    }

    fn following(&self, now: i64) -> Following {
        Following {
            fetch_deadline: now.saturating_add(self.config.timeouts.fetch_ms),
            has_fetched: false,
            busy: false,
            snapshot: None,
            next_update: now,
        }
    }

    fn unattached(&mut self, now: i64) -> Role {
        let election_deadline = now.saturating_add(self.election_timeout());
        Role::Unattached(Unattached { election_deadline, next_discovery: now })
    }

    /// What the old role owes to others.
    fn leave_role(&mut self) {
        if self.is_leader() {
            self.stop_leading();
        }
    }

    fn persist(&mut self) {
        let election = Election {
            epoch: self.epoch,
            leader: self.leader.as_ref().map(|leader| leader.id),
            voted: self.voted.map(|key| (key.id, key.directory_id)),
        };
        self.out.push(Command::Persist(election));
    }

    fn advance_high_watermark(&mut self, to: i64) {
        if self.high_watermark.is_none_or(|known| to > known) {
            self.high_watermark = Some(to);
            self.out.push(Command::Commit { high_watermark: to });
        }
    }

    fn voters_changed(&mut self, voters: VoterSet, version: KRaftVersion, now: i64, log: &dyn LogView) {
        self.voters = voters;
        self.version = version;
        match self.role {
            Role::Prospective(_) | Role::Candidate(_) if !self.is_voter() => self.role = self.unattached(now),
            Role::Leader(_) => self.update_high_watermark(log),
            _ => {}
        }
    }

    fn reply(&mut self, token: Token, error: ErrorCode, body: ReplyBody) {
        let reply = Reply { error, epoch: self.epoch, leader: self.leader_with_endpoints(), body };
        self.out.push(Command::Reply { token, reply });
    }

    fn refuse_fetch(&mut self, token: Token, error: ErrorCode) {
        self.reply(token, error, ReplyBody::Fetch(FetchReply::Nothing));
    }

    fn leader_with_endpoints(&self) -> Option<Leader> {
        let mut leader = self.leader.clone()?;
        if leader.endpoints.is_empty() {
            if leader.id == self.config.local.id {
                leader.endpoints.clone_from(&self.config.local.endpoints);
            } else if let Some(voter) = self.voters.get(leader.id) {
                leader.endpoints.clone_from(&voter.endpoints);
            }
        }
        Some(leader)
    }

    fn send(&mut self, to: Destination, asked: Asked, request: Request, now: i64) {
        let correlation = self.peers.sent(to.id, asked, self.epoch, now);
        self.out.push(Command::Send { to, correlation, request });
    }

    /// The other voters that can be asked something now.
    fn ready_voters(&self, now: i64) -> Vec<(ReplicaKey, Destination)> {
        self.voters
            .iter()
            .filter(|voter| voter.id != self.config.local.id && self.peers.is_ready(voter.id, now))
            .filter_map(|voter| {
                let endpoint = self.choose(&voter.endpoints)?;
                let to = Destination { id: voter.id, host: endpoint.host.clone(), port: endpoint.port };
                Some((ReplicaKey::new(voter.id, voter.directory_id), to))
            })
            .collect()
    }

    /// Where the leader of the epoch is, as far as that is known. What tells of it may not name the listener.
    pub(crate) fn leader_destination(&self) -> Option<Destination> {
        self.endpoint_of(&self.leader_with_endpoints()?)
    }

    fn endpoint_of(&self, leader: &Leader) -> Option<Destination> {
        let known = self.choose(&leader.endpoints);
        let endpoint = known.or_else(|| self.choose(&self.voters.get(leader.id)?.endpoints))?;
        Some(Destination { id: leader.id, host: endpoint.host.clone(), port: endpoint.port })
    }

    fn choose<'a>(&self, endpoints: &'a [VoterEndpoint]) -> Option<&'a VoterEndpoint> {
        endpoints.iter().find(|endpoint| endpoint.name == self.config.listener).or_else(|| endpoints.first())
    }

    fn key(&self) -> ReplicaKey {
        ReplicaKey::new(self.config.local.id, self.config.local.directory_id)
    }

    fn may_stand(&self) -> bool {
        !self.is_stopping && self.is_voter()
    }

    fn election_timeout(&mut self) -> i64 {
        let base = self.config.timeouts.election_ms;
        base + self.random.below(base)
    }

    /// How long votes are waited for, or a granted one is left to be made use of: up to eight times the election timeout after lost ballots,
    /// as others may not be let run for so long. The time without a ballot does not grow: who comes back is asked at once, and asks.
    fn patience(&mut self) -> i64 {
        self.election_timeout() << self.lost_ballots.min(MAX_GROWTH_SHIFT)
    }

    /// Whether a request was meant for this replica; one that does not say so is.
    fn is_meant(&self, voter: Option<ReplicaKey>) -> bool {
        voter.is_none_or(|voter| voter.fits(self.key()))
    }

    /// What Kafka checks of a request that only voters send.
    fn check_voter_request(&self, id: i32, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else if id < 0 {
            Err(ErrorCode::InvalidRequest)
        } else {
            Ok(())
        }
    }

    /// What Kafka checks of a request to the leader.
    fn check_leader_request(&self, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < self.epoch {
            Err(ErrorCode::FencedLeaderEpoch)
        } else if epoch > self.epoch {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else if !self.is_leader() {
            Err(ErrorCode::NotLeaderOrFollower)
        } else {
            Ok(())
        }
    }
}

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    /// A number from 0 on, below the bound.
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap_or(1).max(1);
        i64::try_from((z ^ (z >> 31)) % bound).unwrap_or(0)
    }
}
