//! What a leader knows of its partition's replicas: how far each is, who is in sync, and what follows for the high
//! watermark (KIP-966). Pure: events in, proposals out.
//!
//! - The high watermark is the least log end of the *maximal* ISR, which is the ISR that the controller confirmed and
//!   whoever it was asked to add, and of those outside that are caught up: they may be added at any moment. It does not
//!   move while fewer are in sync than must be.
//! - Log ends of followers are where they fetch from. With durable acknowledgements that is what they have on disk, and
//!   the leader's own is what it has on disk.
//! - One proposal to the controller at a time. What it made of it is known from its answer or from the metadata, whichever
//!   comes first; until then the larger set counts.

use std::collections::BTreeMap;

use ottla_log::Offset;
use ottla_quorum::image::ClusterImage;

use super::Leadership;
use crate::clock::Millis;

/// A broker epoch that nobody told.
pub const NO_BROKER_EPOCH: i64 = -1;

/// A fetch that a follower sent: it has everything below `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Its node id.
    pub replica: i32,
    /// Its broker epoch, [`NO_BROKER_EPOCH`] from those that do not say.
    pub broker_epoch: i64,
    /// Where it goes on.
    pub offset: Offset,
    /// Where its log starts.
    pub log_start: Offset,
    /// When it came.
    pub at: Millis,
}

/// Where the leader's own log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderEnd {
    /// Offset of the next record.
    pub log: Offset,
    /// Everything below counts as this replica's: the same, or what is on disk.
    pub safe: Offset,
}

/// Why a follower's fetch does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowerError {
    /// It is not a replica, as far as is known here.
    Unknown,
    /// A later start of the same broker has fetched.
    StaleBrokerEpoch,
}

/// An ISR that the controller is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Tells the answer to this proposal from one to an older.
    pub version: u64,
    /// The epoch under which this broker leads.
    pub leader_epoch: i32,
    /// The partition epoch that it builds on.
    pub partition_epoch: i32,
    /// The members with their broker epochs, [`NO_BROKER_EPOCH`] where that is not known; this broker's is never in it.
    pub isr: Vec<(i32, i64)>,
    /// It has a member more than the one before, else fewer.
    pub grows: bool,
}

/// What the controller made of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The state of the partition, which has the proposed ISR.
    Accepted {
        /// Its leader epoch.
        leader_epoch: i32,
        /// Its new partition epoch.
        partition_epoch: i32,
        /// Its ISR.
        isr: Vec<i32>,
    },
    /// Nothing was changed: a member may not be in sync, or it was not tried.
    Refused,
    /// The controller is further than this broker: the metadata will tell.
    Overtaken,
    /// It may be asked again.
    Again,
}

/// How far a follower is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Follower {
    /// `None` until it has fetched from this leader.
    end: Option<Offset>,
    start: Option<Offset>,
    broker_epoch: i64,
    /// The leader's end at its last fetch, and when that was.
    last: Option<(Offset, Millis)>,
    /// When it last had all that the leader had; `None` is never.
    caught_up: Option<Millis>,
    asks_again: Option<AsksAgain>,
}

/// A follower fetches from the same offset again, although there was something for it the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AsksAgain {
    since: Millis,
    /// How often it was sent records since.
    sent: u32,
}

/// A follower that was sent the same records so often, for so many ms, cannot take them.
const SENT_IN_VAIN: (u32, i64) = (2, 1_000);

impl Follower {
    /// Of an ISR member nothing is held against it until it has had the time to fetch.
    fn new(in_sync: bool, now: Millis) -> Self {
        Self { broker_epoch: NO_BROKER_EPOCH, caught_up: in_sync.then_some(now), ..Self::default() }
    }

    fn is_caught_up(&self, leader_end: Offset, now: Millis, max_lag: i64) -> bool {
        self.end == Some(leader_end) || self.caught_up.is_some_and(|at| now.since(at) <= max_lag)
    }

    /// A fetch from where the leader's log ends, or ended at the fetch before: then it had everything at that time.
    fn fetched(&mut self, fetch: &FollowerFetch, leader_end: Offset) {
        let asks_again =
            self.end == Some(fetch.offset) && self.last.is_some_and(|(end, _)| end > fetch.offset);
        let begun = AsksAgain { since: fetch.at, sent: 0 };
        self.asks_again = asks_again.then(|| self.asks_again.unwrap_or(begun));
        if fetch.offset >= leader_end {
            self.caught_up = self.caught_up.max(Some(fetch.at));
        } else if let Some((end, at)) = self.last
            && fetch.offset >= end
        {
            self.caught_up = self.caught_up.max(Some(at));
        }
        self.end = Some(fetch.offset);
        self.start = Some(fetch.log_start);
        self.broker_epoch = fetch.broker_epoch;
        self.last = Some((leader_end, fetch.at));
    }

