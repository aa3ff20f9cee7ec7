//! A partition whose leader is this broker, and which has other replicas: what their fetches and the controller's answers
//! do to the high watermark and to those who wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_log::{LeaderEpoch, Log, Offset};
use parking_lot::MutexGuard;
use tracing::{info, warn};

use super::arrivals::Arrivals;
use super::replicas::{Answer, FollowerError, FollowerFetch, LeaderEnd, Proposal, Replicas};
use super::waiters::Progress;
use super::{Leadership, Partition, PartitionError};

/// What this broker is to a partition.
#[derive(Debug, Default)]
pub(super) enum Role {
    /// Its only replica, or nothing yet.
    #[default]
    Alone,
    /// The leader of several replicas.
    Leading(Replicas, Arrivals),
    /// A follower.
    Following(Arrivals),
}

impl Role {
    fn replicas(&self) -> Option<&Replicas> {
        match self {
            Self::Leading(replicas, _) => Some(replicas),
            _ => None,
        }
    }

    fn arrivals(&mut self) -> Option<&mut Arrivals> {
        match self {
            Self::Leading(_, arrivals) | Self::Following(arrivals) => Some(arrivals),
            Self::Alone => None,
        }
    }
}

/// A replica that a consumer may read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadableReplica {
    /// Its node id.
    pub id: i32,
    /// Its log end.
    pub end: Offset,
    /// How long ago it had everything, in ms.
    pub behind_ms: i64,
}

impl Partition {
    /// Takes up the role that the metadata gives it. Under the log's lock.
    pub(super) fn take_role(&self, log: &Log, leadership: &Leadership) {
        let mut role = self.role.lock();
        if !leadership.here {
            if !matches!(*role, Role::Following(_)) {
                *role = Role::Following(Arrivals::default());
            }
            return;
        }
        if leadership.is_alone() {
            *role = Role::Alone;
            return;
        }
        let now = self.surroundings.now();
        match &mut *role {
            Role::Leading(replicas, _) if replicas.leader_epoch() == leadership.epoch => {
                replicas.update(leadership, now);
            }
            other => {
                let began = log.epoch_start_offset(LeaderEpoch(leadership.epoch));
                let began = began.unwrap_or(log.end_offset());
                let replicas = Replicas::new(self.surroundings.node_id, leadership, began, now);
                *other = Role::Leading(replicas, Arrivals::default());
            }
        }
    }

    /// How many are in sync, and how many must be.
    pub(super) fn in_sync(&self, leadership: &Leadership) -> (usize, usize) {
        let known = || {
            let role = self.role.lock();
            role.replicas().map(|replicas| (replicas.isr().len(), replicas.min_isr()))
        };
        let told = (leadership.isr.len(), leadership.effective_min_isr());
        if leadership.is_alone() { told } else { known().unwrap_or(told) }
    }

    /// The ISR, newer than the metadata where the controller has answered.
    pub fn isr(&self) -> Vec<i32> {
        let known = self.role.lock().replicas().map(|replicas| replicas.isr().to_vec());
        known.unwrap_or_else(|| self.leadership().isr.clone())
    }

    /// Whether there are as many in sync, or about to be, as must be; asked when an append is to be acknowledged.
    pub(super) fn has_enough_in_sync(&self) -> bool {
        let role = self.role.lock();
        role.replicas().is_none_or(|replicas| replicas.maximal_isr_len() >= replicas.min_isr())
    }

    /// Whether the replica may fetch here.
    ///
    /// # Errors
    /// It is not known as a replica, or a later start of it has fetched.
    pub fn check_follower(
        &self,
        replica: i32,
        broker_epoch: i64,
        knows_epoch: bool,
    ) -> Result<(), PartitionError> {
        let checked = match self.role.lock().replicas() {
            Some(replicas) => replicas.check(replica, broker_epoch),
            None => Err(FollowerError::Unknown),
        };
        checked.map_err(|error| match error {
            // It may know of an assignment that this broker has not heard of.
            FollowerError::Unknown if knows_epoch => {
                PartitionError::UnknownLeaderEpoch(self.leadership().epoch)
            }
            _ => PartitionError::NotLeader,
        })
    }

    /// A follower's fetch, which says that it has everything below. To be called before it is answered, once for each fetch
    /// that arrives; one that is not within the log, of another epoch or from another history says nothing. Whether it asks
    /// again for what it was sent: [`Self::follower_sent_again`] is to be called if it is sent it again.
    pub fn follower_fetched(self: &Arc<Self>, fetch: &FollowerFetch, leader_epoch: i32) -> bool {
        let end = self.log_end_offset();
        if fetch.offset < self.log_start_offset() || fetch.offset > end {
            return false;
        }
        let leadership = self.leadership.load();
        if !leadership.here || (leader_epoch >= 0 && leadership.epoch != leader_epoch) {
            return false;
        }
        let mut role = self.role.lock();
        let Role::Leading(replicas, _) = &mut *role else { return false };
        if replicas.leader_epoch() != leadership.epoch {
            return false;
        }
        let cluster = self.surroundings.cluster();
        let Ok(proposal) = replicas.fetched(fetch, end, self.high_watermark(), &cluster) else {
            return false;
        };
        let asks_again = replicas.asks_again(fetch.replica);
        if asks_again && let Some(proposal) = &proposal {
            info!(partition = %self.name(), isr = ?replicas.isr(), proposed = ?proposal.isr, "a replica takes nothing");
        }
        self.propose(proposal);
        self.reconsider(role);
        asks_again
    }

