//! Random logs, cleaned at random times with maps of random sizes, against a model that knows every record.

use super::tests::{Owned, Seen, config, one, record};
use super::{Buffers, Unhurried};
use crate::compression;
use crate::config::{CompressionLevels, LogConfig};
use crate::disk::{Disk, StdDisk};
use crate::log::Opening;
use crate::testing::{FaultyDisk, Rng};
use crate::types::{Offset, TimestampMs};
use ottla_wire::batch::{BatchBuilder, Compression};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const RETENTION: i64 = 1000;

/// Every record ever appended, and when each was first below the end of a cleaning.
struct Model {
    dir: PathBuf,
    records: Vec<Seen>,
    first_cleaned: BTreeMap<i64, i64>,
    checkpoint: Offset,
    sequences: HashMap<i64, i32>,
    now: i64,
}

impl Model {
    fn open(&self) -> Owned {
        // Syncs nothing for real, which is quick.
        let disk = FaultyDisk::new(&self.dir).unwrap();
        let config = LogConfig { delete_retention_ms: RETENTION, segment_bytes: 2000, ..config() };
        let log = Owned::open(Arc::new(disk), &self.dir, config, Opening::default());
        // What was recovered is not cleaned before it is durable.
        log.log(|log| log.flush(TimestampMs(self.now)).unwrap());
        log
    }

    /// One batch of some records of few keys, of a producer or none, in any codec.
    fn append(&mut self, log: &Owned, rng: &mut Rng) {
        let mut builder = BatchBuilder::new(0);
        let count = 1 + i32::try_from(rng.below(6)).unwrap();
        if rng.one_in(2) {
            let producer = i64::try_from(rng.below(4)).unwrap();
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(producer, 0, *sequence);
            *sequence += count;
        }
        let end = log.log(|log| log.end_offset());
        for i in 0..count {
            let key = format!("key-{}", rng.below(12));
            let value = if rng.one_in(4) { String::new() } else { "v".repeat(1 + rng.below(60)) };
            let timestamp = self.now + i64::try_from(rng.below(50)).unwrap();
            let record = record(&key, &value, timestamp);
            let offset = end.0 + i64::from(i);
            self.records.push(Seen {
                offset,
                timestamp,
                key: record.key.clone(),
                value: record.value.clone(),
            });
            builder.push(record);
        }
        let codec = Compression::ALL[rng.below(Compression::ALL.len())];
        let compress = |body: &[u8]| compression::compress(codec, CompressionLevels::default(), body);
        log.append(builder.build_with(codec, compress).unwrap(), self.now);
    }

    fn clean(&mut self, log: &Owned, rng: &mut Rng) {
        let slots = [1000, 30, 8][rng.below(3)];
        let buffers =
            Buffers { dedupe_bytes: 24 * slots, io_bytes: 100 + rng.below(2000), ..Buffers::default() };
        let cleaned = log.clean_with(self.checkpoint, self.now, &buffers, &mut Unhurried).unwrap();
        assert!(cleaned.end >= self.checkpoint && cleaned.map_bytes <= buffers.dedupe_bytes);
        self.checkpoint = cleaned.end;
        let seen = log.seen();
        self.check_after_cleaning(&seen);
        for record in self.records.iter().filter(|record| record.offset < cleaned.end.0) {
            self.first_cleaned.entry(record.offset).or_insert(self.now);
        }
        self.check(log, &seen);
    }

    fn last_below(&self, end: Offset) -> HashMap<&[u8], &Seen> {
        let below = self.records.iter().filter(|record| record.offset < end.0);
        below.map(|record| (record.key.as_deref().unwrap(), record)).collect()
    }

    /// What the cleaning just now had to do.
    fn check_after_cleaning(&self, seen: &[Seen]) {
        let last = self.last_below(self.checkpoint);
        for record in seen.iter().filter(|record| record.offset < self.checkpoint.0) {
            let key = record.key.as_deref().unwrap();
            assert_eq!(last[key].offset, record.offset, "a later record supersedes this one");
            let since = self.first_cleaned.get(&record.offset);
            let over = since.is_some_and(|since| self.now >= since + RETENTION);
            assert!(record.value.is_some() || !over, "tombstone at {} stayed too long", record.offset);
        }
    }

