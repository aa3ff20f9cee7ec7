//! ISRs that the controller is to be asked for, until they are sent; and how often it took them.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Partition;
use super::replicas::{Answer, Proposal};

/// The proposals of all partitions, in the order in which they came. At most one of a partition counts.
#[derive(Debug, Default)]
pub struct IsrProposals {
    waiting: Mutex<Vec<(Weak<Partition>, Proposal)>>,
    more: Notify,
}

impl IsrProposals {
    /// Adds one; whoever waits for it wakes up.
    pub fn submit(&self, partition: Weak<Partition>, proposal: Proposal) {
        self.waiting.lock().push((partition, proposal));
        self.more.notify_one();
    }

    /// Takes all that wait.
    pub fn take(&self) -> Vec<(Weak<Partition>, Proposal)> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// Returns once there may be something to take.
    pub async fn submitted(&self) {
        self.more.notified().await;
    }
}

/// How often the ISRs of what is led here changed, and how often the controller refused it.
#[derive(Debug, Default)]
pub struct IsrChanges {
    shrinks: AtomicU64,
    expands: AtomicU64,
    failed: AtomicU64,
}

/// The counts since the start of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsrChangeCounts {
    /// ISRs with fewer members than before.
    pub shrinks: u64,
    /// ISRs with more members than before.
    pub expands: u64,
    /// Refused, or come too late.
    pub failed: u64,
}

impl IsrChanges {
    /// An answer of the controller. What it changes on its own, because a broker went, is not among them (as in Kafka).
    pub(super) fn count(&self, proposal: &Proposal, answer: &Answer) {
        let counter = match answer {
            Answer::Accepted { .. } if proposal.grows => &self.expands,
            Answer::Accepted { .. } => &self.shrinks,
            Answer::Refused | Answer::Overtaken => &self.failed,
            Answer::Again => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts as they are now.
    pub fn counted(&self) -> IsrChangeCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IsrChangeCounts {
            shrinks: read(&self.shrinks),
            expands: read(&self.expands),
            failed: read(&self.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_proposals_is_counted() {
        let changes = IsrChanges::default();
        let accepted = Answer::Accepted { leader_epoch: 1, partition_epoch: 1, isr: Vec::new() };
        for (grows, answer) in [
            (true, &accepted),
            (false, &accepted),
            (false, &accepted),
            (true, &Answer::Refused),
            (false, &Answer::Overtaken),
            (true, &Answer::Again),
        ] {
            let proposal =
                Proposal { version: 1, leader_epoch: 1, partition_epoch: 1, isr: Vec::new(), grows };
            changes.count(&proposal, answer);
        }
        assert_eq!(changes.counted(), IsrChangeCounts { shrinks: 2, expands: 1, failed: 2 });
    }
}
