//! Deadlines by key, ordered: what a state machine keeps instead of a clock.

use std::collections::{BTreeMap, BTreeSet};

/// Deadlines in milliseconds of a monotonic clock, at most one per key.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    by_key: BTreeMap<K, i64>,
    by_deadline: BTreeSet<(i64, K)>,
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the deadline of `key`, replacing the one it had.
    pub fn schedule(&mut self, key: K, deadline: i64) {
        if let Some(old) = self.by_key.insert(key.clone(), deadline) {
            self.by_deadline.remove(&(old, key.clone()));
        }
        self.by_deadline.insert((deadline, key));
    }

    /// Forgets the deadline of `key`, if it has one.
    pub fn cancel(&mut self, key: &K) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_deadline.remove(&(old, key.clone()));
        }
    }

    /// Whether `key` has a deadline.
    pub fn contains(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<i64> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest key whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: i64) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_deadline.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_deadline: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_fires_once_at_its_latest_deadline() {
        let mut timers = Timers::default();
        timers.schedule("a", 10);
        timers.schedule("b", 5);
        timers.schedule("a", 20);
        timers.schedule("c", 7);
        timers.cancel(&"c");
        assert_eq!(timers.pop_due(4), None);
        assert_eq!(timers.pop_due(15), Some("b"));
        assert_eq!(timers.pop_due(15), None);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.pop_due(20), Some("a"));
        assert_eq!(timers.next(), None);
    }
}
