//! The memory that requests in flight may hold, all connections together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Frames up to this size, in bytes, are not counted: the limit on connections bounds them.
const FREE: usize = 64 * 1024;
/// What one permit stands for, in bytes.
const UNIT: usize = 4 * 1024;

/// A pool of bytes. A frame waits until its size is free, in the order of arrival; meanwhile its connection is not
/// read, so the client's own send buffer fills up.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    total: u32,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub struct Share {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of `bytes`, at least one unit.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let total = u32::try_from(units).unwrap_or(u32::MAX);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits for `bytes`; a frame larger than the whole budget waits for all of it. Nothing for small frames.
    pub async fn take(&self, bytes: usize) -> Option<Share> {
        if bytes <= FREE {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.total);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await.ok()?;
        Some(Share { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_big_frame_waits_until_another_is_done() {
        let budget = MemoryBudget::new(1 << 20);
        let first = budget.take(900 * 1024).await;
        assert!(first.is_some());
        assert!(budget.take(900 * 1024).now_or_never().is_none(), "both do not fit");
        assert!(budget.take(1024).now_or_never().is_some(), "a small frame never waits");
        drop(first);
        assert!(budget.take(900 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_frame_above_the_whole_budget_gets_all_of_it() {
        let budget = MemoryBudget::new(1 << 20);
        let all = budget.take(100 << 20).now_or_never().flatten();
        assert!(all.is_some());
        assert!(budget.take(100 * 1024).now_or_never().is_none());
    }
}
