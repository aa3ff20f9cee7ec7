//! Whatever arrives instead of a message is refused without a panic, and without memory out of proportion to it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test may panic"
)]

mod common;

use bytes::Bytes;
use common::goldens;
use ottla_wire::DecodeFault;
use ottla_wire::records::{decode_frame, split_prefix};
use ottla_wire::registry::{SCHEMAS, Schema};

/// The decoder's limits, and something for errors and for the first elements of a vector.
const MEMORY_PER_BYTE: u64 = 16;
const MEMORY_BASE: u64 = 64 * 1024 + 4096;

#[test]
fn every_truncation_is_refused() {
    for golden in goldens() {
        for len in 0..golden.bytes.len() {
            let cut = golden.bytes.slice(..len);
            let read = decode_measured(golden.schema, cut, *golden.versions.end());
            assert!(!read, "{golden:?} was read from its first {len} bytes");
        }
    }
}

#[test]
fn mutations_do_no_harm() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for golden in goldens() {
        for _ in 0..20 {
            let mutated = mutate(&golden.bytes, &mut random);
            let version = *golden.versions.end();
            if decode_measured(golden.schema, mutated.clone(), version) {
                assert!(golden.schema.settles(mutated.clone(), version), "{golden:?} as {mutated:02x?}");
                read += 1;
            }
            drop(decode_frame(mutated.clone()));
            drop(split_prefix(mutated));
        }
    }
    assert!(read > 1000, "too few of the mutations are still messages: {read}");
}

/// Bytes that are at once lengths, counts and contents.
#[test]
fn monotonous_bytes_do_no_harm() {
    for schema in SCHEMAS {
        for version in schema.versions.clone() {
            for byte in [0_u8, 1, 2, 3, 7, 0x40, 0x7f, 0x80, 0xff] {
                decode_measured(schema, vec![byte; 3000].into(), version);
                // Counts that the remaining bytes could hold, in either form.
                for count in
                    [vec![0, 0, 0x3f, 0xf0], vec![0xf0, 0x7f], vec![0, 0, 0x0b, 0xb0], vec![0xb0, 0x17]]
                {
                    for start in 0..8 {
                        let mut bytes = vec![byte; 16384];
                        bytes.splice(start..start, count.iter().copied());
                        decode_measured(schema, bytes.into(), version);
                    }
                }
            }
        }
    }
}

#[test]
fn many_tiny_structs_are_refused() {
    // 60,000 topics, each of them an empty name, an error code and an end of tags.
    let mut bytes = vec![0, 0, 0, 0, 0xe1, 0xd4, 0x03];
    (0..60_000).for_each(|_| bytes.extend([1, 0, 0, 0]));
    bytes.push(0);
    let schema = Schema::by_name("DeleteTopicsResponse").unwrap();
    let error = schema.decode(bytes.clone().into(), 4).unwrap_err();
    assert_eq!(error.fault, DecodeFault::TooManyElements);
    decode_measured(schema, bytes.into(), 4);
}

/// Whether the bytes are a message; fails when too much memory was in use on the way.
fn decode_measured(schema: &'static Schema, bytes: Bytes, version: i16) -> bool {
    let mut read = false;
    let len = u64::try_from(bytes.len()).unwrap();
    let used = allocation_counter::measure(|| read = schema.decode(bytes, version).is_ok()).bytes_max;
    let allowed = MEMORY_BASE + MEMORY_PER_BYTE * len;
    assert!(used <= allowed, "{} version {version}: {used} bytes of memory for {len}", schema.name);
    read
}

fn mutate(golden: &Bytes, random: &mut Random) -> Bytes {
    let mut bytes = golden.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.byte()),
            2 => bytes.extend((0..random.below(40)).map(|_| 0xff)),
            3 => bytes.iter_mut().skip(at).take(5).for_each(|byte| *byte = 0xff),
            4 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0x7f),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.byte()),
        }
    }
    bytes.into()
}

/// Xorshift: the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
