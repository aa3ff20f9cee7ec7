//! An open loop: when each record is due, whatever became of those before it.
//!
//! Records fall due in bursts, one a millisecond: a generator that shares two cores with the broker cannot wake for each of
//! 40,000 a second. Latency counts from the due time, so a generator or a broker that stalls is charged for what it held up.

use std::time::Duration;

/// Nanoseconds between two bursts.
const TICK: u64 = 1_000_000;

/// A steady rate of records.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Nanoseconds from one record to the next, in 1/1024 so that fast rates stay exact.
    interval: u64,
}

impl Schedule {
    /// `rate` in records a second, more than 0.
    #[must_use]
    pub fn new(rate: f64) -> Self {
        let nanoseconds =
            Duration::try_from_secs_f64(1024.0 / rate.max(0.001)).unwrap_or(Duration::MAX).as_nanos();
        Self { interval: u64::try_from(nanoseconds).unwrap_or(u64::MAX).max(1) }
    }

    /// When a record is due, in nanoseconds since the start.
    #[must_use]
    pub fn due(&self, number: u64) -> u64 {
        let exact = u128::from(number) * u128::from(self.interval) / 1024;
        let exact = u64::try_from(exact).unwrap_or(u64::MAX);
        exact - exact % TICK
    }

    /// How many records fall due within a duration.
    #[must_use]
    pub fn within(&self, duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos() * 1024 / u128::from(self.interval)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_exact_and_due_times_never_go_back() {
        for rate in [0.5, 1.0, 7.0, 1000.0, 40_960.0, 1e6] {
            let schedule = Schedule::new(rate);
            let count = schedule.within(Duration::from_secs(100));
            assert!((count as f64 - rate * 100.0).abs() <= 1.0 + rate * 0.1, "{rate}: {count}");
            assert!((0..1000).all(|number| schedule.due(number) <= schedule.due(number + 1)));
        }
    }

    #[test]
    fn records_fall_due_on_whole_milliseconds_and_never_late() {
        let schedule = Schedule::new(3000.0);
        assert_eq!([0, 2, 3, 5, 6].map(|number| schedule.due(number)), [0, 0, 0, 1_000_000, 1_000_000]);
        assert_eq!(schedule.due(3003) / TICK, 1000);
    }
}
