//! Which way of making several logs durable is the faster one now: a sync of each, or one of their file system, which writes
//! what other programs have written there, too. Both are measured as they are used. Now and then the worse one is tried: at
//! first after a second, then ever less often as long as it stays the worse one.

use std::time::Duration;

/// One sync takes less of the processors than several, so it may take so many times as long.
const PREFERENCE: u32 = 2;
/// The other way is tried after so long, ...
const SOON: Duration = Duration::from_secs(1);
/// ... and at least so often.
const LATE: Duration = Duration::from_secs(64);

/// A way of making logs durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A sync of each log's files.
    Each,
    /// One sync of the file system.
    Together,
}

/// How long both take.
#[derive(Debug)]
pub(super) struct SyncCosts {
    /// For one log.
    each: Option<Duration>,
    /// For any number of them.
    together: Option<Duration>,
    better: Way,
    /// When the other one is tried, and how long that was put off.
    trial: Duration,
    put_off: Duration,
}

impl Default for SyncCosts {
    fn default() -> Self {
        let trial = Duration::ZERO;
        Self { each: None, together: None, better: Way::Together, trial, put_off: SOON }
    }
}

impl SyncCosts {
    /// What to do with so many logs; `now` since some beginning.
    pub(super) fn choose(&mut self, logs: usize, now: Duration) -> Way {
        let (each, together) = match (self.each, self.together) {
            _ if logs < 2 => return Way::Each,
            (_, None) => return Way::Together,
            (None, _) => return Way::Each,
            (Some(each), Some(together)) => (each, together),
        };
        let of_all = each.saturating_mul(count(logs)).saturating_mul(PREFERENCE);
        let better = if together <= of_all { Way::Together } else { Way::Each };
        if better != self.better {
            (self.better, self.put_off) = (better, SOON);
            self.trial = now + SOON;
        }
        if now < self.trial {
            return better;
        }
        self.put_off = (self.put_off * 2).min(LATE);
        self.trial = now + self.put_off;
        match better {
            Way::Each => Way::Together,
            Way::Together => Way::Each,
        }
    }

    /// So many logs took so long.
    pub(super) fn took(&mut self, way: Way, logs: usize, time: Duration) {
        // What is seldom used was measured long ago.
        let smoothing = if way == self.better { 8 } else { 1 };
        let smoothed =
            |old: Option<Duration>, new| old.map_or(new, |old| (old * (smoothing - 1) + new) / smoothing);
        match way {
            Way::Each => self.each = Some(smoothed(self.each, time / count(logs).max(1))),
            Way::Together => self.together = Some(smoothed(self.together, time)),
        }
    }
}

fn count(logs: usize) -> u32 {
    u32::try_from(logs).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGS: usize = 10;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Rounds of ten logs for so long; how many there were of each way, and of both.
    fn rounds(
        costs: &mut SyncCosts,
        now: &mut Duration,
        seconds: u64,
        each: u64,
        together: u64,
    ) -> (u32, u32) {
        let (end, mut counts) = (*now + Duration::from_secs(seconds), (0, 0));
        while *now < end {
            let way = costs.choose(LOGS, *now);
            let time = match way {
                Way::Each => ms(each * LOGS as u64),
                Way::Together => ms(together),
            };
            costs.took(way, LOGS, time);
            *now += time;
            match way {
                Way::Each => counts.0 += 1,
                Way::Together => counts.1 += 1,
            }
        }
        counts
    }

    #[test]
    fn the_better_way_is_used_and_the_other_one_tried_ever_less_often() {
        let (mut costs, mut now) = (SyncCosts::default(), Duration::ZERO);
        let (each, together) = rounds(&mut costs, &mut now, 200, 1, 2);
        assert!((5..10).contains(&each) && together > 90_000, "{each} {together}");
        // Somebody else begins to write much.
        let (each, together) = rounds(&mut costs, &mut now, 200, 1, 500);
        assert!(each > 15_000 && (5..12).contains(&together), "{each} {together}");
        // And ends.
        rounds(&mut costs, &mut now, LATE.as_secs() + 1, 1, 2);
        let (each, together) = rounds(&mut costs, &mut now, 10, 1, 2);
        assert!(each < 5 && together > 4_000, "{each} {together}");
    }

    #[test]
    fn one_log_is_synced_for_itself() {
        let mut costs = SyncCosts::default();
        costs.took(Way::Together, 1, Duration::ZERO);
        assert_eq!(costs.choose(1, Duration::ZERO), Way::Each);
    }
}
