//! A numbered record: which run, which producer, which number, and a padding that follows from them, so that whoever reads it
//! can tell whether it is whole.
//!
//! Big endian: magic (4 bytes), run (8), producer (4), number (8), padding.

/// What every value starts with.
const MAGIC: [u8; 4] = *b"otV1";
/// Bytes before the padding; the least size of a value.
pub const HEADER: usize = 24;

/// Names a record. Numbers count from 0 for each producer, over all partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// The load that wrote it.
    pub run: u64,
    /// Which of its producers.
    pub producer: u32,
    /// Which of that one's records.
    pub number: u64,
}

/// Writes the value of a record, `size` bytes (at least [`HEADER`]).
pub fn write(id: RecordId, size: usize, value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(&MAGIC);
    value.extend_from_slice(&id.run.to_be_bytes());
    value.extend_from_slice(&id.producer.to_be_bytes());
    value.extend_from_slice(&id.number.to_be_bytes());
    let mut random = Random::of(id);
    while value.len() < size {
        let word = random.next().to_be_bytes();
        let take = word.len().min(size - value.len());
        value.extend(word.iter().take(take));
    }
}

/// Reads whose record a value is: `None` where none of ours wrote it. The flag says whether the padding is what was written.
#[must_use]
pub fn read(value: &[u8]) -> Option<(RecordId, bool)> {
    let rest = value.strip_prefix(&MAGIC)?;
    let (run, rest) = rest.split_first_chunk::<8>()?;
    let (producer, rest) = rest.split_first_chunk::<4>()?;
    let (number, padding) = rest.split_first_chunk::<8>()?;
    let id = RecordId {
        run: u64::from_be_bytes(*run),
        producer: u32::from_be_bytes(*producer),
        number: u64::from_be_bytes(*number),
    };
    let mut random = Random::of(id);
    let whole = padding.chunks(8).all(|chunk| random.next().to_be_bytes().starts_with(chunk));
    Some((id, whole))
}

/// `SplitMix64`: a stream of numbers that its seed determines, on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn of(id: RecordId) -> Self {
        let mut mixed = Self(id.run ^ u64::from(id.producer).rotate_left(32));
        Self(mixed.next() ^ id.number.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an endless stream needs no Option")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` − 1 (0 where `bound` is 0).
    pub fn below(&mut self, bound: u32) -> u32 {
        let product = (self.next() >> 32) * u64::from(bound);
        u32::try_from(product >> 32).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RecordId = RecordId { run: 7, producer: 3, number: 41 };

    #[test]
    fn reads_what_it_wrote_at_every_size() {
        for size in [HEADER, HEADER + 1, 31, 32, 100, 1024] {
            let mut value = Vec::new();
            write(ID, size, &mut value);
            assert_eq!(value.len(), size);
            assert_eq!(read(&value), Some((ID, true)), "{size}");
        }
    }

    #[test]
    fn one_changed_byte_is_seen() {
        let mut value = Vec::new();
        write(ID, 100, &mut value);
        for at in HEADER..100 {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged), Some((ID, false)), "{at}");
        }
    }

    #[test]
    fn what_others_wrote_is_not_ours() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"otV1 too short"), None);
        assert_eq!(read(&[0; 100]), None);
    }

    #[test]
    fn bounded_numbers_reach_every_value_and_no_other() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 5];
        for _ in 0..1000 {
            seen[usize::try_from(random.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (120..280).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
