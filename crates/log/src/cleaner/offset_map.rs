//! The last offset of each key, in bounded memory.
//!
//! An open hash table of 24 bytes a slot: a 128-bit hash stands for the key, whose bytes are not kept. The hash is
//! keyed with the process's own randomness, so that nobody can send two keys that are taken for one.

use crate::types::Offset;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Kafka's default of `log.cleaner.io.buffer.load.factor`.
pub const DEFAULT_LOAD_FACTOR: f64 = 0.9;

/// Two halves of the hash, and the offset plus one: all zero is an empty slot.
type Slot = [u64; 3];

const SLOT_BYTES: usize = size_of::<Slot>();
const EMPTY: u64 = 0;

/// From keys to their last offsets. Untouched pages of it cost no memory.
pub struct OffsetMap {
    slots: Vec<Slot>,
    max_entries: usize,
    entries: usize,
    latest: Offset,
    hashers: [RandomState; 2],
}

impl fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffsetMap")
            .field("slots", &self.slots.len())
            .field("entries", &self.entries)
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}

impl OffsetMap {
    /// A map of at most `bytes`, and of no more slots than `keys` need; nothing below `start` was seen yet.
    #[must_use]
    pub fn new(bytes: usize, load_factor: f64, keys: usize, start: Offset) -> Self {
        let load_factor =
            if load_factor > 0.0 && load_factor <= 1.0 { load_factor } else { DEFAULT_LOAD_FACTOR };
        let needed = scale(keys, 1.0 / load_factor).saturating_add(1);
        let slots = (bytes / SLOT_BYTES).min(needed).max(2);
        // One slot stays empty, so that every search ends.
        let max_entries = scale(slots, load_factor).clamp(1, slots - 1);
        Self {
            slots: vec![[EMPTY; 3]; slots],
            max_entries,
            entries: 0,
            latest: start.plus(-1),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Notes that `key` is at `offset`; false if there is no room for another key.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        let full = self.entries >= self.max_entries;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if slot[2] == EMPTY {
            if full {
                return false;
            }
            self.entries += 1;
        }
        *slot = [hash.0, hash.1, stored(offset)];
        self.latest = self.latest.max(offset);
        true
    }

    /// The last offset of `key`, if it was noted.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots.get(self.find(self.hash(key)))?;
        let offset = slot[2].checked_sub(1)?;
        i64::try_from(offset).ok().map(Offset)
    }

    /// Everything up to this offset was noted.
    #[must_use]
    pub fn latest(&self) -> Offset {
        self.latest
    }

    /// Notes that everything up to `offset` was seen.
    pub fn saw(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of the table.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.len() * SLOT_BYTES
    }

    /// Used part of the table, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn utilisation(&self) -> f64 {
        self.entries as f64 / self.slots.len() as f64
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let [first, second] = &self.hashers;
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        (half(first), half(second))
    }

    /// The slot that has the hash, or the empty one where it belongs.
    fn find(&self, hash: (u64, u64)) -> usize {
        let count = self.slots.len();
        let mut at = usize::try_from(hash.0 % u64::try_from(count).unwrap_or(1)).unwrap_or_default();
        while let Some(slot) = self.slots.get(at) {
            if slot[2] == EMPTY || (slot[0], slot[1]) == hash {
                break;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }
}

fn stored(offset: Offset) -> u64 {
    u64::try_from(offset.0).unwrap_or_default().saturating_add(1)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and a slot more or less does not matter"
)]
fn scale(count: usize, factor: f64) -> usize {
    (count as f64 * factor) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_says_what_a_map_of_whole_keys_says() {
        let mut map = OffsetMap::new(24 * 1000, 0.9, usize::MAX, Offset(5));
        assert_eq!((map.latest(), map.bytes()), (Offset(4), 24_000));
        let mut model = HashMap::new();
        for i in 0..5_000u64 {
            let key = (i * 7919 % 800).to_be_bytes();
            let offset = Offset(i64::try_from(i).unwrap() + 5);
            assert!(map.put(&key, offset));
            model.insert(key, offset);
        }
        assert_eq!((map.len(), map.latest()), (model.len(), Offset(5004)));
        for (key, offset) in &model {
            assert_eq!(map.get(key), Some(*offset));
        }
        assert_eq!(map.get(b"another"), None);
    }

    #[test]
    fn a_full_one_takes_known_keys_only_and_stays_as_large_as_it_is() {
        let mut map = OffsetMap::new(24 * 10, 0.5, usize::MAX, Offset::ZERO);
        let put = |map: &mut OffsetMap, key: u8, offset| map.put(&[key], Offset(offset));
        assert!((0..5).all(|key| put(&mut map, key, i64::from(key))));
        assert!(!put(&mut map, 5, 5));
        assert!(put(&mut map, 3, 6));
        assert_eq!((map.get(&[3]), map.get(&[5]), map.latest()), (Some(Offset(6)), None, Offset(6)));
        assert_eq!((map.bytes(), map.len()), (240, 5));
        let mut full = OffsetMap::new(24 * 4, 1.0, usize::MAX, Offset::ZERO);
        assert!((0..3).all(|key| put(&mut full, key, 1)) && !put(&mut full, 9, 1));
        assert_eq!(full.get(&[200]), None, "a search ends");
    }

    #[test]
    fn it_is_no_larger_than_the_keys_that_there_can_be() {
        assert!(OffsetMap::new(128 << 20, 0.9, 1000, Offset::ZERO).bytes() < 30_000);
        let mut one = OffsetMap::new(0, 0.9, 0, Offset::ZERO);
        assert!(one.put(b"k", Offset(1)), "there is progress in any case");
    }
}
