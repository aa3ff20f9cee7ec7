//! Cleaning small logs whose content is known, and a power cut at each step of it.

use super::*;
use crate::compression;
use crate::config::{CompressionLevels, LogConfig};
use crate::disk::{Disk, StdDisk};
use crate::log::{Opening, Origin};
use crate::testing::FaultyDisk;
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use bytes::Bytes;
use ottla_wire::Records;
use ottla_wire::batch::{Batch, BatchBuilder, Compression, Record, RecordIter, batches};
use parking_lot::Mutex;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub(super) const HOUR: i64 = 3_600_000;

/// A log that a cleaning can have for itself.
#[derive(Debug)]
pub(super) struct Owned(pub Mutex<Option<Log>>);

impl LogAccess for Owned {
    fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        self.0.lock().as_mut().map(work)
    }
}

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

pub(super) fn config() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 1000,
        index_interval_bytes: 100,
        timestamp_after_max_ms: i64::MAX,
        file_delete_delay_ms: 0,
        delete_retention_ms: HOUR,
        ..LogConfig::default()
    }
}

impl Owned {
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, config: LogConfig, opening: Opening) -> Self {
        let log = Log::open(dir.join("t-0"), config, disk, opening, TimestampMs(0)).unwrap();
        Self(Mutex::new(Some(log)))
    }

    pub(super) fn log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        self.with_log(work).unwrap()
    }

    pub(super) fn append(&self, batch: Bytes, now: i64) -> crate::Appended {
        let append = |log: &mut Log| {
            log.append_as_leader(batch, LeaderEpoch(0), Origin::Coordinator, TimestampMs(now))
        };
        self.log(append).unwrap()
    }

    /// One record a batch; an empty value is a tombstone.
    pub(super) fn write(&self, records: &[(&str, &str)], now: i64) {
        for (key, value) in records {
            self.append(one(key, value, now).build(), now);
        }
    }

    pub(super) fn clean(&self, checkpoint: Offset, now: i64) -> Result<Cleaned, CleanError> {
        self.clean_with(checkpoint, now, &Buffers::default(), &mut Unhurried)
    }

    pub(super) fn clean_with(
        &self,
        checkpoint: Offset,
        now: i64,
        buffers: &Buffers,
        pace: &mut dyn Pace,
    ) -> Result<Cleaned, CleanError> {
        let now = TimestampMs(now);
        let cleaning = self.log(|log| {
            let stable = log.first_unstable_offset(log.end_offset()).unwrap_or(log.end_offset());
            let cleanable = log.cleanable(Some(checkpoint), stable, now)?;
            log.cleaning(&cleanable)
        })?;
        cleaning.run(buffers, pace, self, now)
    }

    pub(super) fn batches(&self) -> Vec<Batch> {
        let mut found = Vec::new();
        self.log(|log| {
            let mut at = log.start_offset();
            while at < log.end_offset() {
                let slice = log.read(at, 1 << 20, Offset::MAX, true).unwrap();
                if slice.records.is_empty() {
                    break;
                }
                let raw = bytes_of(&slice.records);
                found.extend(batches(&raw).map(Result::unwrap));
                at = slice.next_offset;
            }
        });
        found
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        let records = |batch: Batch| {
            let codec = batch.header.compression().unwrap();
            let body = compression::decompress_bounded(codec, &batch.body(), 1 << 30).unwrap();
            RecordIter::new(&batch.header, body).map(Result::unwrap).collect::<Vec<_>>()
        };
        let data = self.batches().into_iter().filter(|batch| !batch.header.is_control());
        data.flat_map(records)
            .map(|r| Seen { offset: r.offset, timestamp: r.timestamp, key: r.key, value: r.value })
            .collect()
    }

    /// `offset:key=value` of every record.
    fn text(&self) -> Vec<String> {
        let text = |bytes: &Option<Bytes>| {
            bytes.as_ref().map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
        };
        self.seen().iter().map(|r| format!("{}:{}={}", r.offset, text(&r.key), text(&r.value))).collect()
    }
}

fn bytes_of(records: &Records) -> Bytes {
    match records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::Region(region) => {
            let mut raw = vec![0; region.len];
            region.file.read_exact_at(&mut raw, region.position).unwrap();
            raw.into()
        }
    }
}

