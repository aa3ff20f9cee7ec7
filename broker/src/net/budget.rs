//! The memory that requests and unsent responses may hold, all connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Of a frame so much is read before it asks for memory, in bytes; smaller ones are not counted: the limit on
/// connections bounds them.
pub(super) const FREE: usize = 32 * 1024;
/// What one permit stands for, in bytes.
const UNIT: usize = 4 * 1024;
/// The part of the budget that only ordinary frames use, so that they never queue up behind large ones.
const ORDINARY_PART: u32 = 4;
/// A frame up to this part of the ordinary ones' memory is an ordinary one.
const ORDINARY_FRAME_PART: u32 = 8;
/// Unsent responses may hold this part of the budget's size beside it.
const RESPONSES_PART: usize = 2;

/// Pools of bytes for requests, `queued.max.request.bytes` in all, and one for responses that clients do not take.
///
/// A request waits until its size is free, in the order of arrival, ordinary and large ones apart; meanwhile its
/// connection is not read, so the client's own send buffer fills up. What holds memory and does not arrive is told
/// when others wait for it.
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Pools>);

#[derive(Debug)]
struct Pools {
    ordinary: Pool,
    large: Pool,
    waiting: AtomicUsize,
    contended: Notify,
    responses: AtomicUsize,
    responses_limit: usize,
    squeezed: Notify,
}

#[derive(Debug)]
struct Pool {
    units: Arc<Semaphore>,
    total: u32,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub struct Share {
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

/// Bytes of responses that a client does not take, until dropped.
#[derive(Debug)]
pub(super) struct Unsent {
    pools: Arc<Pools>,
    bytes: usize,
}

impl MemoryBudget {
    /// A budget of `bytes` for requests, at least a few units.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(ORDINARY_PART as usize, Semaphore::MAX_PERMITS);
        let total = u32::try_from(units).unwrap_or(u32::MAX);
        let ordinary = total / ORDINARY_PART;
        Self(Arc::new(Pools {
            ordinary: Pool::new(ordinary),
            large: Pool::new(total - ordinary),
            waiting: AtomicUsize::new(0),
            contended: Notify::new(),
            responses: AtomicUsize::new(0),
            responses_limit: bytes / RESPONSES_PART,
            squeezed: Notify::new(),
        }))
    }

    /// Waits for `bytes`; a frame larger than the whole budget waits for all of it. Dropped, it loses its place.
    pub fn take(&self, bytes: usize) -> impl Future<Output = Share> + Send + 'static + use<> {
        let pools = Arc::clone(&self.0);
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        async move {
            if units <= pools.ordinary.total / ORDINARY_FRAME_PART {
                return Share { _permits: [pools.take(&pools.ordinary, units).await, None] };
            }
            let large = pools.take(&pools.large, units.min(pools.large.total)).await;
            let beyond = units.saturating_sub(pools.large.total).min(pools.ordinary.total);
            let rest = if beyond > 0 { pools.take(&pools.ordinary, beyond).await } else { None };
            Share { _permits: [large, rest] }
        }
    }

    /// Returns while somebody waits for memory.
    pub(super) async fn contended(&self) {
        loop {
            let contended = self.0.contended.notified();
            if self.0.waiting.load(Ordering::Acquire) > 0 {
                return;
            }
            contended.await;
        }
    }

    /// Bytes for requests in all.
    pub fn size(&self) -> usize {
        (self.0.ordinary.total as usize + self.0.large.total as usize) * UNIT
    }

    /// Bytes that requests hold now.
    pub fn used(&self) -> usize {
        let free = self.0.ordinary.units.available_permits() + self.0.large.units.available_permits();
        self.size().saturating_sub(free * UNIT)
    }

    /// Counts bytes of responses that wait for their client.
    pub(super) fn unsent(&self, bytes: usize) -> Unsent {
        let held = self.0.responses.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if held > self.0.responses_limit {
            self.0.squeezed.notify_waiters();
        }
        Unsent { pools: Arc::clone(&self.0), bytes }
    }

    /// Bytes of responses that wait for clients now.
    pub fn responses(&self) -> usize {
        self.0.responses.load(Ordering::Acquire)
    }
}

impl Unsent {
    /// Returns when the client had `grace` and all unsent responses together are beyond what they may hold.
    pub(super) async fn squeezed(&self, grace: Duration) {
        tokio::time::sleep(grace).await;
        loop {
            let squeezed = self.pools.squeezed.notified();
            if self.bytes > 0 && self.pools.responses.load(Ordering::Acquire) > self.pools.responses_limit {
                return;
            }
            squeezed.await;
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.pools.responses.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Pool {
    fn new(total: u32) -> Self {
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }
}

impl Pools {
    async fn take(&self, pool: &Pool, units: u32) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&pool.units).try_acquire_many_owned(units) {
            return Some(permit);
        }
        let _waiting = Waiting::begin(self);
        Arc::clone(&pool.units).acquire_many_owned(units).await.ok()
    }
}

/// Counts one that waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(pools: &'a Pools) -> Self {
        pools.waiting.fetch_add(1, Ordering::AcqRel);
        pools.contended.notify_waiters();
        Self(&pools.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn a_large_frame_waits_until_another_is_done() {
        let budget = MemoryBudget::new(128 * MIB);
        let first = budget.take(60 * MIB).await;
        assert_eq!(budget.used(), 60 * MIB);
        assert!(budget.take(60 * MIB).now_or_never().is_none(), "both do not fit");
        drop(first);
        assert!(budget.take(60 * MIB).now_or_never().is_some());
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn ordinary_frames_do_not_wait_for_large_ones() {
        let budget = MemoryBudget::new(128 * MIB);
        let _large = budget.take(96 * MIB).await;
        let mut next = Box::pin(budget.take(50 * MIB));
        assert!(next.as_mut().now_or_never().is_none());
        let ordinary: Vec<_> = (0..32).filter_map(|_| budget.take(MIB).now_or_never()).collect();
        assert_eq!(ordinary.len(), 32);
        assert!(budget.take(MIB).now_or_never().is_none(), "their part is bounded, too");
        assert_eq!(budget.used(), budget.size());
    }

    #[tokio::test]
    async fn a_frame_above_the_whole_budget_gets_all_of_it() {
        let budget = MemoryBudget::new(MIB);
        let all = budget.take(100 * MIB).now_or_never();
        assert_eq!(budget.used(), MIB);
        assert!(budget.take(1).now_or_never().is_none());
        drop(all);
        assert!(budget.take(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_holds_memory_learns_that_others_wait() {
        let budget = MemoryBudget::new(128 * MIB);
        let _first = budget.take(90 * MIB).await;
        assert!(budget.contended().now_or_never().is_none());
        let mut told = Box::pin(budget.contended());
        assert!(told.as_mut().now_or_never().is_none());
        let mut second = Box::pin(budget.take(90 * MIB));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(told.now_or_never().is_some());
        drop(second);
        assert!(budget.contended().now_or_never().is_none(), "it gave up");
    }

    #[tokio::test]
    async fn unsent_responses_are_squeezed_when_there_are_too_many() {
        let budget = MemoryBudget::new(2 * MIB);
        let first = budget.unsent(MIB);
        let mut squeezed = Box::pin(first.squeezed(Duration::ZERO));
        tokio::time::timeout(Duration::from_millis(20), squeezed.as_mut()).await.unwrap_err();
        let second = budget.unsent(1);
        tokio::time::timeout(Duration::from_secs(5), squeezed.as_mut()).await.unwrap();
        drop(second);
        assert_eq!(budget.responses(), MIB);
    }
}
