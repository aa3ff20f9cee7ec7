//! A log of many bytes, written and cleaned in turn as a broker does it: what is left equals a model, and memory stays
//! within the map.
//!
//! `OTTLA_COMPACTION_BYTES` says how much is written in all, in bytes; 24 MiB if it is not set. The figures are printed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures of a run")]

use bytes::Bytes;
use ottla_log::cleaner::{Buffers, CleanError, Cleaned, LogAccess, Unhurried};
use ottla_log::disk::StdDisk;
use ottla_log::testing::Rng;
use ottla_log::{LeaderEpoch, Log, LogConfig, Offset, Opening, Origin, TimestampMs};
use ottla_wire::Records;
use ottla_wire::batch::{BatchBuilder, RecordIter, batches};
use parking_lot::Mutex;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const RECORDS_PER_BATCH: i32 = 64;
const VALUE_BYTES: usize = 1000;

struct Shared(Mutex<Log>);

impl LogAccess for &Shared {
    fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        Some(work(&mut self.0.lock()))
    }
}

/// The last offset of each key, -1 for none; the key is the index.
struct Model(Vec<i64>);

fn value(key: usize, offset: i64) -> Vec<u8> {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&u64::try_from(key).unwrap().to_be_bytes());
    value[8..16].copy_from_slice(&offset.to_be_bytes());
    value
}

fn write(log: &Shared, model: &mut Model, rng: &mut Rng) -> usize {
    let mut log = log.0.lock();
    let mut builder = BatchBuilder::new(0);
    for delta in 0..RECORDS_PER_BATCH {
        let key = rng.below(model.0.len());
        let offset = log.end_offset().0 + i64::from(delta);
        model.0[key] = offset;
        let name = format!("key-{key:012}");
        builder.push_at(delta, NOW.0, Some(name.as_bytes()), Some(&value(key, offset)), &[]);
    }
    log.append_as_leader(builder.build(), LeaderEpoch(0), Origin::Client, NOW).unwrap().size
}

/// Cleans if it is due, as a cleaner thread does.
fn clean(log: &Shared, checkpoint: &mut Offset, buffers: &Buffers, force: bool) -> Option<Cleaned> {
    let cleaning = {
        let log = log.0.lock();
        let cleanable = log.cleanable(Some(*checkpoint), log.end_offset(), NOW).unwrap();
        if !(cleanable.is_due() || force && cleanable.dirty_bytes > 0) {
            return None;
        }
        log.cleaning(&cleanable).unwrap()
    };
    let cleaned: Result<_, CleanError> = cleaning.run(buffers, &mut Unhurried, &log, NOW);
    let cleaned = cleaned.unwrap();
    assert!(cleaned.end > *checkpoint && cleaned.map_bytes <= buffers.dedupe_bytes);
    *checkpoint = cleaned.end;
    log.0.lock().purge(TimestampMs(i64::MAX)).unwrap();
    Some(cleaned)
}

/// Every key is there with its last value; nothing below the checkpoint has a successor there.
fn check(log: &Log, model: &Model) -> (usize, usize) {
    let mut found = vec![-1; model.0.len()];
    let (mut records, mut superseded, mut at, mut previous) = (0, 0, log.start_offset(), -1);
    while at < log.end_offset() {
        let slice = log.read(at, 4 << 20, Offset::MAX, true).unwrap();
        let raw = match &slice.records {
            Records::Bytes(bytes) => bytes.clone(),
            Records::Region(region) => {
                let mut raw = vec![0; region.len];
                region.file.read_exact_at(&mut raw, region.position).unwrap();
                Bytes::from(raw)
            }
        };
        for batch in batches(&raw).map(Result::unwrap) {
            for record in RecordIter::new(&batch.header, batch.body()).map(Result::unwrap) {
                let name = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                let key: usize = name.strip_prefix("key-").unwrap().parse().unwrap();
                assert_eq!(record.value.unwrap(), value(key, record.offset), "a record changed");
                assert!(record.offset > previous, "out of order");
                previous = record.offset;
                superseded += usize::from(record.offset != model.0[key]);
                records += 1;
                found[key] = record.offset;
            }
        }
        at = slice.next_offset;
    }
    assert_eq!(found, model.0, "the last record of each key");
    (records, superseded)
}

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn open(dir: &Path, opening: Opening) -> Log {
    let config = LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 64 << 20,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    };
    Log::open(dir.to_path_buf(), config, Arc::new(StdDisk), opening, NOW).unwrap()
}

#[test]
fn a_large_log_equals_its_model_and_memory_is_bounded() {
    let total: usize =
        std::env::var("OTTLA_COMPACTION_BYTES").map_or(24 << 20, |bytes| bytes.parse().unwrap());
    let large = total > 1 << 29;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let log = Shared(Mutex::new(open(&path, Opening::default())));
    if !large {
        let config = log.0.lock().config().clone();
        log.0.lock().update_config(LogConfig { segment_bytes: 1 << 20, ..config });
    }
    let mut model = Model(vec![-1; (total / VALUE_BYTES / 20).max(1)]);
    // Room for half of the keys: what does not fit is left to the next round.
    let buffers = Buffers { dedupe_bytes: model.0.len() / 2 * 24, ..Buffers::default() };
    let mut rng = Rng::new(1);
    let (mut written, mut checkpoint) = (0, Offset::ZERO);
    let (mut rounds, mut read, mut took, mut growth) = (0, 0, Duration::ZERO, 0);
    let mut next_look = 0;
    let mut round = |checkpoint: &mut Offset, force: bool| {
        // Written back and forgotten, the peak is from here on.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = memory("VmRSS:");
        let began = Instant::now();
        let Some(cleaned) = clean(&log, checkpoint, &buffers, force) else { return false };
        took += began.elapsed();
        growth = growth.max(memory("VmHWM:").saturating_sub(before));
        rounds += 1;
        read += cleaned.bytes_read;
        true
    };
    while written < total {
        written += write(&log, &mut model, &mut rng);
        if written >= next_look {
            while round(&mut checkpoint, false) {}
            next_look = written + total / 40;
        }
    }
    log.0.lock().roll(NOW).unwrap();
    while round(&mut checkpoint, true) {}
    let log = log.0.into_inner();
    let (left, superseded) = check(&log, &model);
    println!(
        "{} MiB written, {} MiB left in {} segments; {left} records of {} keys, {superseded} superseded; \
         {rounds} rounds read {} MiB in {:.1} s ({:.0} MiB/s); a map of {} KiB, memory grew by {} KiB",
        written >> 20,
        log.size() >> 20,
        log.segment_count(),
        model.0.len(),
        read >> 20,
        took.as_secs_f64(),
        (read >> 20) as f64 / took.as_secs_f64(),
        buffers.dedupe_bytes >> 10,
        growth >> 10,
    );
    assert_eq!(superseded, 0, "all was cleaned");
    let allowed = u64::try_from(buffers.dedupe_bytes).unwrap() + (12 << 20);
    assert!(growth < allowed, "{growth} bytes for a map of {}", buffers.dedupe_bytes);
    let recovery_point = log.recovery_point();
    drop(log);
    let began = Instant::now();
    let log = open(&path, Opening { recovery_point, ..Opening::default() });
    println!("opened again in {} ms", began.elapsed().as_millis());
    assert_eq!(check(&log, &model), (left, 0));
}