pub(super) fn one(key: &str, value: &str, now: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new(0);
    builder.push(record(key, value, now));
    builder
}

pub(super) fn record(key: &str, value: &str, now: i64) -> Record {
    Record {
        timestamp: now,
        key: Some(key.to_owned().into()),
        value: (!value.is_empty()).then(|| value.to_owned().into()),
        headers: vec![("h".into(), None)],
    }
}

fn plain(dir: &Path) -> Owned {
    Owned::open(Arc::new(StdDisk), dir, config(), Opening::default())
}

fn roll(log: &Owned) {
    log.log(|log| log.roll(TimestampMs(1)).unwrap());
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    log.write(&[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2")], 1);
    roll(&log);
    log.write(&[("a", "3")], 1);
    let cleaned = log.clean(Offset::ZERO, 2).unwrap();
    assert_eq!(log.text(), ["2:a=2", "3:c=1", "4:b=2", "5:a=3"], "the active segment counts for nothing");
    assert_eq!((cleaned.end, cleaned.records_before, cleaned.records_after), (Offset(5), 5, 3));
    assert!(cleaned.bytes_after < cleaned.bytes_before);
    roll(&log);
    log.clean(cleaned.end, 2).unwrap();
    assert_eq!(log.text(), ["3:c=1", "4:b=2", "5:a=3"]);
    log.log(|log| assert_eq!((log.start_offset(), log.end_offset()), (Offset::ZERO, Offset(6))));
}

#[test]
fn segments_are_joined_as_far_as_they_fit_and_old_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    for _ in 0..20 {
        log.write(&[("a", &"x".repeat(100)), ("b", &"y".repeat(100))], 1);
    }
    log.write(&[("c", &"z".repeat(300))], 1);
    roll(&log);
    let before = log.log(|log| log.segment_count());
    let cleaned = log.clean(Offset::ZERO, 2).unwrap();
    // Each source was nearly full, so that no two fitted together; what is left of them does, but for the last.
    assert_eq!(log.log(|log| log.segment_count()), before);
    log.clean(cleaned.end, 2).unwrap();
    assert_eq!(log.log(|log| log.segment_count()), 3);
    log.clean(cleaned.end, 2).unwrap();
    assert_eq!(log.log(|log| log.segment_count()), 2);
    log.log(|log| log.purge(TimestampMs(3)).unwrap());
    let mut names = StdDisk.list(&dir.path().join("t-0")).unwrap();
    names.retain(|name| name.ends_with(".log") || name.contains(".deleted") || name.contains(".cleaned"));
    names.sort();
    assert_eq!(names, ["00000000000000000000.log", "00000000000000000041.log"]);
    assert_eq!(log.seen().len(), 3);
}

#[test]
fn tombstones_stay_for_as_long_as_configured_after_the_first_cleaning() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    log.write(&[("a", "1"), ("b", "1"), ("a", ""), ("never", "")], 7);
    roll(&log);
    let end = log.clean(Offset::ZERO, 1000).unwrap().end;
    assert_eq!(log.text(), ["1:b=1", "2:a=-", "3:never=-"]);
    assert!(log.seen().iter().all(|record| record.timestamp == 7), "counted from the horizon, but the same");
    let horizon =
        |log: &Owned| log.batches().iter().filter_map(|b| b.header.delete_horizon_ms()).collect::<Vec<_>>();
    assert_eq!(horizon(&log), [1000 + HOUR; 2]);
    log.clean(end, 999 + HOUR).unwrap();
    assert_eq!(log.text(), ["1:b=1", "2:a=-", "3:never=-"]);
    assert_eq!(horizon(&log), [1000 + HOUR; 2], "set once");
    log.clean(end, 1000 + HOUR).unwrap();
    assert_eq!(log.text(), ["1:b=1"]);
    let headers: Vec<_> =
        log.batches().iter().map(|b| (b.header.last_offset(), b.header.record_count)).collect();
    assert_eq!(headers, [(1, 1), (3, 0)], "the end of the segment is kept");
}

