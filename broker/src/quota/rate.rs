//! A rate over the last seconds, and the pause that brings it back to its limit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Length of a sample (`quota.window.size.seconds`).
const SAMPLE: Duration = Duration::from_secs(1);
/// Samples that are kept (`quota.window.num`).
const SAMPLES: u32 = 11;

/// The most that fits into a window at the limit, in bytes.
pub(super) fn in_window(limit: f64) -> usize {
    let most = limit * SAMPLE.as_secs_f64() * f64::from(SAMPLES - 1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is what is wanted"
    )]
    let most = most as usize;
    most
}

/// Bytes by the sample in which they came.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, f64)>,
}

impl Rate {
    /// Counts bytes.
    pub(super) fn record(&mut self, bytes: usize, now: Instant) {
        self.expire(now);
        let current =
            self.samples.back_mut().filter(|(start, _)| now.saturating_duration_since(*start) < SAMPLE);
        match current {
            Some((_, sum)) => *sum += float(bytes),
            None => self.samples.push_back((now, float(bytes))),
        }
    }

    /// Takes back what was counted last.
    pub(super) fn take_back(&mut self, bytes: usize) {
        if let Some((_, sum)) = self.samples.back_mut() {
            *sum -= float(bytes);
        }
    }

    /// The pause after which the rate is at the limit (bytes per second) again.
    pub(super) fn throttle(&mut self, limit: f64, now: Instant) -> Duration {
        self.expire(now);
        let window = self.window(now).as_secs_f64();
        let rate = self.samples.iter().map(|(_, sum)| sum).sum::<f64>() / window;
        if rate > limit {
            let pause = ((rate - limit) / limit * window * 1e3).round() / 1e3;
            Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX)
        } else {
            Duration::ZERO
        }
    }

    /// Whether nothing was counted within the window.
    pub(super) fn is_silent(&mut self, now: Instant) -> bool {
        self.expire(now);
        self.samples.is_empty()
    }

    fn expire(&mut self, now: Instant) {
        let old = |start: Instant| now.saturating_duration_since(start) >= SAMPLE * SAMPLES;
        while self.samples.front().is_some_and(|(start, _)| old(*start)) {
            self.samples.pop_front();
        }
    }

    /// Since the oldest sample; samples that are still to come count as past, so that a start is no burst.
    fn window(&self, now: Instant) -> Duration {
        let oldest = self.samples.front().map_or(now, |(start, _)| *start);
        let elapsed = now.saturating_duration_since(oldest);
        let full = u32::try_from(elapsed.as_millis() / SAMPLE.as_millis()).unwrap_or(u32::MAX);
        elapsed + SAMPLE * (SAMPLES - 1).saturating_sub(full)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of frames are below 2^52")]
fn float(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_paid_for_over_the_window() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.record(10_000, start);
        assert_eq!(rate.throttle(1000.0, start), Duration::ZERO, "ten seconds are credit");
        rate.record(5_000, start);
        assert_eq!(rate.throttle(1000.0, start), Duration::from_secs(5));
        let later = start + Duration::from_secs(5);
        rate.record(0, later);
        assert_eq!(rate.throttle(1000.0, later), Duration::from_secs(5), "less than the window has passed");
        let after = start + Duration::from_secs(11);
        rate.record(10, after);
        assert_eq!(rate.throttle(1000.0, after), Duration::ZERO);
        assert!(!rate.is_silent(after));
        assert!(rate.is_silent(after + Duration::from_secs(11)));
    }

    #[test]
    fn what_was_not_sent_is_not_paid_for() {
        let now = Instant::now();
        let mut rate = Rate::default();
        rate.record(20_000, now);
        assert!(rate.throttle(1000.0, now) > Duration::ZERO);
        rate.take_back(20_000);
        assert_eq!(rate.throttle(1000.0, now), Duration::ZERO);
        assert_eq!(in_window(1000.0), 10_000);
    }
}
