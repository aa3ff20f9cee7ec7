//! A rate over the last seconds, and the pause that brings it back to its limit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over which time a rate is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Length of a sample (`quota.window.size.seconds`).
    pub(super) sample: Duration,
    /// Samples that are kept (`quota.window.num`).
    pub(super) samples: u32,
}

impl Window {
    /// The most that fits into the window at the limit.
    pub(super) fn holds(&self, limit: f64) -> f64 {
        limit * self.sample.as_secs_f64() * f64::from(self.samples.saturating_sub(1).max(1))
    }

    /// All samples together.
    pub(super) fn length(&self) -> Duration {
        self.sample * self.samples
    }
}

/// What was counted, by the sample in which it came.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, f64)>,
}

impl Rate {
    /// Counts an amount.
    pub(super) fn record(&mut self, amount: f64, window: Window, now: Instant) {
        self.expire(window, now);
        let is_current = |start: Instant| now.saturating_duration_since(start) < window.sample;
        match self.samples.back_mut().filter(|(start, _)| is_current(*start)) {
            Some((_, sum)) => *sum += amount,
            None => self.samples.push_back((now, amount)),
        }
    }

    /// Takes back what was counted last.
    pub(super) fn take_back(&mut self, amount: f64) {
        if let Some((_, sum)) = self.samples.back_mut() {
            *sum -= amount;
        }
    }

    /// The pause after which the rate is at the limit (per second) again.
    pub(super) fn throttle(&mut self, limit: f64, window: Window, now: Instant) -> Duration {
        self.expire(window, now);
        let seconds = self.seconds(window, now);
        let rate = self.samples.iter().map(|(_, sum)| sum).sum::<f64>() / seconds;
        if rate > limit { pause((rate - limit) / limit * seconds) } else { Duration::ZERO }
    }

    /// All that was counted within the window, and the time since its oldest sample.
    pub(super) fn sum(&mut self, window: Window, now: Instant) -> (f64, Duration) {
        self.expire(window, now);
        let oldest = self.samples.front().map_or(now, |(start, _)| *start);
        (self.samples.iter().map(|(_, sum)| sum).sum(), now.saturating_duration_since(oldest))
    }

    /// Whether nothing was counted within the window.
    pub(super) fn is_silent(&mut self, window: Window, now: Instant) -> bool {
        self.expire(window, now);
        self.samples.is_empty()
    }

    fn expire(&mut self, window: Window, now: Instant) {
        let old = |start: Instant| now.saturating_duration_since(start) >= window.length();
        while self.samples.front().is_some_and(|(start, _)| old(*start)) {
            self.samples.pop_front();
        }
    }

    /// Since the oldest sample; samples that are still to come count as past, so that a start is no burst.
    fn seconds(&self, window: Window, now: Instant) -> f64 {
        let oldest = self.samples.front().map_or(now, |(start, _)| *start);
        let elapsed = now.saturating_duration_since(oldest);
        let full = elapsed.as_millis() / window.sample.as_millis().max(1);
        let missing =
            window.samples.saturating_sub(1).saturating_sub(u32::try_from(full).unwrap_or(u32::MAX));
        (elapsed + window.sample * missing).max(window.sample).as_secs_f64()
    }
}

/// To the millisecond, as throttle times are told.
pub(super) fn pause(seconds: f64) -> Duration {
    Duration::try_from_secs_f64((seconds * 1e3).round() / 1e3).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { sample: Duration::from_secs(1), samples: 11 };

    #[test]
    fn a_burst_is_paid_for_over_the_window() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.record(10_000.0, WINDOW, start);
        assert_eq!(rate.throttle(1000.0, WINDOW, start), Duration::ZERO, "ten seconds are credit");
        rate.record(5_000.0, WINDOW, start);
        assert_eq!(rate.throttle(1000.0, WINDOW, start), Duration::from_secs(5));
        let later = start + Duration::from_secs(5);
        rate.record(0.0, WINDOW, later);
        let pause = rate.throttle(1000.0, WINDOW, later);
        assert_eq!(pause, Duration::from_secs(5), "less than the window has passed");
        let after = start + Duration::from_secs(11);
        rate.record(10.0, WINDOW, after);
        assert_eq!(rate.throttle(1000.0, WINDOW, after), Duration::ZERO);
        assert!(!rate.is_silent(WINDOW, after));
        assert!(rate.is_silent(WINDOW, after + Duration::from_secs(11)));
    }

    #[test]
    fn what_was_not_sent_is_not_paid_for() {
        let now = Instant::now();
        let mut rate = Rate::default();
        rate.record(20_000.0, WINDOW, now);
        assert!(rate.throttle(1000.0, WINDOW, now) > Duration::ZERO);
        rate.take_back(20_000.0);
        assert_eq!(rate.throttle(1000.0, WINDOW, now), Duration::ZERO);
        assert!((WINDOW.holds(1000.0) - 10_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_window_of_one_sample_is_as_long_as_that() {
        let window = Window { sample: Duration::from_secs(2), samples: 1 };
        let now = Instant::now();
        let mut rate = Rate::default();
        rate.record(30.0, window, now);
        assert_eq!(rate.throttle(10.0, window, now), Duration::from_secs(1));
        assert!((window.holds(10.0) - 20.0).abs() < 1e-6);
    }
}
