//! A log beside the simplest thing that it must equal: a list of batches. For the property and the crash tests.

use super::*;
use crate::disk::BoundedDisk;
use crate::error::AppendError;
use crate::producer::ProducerStates;
use crate::testing::{FaultyDisk, Rng};
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchHeader, Record, batches, patch_base_offset, patch_leader_epoch};
use std::os::unix::fs::FileExt;

pub(super) const NOW: TimestampMs = TimestampMs(10_000_000);

/// Something done to a log.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Append {
        producer: Option<u8>,
        count: u8,
        size: u16,
        timestamp: u16,
    },
    Repeat {
        producer: u8,
    },
    /// While the disk has room for a part of the batch.
    AppendWhileFull {
        room: u16,
    },
    NextEpoch,
    Flush,
    /// Without the log's lock: something is appended and a segment finished meanwhile.
    FlushBeside {
        count: u8,
        roll: bool,
    },
    Roll,
    Truncate {
        back: u16,
    },
    AdvanceStart {
        by: u16,
    },
    Retain {
        behind: u8,
    },
    Purge,
    CloseAndOpen,
    CloseWithOthersAndOpen,
    KillAndOpen,
    Read {
        at: u16,
        max: u16,
        min_one: bool,
    },
}

impl Op {
    pub(super) fn random(rng: &mut Rng) -> Self {
        let small = |rng: &mut Rng, bound: usize| u16::try_from(rng.below(bound)).unwrap();
        let byte = |rng: &mut Rng, bound: usize| u8::try_from(rng.below(bound)).unwrap();
        match rng.below(44) {
            0..=21 => Self::Append {
                producer: (!rng.one_in(3)).then(|| byte(rng, 3)),
                count: byte(rng, 5) + 1,
                size: small(rng, 900),
                timestamp: small(rng, 60_000),
            },
            22..=23 => Self::Repeat { producer: byte(rng, 3) },
            24 => Self::NextEpoch,
            25..=28 => Self::Flush,
            29 => Self::Roll,
            30..=31 => Self::Truncate { back: small(rng, 30) },
            32 => Self::AdvanceStart { by: small(rng, 30) },
            33..=34 => Self::Retain { behind: byte(rng, 20) },
            35 => Self::Purge,
            36 if rng.one_in(2) => Self::CloseAndOpen,
            36 => Self::CloseWithOthersAndOpen,
            37 => Self::KillAndOpen,
            40..=41 => Self::AppendWhileFull { room: small(rng, 3_000) },
            42..=43 => Self::FlushBeside { count: byte(rng, 3), roll: !rng.one_in(3) },
            _ => Self::Read { at: small(rng, 1000), max: small(rng, 5000), min_one: rng.one_in(2) },
        }
    }
}

/// What the caller of a log keeps in its checkpoints; written with everything that demands it.
#[derive(Clone, Copy, Debug, Default)]
struct Checkpoints {
    recovery_point: Offset,
    start: Offset,
}

#[derive(Debug)]
pub(super) struct World {
    dir: tempfile::TempDir,
    pub disk: FaultyDisk,
    log: Option<Log>,
    config: LogConfig,
    epoch: i32,
    /// Every batch that was ever appended and not truncated, as it must lie in the files.
    history: Vec<Bytes>,
    /// Appended last by each producer: sequence after it, and the batch as it was sent.
    producers: [(i32, Option<Bytes>); 3],
    checkpoints: Checkpoints,
    flushed: Offset,
    /// Where the log began anew because it had lost everything from its start offset on.
    begin: Offset,
}

impl World {
    pub(super) fn new(config: LogConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(dir.path()).unwrap();
        let mut world = Self {
            dir,
            disk,
            log: None,
            config,
            epoch: 0,
            history: Vec::new(),
            producers: [(0, None), (0, None), (0, None)],
            checkpoints: Checkpoints::default(),
            flushed: Offset::ZERO,
            begin: Offset::ZERO,
        };
        world.open(false);
        world
    }

    pub(super) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn log_mut(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("topic-0")
    }

