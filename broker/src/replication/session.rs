//! The follower's side of a fetch session (KIP-227): only what changed is asked for again.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::ErrorCode;

use super::fetcher::FollowedKey;
use crate::partition::FollowerPosition;

/// What is asked of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) leader_epoch: i32,
    pub(super) position: FollowerPosition,
}

/// Id and epoch for the next request, and what the leader remembers. Epoch 0 opens a session, and closes the one named.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    asked: BTreeMap<FollowedKey, Ask>,
    /// Told by the leader and not taken in. It would not tell again.
    unheard: BTreeSet<FollowedKey>,
}

/// A request's part of the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) id: i32,
    pub(super) epoch: i32,
    pub(super) asks: Vec<(FollowedKey, Ask)>,
    pub(super) forgotten: Vec<FollowedKey>,
}

impl Session {
    /// The next request, for all of `wanted`.
    pub(super) fn turn(&mut self, wanted: BTreeMap<FollowedKey, Ask>) -> Turn {
        if std::mem::take(&mut self.unheard).iter().any(|key| wanted.contains_key(key)) {
            self.epoch = 0;
        }
        let is_full = self.epoch == 0;
        let is_new = |key: &FollowedKey, ask: &Ask| is_full || self.asked.get(key) != Some(ask);
        let asks = wanted.iter().filter(|(key, ask)| is_new(key, ask)).map(|(key, ask)| (*key, *ask));
        let asks = asks.collect();
        let gone = self.asked.keys().filter(|key| !is_full && !wanted.contains_key(key));
        let forgotten = gone.copied().collect();
        self.asked = wanted;
        Turn { id: self.id, epoch: self.epoch, asks, forgotten }
    }

    /// What the leader told of the partition was not taken in. Unless the next request leaves it out, all is asked anew.
    pub(super) fn unheard(&mut self, key: FollowedKey) {
        self.unheard.insert(key);
    }

    /// What was asked of the partition last.
    pub(super) fn asked(&self, key: &FollowedKey) -> Option<Ask> {
        self.asked.get(key).copied()
    }

    /// The leader's answer; whether it has anything about partitions.
    pub(super) fn answered(&mut self, error: ErrorCode, id: i32) -> bool {
        match error {
            ErrorCode::None => {
                (self.id, self.epoch) = match (id, self.epoch) {
                    (0, _) => (0, 0),
                    (id, i32::MAX) => (id, 1),
                    (id, epoch) => (id, epoch + 1),
                };
                true
            }
            ErrorCode::FetchSessionIdNotFound => {
                (self.id, self.epoch) = (0, 0);
                false
            }
            _ => {
                self.epoch = 0;
                false
            }
        }
    }

    /// Nobody knows whether the leader has the last request.
    pub(super) fn failed(&mut self) {
        self.epoch = 0;
    }
}

#[cfg(test)]
mod tests {
    use ottla_log::{LeaderEpoch, Offset};
    use ottla_wire::Uuid;

    use super::*;

    fn key(partition: i32) -> FollowedKey {
        FollowedKey { topic_id: Uuid::from_bytes([1; 16]), partition }
    }

    fn ask(offset: i64) -> Ask {
        let position =
            FollowerPosition { offset: Offset(offset), last_epoch: LeaderEpoch(0), log_start: Offset(0) };
        Ask { leader_epoch: 3, position }
    }

    fn wanted(all: &[(i32, i64)]) -> BTreeMap<FollowedKey, Ask> {
        all.iter().map(|(partition, offset)| (key(*partition), ask(*offset))).collect()
    }

    #[test]
    fn a_session_asks_only_for_what_changed() {
        let mut session = Session::default();
        let full = session.turn(wanted(&[(0, 10), (1, 20)]));
        assert_eq!((full.id, full.epoch, full.asks.len()), (0, 0, 2));
        assert!(session.answered(ErrorCode::None, 7));
        let next = session.turn(wanted(&[(0, 11), (1, 20)]));
        let expected = Turn { id: 7, epoch: 1, asks: vec![(key(0), ask(11))], forgotten: vec![] };
        assert_eq!(next, expected);
        assert!(session.answered(ErrorCode::None, 7));
        let next = session.turn(wanted(&[(1, 20), (2, 0)]));
        let expected = Turn { id: 7, epoch: 2, asks: vec![(key(2), ask(0))], forgotten: vec![key(0)] };
        assert_eq!(next, expected);
    }

    #[test]
    fn a_session_that_is_lost_begins_anew() {
        let mut session = Session::default();
        session.turn(wanted(&[(0, 10)]));
        session.answered(ErrorCode::None, 7);
        session.failed();
        let full = session.turn(wanted(&[(0, 10)]));
        assert_eq!((full.id, full.epoch, full.asks.len()), (7, 0, 1), "the old one is closed");
        session.answered(ErrorCode::None, 8);
        session.turn(wanted(&[(0, 10)]));
        assert!(!session.answered(ErrorCode::FetchSessionIdNotFound, 0));
        let full = session.turn(wanted(&[(0, 10)]));
        assert_eq!((full.id, full.epoch, full.asks.len()), (0, 0, 1));
        assert!(session.answered(ErrorCode::None, 0), "no slot for a session");
        assert_eq!(session.turn(wanted(&[(0, 10)])).asks.len(), 1);
    }

    #[test]
    fn what_was_not_taken_in_is_asked_for_anew() {
        let mut session = Session::default();
        session.turn(wanted(&[(0, 10), (1, 20)]));
        session.answered(ErrorCode::None, 7);
        session.unheard(key(0));
        let full = session.turn(wanted(&[(0, 5), (1, 20)]));
        assert_eq!((full.id, full.epoch, full.asks.len()), (7, 0, 2));
        session.answered(ErrorCode::None, 8);
        session.unheard(key(0));
        let without = session.turn(wanted(&[(1, 20)]));
        assert_eq!((without.epoch, without.forgotten), (1, vec![key(0)]));
        session.answered(ErrorCode::None, 8);
        assert_eq!(session.turn(wanted(&[(0, 5), (1, 20)])).asks, [(key(0), ask(5))]);
    }

    #[test]
    fn epochs_of_a_session_wrap_to_one() {
        let mut session = Session { id: 7, epoch: i32::MAX, ..Session::default() };
        session.answered(ErrorCode::None, 7);
        assert_eq!(session.turn(BTreeMap::new()).epoch, 1);
    }
}