    /// Its disk is full, or it finds what it is sent damaged. To wait for it until it has lagged for long enough would hold up
    /// all producers.
    fn is_refusing(&self, now: Millis) -> bool {
        let (sent, ms) = SENT_IN_VAIN;
        self.asks_again.is_some_and(|again| again.sent >= sent && now.since(again.since) >= ms)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    version: u64,
    added: Option<i32>,
    isr: Vec<i32>,
}

/// The replicas of a partition that this broker leads, for one leader epoch.
#[derive(Debug)]
pub struct Replicas {
    node_id: i32,
    leader_epoch: i32,
    partition_epoch: i32,
    /// The log's end at the election.
    epoch_start: Offset,
    min_isr: usize,
    isr: Vec<i32>,
    pending: Option<Pending>,
    versions: u64,
    followers: BTreeMap<i32, Follower>,
}

impl Replicas {
    /// This broker was elected; its log ended at `epoch_start` then.
    pub fn new(node_id: i32, leadership: &Leadership, epoch_start: Offset, now: Millis) -> Self {
        let mut replicas = Self {
            node_id,
            leader_epoch: leadership.epoch,
            partition_epoch: leadership.partition_epoch,
            epoch_start,
            min_isr: 0,
            isr: leadership.isr.clone(),
            pending: None,
            // An answer to what was proposed under an earlier epoch is not taken for one to what is proposed under this.
            versions: u64::try_from(leadership.epoch).unwrap_or(0) << 32,
            followers: BTreeMap::new(),
        };
        replicas.assign(leadership, now);
        replicas
    }

    /// The metadata says something new within the epoch. What an answer told before is not undone by an older state.
    pub fn update(&mut self, leadership: &Leadership, now: Millis) {
        if leadership.partition_epoch > self.partition_epoch {
            self.partition_epoch = leadership.partition_epoch;
            self.isr.clone_from(&leadership.isr);
            self.pending = None;
        }
        self.assign(leadership, now);
    }

    fn assign(&mut self, leadership: &Leadership, now: Millis) {
        self.min_isr = leadership.effective_min_isr();
        let others = || leadership.replicas.iter().copied().filter(|id| *id != self.node_id);
        self.followers.retain(|id, _| leadership.replicas.contains(id));
        for id in others() {
            let in_sync = self.isr.contains(&id);
            self.followers.entry(id).or_insert_with(|| Follower::new(in_sync, now));
        }
    }

    /// The epoch under which this broker leads.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch
    }

    /// The replicas in sync that the controller confirmed.
    pub fn isr(&self) -> &[i32] {
        &self.isr
    }

    /// Whether fewer are in sync than must be.
    pub fn is_under_min_isr(&self) -> bool {
        self.isr.len() < self.min_isr
    }

    /// The minimum of replicas in sync, at most the number of replicas.
    pub fn min_isr(&self) -> usize {
        self.min_isr
    }

    /// How many are in sync or about to be.
    pub fn maximal_isr_len(&self) -> usize {
        self.isr.len() + usize::from(self.pending.as_ref().is_some_and(|pending| pending.added.is_some()))
    }

    /// Whether the replica's fetches count.
    ///
    /// # Errors
    /// Why they do not.
    pub fn check(&self, replica: i32, broker_epoch: i64) -> Result<(), FollowerError> {
        let follower = self.followers.get(&replica).ok_or(FollowerError::Unknown)?;
        let stale = broker_epoch != NO_BROKER_EPOCH && broker_epoch < follower.broker_epoch;
        if stale { Err(FollowerError::StaleBrokerEpoch) } else { Ok(()) }
    }

    /// A follower fetched from within the leader's log, and its history is the leader's. Returns the ISR that the controller
    /// is now to be asked for: with this follower, or without it.
    ///
    /// # Errors
    /// As [`Replicas::check`].
    pub fn fetched(
        &mut self,
        fetch: &FollowerFetch,
        leader_end: Offset,
        high_watermark: Offset,
        cluster: &ClusterImage,
    ) -> Result<Option<Proposal>, FollowerError> {
        self.check(fetch.replica, fetch.broker_epoch)?;
        let follower = self.followers.get_mut(&fetch.replica).ok_or(FollowerError::Unknown)?;
        follower.fetched(fetch, leader_end);
        if follower.is_refusing(fetch.at) {
            follower.caught_up = None;
            let leaves = self.pending.is_none() && self.isr.contains(&fetch.replica);
            let others = self.isr.iter().copied().filter(|id| *id != fetch.replica).collect();
            return Ok(leaves.then(|| self.propose(others, None)));
        }
        let caught_up = fetch.offset >= high_watermark && fetch.offset >= self.epoch_start;
        if self.pending.is_some()
            || self.isr.contains(&fetch.replica)
            || !caught_up
            || !may_join(cluster, fetch.replica, fetch.broker_epoch)
        {
            return Ok(None);
        }
        let mut isr = self.isr.clone();
        isr.push(fetch.replica);
        Ok(Some(self.propose(isr, Some(fetch.replica))))
    }

    /// Whether the follower asked for what it had been sent before, as far as is known.
    pub fn asks_again(&self, replica: i32) -> bool {
        self.followers.get(&replica).is_some_and(|follower| follower.asks_again.is_some())
    }

