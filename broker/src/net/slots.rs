//! How many connections may be open: in all (`max.connections`) and from one address (`max.connections.per.ip`). The
//! limits may change while connections are open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ConnectionLimits;

/// Slots for connections. A listener waits for a free one before it accepts, so surplus clients wait in the backlog; an
/// address above its own limit is closed at once; a protected connection is let in all the same, and where there are
/// too many then, or after a change, the least recently used of the others are closed: all as by Kafka.
#[derive(Debug)]
pub struct ConnectionSlots {
    state: Mutex<State>,
    started: Instant,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limits: ConnectionLimits,
    next: u64,
    open: HashMap<u64, Open>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Open {
    protected: bool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Nanoseconds since the slots were made.
    last_use: AtomicU64,
    evicted: CancellationToken,
}

/// One open connection; its slot is free again on drop.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<ConnectionSlots>,
    id: u64,
    address: IpAddr,
    shared: Arc<Shared>,
}

impl ConnectionSlots {
    /// As many as `limits` say, all free.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        let state = State { limits, next: 0, open: HashMap::new(), by_address: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), started: Instant::now(), freed: Notify::new() })
    }

    /// Puts other limits into effect at once.
    pub fn limit(&self, limits: ConnectionLimits) {
        let mut state = self.state.lock();
        state.limits = limits;
        state.evict();
        drop(state);
        self.freed.notify_waiters();
    }

    /// Waits until another connection may be accepted; a protected one always may.
    pub(super) async fn free(&self, protected: bool) {
        loop {
            let freed = self.freed.notified();
            if self.state.lock().has_room(protected) {
                return;
            }
            freed.await;
        }
    }

    /// Takes a slot for a connection from `address`, waiting for one if another listener was faster; `None` when the
    /// address has its share already.
    pub(super) async fn take(self: &Arc<Self>, address: IpAddr, protected: bool) -> Option<Slot> {
        let address = address.to_canonical();
        loop {
            let freed = self.freed.notified();
            if let Some(taken) = self.try_take(address, protected) {
                return taken;
            }
            freed.await;
        }
    }

    /// `None` while there is no room, else whether the address may have it.
    #[expect(clippy::option_option, reason = "no room, or not for this address")]
    fn try_take(self: &Arc<Self>, address: IpAddr, protected: bool) -> Option<Option<Slot>> {
        let mut state = self.state.lock();
        if !state.has_room(protected) {
            return None;
        }
        let limit = state.limits.overrides.get(&address).copied().unwrap_or(state.limits.per_address);
        let count = state.by_address.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return Some(None);
        }
        state.by_address.insert(address, count + 1);
        let last_use = AtomicU64::new(self.nanoseconds(Instant::now()));
        let shared = Arc::new(Shared { last_use, evicted: CancellationToken::new() });
        let id = state.next;
        state.next += 1;
        state.open.insert(id, Open { protected, shared: Arc::clone(&shared) });
        state.evict();
        Some(Some(Slot { slots: Arc::clone(self), id, address, shared }))
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl State {
    fn has_room(&self, protected: bool) -> bool {
        protected || self.open.len() < self.limits.all
    }

    /// Ends the least recently used connections while there are more than there may be.
    fn evict(&mut self) {
        let leaving = self.open.values().filter(|open| open.shared.evicted.is_cancelled()).count();
        let surplus = self.open.len().saturating_sub(leaving).saturating_sub(self.limits.all);
        if surplus == 0 {
            return;
        }
        let stays = |open: &&Open| !open.protected && !open.shared.evicted.is_cancelled();
        let mut others: Vec<_> = self.open.values().filter(stays).collect();
        others.sort_by_key(|open| open.shared.last_use.load(Ordering::Relaxed));
        for open in others.into_iter().take(surplus) {
            open.shared.evicted.cancel();
        }
    }
}

impl Slot {
    /// A request came.
    pub(super) fn touch(&self, at: Instant) {
        self.shared.last_use.store(self.slots.nanoseconds(at), Ordering::Relaxed);
    }

    /// Cancelled when the connection has to end for the sake of others.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.shared.evicted.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock();
        state.open.remove(&self.id);
        if let Some(count) = state.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.by_address.remove(&self.address);
            }
        }
        drop(state);
        self.slots.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn limits(all: usize, per_address: usize) -> ConnectionLimits {
        ConnectionLimits { all, per_address, overrides: HashMap::from([(OTHER, 2)]) }
    }

    /// `None` if it would have to wait.
    #[expect(clippy::option_option, reason = "as try_take")]
    fn take(slots: &Arc<ConnectionSlots>, address: IpAddr) -> Option<Option<Slot>> {
        slots.take(address, false).now_or_never()
    }

    #[test]
    fn an_address_has_its_own_limit() {
        let slots = ConnectionSlots::new(limits(10, 1));
        let first = take(&slots, LOCAL).unwrap();
        assert!(first.is_some());
        assert!(take(&slots, LOCAL).unwrap().is_none());
        let two = [take(&slots, OTHER).unwrap(), take(&slots, OTHER).unwrap()];
        assert!(two.iter().all(Option::is_some) && take(&slots, OTHER).unwrap().is_none());
        drop(first);
        let _first = take(&slots, LOCAL).unwrap().unwrap();
        slots.limit(limits(10, 2));
        assert!(take(&slots, LOCAL).unwrap().is_some(), "the limit was raised");
    }

    #[tokio::test]
    async fn the_total_makes_listeners_wait() {
        let slots = ConnectionSlots::new(limits(1, 5));
        let slot = take(&slots, LOCAL).unwrap();
        assert!(slots.free(false).now_or_never().is_none() && take(&slots, LOCAL).is_none());
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.take(LOCAL, false).await.is_some() }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(slot);
        assert!(waiting.await.unwrap());
        let _slot = take(&slots, LOCAL).unwrap();
        slots.limit(limits(2, 5));
        assert!(take(&slots, LOCAL).is_some(), "the limit was raised");
    }

    #[tokio::test]
    async fn the_least_recently_used_makes_room_for_a_protected_one() {
        let slots = ConnectionSlots::new(limits(2, 5));
        let (first, second) = (take(&slots, LOCAL).unwrap().unwrap(), take(&slots, LOCAL).unwrap().unwrap());
        first.touch(Instant::now() + Duration::from_secs(1));
        let protected = slots.take(LOCAL, true).now_or_never().unwrap().unwrap();
        assert!(second.evicted().is_cancelled() && !first.evicted().is_cancelled());
        drop(second);
        assert!(take(&slots, LOCAL).is_none());
        slots.limit(limits(1, 5));
        assert!(first.evicted().is_cancelled() && !protected.evicted().is_cancelled());
    }
}
