//! Which log is cleaned next.

use crate::types::Offset;

/// What of a log can be cleaned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanable {
    /// Everything below was cleaned before.
    pub first_dirty: Offset,
    /// Base of the first segment that must not be cleaned.
    pub first_uncleanable: Offset,
    /// Bytes of the segments below `first_dirty`.
    pub clean_bytes: u64,
    /// Bytes from `first_dirty` to `first_uncleanable`.
    pub dirty_bytes: u64,
    /// How long the oldest dirty record has waited beyond `max.compaction.lag.ms`, in ms; 0 if none has.
    pub overdue_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_ratio: f64,
    /// The offset noted for the last cleaning does not fit the log: it must be written anew.
    pub checkpoint_invalid: bool,
}

impl Cleanable {
    /// Dirty bytes of all bytes that can be cleaned, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes.saturating_add(self.dirty_bytes);
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether a cleaning is due: dirty enough, or waited for too long.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.dirty_bytes > 0 && (self.overdue_ms > 0 || self.ratio() > self.min_ratio)
    }
}

/// Of those that are due the one with the largest dirty share.
pub fn filthiest<T>(logs: impl IntoIterator<Item = (T, Cleanable)>) -> Option<(T, Cleanable)> {
    let due = logs.into_iter().filter(|(_, cleanable)| cleanable.is_due());
    due.max_by(|(_, a), (_, b)| a.ratio().total_cmp(&b.ratio()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleanable(clean_bytes: u64, dirty_bytes: u64) -> Cleanable {
        Cleanable {
            first_dirty: Offset(10),
            first_uncleanable: Offset(20),
            clean_bytes,
            dirty_bytes,
            overdue_ms: 0,
            min_ratio: 0.5,
            checkpoint_invalid: false,
        }
    }

    #[test]
    fn the_dirtiest_goes_first_and_the_overdue_whatever_their_ratio() {
        let a = cleanable(100, 100);
        assert!(!a.is_due(), "the ratio must be exceeded");
        let b = cleanable(100, 150);
        let c = cleanable(100, 300);
        let chosen = filthiest([("a", a), ("b", b), ("c", c)]).unwrap();
        assert_eq!((chosen.0, chosen.1.ratio()), ("c", 0.75));
        let overdue = Cleanable { overdue_ms: 1, ..a };
        assert_eq!(filthiest([("a", overdue)]).unwrap().0, "a");
        let nothing = Cleanable { overdue_ms: 1, min_ratio: 0.0, ..cleanable(100, 0) };
        assert!(filthiest([("a", a), ("b", nothing), ("c", cleanable(0, 0))]).is_none());
    }
}
