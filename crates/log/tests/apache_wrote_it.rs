//! Directories written by Apache Kafka 4.3.1, opened as they are.
//!
//! `tests/fixtures/apache-4.3.1` holds one partition twice: `clean` after a clean stop, `killed` after kill -9, with
//! preallocated indexes. Written by librdkafka: 60 records with each codec by an idempotent producer, then
//! transactions (committed, aborted, committed) of 5 records each, then 5 more; 323 offsets with the markers.
//! Topic settings: `segment.ms=60000`, `index.interval.bytes=300`, `segment.index.bytes=4096`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use bytes::Bytes;
use ottla_log::compression::decompress_bounded;
use ottla_log::disk::StdDisk;
use ottla_log::testing::FaultyDisk;
use ottla_log::{AppendError, LeaderEpoch, Log, LogConfig, Offset, Opening, Origin, TimestampMs};
use ottla_wire::Records;
use ottla_wire::batch::{Batch, BatchBuilder, BatchRecord, Compression, Record, RecordIter, batches};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Timestamp of the first record; each has one second more than the one before.
const T0: i64 = 1_700_000_000_000;
const NOW: TimestampMs = TimestampMs(T0 + 400_000);
const END: Offset = Offset(323);
/// Offsets of the transaction markers: commit, abort, commit.
const MARKERS: [i64; 3] = [305, 311, 317];

fn config() -> LogConfig {
    LogConfig {
        segment_ms: 60_000,
        index_interval_bytes: 300,
        segment_index_bytes: 4096,
        retention_ms: -1,
        ..LogConfig::default()
    }
}

/// A copy of a fixture: opening may repair.
fn fixture(name: &str) -> (TempDir, PathBuf) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apache-4.3.1").join(name);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("orders-0");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (dir, to)
}

fn open(dir: &Path, clean: bool) -> Log {
    let opening = Opening { clean, ..Opening::default() };
    Log::open(dir.to_path_buf(), config(), Arc::new(StdDisk), opening, NOW).unwrap()
}

fn read_all(log: &Log) -> Vec<Batch> {
    let mut all = Vec::new();
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let slice = log.read(at, 1 << 20, Offset::MAX, true).unwrap();
        let Records::Region(region) = &slice.records else { panic!("nothing at {at}") };
        let mut raw = vec![0; region.len];
        region.file.read_exact_at(&mut raw, region.position).unwrap();
        all.extend(batches(&Bytes::from(raw)).map(Result::unwrap));
        at = slice.next_offset;
    }
    all
}

fn records(batch: &Batch) -> Vec<BatchRecord> {
    let codec = batch.header.compression().unwrap();
    let body = decompress_bounded(codec, &batch.body(), 1 << 20).unwrap();
    RecordIter::new(&batch.header, body).map(Result::unwrap).collect()
}

/// What the producers sent as the `n`th record.
fn check_record(n: usize, record: &BatchRecord) {
    let text = |bytes: &Option<Bytes>| bytes.as_ref().map(|b| String::from_utf8(b.to_vec()).unwrap());
    assert_eq!(record.timestamp, T0 + 1000 * i64::try_from(n).unwrap());
    let (key, value) = match n {
        0..300 => (
            (!n.is_multiple_of(3)).then(|| format!("key-{n}")),
            format!("value-{n:05}-{}", "x".repeat(n % 97)),
        ),
        300..315 => (Some("tx".to_owned()), format!("tx-{n}")),
        _ => (None, format!("last-{}", n - 315)),
    };
    assert_eq!((text(&record.key), text(&record.value)), (key, Some(value)));
    assert_eq!(record.headers.len(), if n < 300 && n.is_multiple_of(5) { 2 } else { 0 });
}

fn check_content(log: &Log) {
    assert_eq!(
        (log.start_offset(), log.end_offset(), log.last_epoch()),
        (Offset(0), END, Some(LeaderEpoch(0)))
    );
    let mut n = 0;
    let mut codecs = BTreeMap::new();
    for batch in read_all(log) {
        batch.verify_crc().unwrap();
        if batch.header.is_control() {
            assert!(MARKERS.contains(&batch.header.base_offset));
            continue;
        }
        for record in records(&batch) {
            check_record(n, &record);
            assert_eq!(
                record.offset,
                i64::try_from(n).unwrap() + MARKERS.iter().filter(|m| **m < record.offset).count() as i64
            );
            *codecs.entry(batch.header.compression().unwrap()).or_insert(0) += 1;
            n += 1;
        }
    }
    assert_eq!(n, 320);
    assert_eq!(codecs.keys().copied().collect::<Vec<_>>(), Compression::ALL);
}

