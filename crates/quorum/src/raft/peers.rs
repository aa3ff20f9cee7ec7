//! Requests under way: one to each node at a time, a pause after a failure, an end to waiting.

use std::collections::BTreeMap;

use super::message::Correlation;

/// What was asked, so that the answer is taken for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    PreVote,
    Vote,
    BeginEpoch,
    EndEpoch,
    Fetch,
    FetchSnapshot,
    UpdateVoter,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub correlation: Correlation,
    pub asked: Asked,
    /// The node's epoch when it asked.
    pub epoch: i32,
    expires: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    in_flight: Option<InFlight>,
    not_before: i64,
    failures: u32,
}

/// All nodes that were asked something.
#[derive(Clone, Debug)]
pub(super) struct Peers {
    by_id: BTreeMap<i32, Peer>,
    next: u64,
    timeout_ms: i64,
    backoff_ms: i64,
}

/// A pause grows to this many times the first one.
const MAX_BACKOFF_SHIFT: u32 = 4;

impl Peers {
    pub(super) fn new(timeout_ms: i64, backoff_ms: i64) -> Self {
        Self { by_id: BTreeMap::new(), next: 0, timeout_ms, backoff_ms }
    }

    /// Whether the node may be asked something now.
    pub(super) fn is_ready(&self, id: i32, now: i64) -> bool {
        self.by_id.get(&id).is_none_or(|peer| peer.in_flight.is_none() && now >= peer.not_before)
    }

    /// Notes a request, and gives it its number.
    pub(super) fn sent(&mut self, id: i32, asked: Asked, epoch: i32, now: i64) -> Correlation {
        self.next += 1;
        let correlation = Correlation(self.next);
        let in_flight = InFlight { correlation, asked, epoch, expires: now.saturating_add(self.timeout_ms) };
        self.by_id.entry(id).or_default().in_flight = Some(in_flight);
        correlation
    }

    /// Takes the request that this answers; `None` if nobody waits for it any more.
    pub(super) fn answered(&mut self, id: i32, correlation: Correlation) -> Option<InFlight> {
        let peer = self.by_id.get_mut(&id)?;
        let in_flight = peer.in_flight.take_if(|in_flight| in_flight.correlation == correlation)?;
        peer.failures = 0;
        Some(in_flight)
    }

    /// The node is not asked again for a while.
    pub(super) fn back_off(&mut self, id: i32, now: i64) {
        let peer = self.by_id.entry(id).or_default();
        let pause = self.backoff_ms << peer.failures.min(MAX_BACKOFF_SHIFT);
        peer.failures = peer.failures.saturating_add(1);
        peer.not_before = now.saturating_add(pause);
    }

    /// The failure counts, where [`Peers::answered`] has taken it for an answer.
    pub(super) fn failed(&mut self, id: i32, correlation: Correlation, now: i64) -> Option<InFlight> {
        let peer = self.by_id.get_mut(&id)?;
        let in_flight = peer.in_flight.take_if(|in_flight| in_flight.correlation == correlation)?;
        self.back_off(id, now);
        Some(in_flight)
    }

    /// Gives up waiting for answers that are overdue.
    pub(super) fn expire(&mut self, now: i64) {
        let overdue: Vec<i32> = self
            .by_id
            .iter()
            .filter(|(_, peer)| peer.in_flight.is_some_and(|in_flight| now >= in_flight.expires))
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if let Some(peer) = self.by_id.get_mut(&id) {
                peer.in_flight = None;
            }
            self.back_off(id, now);
        }
    }

    /// When something changes by time alone, after `now`.
    pub(super) fn deadline(&self, now: i64) -> i64 {
        let of = |peer: &Peer| match peer.in_flight {
            Some(in_flight) => in_flight.expires,
            None if peer.not_before > now => peer.not_before,
            None => i64::MAX,
        };
        self.by_id.values().map(of).min().unwrap_or(i64::MAX)
    }
}