    /// A follower that [asks again](Self::asks_again) is sent records again.
    pub fn sent_again(&mut self, replica: i32) {
        let follower = self.followers.get_mut(&replica);
        if let Some(again) = follower.and_then(|follower| follower.asks_again.as_mut()) {
            again.sent += 1;
        }
    }

    /// Who has not had all of the leader's log for longer than `max_lag` ms is to leave. Returns what the controller is to be
    /// asked.
    pub fn shrink(&mut self, leader_end: Offset, now: Millis, max_lag: i64) -> Option<Proposal> {
        if self.pending.is_some() {
            return None;
        }
        let stays = |id: &i32| {
            let follower = self.followers.get(id);
            *id == self.node_id || follower.is_some_and(|it| it.is_caught_up(leader_end, now, max_lag))
        };
        let isr: Vec<i32> = self.isr.iter().copied().filter(stays).collect();
        (isr.len() < self.isr.len()).then(|| self.propose(isr, None))
    }

    fn propose(&mut self, isr: Vec<i32>, added: Option<i32>) -> Proposal {
        self.versions += 1;
        let pending = Pending { version: self.versions, added, isr };
        let proposal = self.proposal(&pending);
        self.pending = Some(pending);
        proposal
    }

    fn proposal(&self, pending: &Pending) -> Proposal {
        let epoch = |id: &i32| self.followers.get(id).map_or(NO_BROKER_EPOCH, |it| it.broker_epoch);
        Proposal {
            version: pending.version,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr: pending.isr.iter().map(|id| (*id, epoch(id))).collect(),
            grows: pending.added.is_some(),
        }
    }

    /// The controller's answer to the proposal `version`; returns what is to be asked again. An answer to anything but what
    /// is pending tells nothing.
    pub fn answered(&mut self, version: u64, answer: Answer) -> Option<Proposal> {
        let pending = self.pending.clone().filter(|pending| pending.version == version)?;
        match answer {
            Answer::Accepted { leader_epoch, partition_epoch, isr } => {
                // With another leader epoch, or a state older than what is known, the metadata will tell.
                if leader_epoch == self.leader_epoch && partition_epoch >= self.partition_epoch {
                    (self.isr, self.partition_epoch) = (isr, partition_epoch);
                    self.pending = None;
                }
                None
            }
            Answer::Refused => {
                self.pending = None;
                None
            }
            Answer::Overtaken => None,
            Answer::Again => Some(self.proposal(&pending)),
        }
    }

    /// Where the high watermark may be, `None` while it must not move. Whether it is beyond where it is now is the caller's
    /// to see: it never goes back.
    pub fn high_watermark(
        &self,
        own: LeaderEnd,
        now: Millis,
        max_lag: i64,
        cluster: &ClusterImage,
    ) -> Option<Offset> {
        if self.is_under_min_isr() {
            return None;
        }
        let added = self.pending.as_ref().and_then(|pending| pending.added);
        let counts = |(id, follower): &(&i32, &Follower)| {
            self.isr.contains(id)
                || added == Some(**id)
                || (follower.is_caught_up(own.log, now, max_lag)
                    && may_join(cluster, **id, follower.broker_epoch))
        };
        let ends = self.followers.iter().filter(counts).map(|(_, it)| it.end.unwrap_or(Offset::ZERO));
        Some(ends.fold(own.safe, Offset::min))
    }

    /// The least log start of the replicas that live: below it nobody has anything. `None` while one has not told.
    pub fn low_watermark(&self, own_start: Offset, cluster: &ClusterImage) -> Option<Offset> {
        let lives = |id: &i32| cluster.brokers.get(id).is_some_and(|broker| !broker.fenced);
        let mut living = self.followers.iter().filter(|(id, _)| lives(id));
        living.try_fold(own_start, |least, (_, follower)| Some(least.min(follower.start?)))
    }

    /// Whether the high watermark has come to where this leader began: until then it may be behind what an earlier leader
    /// told clients.
    pub fn is_settled(&self, high_watermark: Offset) -> bool {
        high_watermark >= self.epoch_start
    }

    /// The members of the ISR that have `offset` and could serve it to a consumer, with their log ends and how long ago in
    /// ms each had everything (KIP-392).
    pub fn readable_at(&self, offset: Offset, now: Millis) -> Vec<(i32, Offset, i64)> {
        let has = |(id, follower): (&i32, &Follower)| {
            let (end, start) = (follower.end?, follower.start?);
            let has = self.isr.contains(id) && start <= offset && offset <= end;
            let behind = follower.caught_up.map_or(i64::MAX, |at| now.since(at));
            has.then_some((*id, end, behind))
        };
        self.followers.iter().filter_map(has).collect()
    }
}

/// Whether the controller would let the broker join an ISR: it serves, does not stop, and is the start of it that fetched.
fn may_join(cluster: &ClusterImage, id: i32, broker_epoch: i64) -> bool {
    let is_it = |epoch: i64| broker_epoch == NO_BROKER_EPOCH || broker_epoch == epoch;
    cluster.brokers.get(&id).is_some_and(|broker| broker.is_active() && is_it(broker.epoch))
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
