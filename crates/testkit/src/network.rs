//! A network: parcels on their way.

use std::collections::{BTreeMap, BTreeSet};

use crate::Rng;

/// How bad a network is. Each is "one in so many"; 0 is never.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Lost.
    pub lost: usize,
    /// Delivered twice.
    pub doubled: usize,
    /// Up to [`Weather::slow_ms`] late.
    pub slow: usize,
    /// In ms.
    pub slow_ms: usize,
    /// What every parcel takes at most, in ms; at least 1.
    pub delay_ms: usize,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FINE: Self = Self { lost: 0, doubled: 0, slow: 0, slow_ms: 0, delay_ms: 10 };
}

/// Parcels between nodes. They overtake each other.
#[derive(Debug)]
pub struct Network<P> {
    parcels: BTreeMap<(i64, u64), (i32, P)>,
    cut: BTreeSet<(i32, i32)>,
    sent: u64,
    lost: u64,
    doubled: u64,
}

impl<P> Default for Network<P> {
    fn default() -> Self {
        Self { parcels: BTreeMap::new(), cut: BTreeSet::new(), sent: 0, lost: 0, doubled: 0 }
    }
}

impl<P> Network<P> {
    /// Sends a parcel at `now` (ms).
    pub fn send(&mut self, rng: &mut Rng, weather: &Weather, now: i64, (from, to): (i32, i32), parcel: P) {
        if happens(rng, weather.lost) || self.is_cut(from, to) {
            self.lost += 1;
            return;
        }
        let slow = if happens(rng, weather.slow) { below(rng, weather.slow_ms) } else { 0 };
        let at = now + 1 + below(rng, weather.delay_ms) + slow;
        self.post(at, to, parcel);
    }

    /// As [`Network::send`], and it may arrive twice.
    pub fn send_maybe_twice(&mut self, rng: &mut Rng, weather: &Weather, now: i64, way: (i32, i32), parcel: P)
    where
        P: Clone,
    {
        if happens(rng, weather.doubled) {
            self.doubled += 1;
            self.send(rng, weather, now, way, parcel.clone());
        }
        self.send(rng, weather, now, way, parcel);
    }

    /// Arrives at `at` (ms), whatever the weather.
    pub fn post(&mut self, at: i64, to: i32, parcel: P) {
        self.sent += 1;
        self.parcels.insert((at, self.sent), (to, parcel));
    }

    /// When the next parcel arrives; `i64::MAX` if there is none.
    #[must_use]
    pub fn next_at(&self) -> i64 {
        self.parcels.first_key_value().map_or(i64::MAX, |((at, _), _)| *at)
    }

    /// The next parcel that has arrived by `now`, and for whom it is.
    pub fn take(&mut self, now: i64) -> Option<(i32, P)> {
        let first = self.parcels.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// Nothing gets from one to the other any more.
    pub fn cut(&mut self, from: i32, to: i32) {
        self.cut.insert((from, to));
    }

    /// Whether nothing gets through.
    #[must_use]
    pub fn is_cut(&self, from: i32, to: i32) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Whether anything is cut.
    #[must_use]
    pub fn has_cuts(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Everything gets through again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Parcels that were lost, and those that were doubled.
    #[must_use]
    pub fn lost_and_doubled(&self) -> (u64, u64) {
        (self.lost, self.doubled)
    }
}

fn happens(rng: &mut Rng, one_in: usize) -> bool {
    one_in > 0 && rng.one_in(one_in)
}

fn below(rng: &mut Rng, bound: usize) -> i64 {
    i64::try_from(rng.below(bound)).unwrap_or_default()
}
