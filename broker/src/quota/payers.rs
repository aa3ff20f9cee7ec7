//! What is kept for everybody who pays, and forgotten where it is as good as new.

use std::collections::HashMap;
use std::hash::Hash;

/// Idle ones are looked for when there are this many.
const MANY: usize = 1024;

/// A state by payer.
#[derive(Debug)]
pub(super) struct Payers<K, V> {
    states: HashMap<K, V>,
    /// Size at which idle ones are forgotten.
    sweep_at: usize,
}

impl<K, V> Default for Payers<K, V> {
    fn default() -> Self {
        Self { states: HashMap::new(), sweep_at: MANY }
    }
}

impl<K: Eq + Hash, V: Default> Payers<K, V> {
    /// The payer's state, a new one if there is none. Forgets those that are idle when there are many.
    pub(super) fn of(&mut self, payer: K, is_idle: impl Fn(&mut V) -> bool) -> &mut V {
        if self.states.len() >= self.sweep_at {
            self.states.retain(|_, state| !is_idle(state));
            self.sweep_at = MANY.max(self.states.len() * 2);
        }
        self.states.entry(payer).or_default()
    }

    /// The payer's state, if there is one.
    pub(super) fn get_mut(&mut self, payer: &K) -> Option<&mut V> {
        self.states.get_mut(payer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_ones_do_not_pile_up() {
        let mut payers: Payers<usize, usize> = Payers::default();
        for payer in 0..100_000 {
            *payers.of(payer, |state| *state % 100 > 0) = payer;
        }
        assert!((1000..4 * MANY).contains(&payers.states.len()), "{}", payers.states.len());
        assert_eq!(payers.get_mut(&500).copied(), Some(500));
    }
}