#[test]
fn parts_of_batches_are_kept_in_every_codec() {
    for codec in Compression::ALL {
        let dir = tempfile::tempdir().unwrap();
        let log = plain(dir.path());
        let mut builder = BatchBuilder::new(0).producer(5, 0, 0);
        for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", ""), ("b", "2"), ("d", "1")] {
            builder.push(record(key, value, 10));
        }
        let compress = |body: &[u8]| compression::compress(codec, CompressionLevels::default(), body);
        log.append(builder.build_with(codec, compress).unwrap(), 10);
        log.write(&[("d", "2")], 20);
        roll(&log);
        log.clean(Offset::ZERO, 30).unwrap();
        assert_eq!(log.text(), ["2:a=2", "3:c=-", "4:b=2", "6:d=2"], "{codec:?}");
        let first = log.batches().first().unwrap().header;
        assert_eq!((first.base_offset, first.last_offset(), first.record_count), (0, 5, 3));
        assert_eq!((first.producer_id, first.base_sequence, first.last_sequence()), (5, 0, 5));
        assert_eq!((first.compression().unwrap(), first.max_timestamp), (codec, 10));
    }
}

#[test]
fn a_producers_last_batch_stays_without_records() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    for sequence in 0..3 {
        log.append(one("a", "1", 1).producer(9, 2, sequence).build(), 1);
    }
    log.write(&[("a", "2"), ("b", "2")], 1);
    roll(&log);
    log.write(&[("c", "2")], 1);
    log.clean(Offset::ZERO, 2).unwrap();
    let batches = log.batches();
    let kept: Vec<_> = batches.iter().map(|b| (b.header.base_offset, b.header.record_count)).collect();
    assert_eq!(kept, [(2, 0), (3, 1), (4, 1), (5, 1)]);
    assert_eq!(batches[0].header.base_sequence, 2);
    let before = log.log(|log| log.producers().entries());
    drop(log);
    for name in StdDisk.list(&dir.path().join("t-0")).unwrap() {
        if name.ends_with(".snapshot") {
            std::fs::remove_file(dir.path().join("t-0").join(name)).unwrap();
        }
    }
    let log = plain(dir.path());
    let after = log.log(|log| log.producers().entries());
    assert_eq!(
        after.iter().map(|e| e.last_batch()).collect::<Vec<_>>(),
        before.iter().map(|e| e.last_batch()).collect::<Vec<_>>()
    );
    let repeat = one("a", "1", 1).producer(9, 2, 2).build();
    let again =
        log.log(|log| log.append_as_leader(repeat, LeaderEpoch(0), Origin::Client, TimestampMs(1)).unwrap());
    assert!(again.duplicate, "the batch is recognised although its records are gone");
}

#[test]
fn what_aborted_transactions_wrote_supersedes_nothing_and_stays_with_its_markers() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    let txn = |key, value, sequence| one(key, value, 1).producer(4, 0, sequence).transactional(true).build();
    let marker = |commit: u8| {
        let mut builder = BatchBuilder::new(0).producer(4, 0, -1).transactional(true).control(true);
        builder.push_at(0, 1, Some(&[0, 0, 0, commit]), Some(&[0; 6]), &[]);
        builder.build()
    };
    log.write(&[("a", "committed"), ("b", "old")], 1);
    log.append(txn("a", "aborted", 0), 1);
    log.append(marker(0), 1);
    log.append(txn("b", "new", 1), 1);
    log.append(marker(1), 1);
    roll(&log);
    let undecided = txn("a", "undecided", 2);
    log.append(undecided, 1);
    roll(&log);
    let aborted = |log: &Owned| log.log(|log| log.aborted_transactions(Offset::ZERO, Offset::MAX).unwrap());
    let before = aborted(&log);
    assert_eq!(before.len(), 1);
    let cleaned = log.clean(Offset::ZERO, 2).unwrap();
    assert_eq!(cleaned.end, Offset(6), "not beyond the last stable offset");
    assert_eq!(log.text(), ["0:a=committed", "2:a=aborted", "4:b=new", "6:a=undecided"]);
    let control: Vec<_> =
        log.batches().iter().filter(|b| b.header.is_control()).map(|b| b.header.base_offset).collect();
    assert_eq!((control, aborted(&log)), (vec![3, 5], before));
    // A marker may come in a later segment than its records.
    log.append(marker(0), 1);
    roll(&log);
    log.write(&[("z", "1")], 1);
    let cleaned = log.clean(cleaned.end, 2).unwrap();
    assert_eq!(cleaned.end, Offset(8));
    assert!(log.text().contains(&"0:a=committed".to_owned()));
    assert_eq!(aborted(&log).len(), 2);
}

