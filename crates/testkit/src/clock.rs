//! What a node's clocks say.

/// 1970 is not now.
const BEGINNING_MS: i64 = 1_700_000_000_000;

/// The clocks of one node: each runs a little wrong, and the wall clock may be set.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeClock {
    /// Too fast, in ms a second; negative is too slow.
    pub drift: i64,
    /// How far the wall clock is off, in ms.
    pub wall_off: i64,
}

impl NodeClock {
    /// A clock that never goes back, at `now` of the world; both in ms.
    #[must_use]
    pub fn monotonic(&self, now: i64) -> i64 {
        now + now * self.drift / 1000
    }

    /// When this clock says `then`, or a little later, in the world's ms.
    #[must_use]
    pub fn when(&self, then: i64) -> i64 {
        if then >= i64::MAX / 2000 {
            return i64::MAX;
        }
        let mut at = then * 1000 / (1000 + self.drift);
        while self.monotonic(at) < then {
            at += 1;
        }
        at
    }

    /// ms since 1970, as the node believes, at `now` of the world.
    #[must_use]
    pub fn wall(&self, now: i64) -> i64 {
        BEGINNING_MS + self.monotonic(now) + self.wall_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_come_when_the_clock_says_so_and_not_much_before() {
        for drift in [-50, -1, 0, 3, 50] {
            let clock = NodeClock { drift, wall_off: 0 };
            for then in 0..3_000 {
                let at = clock.when(then);
                assert!(clock.monotonic(at) >= then, "{drift} {then}");
                assert!(at == 0 || clock.monotonic(at - 1) <= then, "{drift} {then}");
            }
        }
    }
}
