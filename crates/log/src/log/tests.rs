use super::world::bytes_of;
use super::*;
use crate::config::CompressionLevels;
use crate::disk::StdDisk;
use crate::error::{AppendError, ReadError};
use crate::{checkpoint, compression, names};
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchHeader, Compression, Record, TimestampType, batches};
use std::fs;
use tempfile::TempDir;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

struct Fixture {
    dir: TempDir,
    config: LogConfig,
    now: TimestampMs,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut LogConfig)) -> Self {
        let mut config = LogConfig { index_interval_bytes: 500, retention_ms: -1, ..LogConfig::default() };
        change(&mut config);
        Self { dir: tempfile::tempdir().unwrap(), config, now: TimestampMs(1_000_000) }
    }

    /// Segments of ten batches of [`Fixture::filled`], about.
    fn with_small_segments() -> Self {
        Self::with(|config| config.segment_bytes = 4000)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("topic-0")
    }

    fn open(&self, opening: Opening) -> Log {
        Log::open(self.path(), self.config.clone(), Arc::new(StdDisk), opening, self.now).unwrap()
    }

    fn fresh(&self) -> Log {
        self.open(Opening::default())
    }

    /// As after kill -9 with nothing known.
    fn reopen(&self, log: Log) -> Log {
        drop(log);
        self.fresh()
    }

    /// As after a clean stop.
    fn stop_and_start(&self, log: Log) -> Log {
        log.close_clean(self.now).unwrap();
        self.open(Opening { clean: true, ..Opening::default() })
    }

    fn append(&self, log: &mut Log, count: i64) -> Appended {
        self.append_raw(log, batch(count, 100, self.now.0))
    }

    fn append_raw(&self, log: &mut Log, batch: Bytes) -> Appended {
        log.append_as_leader(batch, EPOCH, Origin::Client, self.now).unwrap()
    }

    /// A new log of so many batches of three records.
    fn filled(&self, batches: usize) -> Log {
        let mut log = self.fresh();
        for _ in 0..batches {
            self.append(&mut log, 3);
        }
        log
    }

    /// A file of the segment with this base.
    fn file(&self, base: Offset, extension: &str) -> PathBuf {
        self.path().join(names::file_name(base, extension))
    }

    /// Files whose name ends like this.
    fn count_files(&self, suffix: &str) -> usize {
        StdDisk.list(&self.path()).unwrap().iter().filter(|name| name.ends_with(suffix)).count()
    }
}

/// Where the segments begin.
fn segments(log: &Log) -> Vec<Offset> {
    log.segments.keys().copied().collect()
}

/// Everything from the offset on.
fn rest(log: &Log, from: Offset) -> Bytes {
    bytes_of(&log.read(from, 1 << 20, Offset::MAX, true).unwrap())
}

/// The base offsets of so many batches of three records.
fn threes(batches: i64) -> Vec<i64> {
    (0..batches).map(|i| i * 3).collect()
}

fn batch(count: i64, size: usize, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for i in 0..count {
        builder.push(Record {
            timestamp: timestamp + i,
            value: Some(vec![7; size].into()),
            ..Record::default()
        });
    }
    builder.build()
}

fn headers(slice: &Slice) -> Vec<BatchHeader> {
    batches(&bytes_of(slice))
        .map(|batch| {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            batch.header
        })
        .collect()
}

/// Base offsets of all batches, read in small pieces.
fn all_bases(log: &Log) -> Vec<i64> {
    let mut bases = Vec::new();
    let mut at = log.start_offset();
    while at < log.end_offset() {
        let slice = log.read(at, 300, Offset::MAX, true).unwrap();
        bases.extend(headers(&slice).iter().map(|header| header.base_offset));
        assert!(slice.next_offset > at);
        at = slice.next_offset;
    }
    bases
}