#[test]
fn a_full_map_cleans_what_it_holds_and_goes_on_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    for round in 0..3 {
        for key in 0..50 {
            log.write(&[(&format!("k{key}"), &format!("v{round}"))], 1);
        }
    }
    roll(&log);
    let buffers = Buffers { dedupe_bytes: 24 * 20, ..Buffers::default() };
    let (mut checkpoint, mut rounds) = (Offset::ZERO, 0);
    while checkpoint < Offset(150) {
        let cleaned = log.clean_with(checkpoint, 2, &buffers, &mut Unhurried).unwrap();
        assert!(cleaned.end > checkpoint && cleaned.map_bytes <= buffers.dedupe_bytes);
        checkpoint = cleaned.end;
        rounds += 1;
    }
    assert!(rounds > 5, "{rounds}");
    let expected: Vec<_> = (0..50).map(|key| format!("{}:k{key}=v2", 100 + key)).collect();
    assert_eq!(log.text(), expected);
}

#[test]
fn records_without_a_key_go_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let log = Owned::open(
        Arc::new(StdDisk),
        dir.path(),
        LogConfig { compact: false, ..config() },
        Opening::default(),
    );
    let mut builder = BatchBuilder::new(0);
    builder.push(Record { timestamp: 1, value: Some("v".into()), ..Record::default() });
    log.append(builder.build(), 1);
    log.write(&[("a", "1")], 1);
    roll(&log);
    log.log(|log| {
        log.update_config(config());
        log.flush(TimestampMs(1)).unwrap();
    });
    assert_eq!(log.clean(Offset::ZERO, 2).unwrap().keyless, 1);
    assert_eq!(log.text(), ["1:a=1"]);
}

#[test]
fn lags_and_ratios_say_what_is_cleaned_when() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    let cleanable = |config: LogConfig, checkpoint, now| {
        log.log(|log| {
            log.update_config(config);
            log.cleanable(checkpoint, log.end_offset(), TimestampMs(now)).unwrap()
        })
    };
    log.write(&[("a", "1"), ("b", "1")], 1000);
    roll(&log);
    log.write(&[("a", "1"), ("b", "1")], 2000);
    roll(&log);
    log.write(&[("a", "1")], 3000);
    let all = cleanable(config(), None, 5000);
    assert_eq!((all.first_dirty, all.first_uncleanable, all.overdue_ms), (Offset(0), Offset(4), 0));
    assert!(all.is_due() && (all.ratio() - 1.0).abs() < f64::EPSILON);
    let half = cleanable(config(), Some(Offset(2)), 5000);
    assert!(!half.is_due() && (half.ratio() - 0.5).abs() < f64::EPSILON);
    let young = LogConfig { min_compaction_lag_ms: 3500, ..config() };
    assert_eq!(cleanable(young.clone(), None, 5000).first_uncleanable, Offset(2));
    assert_eq!(cleanable(young, None, 4000).first_uncleanable, Offset(0));
    let old = LogConfig { max_compaction_lag_ms: 2500, ..config() };
    assert_eq!(cleanable(old.clone(), Some(Offset(2)), 5000).overdue_ms, 500);
    assert!(cleanable(old, Some(Offset(2)), 5000).is_due());
    let done = cleanable(config(), Some(Offset(4)), 5000);
    assert!(!done.is_due() && done.dirty_bytes == 0);
    let wrong = cleanable(config(), Some(Offset(77)), 5000);
    assert!(wrong.checkpoint_invalid && wrong.first_dirty == Offset(0));
    let stable = log.log(|log| log.cleanable(None, Offset(3), TimestampMs(5000)).unwrap());
    assert_eq!(stable.first_uncleanable, Offset(2), "whole segments below the last stable offset");
    assert_eq!(LogConfig { max_compaction_lag_ms: 10, ..config() }.max_segment_ms(), 10);
}

