//! When to make a pass over which cluster: a level-triggered queue, bounded by the number of clusters. A key is never worked on twice at
//! the same time; what comes in meanwhile is one more pass afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A cluster, there or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The queue. Times are since any fixed point.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeMap<ClusterKey, Duration>,
    running: BTreeSet<ClusterKey>,
}

impl Queue {
    /// Asks for a pass at `at`, or earlier if one is due earlier.
    pub fn add(&mut self, key: ClusterKey, at: Duration) {
        self.due.entry(key).and_modify(|due| *due = (*due).min(at)).or_insert(at);
    }

    /// A key to work on now, if one is due and no more than `limit` are being worked on.
    pub fn start(&mut self, now: Duration, limit: usize) -> Option<ClusterKey> {
        if self.running.len() >= limit {
            return None;
        }
        let key = self.ready().filter(|(_, at)| **at <= now).min_by_key(|(_, at)| **at)?.0.clone();
        self.due.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// The pass over `key` has ended.
    pub fn finish(&mut self, key: &ClusterKey) {
        self.running.remove(key);
    }

    /// When the next key is due that nobody works on.
    pub fn next(&self) -> Option<Duration> {
        self.ready().map(|(_, at)| *at).min()
    }

    fn ready(&self) -> impl Iterator<Item = (&ClusterKey, &Duration)> {
        self.due.iter().filter(|(key, _)| !self.running.contains(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ClusterKey {
        ClusterKey { namespace: "n".into(), name: name.into() }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_earliest_request_counts() {
        let mut queue = Queue::default();
        queue.add(key("a"), at(60));
        queue.add(key("a"), at(1));
        queue.add(key("a"), at(30));
        assert_eq!(queue.next(), Some(at(1)));
        assert_eq!(queue.start(at(0), 9), None);
        assert_eq!(queue.start(at(1), 9), Some(key("a")));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn a_key_that_is_worked_on_waits_and_is_not_lost() {
        let mut queue = Queue::default();
        queue.add(key("a"), at(0));
        assert_eq!(queue.start(at(0), 9), Some(key("a")));
        queue.add(key("a"), at(1));
        assert_eq!((queue.next(), queue.start(at(5), 9)), (None, None));
        queue.finish(&key("a"));
        assert_eq!(queue.start(at(5), 9), Some(key("a")));
    }

    #[test]
    fn the_limit_holds_and_the_longest_due_goes_first() {
        let mut queue = Queue::default();
        queue.add(key("a"), at(2));
        queue.add(key("b"), at(1));
        assert_eq!(queue.start(at(9), 1), Some(key("b")));
        assert_eq!(queue.start(at(9), 1), None);
        queue.finish(&key("b"));
        assert_eq!(queue.start(at(9), 1), Some(key("a")));
    }
}