#[test]
fn both_directories_open_with_all_records() {
    for (name, clean) in [("clean", true), ("clean", false), ("killed", false)] {
        let (_dir, path) = fixture(name);
        let log = open(&path, clean);
        check_content(&log);
        let found = log.offset_for_timestamp(TimestampMs(T0 + 150_500)).unwrap().unwrap();
        assert_eq!((found.timestamp.0, found.offset), (T0 + 151_000, Offset(151)));
        let aborted = log.aborted_transactions(Offset(0), END).unwrap();
        assert_eq!(aborted.len(), 1, "{name}");
        assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (Offset(306), Offset(311)));
        assert_eq!(log.first_unstable_offset(END), None);
    }
}

/// Everything that can be derived from the batches comes out as Apache wrote it, byte for byte.
#[test]
fn rebuilt_indexes_and_snapshots_equal_apaches() {
    let (_dir, path) = fixture("clean");
    let derived =
        |name: &str| [".index", ".timeindex", ".txnindex"].iter().any(|suffix| name.ends_with(suffix));
    let mut expected = BTreeMap::new();
    for entry in fs::read_dir(&path).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if derived(&name) {
            expected.insert(name.clone(), fs::read(path.join(&name)).unwrap());
            fs::remove_file(path.join(&name)).unwrap();
        }
    }
    assert_eq!(expected.len(), 13);
    let mut log = open(&path, false);
    log.flush(NOW).unwrap();
    for (name, content) in expected {
        assert_eq!(fs::read(path.join(&name)).unwrap(), content, "{name}");
    }
}

#[test]
fn producer_snapshots_equal_apaches() {
    for base in [70, 140, 210, 280, 305] {
        let (_dir, path) = fixture("killed");
        let name = format!("{base:020}.snapshot");
        let apaches = fs::read(path.join(&name)).unwrap();
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().ends_with(".snapshot") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let mut log = open(&path, false);
        log.truncate_to(Offset(base), NOW).unwrap();
        log.close_clean(NOW).unwrap();
        let ours = fs::read(path.join(&name)).unwrap();
        // Entries are fixed-size; Apache's order is that of a hash map.
        let entries = |raw: &[u8]| {
            let mut entries: Vec<_> = raw[10..].chunks(46).map(<[u8]>::to_vec).collect();
            entries.sort();
            (raw[..2].to_vec(), raw[6..10].to_vec(), entries)
        };
        assert_eq!(entries(&ours), entries(&apaches), "{name}");
    }
}

#[test]
fn an_idempotent_producer_of_apache_goes_on() {
    let (_dir, path) = fixture("killed");
    let mut log = open(&path, false);
    let all = read_all(&log);
    let last = all.last().unwrap();
    let mut sent = last.bytes.to_vec();
    ottla_wire::batch::patch_base_offset(&mut sent, 0).unwrap();
    let again = log.append_as_leader(sent.into(), LeaderEpoch(1), Origin::Client, NOW).unwrap();
    assert_eq!((again.duplicate, again.base_offset.0), (true, last.header.base_offset));
    let next = |sequence| {
        let mut builder =
            BatchBuilder::new(0).producer(last.header.producer_id, last.header.producer_epoch, sequence);
        builder.push(Record { timestamp: NOW.0, ..Record::default() });
        builder.build()
    };
    let gap =
        log.append_as_leader(next(last.header.last_sequence() + 2), LeaderEpoch(1), Origin::Client, NOW);
    assert!(matches!(gap, Err(AppendError::OutOfOrderSequence(_))));
    let appended = log
        .append_as_leader(next(last.header.last_sequence() + 1), LeaderEpoch(1), Origin::Client, NOW)
        .unwrap();
    assert_eq!(appended.base_offset, END);
    log.close_clean(NOW).unwrap();
    let log = open(&path, true);
    assert_eq!((log.end_offset(), log.last_epoch()), (Offset(324), Some(LeaderEpoch(1))));
}

#[test]
fn what_apache_left_survives_power_cuts_on_our_side() {
    for seed in 0..20 {
        let (dir, path) = fixture("killed");
        let disk = FaultyDisk::new(dir.path()).unwrap();
        let mut log =
            Log::open(path.clone(), config(), Arc::new(disk.clone()), Opening::default(), NOW).unwrap();
        let mut builder = BatchBuilder::new(0);
        builder.push(Record { timestamp: NOW.0, ..Record::default() });
        log.append_as_leader(builder.build(), LeaderEpoch(1), Origin::Client, NOW).unwrap();
        drop(log);
        disk.cut_power(seed).unwrap();
        let mut log = open(&path, false);
        assert!(log.end_offset() >= END);
        log.truncate_to(END, NOW).unwrap();
        check_content(&log);
    }
}