    /// A follower that asks again for what it was sent is sent it again.
    pub fn follower_sent_again(&self, replica: i32) {
        if let Role::Leading(replicas, _) = &mut *self.role.lock() {
            replicas.sent_again(replica);
        }
    }

    /// Proposes an ISR without those that lag too long.
    pub fn shrink_isr(self: &Arc<Self>) {
        let end = self.log_end_offset();
        let mut role = self.role.lock();
        let Role::Leading(replicas, _) = &mut *role else { return };
        let (now, max_lag) = (self.surroundings.now(), self.surroundings.max_lag_ms);
        let proposal = replicas.shrink(end, now, max_lag);
        if let Some(proposal) = &proposal {
            info!(partition = %self.name(), isr = ?replicas.isr(), proposed = ?proposal.isr, "replicas lag");
        }
        self.propose(proposal);
        self.reconsider(role);
    }

    fn propose(self: &Arc<Self>, proposal: Option<Proposal>) {
        if let Some(proposal) = proposal {
            self.surroundings.proposals.submit(Arc::downgrade(self), proposal);
        }
    }

    /// The controller's answer to a proposal.
    pub fn isr_answered(self: &Arc<Self>, proposal: &Proposal, answer: Answer) {
        self.surroundings.isr_changes.count(proposal, &answer);
        let mut role = self.role.lock();
        let Role::Leading(replicas, _) = &mut *role else { return };
        let before = replicas.isr().to_vec();
        let again = replicas.answered(proposal.version, answer);
        if before != replicas.isr() {
            info!(partition = %self.name(), ?before, isr = ?replicas.isr(), "ISR changed");
        }
        self.propose(again);
        self.reconsider(role);
    }

    /// Looks again whether the high watermark may move: time has passed, or brokers came or went.
    pub(super) fn look_again(&self) {
        self.reconsider(self.role.lock());
    }

    /// Moves the high watermark as far as it may, and tells those who wait.
    fn reconsider(&self, mut role: MutexGuard<'_, Role>) {
        let Role::Leading(replicas, arrivals) = &mut *role else { return };
        let cluster = self.surroundings.cluster();
        let own = LeaderEnd { log: self.log_end_offset(), safe: self.safe_end() };
        let (now, max_lag) = (self.surroundings.now(), self.surroundings.max_lag_ms);
        let low = replicas.low_watermark(self.log_start_offset(), &cluster);
        let low_moved = self.set_low_watermark(low);
        let mut readable = None;
        if let Some(at) = replicas.high_watermark(own, now, max_lag, &cluster)
            && self.high_watermark.fetch_max(at.0, Ordering::AcqRel) < at.0
        {
            readable = Some(arrivals.take(at));
        }
        drop(role);
        if readable.is_some() || low_moved {
            self.tell_committed(true);
        }
        if let Some(bytes) = readable {
            self.waiters.tell(readable_now(bytes));
        }
    }

    /// The log has `appended` bytes more, or more of it is on disk.
    pub(super) fn advance_among_replicas(&self, log: &Log, appended: usize) {
        let mut role = self.role.lock();
        if appended > 0
            && let Some(arrivals) = role.arrivals()
        {
            arrivals.push(log.end_offset(), appended);
        }
        self.high_watermark.fetch_max(log.start_offset().0, Ordering::AcqRel);
        self.reconsider(role);
        if appended > 0 {
            self.followers_waiting.tell(Progress::Bytes(appended));
        }
    }

    /// What may be read further since the leader told where the high watermark is; for a follower.
    pub(super) fn follow_high_watermark(&self, leaders: Offset, log: &Log) {
        let mut role = self.role.lock();
        let at = leaders.min(log.end_offset()).max(log.start_offset());
        if self.high_watermark.fetch_max(at.0, Ordering::AcqRel) >= at.0 {
            return;
        }
        let bytes = role.arrivals().map_or(0, |arrivals| arrivals.take(at));
        drop(role);
        self.tell_committed(true);
        self.waiters.tell(readable_now(bytes));
    }

    /// After a truncation the high watermark is not above the log's end.
    pub(super) fn cut_high_watermark(&self, log: &Log) {
        let mut role = self.role.lock();
        if matches!(*role, Role::Following(_)) {
            *role = Role::Following(Arrivals::default());
        }
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        let before = self.high_watermark();
        let now = before.0.clamp(start, end);
        self.high_watermark.store(now, Ordering::Release);
        drop(role);
        if now < before.0 {
            warn!(partition = %self.name(), %before, now, "the high watermark goes back with the log");
        }
    }

    /// Whether the newest offset can be told to clients: a leader's high watermark may at first be behind what an earlier
    /// leader told (KIP-207).
    pub fn is_settled(&self) -> bool {
        let role = self.role.lock();
        role.replicas().is_none_or(|replicas| replicas.is_settled(self.high_watermark()))
    }

    /// Replicas in sync, this one aside, that have `offset` and can serve it to consumers.
    pub fn readable_replicas(&self, offset: Offset) -> Vec<ReadableReplica> {
        let now = self.surroundings.now();
        let role = self.role.lock();
        let readable = role.replicas().map(|replicas| replicas.readable_at(offset, now));
        let readable = readable.unwrap_or_default().into_iter();
        readable.map(|(id, end, behind_ms)| ReadableReplica { id, end, behind_ms }).collect()
    }
}

/// The high watermark moved. Of what was in the log before this broker took up its role nobody knows how much it is.
fn readable_now(bytes: usize) -> Progress {
    if bytes > 0 { Progress::Bytes(bytes) } else { Progress::Changed }
}
