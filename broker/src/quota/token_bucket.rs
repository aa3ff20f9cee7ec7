//! A token bucket as KIP-599 has it: it may be overdrawn once, and has to be full of debt no more before it gives again.

use std::time::{Duration, Instant};

use super::rate::{Window, pause};

/// Tokens of one payer. A new one is full.
#[derive(Debug, Default)]
pub(super) struct TokenBucket {
    /// Tokens at a time, and per second as of then; `None` while nothing was taken.
    state: Option<(f64, Instant)>,
    rate: f64,
}

impl TokenBucket {
    /// Takes tokens whether they are there or not.
    pub(super) fn take(&mut self, tokens: f64, rate: f64, window: Window, now: Instant) {
        let left = self.left(rate, window, now);
        (self.state, self.rate) = (Some((left - tokens, now)), rate);
    }

    /// How long until no token is owed any more.
    pub(super) fn debt(&self, rate: f64, window: Window, now: Instant) -> Duration {
        let left = self.left(rate, window, now);
        if left >= 0.0 {
            return Duration::ZERO;
        }
        pause(-left / rate)
    }

    /// Whether it is as good as a new one.
    pub(super) fn is_full(&self, window: Window, now: Instant) -> bool {
        self.left(self.rate, window, now) >= burst(self.rate, window)
    }

    fn left(&self, rate: f64, window: Window, now: Instant) -> f64 {
        let burst = burst(rate, window);
        self.state.map_or(burst, |(tokens, at)| {
            (tokens + rate * now.saturating_duration_since(at).as_secs_f64()).min(burst)
        })
    }
}

/// What a whole window gives.
fn burst(rate: f64, window: Window) -> f64 {
    rate * window.length().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { sample: Duration::from_secs(1), samples: 10 };

    #[test]
    fn a_burst_is_free_and_debt_is_paid_at_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::default();
        assert!(bucket.is_full(WINDOW, start));
        bucket.take(20.0, 2.0, WINDOW, start);
        assert_eq!(bucket.debt(2.0, WINDOW, start), Duration::ZERO, "ten seconds are the burst");
        bucket.take(6.0, 2.0, WINDOW, start);
        assert_eq!(bucket.debt(2.0, WINDOW, start), Duration::from_secs(3));
        assert_eq!(bucket.debt(2.0, WINDOW, start + Duration::from_secs(2)), Duration::from_secs(1));
        assert_eq!(bucket.debt(2.0, WINDOW, start + Duration::from_secs(3)), Duration::ZERO);
        assert!(!bucket.is_full(WINDOW, start + Duration::from_secs(12)));
        let after = start + Duration::from_secs(100);
        assert!(bucket.is_full(WINDOW, after));
        bucket.take(21.0, 2.0, WINDOW, after);
        assert_eq!(
            bucket.debt(2.0, WINDOW, after),
            Duration::from_millis(500),
            "it is never fuller than full"
        );
    }
}
