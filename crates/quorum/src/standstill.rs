//! What a node makes of time in which it could not look, because it waited for the disk or the system did not let it run.
//!
//! It could hear nobody, so that such a time must not end the patience with others: a leader would take them for silent, a follower the
//! leader, and a ballot would be over before its votes could be counted. Yet it must not be lost altogether: on a machine that lets nobody
//! run for more than moments, ten times the election timeout would pass before anybody stood for election.

/// What is shorter, in ms, counts in full: it keeps nobody from being heard.
const SHORT_MS: i64 = 100;
/// A longer one counts as this many ms, however long it was.
const COUNTED_MS: i64 = 250;

/// Of a time in which the owner of a quorum's node could not look, the part that does not count: by as much the monotonic clock that the
/// node is shown is to be behind from then on. In ms.
pub fn uncounted(ms: i64) -> i64 {
    if ms < SHORT_MS { 0 } else { ms.saturating_sub(COUNTED_MS).max(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_standstill_counts_for_more_than_a_moment() {
        assert_eq!([0, 99, 250, 251, 4_000].map(uncounted), [0, 0, 0, 1, 3_750]);
        assert_eq!(uncounted(i64::MAX), i64::MAX - COUNTED_MS);
    }
}