    fn open(&mut self, clean: bool) {
        let opening = Opening {
            clean,
            recovery_point: self.checkpoints.recovery_point,
            log_start_offset: self.checkpoints.start,
            ..Opening::default()
        };
        // Some worlds close files whenever they can.
        let files = if self.config.segment_bytes.is_multiple_of(2) { 1 } else { usize::MAX };
        let disk = Arc::new(BoundedDisk::new(Arc::new(self.disk.clone()), files));
        self.log = Some(Log::open(self.path(), self.config.clone(), disk, opening, NOW).unwrap());
    }

    fn end(&self) -> Offset {
        self.history.last().map_or(Offset::ZERO, next_offset).max(self.begin)
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { producer, count, size, timestamp } => self.append(producer, count, size, timestamp),
            Op::Repeat { producer } => self.repeat(producer),
            Op::AppendWhileFull { room } => self.append_while_full(usize::from(room)),
            Op::FlushBeside { count, roll } => self.flush_beside(count, roll),
            Op::NextEpoch => self.epoch += 1,
            Op::Flush => {
                self.log_mut().flush(NOW).unwrap();
                self.note_flushed();
            }
            Op::Roll => {
                self.log_mut().roll(NOW).unwrap();
                self.note_flushed();
            }
            Op::Truncate { back } => self.truncate(back),
            Op::AdvanceStart { by } => {
                let to = self.log().start_offset().plus(i64::from(by)).min(self.end());
                self.log_mut().advance_start_offset(to).unwrap();
                self.checkpoints.start = self.log().start_offset();
            }
            Op::Retain { behind } => {
                let high_watermark = self.end().plus(-i64::from(behind));
                let before = self.log().start_offset();
                self.log_mut().retain(NOW, high_watermark).unwrap();
                assert!(self.log().start_offset() <= before.max(high_watermark));
                self.checkpoints.start = self.log().start_offset();
                self.note_flushed();
            }
            Op::Purge => self.log_mut().purge(TimestampMs(i64::MAX)).unwrap(),
            Op::CloseAndOpen => {
                self.log.take().unwrap().close_clean(NOW).unwrap();
                self.open(true);
                self.note_flushed();
            }
            Op::CloseWithOthersAndOpen => {
                self.close_with_others(3);
                self.open(true);
                self.note_flushed();
            }
            Op::KillAndOpen => {
                self.log = None;
                self.open(false);
            }
            Op::Read { at, max, min_one } => self.read(at, max, min_one),
        }
    }

    /// So many steps of closing as it is done when there are many logs.
    fn close_with_others(&mut self, steps: usize) {
        let mut log = self.log.take().unwrap();
        let sync = || self.disk.tree(self.dir.path()).unwrap().sync().unwrap();
        if steps > 0 {
            log.stage_close().unwrap();
        }
        if steps > 1 {
            sync();
        }
        if steps > 2 && log.publish().unwrap() {
            sync();
        }
    }

    /// The recovery point is durable, but the caller's checkpoint of it may be older.
    fn note_flushed(&mut self) {
        self.flushed = self.log().recovery_point();
        if self.flushed.0 % 2 == 0 {
            self.checkpoints.recovery_point = self.flushed;
        }
    }

    fn append(&mut self, producer: Option<u8>, count: u8, size: u16, timestamp: u16) {
        let mut builder = BatchBuilder::new(0);
        if let Some(producer) = producer {
            builder = builder.producer(i64::from(producer), 0, self.producers[usize::from(producer)].0);
        }
        for i in 0..count {
            let value = vec![i; usize::from(size)].into();
            let timestamp = NOW.0 - 60_000 + i64::from(timestamp);
            builder.push(Record { timestamp, value: Some(value), ..Record::default() });
        }
        let raw = builder.build();
        let epoch = LeaderEpoch(self.epoch);
        let end = self.end();
        let appended = self.log_mut().append_as_leader(raw.clone(), epoch, Origin::Client, NOW).unwrap();
        assert_eq!((appended.base_offset, appended.duplicate), (end, false));
        if let Some(producer) = producer {
            self.producers[usize::from(producer)].0 += i32::from(count);
            self.producers[usize::from(producer)].1 = Some(raw.clone());
        }
        let mut stored = raw.to_vec();
        patch_base_offset(&mut stored, end.0).unwrap();
        patch_leader_epoch(&mut stored, epoch.0).unwrap();
        self.history.push(stored.into());
        self.note_flushed();
    }

    fn append_while_full(&mut self, room: usize) {
        let mut builder = BatchBuilder::new(0);
        let value = Some(vec![7; 3_000].into());
        builder.push(Record { timestamp: NOW.0 - 1, value, ..Record::default() });
        self.disk.set_space_left(Some(room));
        let (epoch, end) = (LeaderEpoch(self.epoch), self.end());
        let refused = self.log_mut().append_as_leader(builder.build(), epoch, Origin::Client, NOW);
        self.disk.set_space_left(None);
        let Err(AppendError::Log(error)) = refused else { panic!("there was room: {refused:?}") };
        assert!(error.is_no_space(), "{error}");
        assert_eq!(self.log().end_offset(), end);
        self.note_flushed();
    }

    fn flush_beside(&mut self, count: u8, roll: bool) {
        let flush = self.log_mut().prepare_flush().unwrap();
        let result = flush.run();
        (0..count).for_each(|_| self.append(None, 1, 50, 0));
        if roll {
            self.log_mut().roll(NOW).unwrap();
        }
        self.log_mut().complete_flush(&flush, result, NOW).unwrap();
        self.note_flushed();
    }

    fn repeat(&mut self, producer: u8) {
        let Some(raw) = self.producers[usize::from(producer)].1.clone() else { return };
        let body = |raw: &Bytes| raw.slice(21..);
        let first = self.history.iter().rfind(|stored| body(stored) == body(&raw)).unwrap();
        let first = BatchHeader::parse(first).unwrap();
        if first.last_offset() < self.log().start_offset().0 {
            // Its producer may be forgotten.
            return;
        }
        let end = self.end();
        let epoch = LeaderEpoch(self.epoch);
        let Ok(again) = self.log_mut().append_as_leader(raw.clone(), epoch, Origin::Client, NOW) else {
            panic!("a repeated batch was refused")
        };
        assert!(again.duplicate, "a repeated batch was written again");
        assert_eq!(again.base_offset.0, first.base_offset);
        assert_eq!(self.log().end_offset(), end);
    }

    fn truncate(&mut self, back: u16) {
        let to = self.end().plus(-i64::from(back)).max(self.log().start_offset());
        self.log_mut().truncate_to(to, NOW).unwrap();
        self.history.retain(|raw| next_offset(raw) <= to);
        // What was truncated is not known any more; the producers' next batches begin new sequences.
        self.forget_producers();
        self.flushed = self.flushed.min(self.end());
        let log = self.log();
        let (recovery_point, start) = (log.recovery_point(), log.start_offset());
        self.checkpoints.recovery_point = self.checkpoints.recovery_point.min(recovery_point);
        self.checkpoints.start = self.checkpoints.start.min(start);
    }

    /// Takes the producers' positions from the history.
    fn forget_producers(&mut self) {
        self.producers = [(0, None), (0, None), (0, None)];
        for raw in &self.history {
            let header = BatchHeader::parse(raw).unwrap();
            if let Ok(producer) = usize::try_from(header.producer_id) {
                let mut sent = raw.to_vec();
                patch_base_offset(&mut sent, 0).unwrap();
                self.producers[producer] = (header.last_sequence() + 1, Some(sent.into()));
            }
        }
    }

    fn read(&self, at: u16, max: u16, min_one: bool) {
        let log = self.log();
        let (start, end) = (log.start_offset().0, log.end_offset().0);
        let offset = Offset(start + i64::from(at) % (end - start + 1));
        let up_to = Offset(end - i64::from(max) % 7);
        let slice = log.read(offset, usize::from(max), up_to, min_one).unwrap();
        let mut expected = Vec::new();
        for raw in self.history.iter().filter(|raw| next_offset(raw) > offset) {
            let fits = expected.len() + raw.len() <= usize::from(max) || (expected.is_empty() && min_one);
            if !fits || next_offset(raw) > up_to {
                break;
            }
            // A slice ends with its segment.
            let base = Offset(BatchHeader::parse(raw).unwrap().base_offset);
            if !expected.is_empty() && log.segments.contains_key(&base) {
                break;
            }
            expected.extend_from_slice(raw);
        }
        assert_eq!(bytes_of(&slice), expected, "read at {offset}, {max} bytes, up to {up_to}, {min_one}");
    }

    /// The power is lost, perhaps while the log is closed; what is left is opened again and takes the model's place.
    pub(super) fn lose_power(&mut self, seed: u64) {
        self.close_with_others(usize::try_from(seed % 4).unwrap());
        self.disk.cut_power(seed).unwrap();
        self.disk = FaultyDisk::new(self.dir.path()).unwrap();
        self.open(false);
    }

    /// After a crash: a prefix of what was there, with everything that was flushed.
    pub(super) fn check_after_crash(&mut self) {
        let end = self.log().end_offset();
        assert!(end >= self.flushed, "end {end}, flushed up to {}", self.flushed);
        assert!(end <= self.end(), "end {end} is beyond what was appended");
        self.history.retain(|raw| next_offset(raw) <= end);
        if self.end() < self.checkpoints.start {
            self.begin = self.checkpoints.start;
            self.history.clear();
        }
        assert_eq!(self.end(), end, "the log ends inside a batch");
        self.forget_producers();
        self.check();
    }

    /// The log equals the model: batches, indexes, producers, epochs.
    pub(super) fn check(&self) {
        let log = self.log();
        assert_eq!(log.end_offset(), self.end().max(log.start_offset()));
        let expected: Vec<_> =
            self.history.iter().filter(|raw| next_offset(raw) > log.start_offset()).cloned().collect();
        assert_eq!(self.read_all(), expected.concat(), "the log's bytes differ from what was appended");
        for segment in log.segments.values() {
            segment.check_indexes(&self.config);
        }
        self.check_producers();
        for raw in self.history.iter().filter(|raw| next_offset(raw) > log.start_offset()) {
            let header = BatchHeader::parse(raw).unwrap();
            let epoch = log.epoch_at(Offset(header.last_offset())).map(|epoch| epoch.0);
            assert_eq!(epoch, Some(header.partition_leader_epoch), "at {}", header.base_offset);
        }
        let last = self.history.last().map(|raw| BatchHeader::parse(raw).unwrap().partition_leader_epoch);
        if log.end_offset() > log.start_offset() {
            assert_eq!(log.last_epoch().map(|epoch| epoch.0), last);
        }
    }

    fn read_all(&self) -> Vec<u8> {
        let log = self.log();
        let mut all = Vec::new();
        let mut at = log.start_offset();
        while at < log.end_offset() {
            let slice = log.read(at, 1 << 20, Offset::MAX, true).unwrap();
            let raw = bytes_of(&slice);
            batches(&raw).for_each(|batch| batch.unwrap().verify_crc().unwrap());
            all.extend_from_slice(&raw);
            assert!(slice.next_offset > at, "no progress at {at}");
            at = slice.next_offset;
        }
        all
    }

    /// The same as from the whole history, but for what only deleted batches could tell.
    fn check_producers(&self) {
        let mut model = ProducerStates::default();
        for raw in &self.history {
            model.apply(&BatchHeader::parse(raw).unwrap(), None);
        }
        let entries = self.log().producers.entries();
        for expected in model.entries() {
            let actual = entries.iter().find(|entry| entry.producer_id == expected.producer_id);
            let last = expected.last_batch().unwrap();
            match actual {
                Some(actual) => {
                    assert_eq!((actual.last_batch(), actual.epoch), (Some(last), expected.epoch));
                    assert_eq!(actual.last_timestamp, expected.last_timestamp);
                }
                None => assert!(last.last_offset < self.log().start_offset().0, "{expected:?} is forgotten"),
            }
        }
        assert!(entries.len() <= model.len());
    }
}

fn next_offset(raw: &Bytes) -> Offset {
    Offset(BatchHeader::parse(raw).unwrap().next_offset())
}

/// What was read, wherever it lies.
pub(super) fn bytes_of(slice: &Slice) -> Bytes {
    match &slice.records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::Region(region) => {
            let mut raw = vec![0; region.len];
            region.file.read_exact_at(&mut raw, region.position).unwrap();
            raw.into()
        }
    }
}
