//! The time, read at the rim: state machines get it as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

use ottla_log::TimestampMs;

/// Milliseconds since 1970.
pub fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