    /// What holds at any time.
    fn check(&self, log: &Owned, seen: &[Seen]) {
        assert!(seen.is_sorted_by(|a, b| a.offset < b.offset));
        let at: HashMap<_, _> = seen.iter().map(|record| (record.offset, record)).collect();
        for record in seen {
            let index = usize::try_from(record.offset).unwrap();
            assert_eq!(record, &self.records[index], "a record changed");
        }
        for record in self.records.iter().filter(|record| record.offset >= self.checkpoint.0) {
            assert!(at.contains_key(&record.offset), "a record that was not cleaned is gone");
        }
        for record in self.last_below(self.checkpoint).values() {
            let since = self.first_cleaned.get(&record.offset);
            let may_go = record.value.is_none() && since.is_some_and(|since| self.now >= since + RETENTION);
            assert!(
                at.contains_key(&record.offset) || may_go,
                "the last record of a key is gone: {record:?}"
            );
        }
        let ends = self.records.last().map_or(0, |record| record.offset + 1);
        log.log(|log| assert_eq!(log.end_offset(), Offset(ends)));
    }

    /// Indexes say where the next record is, by offset and by time.
    fn check_lookups(&self, log: &Owned, seen: &[Seen], rng: &mut Rng) {
        for _ in 0..10 {
            let offset = Offset(i64::try_from(rng.below(self.records.len())).unwrap());
            let slice = log.log(|log| log.read(offset, 1, Offset::MAX, true).unwrap());
            let next = seen.iter().find(|record| record.offset >= offset.0);
            if let Some(next) = next {
                assert!(slice.first_offset.0 <= next.offset, "{offset} {slice:?} {next:?}");
            }
            let time =
                TimestampMs(i64::try_from(rng.below(usize::try_from(self.now).unwrap() + 60)).unwrap());
            let found = log.log(|log| log.offset_for_timestamp(time).unwrap());
            let first = seen.iter().find(|record| record.timestamp >= time.0);
            assert_eq!(found.map(|found| found.offset.0), first.map(|first| first.offset), "at {time}");
        }
    }

    /// Without a clean stop, indexes or snapshots: everything is read again.
    fn reopen(&self, log: Owned) -> Owned {
        let before = log.log(|log| log.producers().entries());
        let seen = log.seen();
        drop(log);
        forget_everything_but_the_logs(&self.dir.join("t-0"));
        let log = self.open();
        assert_eq!(log.seen(), seen);
        let after = log.log(|log| log.producers().entries());
        let last = |entries: &[crate::producer::ProducerEntry]| {
            // The time of the last batch is that of its records that are left, in Kafka too.
            let batch =
                |e: &crate::producer::ProducerEntry| e.last_batch().map(|b| (b.last_sequence, b.last_offset));
            entries.iter().map(|e| (e.producer_id, e.epoch, batch(e))).collect::<Vec<_>>()
        };
        assert_eq!(last(&after), last(&before), "producers");
        for entry in before {
            let next = self.sequences[&entry.producer_id] - 1;
            assert_eq!(entry.last_batch().unwrap().last_sequence, next);
        }
        log
    }
}

fn forget_everything_but_the_logs(dir: &Path) {
    for name in StdDisk.list(dir).unwrap() {
        if !name.ends_with(".log") {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
    }
}

fn run(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(seed);
    let mut model = Model {
        dir: dir.path().to_path_buf(),
        records: Vec::new(),
        first_cleaned: BTreeMap::new(),
        checkpoint: Offset::ZERO,
        sequences: HashMap::new(),
        now: 100,
    };
    let mut log = model.open();
    for _ in 0..60 {
        model.now += i64::try_from(rng.below(120)).unwrap();
        match rng.below(12) {
            0..=7 => {
                for _ in 0..rng.below(4) {
                    model.append(&log, &mut rng);
                }
            }
            8 => log.log(|log| log.roll(TimestampMs(model.now)).unwrap()),
            9 | 10 => model.clean(&log, &mut rng),
            _ => log = model.reopen(log),
        }
    }
    model.append(&log, &mut rng);
    log.append(one("end", "here", model.now).build(), model.now);
    let end = record("end", "here", model.now);
    let offset = model.records.last().unwrap().offset + 1;
    model.records.push(Seen { offset, timestamp: model.now, key: end.key, value: end.value });
    model.clean(&log, &mut rng);
    let seen = log.seen();
    model.check_lookups(&log, &seen, &mut rng);
    let log = model.reopen(log);
    model.check_lookups(&log, &seen, &mut rng);
}

#[test]
fn random_logs_hold_what_their_models_say() {
    (0..40).for_each(run);
}
