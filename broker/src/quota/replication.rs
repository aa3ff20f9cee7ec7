//! How much catching up may take from everybody else (KIP-73): bytes per second that this broker sends to replicas out of
//! sync, and that it fetches for its own. Which partitions that is about is in their topics' configuration. And bytes per second
//! that are copied between its directories (KIP-113).

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::rate::{Rate, Window};
use crate::config::Replication;

/// The quotas of one broker.
#[derive(Debug)]
pub struct ReplicationQuotas {
    /// Of what it leads.
    pub leader: ReplicationQuota,
    /// Of what it follows.
    pub follower: ReplicationQuota,
    /// Of what moves between its directories.
    pub moves: ReplicationQuota,
}

impl ReplicationQuotas {
    /// As configured: `leader.` and `follower.replication.throttled.rate`, measured over `replication.quota.window.*`, and
    /// `replica.alter.log.dirs.io.max.bytes.per.second`, measured over `alter.log.dirs.replication.quota.window.*`.
    pub fn new(config: &Replication) -> Self {
        let window = Window { sample: config.quota_window, samples: config.quota_windows };
        let moves = Window { sample: config.alter_log_dirs_window, samples: config.alter_log_dirs_windows };
        let quotas = Self {
            leader: ReplicationQuota::new(window),
            follower: ReplicationQuota::new(window),
            moves: ReplicationQuota::new(moves),
        };
        quotas.limit(config);
        quotas
    }

    /// Without limits.
    pub fn unlimited() -> Self {
        let window = Window { sample: Duration::from_secs(1), samples: 11 };
        let quota = || ReplicationQuota::new(window);
        Self { leader: quota(), follower: quota(), moves: quota() }
    }

    /// Other rates.
    pub fn limit(&self, config: &Replication) {
        self.leader.limit(config.leader_throttled_rate);
        self.follower.limit(config.follower_throttled_rate);
        self.moves.limit(config.alter_log_dirs_rate);
    }
}

/// A rate that is not to be exceeded.
#[derive(Debug)]
pub struct ReplicationQuota {
    window: Window,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    /// Bytes per second, if there is a limit.
    limit: Option<i64>,
    rate: Rate,
}

impl ReplicationQuota {
    fn new(window: Window) -> Self {
        Self { window, measured: Mutex::default() }
    }

    /// `bytes` per second from now on; the largest number is no limit.
    fn limit(&self, bytes: i64) {
        self.measured.lock().limit = (bytes != i64::MAX).then_some(bytes);
    }

    /// Whether there is a limit.
    pub fn is_limited(&self) -> bool {
        self.measured.lock().limit.is_some()
    }

    /// Counts bytes.
    pub fn record(&self, bytes: usize, now: Instant) {
        let mut measured = self.measured.lock();
        if measured.limit.is_some() {
            measured.rate.record(super::float(bytes), self.window, now);
        }
    }

    /// Whether what was counted is beyond the limit.
    pub fn is_exceeded(&self, now: Instant) -> bool {
        let mut measured = self.measured.lock();
        #[expect(clippy::cast_precision_loss, reason = "rates are below 2^52")]
        let Some(limit) = measured.limit.map(|limit| limit as f64) else { return false };
        let (sum, elapsed) = measured.rate.sum(self.window, now);
        sum / elapsed.max(self.window.sample).max(Duration::from_millis(1)).as_secs_f64() > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limit: i64) -> ReplicationQuota {
        let quota = ReplicationQuota::new(Window { sample: Duration::from_secs(1), samples: 11 });
        quota.limit(limit);
        quota
    }

    #[test]
    fn beyond_the_rate_is_held_until_it_has_come_down() {
        let (quota, start) = (quota(100), Instant::now());
        assert!(!quota.is_exceeded(start));
        quota.record(500, start);
        let after = |seconds| quota.is_exceeded(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 4, 5, 12].map(after), [true, true, true, false, false]);
    }

    #[test]
    fn a_rate_of_nothing_holds_what_follows_the_first_byte() {
        let (quota, start) = (quota(0), Instant::now());
        assert!(!quota.is_exceeded(start));
        quota.record(1, start);
        assert!(quota.is_exceeded(start + Duration::from_secs(10)));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (quota, start) = (quota(i64::MAX), Instant::now());
        quota.record(1 << 40, start);
        assert!(!quota.is_limited() && !quota.is_exceeded(start));
        quota.limit(1);
        assert!(quota.is_limited() && !quota.is_exceeded(start));
    }
}