#[test]
fn a_damaged_segment_is_named_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    log.write(&[("a", "1"), ("a", "2")], 1);
    roll(&log);
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut raw = std::fs::read(&path).unwrap();
    raw[70] ^= 1;
    std::fs::write(&path, &raw).unwrap();
    assert!(matches!(log.clean(Offset::ZERO, 2), Err(CleanError::Log(crate::LogError::Corrupt { .. }))));
    assert_eq!(std::fs::read(&path).unwrap(), raw);
    let left = StdDisk.list(&dir.path().join("t-0")).unwrap();
    assert!(!left.iter().any(|name| name.contains("cleaned")), "{left:?}");
}

/// Interrupts, truncates or closes the log once so much has passed.
struct Meddler<'a> {
    log: &'a Owned,
    after: usize,
    meddle: fn(&Owned) -> bool,
}

impl Pace for Meddler<'_> {
    fn spend(&mut self, bytes: usize) -> bool {
        let due = self.after > 0 && self.after <= bytes;
        self.after = self.after.saturating_sub(bytes);
        !due || (self.meddle)(self.log)
    }
}

#[test]
fn what_happens_to_the_log_meanwhile_ends_the_cleaning() {
    type Meddle = fn(&Owned) -> bool;
    type Check = fn(&CleanError) -> bool;
    let cases: [(Meddle, Check); 4] = [
        (|_| false, |e| matches!(e, CleanError::Interrupted)),
        (
            |log| log.log(|log| log.truncate_to(Offset(3), TimestampMs(1)).is_ok()),
            |e| matches!(e, CleanError::Changed),
        ),
        (|log| log.0.lock().take().is_some(), |e| matches!(e, CleanError::Changed)),
        (|log| log.log(|log| log.rename_for_delete("x").is_ok()), |e| matches!(e, CleanError::Changed)),
    ];
    for (meddle, check) in cases {
        for after in [1, 300, 700, 1000] {
            let dir = tempfile::tempdir().unwrap();
            let log = plain(dir.path());
            log.write(&[("a", "1"), ("a", "2"), ("b", "1"), ("a", "3"), ("b", "2"), ("c", "1")], 1);
            roll(&log);
            let mut meddler = Meddler { log: &log, after, meddle };
            let error = log.clean_with(Offset::ZERO, 2, &Buffers::default(), &mut meddler).unwrap_err();
            assert!(check(&error), "{error:?}");
        }
    }
}

#[test]
fn retention_and_truncation_get_out_of_the_way_of_a_swap_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let log = plain(dir.path());
    log.write(&[("a", "1"), ("a", "2"), ("b", "1")], 1);
    roll(&log);
    log.write(&[("c", "1")], 1);
    let swap_names = || {
        let names = StdDisk.list(&dir.path().join("t-0")).unwrap();
        names.into_iter().filter(|name| name.ends_with(".swap")).count()
    };
    let access = HalfWay {
        log: &log,
        calls: Mutex::new(0),
        act: |log| {
            log.update_config(LogConfig { delete: true, retention_ms: 1, ..config() });
            assert_eq!(log.retain(TimestampMs(HOUR), log.end_offset()).unwrap(), 0);
            log.truncate_to(Offset(2), TimestampMs(1)).unwrap();
        },
    };
    let cleaning = log.log(|log| {
        let cleanable = log.cleanable(None, log.end_offset(), TimestampMs(2)).unwrap();
        log.cleaning(&cleanable).unwrap()
    });
    let result = cleaning.run(&Buffers::default(), &mut Unhurried, &access, TimestampMs(2));
    assert!(matches!(result, Err(CleanError::Changed)), "{result:?}");
    assert_eq!((swap_names(), log.text()), (0, vec!["0:a=1".to_owned(), "1:a=2".to_owned()]));
}

/// Does something to the log between the two halves of a swap.
struct HalfWay<'a> {
    log: &'a Owned,
    calls: Mutex<usize>,
    act: fn(&mut Log),
}

impl LogAccess for HalfWay<'_> {
    fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        let mut calls = self.calls.lock();
        *calls += 1;
        if *calls == 2 {
            self.log.log(self.act);
        }
        self.log.with_log(work)
    }
}

/// Records as they are, and what is left of them after a cleaning.
fn crash_scenario(disk: &FaultyDisk, dir: &Path) -> Owned {
    let log = Owned::open(Arc::new(disk.clone()), dir, config(), Opening::default());
    for round in 0..4 {
        for key in ["a", "b", "c", "d"] {
            let value = if round == 2 && key == "c" { String::new() } else { format!("{round}").repeat(30) };
            log.append(one(key, &value, 1).producer(i64::from(key.as_bytes()[0]), 0, round).build(), 1);
        }
    }
    log.write(&[("only", "here")], 1);
    roll(&log);
    log.write(&[("a", "active")], 1);
    log.log(|log| log.flush(TimestampMs(1)).unwrap());
    log
}

