//! The time, read at the rim: state machines get it as a parameter.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_log::TimestampMs;

#[cfg(test)]
thread_local! {
    /// What both clocks say on this thread, where a test says it.
    static SET: std::cell::Cell<Option<(TimestampMs, i64)>> = const { std::cell::Cell::new(None) };
}

/// From now on the clocks stand still on this thread: at ms since 1970, and ms since some beginning. `None` lets them run.
#[cfg(test)]
pub(crate) fn set(clocks: Option<(TimestampMs, i64)>) {
    SET.set(clocks);
}

/// Milliseconds since 1970.
pub fn now() -> TimestampMs {
    #[cfg(test)]
    if let Some((wall, _)) = SET.get() {
        return wall;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Since the first call in this process: for what must not see the system's clock jump.
pub fn running() -> Duration {
    #[cfg(test)]
    if let Some((_, monotonic)) = SET.get() {
        return Duration::from_millis(u64::try_from(monotonic).unwrap_or(0));
    }
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// [`running`] in milliseconds.
pub fn monotonic_ms() -> i64 {
    i64::try_from(running().as_millis()).unwrap_or(i64::MAX)
}

/// A point in time on a clock that never jumps, in milliseconds since some beginning. For how long something takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

impl Millis {
    /// So many milliseconds from `earlier` to here; 0 if that is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }

    /// So many milliseconds later.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// [`monotonic_ms`] as a point in time.
pub fn monotonic() -> Millis {
    Millis(monotonic_ms())
}
