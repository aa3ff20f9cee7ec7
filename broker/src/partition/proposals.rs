//! ISRs that the controller is to be asked for, until they are sent.

use std::sync::Weak;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Partition;
use super::replicas::Proposal;

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