#[test]
fn a_power_cut_at_each_step_leaves_the_old_segments_or_the_new() {
    let whole = tempfile::tempdir().unwrap();
    let log = crash_scenario(&FaultyDisk::new(whole.path()).unwrap(), whole.path());
    let old = log.seen();
    log.clean(Offset::ZERO, 2).unwrap();
    let new = log.seen();
    assert!(new.len() < old.len());
    let (mut steps, mut olds, mut news, mut mixed) = (0, 0, 0, 0);
    loop {
        let mut finished = false;
        for seed in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(dir.path()).unwrap();
            let log = crash_scenario(&disk, dir.path());
            let producers = log.log(|log| log.producers().entries());
            disk.set_changes_left(Some(steps));
            finished = log.clean(Offset::ZERO, 2).is_ok();
            let recovery_point = log.log(|log| log.recovery_point());
            drop(log);
            disk.cut_power(seed).unwrap();
            let opening = Opening { recovery_point, ..Opening::default() };
            // A power cut while recovering, at a step that the seed chooses, and once more without.
            if seed % 2 == 1 {
                let disk = FaultyDisk::new(dir.path()).unwrap();
                disk.set_changes_left(Some(usize::try_from(seed).unwrap() * 2));
                let _ = Log::open(
                    dir.path().join("t-0"),
                    config(),
                    Arc::new(disk.clone()),
                    opening,
                    TimestampMs(3),
                );
                disk.cut_power(seed + 100).unwrap();
            }
            let log = Owned::open(Arc::new(StdDisk), dir.path(), config(), opening);
            let seen = log.seen();
            let at = format!("step {steps} seed {seed}");
            assert!(new.iter().all(|record| seen.contains(record)), "{at}: lost");
            assert!(seen.iter().all(|record| old.contains(record)), "{at}: made up");
            assert!(seen.is_sorted_by_key(|record| record.offset), "{at}: out of order");
            let last = |log: &mut Log| {
                log.producers()
                    .entries()
                    .iter()
                    .map(|e| (e.producer_id, e.last_batch().copied()))
                    .collect::<Vec<_>>()
            };
            let expected: Vec<_> =
                producers.iter().map(|e| (e.producer_id, e.last_batch().copied())).collect();
            assert_eq!(log.log(last), expected, "{at}");
            log.log(|log| assert_eq!(log.end_offset(), Offset(18), "{at}"));
            let names = StdDisk.list(&dir.path().join("t-0")).unwrap();
            let leftover = names.iter().find(|name| name.ends_with(".swap") || name.ends_with(".cleaned"));
            assert_eq!(leftover, None, "{at}");
            match () {
                () if seen == old => olds += 1,
                () if seen == new => news += 1,
                () => mixed += 1,
            }
            // And the cleaning begun anew has the same outcome.
            log.clean(Offset::ZERO, 2).unwrap();
            assert_eq!(log.seen(), new, "{at}");
        }
        if finished {
            break;
        }
        steps += 1;
    }
    println!("{steps} steps; old {olds}, new {news}, some segments of each {mixed}");
    assert!(steps > 30 && olds > 20 && news > 5 && mixed > 20, "{steps} {olds} {news} {mixed}");
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path()).unwrap();
    let log = crash_scenario(&disk, dir.path());
    let before = log.seen();
    disk.set_space_left(Some(100));
    let error = log.clean(Offset::ZERO, 2).unwrap_err();
    assert!(matches!(error, CleanError::Log(crate::LogError::NoSpace { .. })), "{error:?}");
    disk.set_space_left(None);
    log.write(&[("after", "wards")], 1);
    let seen = log.seen();
    let last =
        |key: &str| before.iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes())).unwrap();
    assert!(["a", "b", "c", "d", "only"].into_iter().all(|key| seen.contains(last(key))), "{seen:?}");
    assert_eq!(seen.last().unwrap().offset, before.last().unwrap().offset + 1);
}
