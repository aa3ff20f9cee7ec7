//! How many connections may be open: in all (`max.connections`) and from one address (`max.connections.per.ip`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots for connections. The listener waits for a free one before it accepts, so surplus clients wait in the backlog;
/// an address above its own limit is closed at once, as by Kafka.
#[derive(Debug)]
pub struct ConnectionSlots {
    all: Arc<Semaphore>,
    per_address: usize,
    overrides: HashMap<IpAddr, usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One open connection; its slot is free again on drop.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<ConnectionSlots>,
    address: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

impl ConnectionSlots {
    /// `all` in total, `per_address` from one address except where `overrides` says otherwise.
    pub fn new(all: usize, per_address: usize, overrides: HashMap<IpAddr, usize>) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { all, per_address, overrides, open: Mutex::new(HashMap::new()) })
    }

    /// Waits until another connection may be accepted.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// Takes a slot for `address`, or `None` when it has its share already.
    pub(super) fn take(self: &Arc<Self>, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<Slot> {
        let address = address.to_canonical();
        let limit = self.overrides.get(&address).copied().unwrap_or(self.per_address);
        let mut open = self.open.lock();
        let count = open.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        open.insert(address, count + 1);
        Some(Slot { slots: Arc::clone(self), address, _one_of_all: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn free(slots: &Arc<ConnectionSlots>) -> Option<OwnedSemaphorePermit> {
        slots.free().now_or_never().flatten()
    }

    #[test]
    fn an_address_has_its_own_limit() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let other = IpAddr::from([10, 0, 0, 1]);
        let slots = ConnectionSlots::new(10, 1, HashMap::from([(other, 2)]));
        let first = slots.take(free(&slots).unwrap(), local);
        assert!(first.is_some());
        assert!(slots.take(free(&slots).unwrap(), local).is_none());
        let two = [slots.take(free(&slots).unwrap(), other), slots.take(free(&slots).unwrap(), other)];
        assert!(two.iter().all(Option::is_some));
        drop(first);
        assert!(slots.take(free(&slots).unwrap(), local).is_some());
    }

    #[test]
    fn the_total_makes_the_listener_wait() {
        let slots = ConnectionSlots::new(1, 5, HashMap::new());
        let slot = slots.take(free(&slots).unwrap(), IpAddr::from([127, 0, 0, 1]));
        assert!(free(&slots).is_none());
        drop(slot);
        assert!(free(&slots).is_some());
    }
}
