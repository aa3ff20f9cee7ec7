//! Waiting until what was appended is safe, and what was deleted is gone everywhere.

use std::sync::atomic::Ordering;

use ottla_log::{LeaderEpoch, Offset};

use super::{Partition, PartitionError, ProduceError};

/// What waiters for replication watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) high_watermark: i64,
    /// From the epoch under which this broker began to lead, without having followed since, to the one of now.
    pub(super) led: (i32, i32),
    pub(super) alive: bool,
}

impl Committed {
    fn leads_since(&self, epoch: i32) -> bool {
        (self.led.0..=self.led.1).contains(&epoch)
    }
}

impl Partition {
    /// Whether the record at `last` is safe, where no other replica has a say; otherwise whoever appended it has to wait.
    pub fn is_committed_alone(&self, last: Offset) -> bool {
        self.high_watermark() > last && self.leadership.load().is_alone()
    }

    /// Waits until the high watermark is at or above `offset`, under the epoch that leads now.
    ///
    /// # Errors
    /// The partition has another leader or is gone, or its directory failed.
    pub async fn wait_committed(&self, offset: Offset) -> Result<(), ProduceError> {
        let epoch = self.leadership.load().epoch;
        self.wait_committed_under(LeaderEpoch(epoch), offset).await
    }

    /// The same for what was appended under `epoch`. Once this broker has followed another, something else may be at these
    /// offsets.
    ///
    /// # Errors
    /// As [`Partition::wait_committed`]; or fewer replicas are in sync by then than must be.
    pub async fn wait_committed_under(&self, epoch: LeaderEpoch, offset: Offset) -> Result<(), ProduceError> {
        let mut committed = self.committed.subscribe();
        let decided = |c: &Committed| c.high_watermark >= offset.0 || !c.leads_since(epoch.0) || !c.alive;
        match committed.wait_for(decided).await {
            Ok(c) if c.leads_since(epoch.0) && c.high_watermark >= offset.0 => {}
            _ if self.directory().is_offline() => return Err(ProduceError::Offline),
            _ => return Err(ProduceError::NotLeader),
        }
        if self.leadership.load().is_alone() || self.has_enough_in_sync() {
            Ok(())
        } else {
            Err(ProduceError::NotEnoughReplicasAfterAppend)
        }
    }

    /// Waits until all replicas that live begin at `offset` or above; returns where the last of them does.
    ///
    /// # Errors
    /// The partition has another leader or is gone, or its directory failed.
    pub async fn wait_low_watermark(&self, offset: Offset) -> Result<Offset, PartitionError> {
        let epoch = self.leadership.load().epoch;
        let mut committed = self.committed.subscribe();
        let reached = || self.low_watermark().filter(|low| *low >= offset);
        let decided = |c: &Committed| reached().is_some() || !c.leads_since(epoch) || !c.alive;
        let known = committed.wait_for(decided).await.is_ok_and(|c| c.leads_since(epoch));
        self.check_leader(-1)?;
        reached().filter(|_| known).ok_or(PartitionError::NotLeader)
    }

    /// Those who wait look again.
    pub(super) fn tell_committed(&self, alive: bool) {
        let high_watermark = self.high_watermark.load(Ordering::Acquire);
        self.committed.send_replace(Committed {
            high_watermark,
            led: (self.led_since.load(Ordering::Acquire), self.leadership.load().epoch),
            alive: alive && !self.directory().is_offline(),
        });
    }
}
