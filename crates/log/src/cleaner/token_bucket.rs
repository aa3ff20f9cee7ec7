//! How long to wait so that work goes on at a set rate.

/// Lets `rate` bytes a second pass, and one second's worth at once after a rest. Holds no clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenBucket {
    rate: f64,
    level: f64,
    at_ms: i64,
}

impl TokenBucket {
    /// A full bucket at time `now_ms`; `rate` in bytes per second, above 0.
    #[must_use]
    pub fn new(rate: f64, now_ms: i64) -> Self {
        Self { rate, level: rate, at_ms: now_ms }
    }

    /// Bytes per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes `bytes` out at `now_ms`; returns how many ms to wait before going on.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "saturates; rates are rough"
    )]
    pub fn take(&mut self, bytes: usize, now_ms: i64) -> i64 {
        let passed = now_ms.saturating_sub(self.at_ms).max(0) as f64 / 1000.0;
        self.at_ms = self.at_ms.max(now_ms);
        self.level = (self.level + passed * self.rate).min(self.rate) - bytes as f64;
        if self.level >= 0.0 { 0 } else { (-self.level / self.rate * 1000.0).ceil() as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_at_the_rate() {
        let mut bucket = TokenBucket::new(1000.0, 0);
        let mut now = 0;
        for _ in 0..100 {
            now += bucket.take(100, now);
        }
        assert_eq!(now, 9_000, "10,000 bytes, of which a second's worth was there");
        assert_eq!(bucket.take(500, now + 60_000), 0, "after a rest");
        assert_eq!(bucket.take(1_000, now + 60_000), 500, "but not a minute's worth");
        assert_eq!(TokenBucket::new(f64::MAX, 0).take(usize::MAX, 0), 0);
    }
}