#[test]
fn appended_batches_get_offsets_and_are_read_back_whole() {
    let fixture = Fixture::new();
    let mut log = fixture.fresh();
    for i in 0..200 {
        let appended = fixture.append(&mut log, 3);
        assert_eq!((appended.base_offset.0, appended.last_offset.0), (i * 3, i * 3 + 2));
        assert_eq!(appended.max_timestamp.0, fixture.now.0 + 2);
    }
    let one = batch(3, 100, 0).len();
    for offset in [0, 1, 2, 3, 100, 301, 599] {
        let slice = log.read(Offset(offset), one * 4 + 5, Offset::MAX, true).unwrap();
        let base = offset / 3 * 3;
        let expected: Vec<_> = (0..4).map(|i| base + i * 3).filter(|base| *base < 600).collect();
        assert_eq!(headers(&slice).iter().map(|h| h.base_offset).collect::<Vec<_>>(), expected);
        assert_eq!((slice.first_offset.0, slice.next_offset.0), (base, expected.last().unwrap() + 3));
        assert!(headers(&slice).iter().all(|h| h.partition_leader_epoch == EPOCH.0));
    }
    assert_eq!(log.read(Offset(5), 10, Offset::MAX, false).unwrap().records.len(), 0);
    assert_eq!(log.read(Offset(5), 10, Offset::MAX, true).unwrap().records.len(), one);
    assert_eq!(headers(&log.read(Offset(0), 1 << 20, Offset(30), true).unwrap()).len(), 10);
    assert_eq!(headers(&log.read(Offset(570), 1 << 20, Offset(597), true).unwrap()).len(), 9);
    assert!(log.read(Offset(600), 100, Offset::MAX, true).unwrap().records.is_empty());
    assert!(log.read(Offset(30), 100, Offset(30), true).unwrap().records.is_empty());
    assert!(matches!(log.read(Offset(601), 100, Offset::MAX, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(all_bases(&log), threes(200));
}

#[test]
fn segments_roll_and_reopening_finds_everything_again() {
    let fixture = Fixture::with_small_segments();
    let log = fixture.filled(100);
    assert!(log.segment_count() > 8);
    let (size, bases) = (log.size(), all_bases(&log));
    let log = fixture.reopen(log);
    assert_eq!((log.end_offset().0, log.size(), all_bases(&log)), (300, size, bases.clone()));
    assert_eq!(log.last_epoch(), Some(EPOCH));
    let mut log = fixture.stop_and_start(log);
    assert_eq!((log.end_offset().0, log.size(), all_bases(&log)), (300, size, bases));
    assert_eq!(fixture.append(&mut log, 1).base_offset, Offset(300));
}

#[test]
fn a_torn_end_is_cut_off_and_later_segments_go() {
    let fixture = Fixture::with_small_segments();
    let log = fixture.filled(100);
    let bases = segments(&log);
    drop(log);
    let damaged = fixture.file(bases[3], names::LOG);
    let mut raw = fs::read(&damaged).unwrap();
    let at = raw.len() - 10;
    raw[at] ^= 1;
    fs::write(&damaged, raw).unwrap();
    let mut log = fixture.fresh();
    let end = log.end_offset();
    assert_eq!(end, bases[4].plus(-3));
    assert_eq!(all_bases(&log), threes(end.0 / 3));
    assert_eq!(fixture.append(&mut log, 1).base_offset, end);
    assert_eq!(fixture.count_files(".log"), log.segment_count());
}

#[test]
fn a_segment_that_lost_its_end_at_a_batch_boundary_ends_the_log() {
    let fixture = Fixture::with_small_segments();
    let log = fixture.filled(100);
    let bases = segments(&log);
    let one = batch(3, 100, 0).len();
    drop(log);
    let damaged = fixture.file(bases[2], names::LOG);
    let file = fs::OpenOptions::new().write(true).open(&damaged).unwrap();
    file.set_len(file.metadata().unwrap().len() - one as u64).unwrap();
    let log = fixture.fresh();
    assert_eq!(log.end_offset(), bases[3].plus(-3), "no hole inside the log");
}

#[test]
fn repeated_batches_are_answered_with_the_first_and_known_after_restart() {
    let fixture = Fixture::new();
    let mut log = fixture.fresh();
    let send = |log: &mut Log, sequence, count| {
        let mut builder = BatchBuilder::new(0).producer(9, 0, sequence);
        (0..count).for_each(|_| builder.push(Record { timestamp: fixture.now.0, ..Record::default() }));
        log.append_as_leader(builder.build(), EPOCH, Origin::Client, fixture.now)
    };
    fixture.append(&mut log, 5);
    for i in 0..4 {
        assert_eq!(send(&mut log, i * 2, 2).unwrap().base_offset.0, 5 + i64::from(i) * 2);
    }
    let again = send(&mut log, 4, 2).unwrap();
    assert_eq!((again.base_offset.0, again.last_offset.0, again.duplicate), (9, 10, true));
    assert_eq!(log.end_offset(), Offset(13));
    assert!(matches!(send(&mut log, 10, 2), Err(AppendError::OutOfOrderSequence(_))));
    let mut log = fixture.reopen(log);
    assert!(send(&mut log, 2, 2).unwrap().duplicate, "rebuilt from the log: all five are known");
    let mut log = fixture.stop_and_start(log);
    assert!(send(&mut log, 6, 2).unwrap().duplicate, "from the snapshot: the last one is known");
    assert!(!send(&mut log, 8, 1).unwrap().duplicate);
}

#[test]
fn followers_write_what_they_are_given() {
    let fixture = Fixture::new();
    let mut leader = fixture.fresh();
    for _ in 0..10 {
        fixture.append(&mut leader, 4);
    }
    let raw = rest(&leader, Offset(0));
    let other = Fixture::new();
    let mut follower = other.fresh();
    let appended = follower.append_as_follower(raw.slice(..raw.len() - 1), other.now).unwrap().unwrap();
    assert_eq!((appended.base_offset.0, appended.last_offset.0, appended.record_count), (0, 35, 36));
    assert_eq!(follower.last_epoch(), Some(EPOCH));
    let copied = rest(&follower, Offset(0));
    assert_eq!(copied, raw[..copied.len()]);
    assert!(matches!(
        follower.append_as_follower(raw.clone(), other.now),
        Err(AppendError::OffsetsOutOfOrder { .. })
    ));
    let mut bad = raw.slice(raw.len() - raw.len() / 10..).to_vec();
    bad[70] ^= 1;
    assert_eq!(follower.append_as_follower(bad.into(), other.now).unwrap_err().code(), 2);
    assert!(follower.append_as_follower(Bytes::new(), other.now).unwrap().is_none());
}

#[test]
fn truncation_cuts_batches_epochs_and_producers() {
    let fixture = Fixture::with_small_segments();
    let mut log = fixture.fresh();
    for i in 0..100 {
        log.append_as_leader(
            batch(3, 100, i),
            LeaderEpoch(i32::try_from(i / 10).unwrap()),
            Origin::Client,
            fixture.now,
        )
        .unwrap();
    }
    log.truncate_to(Offset(152), fixture.now).unwrap();
    assert_eq!(
        (log.end_offset().0, log.last_epoch()),
        (150, Some(LeaderEpoch(4))),
        "the straddling batch goes too"
    );
    assert_eq!(all_bases(&log), threes(50));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(4)), Some((LeaderEpoch(4), Offset(150))));
    assert_eq!(log.offset_of_max_timestamp().unwrap().unwrap().offset, Offset(149));
    fixture.append(&mut log, 3);
    let mut log = fixture.reopen(log);
    assert_eq!(log.end_offset(), Offset(153));
    log.truncate_fully_and_start_at(Offset(1000), fixture.now).unwrap();
    assert_eq!((log.start_offset().0, log.end_offset().0, log.last_epoch()), (1000, 1000, None));
    assert_eq!(fixture.append(&mut log, 1).base_offset, Offset(1000));
    let log = fixture.reopen(log);
    assert_eq!((log.start_offset().0, log.end_offset().0), (1000, 1001));
}

#[test]
fn old_segments_go_by_size_age_and_start_but_not_beyond_the_high_watermark() {
    let fixture = Fixture::with_small_segments();
    let mut log = fixture.fresh();
    for i in 0..100 {
        fixture.append_raw(&mut log, batch(3, 100, i * 1000));
    }
    let bases = segments(&log);
    assert_eq!(log.retain(fixture.now, log.end_offset()).unwrap(), 0, "unlimited by default here");
    let kept = log.read(Offset(0), 1 << 20, Offset::MAX, true).unwrap();

    log.update_config(LogConfig {
        retention_bytes: i64::try_from(log.size()).unwrap() - 4000,
        ..fixture.config
    });
    assert_eq!(log.retain(fixture.now, Offset(2)).unwrap(), 0, "high watermark inside the first segment");
    assert_eq!(log.retain(fixture.now, log.end_offset()).unwrap(), 1);
    assert_eq!(log.start_offset(), bases[1]);
    assert_eq!(headers(&kept).len(), usize::try_from(bases[1].0 / 3).unwrap(), "a region outlives its file");

    let deleted = || fixture.count_files(".deleted");
    assert_eq!(deleted(), 3);
    log.purge(fixture.now).unwrap();
    assert_eq!(deleted(), 3);
    log.purge(TimestampMs(fixture.now.0 + 60_000)).unwrap();
    assert_eq!(deleted(), 0);

    log.update_config(fixture.config.clone());
    assert!(log.advance_start_offset(bases[3].plus(1)).unwrap());
    assert!(!log.advance_start_offset(bases[3]).unwrap());
    assert!(matches!(log.read(bases[3], 10, Offset::MAX, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(log.retain(fixture.now, log.end_offset()).unwrap(), 2);
    let (start, end) = (log.start_offset(), log.end_offset());
    let mut log = {
        drop(log);
        fixture.open(Opening { log_start_offset: start, ..Opening::default() })
    };
    assert_eq!((log.start_offset(), log.end_offset()), (start, end));

    log.update_config(LogConfig { retention_ms: 30_000, ..fixture.config.clone() });
    log.retain(TimestampMs(100_000), log.end_offset()).unwrap();
    assert!(log.start_offset() > Offset(180) && log.start_offset() < Offset(215), "{}", log.start_offset());
    log.retain(TimestampMs(1_000_000_000), log.end_offset()).unwrap();
    assert_eq!(
        (log.start_offset(), log.end_offset(), log.segment_count()),
        (end, end, 1),
        "the active one, too"
    );
    assert_eq!(fixture.append(&mut log, 1).base_offset, end);
}

#[test]
fn offsets_are_found_by_time_in_compressed_batches_too() {
    let fixture = Fixture::with_small_segments();
    let mut log = fixture.fresh();
    for i in 0..200i64 {
        let mut builder = BatchBuilder::new(0);
        for j in [2, 0, 1] {
            builder.push(Record {
                timestamp: i * 10 + j,
                value: Some(vec![1; 200].into()),
                ..Record::default()
            });
        }
        let codec = Compression::ALL[usize::try_from(i).unwrap() % 5];
        let compress = |body: &[u8]| compression::compress(codec, CompressionLevels::default(), body);
        let raw = builder.build_with(codec, compress).unwrap();
        fixture.append_raw(&mut log, raw);
    }
    let find = |log: &Log, at| {
        log.offset_for_timestamp(TimestampMs(at)).unwrap().map(|f| (f.timestamp.0, f.offset.0))
    };
    for log in [log, fixture.fresh()] {
        assert_eq!(find(&log, 0), Some((2, 0)));
        assert_eq!(find(&log, 500), Some((502, 150)));
        assert_eq!(find(&log, 503), Some((512, 153)));
        assert_eq!(find(&log, 1992), Some((1992, 597)));
        assert_eq!(find(&log, 1993), None);
        let max = log.offset_of_max_timestamp().unwrap().unwrap();
        assert_eq!((max.timestamp.0, max.offset.0, max.leader_epoch), (1992, 597, EPOCH));
    }
}

#[test]
fn records_without_a_time_have_the_largest_there_is() {
    let fixture = Fixture::with(|_| ());
    let mut log = fixture.fresh();
    assert!(log.offset_of_max_timestamp().unwrap().is_none());
    let mut builder = BatchBuilder::new(0);
    for _ in 0..2 {
        builder.push(Record { timestamp: -1, ..Default::default() });
    }
    fixture.append_raw(&mut log, builder.build());
    for log in [log, fixture.fresh()] {
        let max = log.offset_of_max_timestamp().unwrap().unwrap();
        assert_eq!((max.timestamp.0, max.offset.0), (-1, 0));
    }
}

#[test]
fn flushes_are_asked_for_by_count_age_and_finished_segments() {
    let fixture = Fixture::with(|config| (config.flush_messages, config.flush_ms) = (10, 1000));
    let mut log = fixture.fresh();
    assert!(!log.should_flush(TimestampMs(i64::MAX)), "nothing to flush");
    fixture.append(&mut log, 9);
    assert!(!log.should_flush(fixture.now));
    assert!(log.should_flush(TimestampMs(fixture.now.0 + 1000)));
    fixture.append(&mut log, 1);
    assert!(log.should_flush(fixture.now));
    let flush = log.prepare_flush().unwrap();
    fixture.append(&mut log, 1);
    let result = flush.run();
    log.complete_flush(&flush, result, fixture.now).unwrap();
    assert_eq!(log.recovery_point(), Offset(10), "what came while it ran is not claimed");
    log.roll(fixture.now).unwrap();
    assert!(log.should_flush(fixture.now), "a finished segment");
    log.flush(fixture.now).unwrap();
    assert_eq!(log.recovery_point(), Offset(11));
    assert!(!log.should_flush(fixture.now));
    let flush = log.prepare_flush().unwrap();
    log.truncate_to(Offset(9), fixture.now).unwrap();
    let end = fixture.append(&mut log, 5).base_offset;
    log.complete_flush(&flush, flush.run(), fixture.now).unwrap();
    assert!(log.recovery_point() <= end, "a flush from before a truncation claims nothing");
}

#[test]
fn segments_roll_by_time_and_offset_distance() {
    let fixture = Fixture::with(|config| config.segment_ms = 1000);
    let mut log = fixture.fresh();
    for timestamp in [0, 1000, 1001, 1500] {
        fixture.append_raw(&mut log, batch(1, 10, timestamp));
    }
    assert_eq!(log.segments.keys().map(|b| b.0).collect::<Vec<_>>(), [0, 2]);
    let far = 2 + i64::from(i32::MAX) + 1;
    let mut builder = BatchBuilder::new(far).leader_epoch(4);
    builder.push(Record { timestamp: 1501, ..Record::default() });
    log.append_as_follower(builder.build(), fixture.now).unwrap();
    assert_eq!(log.segments.keys().map(|b| b.0).collect::<Vec<_>>(), [0, 2, far]);
    assert_eq!(log.recovery_point(), Offset(4), "below a gap everything is durable");
    assert_eq!(all_bases(&log), [0, 1, 2, 3, far]);
}

#[test]
fn a_deleted_directory_gets_kafkas_name_and_stays_readable() {
    let fixture = Fixture::new();
    let mut log = fixture.fresh();
    fixture.append(&mut log, 3);
    let slice = log.read(Offset(0), 100, Offset::MAX, true).unwrap();
    let to = log.rename_for_delete("0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(to.file_name().unwrap(), "topic-0.0123456789abcdef0123456789abcdef-delete");
    assert!(!fixture.path().exists());
    assert!(matches!(
        log.append_as_leader(batch(1, 1, 1), EPOCH, Origin::Client, fixture.now),
        Err(AppendError::Log(LogError::Poisoned(_)))
    ));
    assert_eq!(all_bases(&log), [0]);
    log.delete().unwrap();
    assert!(!to.exists());
    assert_eq!(headers(&slice).len(), 1);
}

#[test]
fn append_time_is_the_brokers() {
    let fixture = Fixture::with(|config| config.timestamp_type = TimestampType::LogAppendTime);
    let mut log = fixture.fresh();
    let appended = fixture.append(&mut log, 2);
    assert_eq!((appended.log_append_time, appended.max_timestamp), (fixture.now, fixture.now));
    assert_eq!(
        headers(&log.read(Offset(0), 100, Offset::MAX, true).unwrap())[0].max_timestamp,
        fixture.now.0
    );
}

#[test]
fn damaged_or_missing_indexes_are_made_good() {
    let fixture = Fixture::with(|config| config.segment_bytes = 8000);
    let log = fixture.filled(100);
    let bases = segments(&log);
    let expected = all_bases(&log);
    log.close_clean(fixture.now).unwrap();
    let index = |i: usize, extension| fixture.file(bases[i], extension);
    let whole = fs::read(index(0, names::INDEX)).unwrap();
    fs::write(index(0, names::INDEX), &whole[..whole.len() - 3]).unwrap();
    fs::remove_file(index(1, names::TIME_INDEX)).unwrap();
    fs::write(index(2, names::INDEX), [0xff; 16]).unwrap();
    fs::write(fixture.path().join(checkpoint::LEADER_EPOCH), "rubbish").unwrap();
    let log = fixture.open(Opening { clean: true, ..Opening::default() });
    assert_eq!(all_bases(&log), expected);
    assert_eq!(fs::read(index(0, names::INDEX)).unwrap(), whole);
}

#[test]
fn leftovers_of_an_interrupted_cleaning_are_finished_or_undone() {
    let fixture = Fixture::with_small_segments();
    let log = fixture.filled(60);
    let bases = segments(&log);
    let raw = rest(&log, Offset(0));
    let next = rest(&log, bases[1]);
    log.close_clean(fixture.now).unwrap();
    fs::write(fixture.file(bases[0], "log.swap"), [&raw[..], &next[..]].concat()).unwrap();
    fs::write(fixture.file(bases[0], "index.swap"), []).unwrap();
    fs::write(fixture.file(bases[0], "timeindex.swap"), []).unwrap();
    fs::write(fixture.file(bases[3], "log.cleaned"), b"half").unwrap();
    fs::write(fixture.file(bases[3], "log.swap"), b"half").unwrap();
    fs::write(fixture.file(bases[2], "log.deleted"), b"old").unwrap();
    let log = fixture.open(Opening { clean: true, ..Opening::default() });
    assert_eq!(segments(&log), [&bases[..1], &bases[2..]].concat());
    assert_eq!(all_bases(&log), threes(60));
    assert_eq!(["swap", "cleaned", "deleted"].map(|suffix| fixture.count_files(suffix)), [0, 0, 0]);
}

/// Where the records of a slice lie.
fn region_of(slice: &Slice) -> (u64, usize) {
    let Records::Region(region) = &slice.records else { panic!("a region of a file") };
    (region.position, region.len)
}

#[test]
fn after_a_lookup_a_read_and_the_next_one_look_into_no_file() {
    let f = Fixture::with_small_segments();
    let log = f.filled(300);
    let (first, second) = (*log.segments.keys().nth(1).unwrap(), *log.segments.keys().nth(2).unwrap());
    let two = 2 * batch(3, 100, 0).len() + 5;
    let read = |offset: Offset| log.read(offset, two, Offset::MAX, false).unwrap();
    let before = read(first.plus(4));
    let next = before.next_offset;
    assert!(next < second, "the segment goes on after two batches");
    log.lookup(first.plus(4)).unwrap().unwrap().run(two).unwrap();
    log.lookup(next).unwrap().unwrap().run(two).unwrap();
    let after = read(next);
    // Whoever looks into the file from now on finds damage.
    let path = f.file(first, "log");
    let size = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    fs::write(&path, vec![0; size]).unwrap();
    assert_eq!(region_of(&read(first.plus(4))), region_of(&before));
    assert_eq!(region_of(&read(next)), region_of(&after));
    assert!(log.read(first, two, Offset::MAX, false).is_err(), "what was not looked up is read");
}

#[test]
fn what_was_looked_up_is_forgotten_where_the_log_is_cut() {
    let f = Fixture::new();
    let mut log = f.filled(300);
    for offset in (0..800).map(Offset) {
        if let Some(lookup) = log.lookup(offset).unwrap() {
            lookup.run(1000).unwrap();
        }
    }
    let stale = log.lookup(Offset(790)).unwrap();
    log.truncate_to(Offset(750), f.now).unwrap();
    stale.map(|lookup| lookup.run(1000));
    for _ in 0..100 {
        f.append(&mut log, 2);
    }
    let bases: Vec<i64> = (0..250).map(|i| i * 3).chain((0..100).map(|i| 750 + i * 2)).collect();
    assert_eq!(all_bases(&log), bases);
}

#[test]
fn a_lookup_reads_ahead_what_a_read_will_need() {
    let f = Fixture::with_small_segments();
    let log = f.filled(300);
    let (end, segments) = (log.end_offset(), log.segment_count());
    assert!(segments > 5);
    for offset in [0, 1, 44, 100, 333, 599].map(Offset) {
        let lookup = log.lookup(offset).unwrap().unwrap();
        let slice = log.read(offset, usize::MAX, end, true).unwrap();
        assert_eq!(
            lookup.run(usize::MAX).unwrap(),
            slice.records.len(),
            "all of the segment from {offset:?}"
        );
        assert_eq!(lookup.run(100).unwrap().min(100), 100);
    }
    for known in [end, end.plus(-1), end.plus(7), Offset(-1)] {
        assert!(log.lookup(known).unwrap().is_none(), "{known:?} needs no look into files");
    }
    let reopened = f.stop_and_start(log);
    let last = reopened.lookup(end.plus(-1)).unwrap().unwrap();
    assert!(last.run(1).unwrap() > 0);
}
