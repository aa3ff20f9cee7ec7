//! Quotas of changes to topics (KIP-599, `controller_mutation_rate`): partitions that are made and deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Payer;
use super::payers::Payers;
use super::rate::Window;
use super::token_bucket::TokenBucket;

/// The buckets of all payers.
#[derive(Debug)]
pub(super) struct Buckets {
    window: Window,
    buckets: Mutex<Payers<Payer, TokenBucket>>,
}

/// The quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The throttling quota has been exceeded.")]
pub struct Exceeded;

/// What one request may change.
#[derive(Debug, Clone, Default)]
pub struct MutationQuota(Option<Arc<Charged>>);

#[derive(Debug)]
struct Charged {
    buckets: Arc<Buckets>,
    payer: Payer,
    rate: f64,
    strict: bool,
    /// How long to throttle, as of when.
    pause: Mutex<Option<(Duration, Instant)>>,
}

impl Buckets {
    pub(super) fn new(window: Window) -> Self {
        Self { window, buckets: Mutex::default() }
    }
}

impl MutationQuota {
    /// Without a limit.
    pub fn unlimited() -> Self {
        Self::default()
    }

    pub(super) fn new(buckets: &Arc<Buckets>, payer: Payer, rate: f64, strict: bool) -> Self {
        let buckets = Arc::clone(buckets);
        Self(Some(Arc::new(Charged { buckets, payer, rate, strict, pause: Mutex::default() })))
    }

    /// Pays for changes. Where the quota is not strict they are let through, and only the client is slowed down.
    ///
    /// # Errors
    /// There is debt from before; nothing was paid.
    pub fn charge(&self, mutations: usize, now: Instant) -> Result<(), Exceeded> {
        self.0.as_ref().map_or(Ok(()), |charged| charged.charge(mutations, now))
    }

    /// How long to throttle the client.
    pub fn pause(&self, now: Instant) -> Duration {
        let pause = self.0.as_ref().and_then(|charged| *charged.pause.lock());
        pause.map_or(Duration::ZERO, |(pause, at)| pause.saturating_sub(now.saturating_duration_since(at)))
    }
}

impl Charged {
    fn charge(&self, mutations: usize, now: Instant) -> Result<(), Exceeded> {
        let window = self.buckets.window;
        let mut buckets = self.buckets.buckets.lock();
        let bucket = buckets.of(self.payer.clone(), |bucket| bucket.is_full(window, now));
        let before = bucket.debt(self.rate, window, now);
        if self.strict && !before.is_zero() {
            *self.pause.lock() = Some((before, now));
            return Err(Exceeded);
        }
        bucket.take(super::float(mutations), self.rate, window, now);
        let after = bucket.debt(self.rate, window, now);
        if !self.strict && !after.is_zero() {
            *self.pause.lock() = Some((after, now));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(strict: bool) -> MutationQuota {
        let window = Window { sample: Duration::from_secs(1), samples: 10 };
        let payer = Payer { user: None, client: Some("c".into()) };
        MutationQuota::new(&Arc::new(Buckets::new(window)), payer, 1.0, strict)
    }

    #[test]
    fn strict_ones_refuse_what_comes_after_the_debt() {
        let (quota, now) = (quota(true), Instant::now());
        assert_eq!(quota.charge(15, now), Ok(()), "what goes beyond is let through once");
        assert_eq!(quota.pause(now), Duration::ZERO);
        assert_eq!(quota.charge(1, now), Err(Exceeded));
        assert_eq!(quota.pause(now), Duration::from_secs(5));
        assert_eq!(quota.pause(now + Duration::from_secs(2)), Duration::from_secs(3));
        assert_eq!(quota.charge(1, now + Duration::from_secs(5)), Ok(()));
    }

    #[test]
    fn others_only_slow_down() {
        let (quota, now) = (quota(false), Instant::now());
        assert_eq!((quota.charge(15, now), quota.pause(now)), (Ok(()), Duration::from_secs(5)));
        assert_eq!((quota.charge(1, now), quota.pause(now)), (Ok(()), Duration::from_secs(6)));
        assert_eq!(MutationQuota::unlimited().charge(1 << 20, now), Ok(()));
    }
}
