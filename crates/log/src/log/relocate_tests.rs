use super::world::bytes_of;
use super::*;
use crate::disk::StdDisk;
use ottla_wire::batch::{BatchBuilder, Record};

const NOW: TimestampMs = TimestampMs(1_000);

struct Pair {
    dir: tempfile::TempDir,
    original: Log,
    copy: Log,
}

fn open(path: PathBuf, start: Offset) -> Log {
    let config = LogConfig { segment_bytes: 1_000, retention_ms: -1, ..LogConfig::default() };
    let opening = Opening { log_start_offset: start, ..Opening::default() };
    Log::open(path, config, Arc::new(StdDisk), opening, NOW).unwrap()
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let original = open(dir.path().join("t-0"), Offset::ZERO);
        let copy = open(dir.path().join("t-0.0-future"), Offset::ZERO);
        Self { dir, original, copy }
    }

    /// So many records under an epoch, of a producer whose sequences are its offsets.
    fn append(&mut self, epoch: i32, records: i64) {
        for _ in 0..records {
            let sequence = i32::try_from(self.original.end_offset().0).unwrap();
            let mut batch = BatchBuilder::new(0).producer(9, 0, sequence);
            batch.push(Record { timestamp: NOW.0, value: Some(vec![7; 90].into()), ..Record::default() });
            self.original.append_as_leader(batch.build(), LeaderEpoch(epoch), Origin::Client, NOW).unwrap();
        }
    }

    fn catch_up(&mut self) {
        while self.copy.end_offset() < self.original.end_offset() {
            let slice = self.original.read(self.copy.end_offset(), 500, Offset::MAX, true).unwrap();
            self.copy.append_as_follower(bytes_of(&slice), NOW).unwrap();
        }
    }

    /// Cuts the copy back as often as it takes; whether it had to be.
    fn fit(&mut self, below: Offset) -> bool {
        let misfit = self.copy.misfit(&self.original, below);
        if let Some(offset) = misfit {
            self.copy.cut_to(offset, NOW).unwrap();
        }
        misfit.is_some()
    }
}

fn content(log: &Log) -> Vec<u8> {
    let (mut at, mut all) = (log.start_offset(), Vec::new());
    while at < log.end_offset() {
        let slice = log.read(at, 1 << 20, Offset::MAX, true).unwrap();
        all.extend_from_slice(&bytes_of(&slice));
        at = slice.next_offset;
    }
    all
}

#[test]
fn a_copy_takes_the_place_of_its_original_with_all_that_is_known() {
    let mut pair = Pair::new();
    pair.append(1, 30);
    pair.original.begin_epoch(LeaderEpoch(4));
    pair.original.advance_start_offset(Offset(25)).unwrap();
    pair.original.drop_below_start(NOW).unwrap();
    assert!(pair.fit(Offset::MAX), "the original begins later");
    pair.catch_up();
    let end = pair.original.end_offset();
    pair.copy.succeed(&pair.original).unwrap();
    assert_eq!((pair.copy.start_offset(), pair.copy.end_offset()), (Offset(25), end));
    assert_eq!(pair.copy.end_offset_for_epoch(LeaderEpoch(4)), Some((LeaderEpoch(4), end)));
    assert_eq!(pair.copy.active_producers(), pair.original.active_producers());

    let (old, new) = (pair.dir.path().join("t-0.1-delete"), pair.dir.path().join("t-0"));
    pair.original.rename(&old).unwrap();
    pair.copy.rename(&new).unwrap();
    pair.append(5, 3);
    pair.catch_up();
    assert_eq!(content(&pair.copy), content(&pair.original), "both go on under other names");
    pair.copy.flush(NOW).unwrap();
    let before = content(&pair.copy);
    drop(pair.copy);
    assert_eq!(content(&open(new, Offset(25))), before);
}

#[test]
fn a_copy_that_lags_takes_no_place() {
    let mut pair = Pair::new();
    pair.append(1, 2);
    pair.catch_up();
    pair.append(1, 1);
    assert!(pair.copy.succeed(&pair.original).is_err());
}

#[test]
fn a_copy_is_cut_back_to_where_histories_part() {
    let mut pair = Pair::new();
    pair.append(1, 10);
    pair.append(2, 10);
    pair.catch_up();
    assert!(!pair.fit(Offset::MAX));
    pair.original.truncate_to(Offset(14), NOW).unwrap();
    pair.append(3, 10);
    assert!(pair.fit(Offset::MAX));
    assert_eq!(pair.copy.end_offset(), Offset(14));
    pair.catch_up();
    // The same epoch once more, from further back: only whoever cut knows.
    pair.original.truncate_to(Offset(18), NOW).unwrap();
    pair.append(3, 20);
    assert!(pair.fit(Offset(18)));
    pair.catch_up();
    assert_eq!(content(&pair.copy), content(&pair.original));
    pair.original.truncate_fully_and_start_at(Offset(5), NOW).unwrap();
    pair.append(7, 2);
    assert!(pair.fit(Offset(5)));
    assert_eq!(pair.copy.end_offset(), Offset(5));
}

#[test]
fn files_that_wait_for_their_removal_go_with_the_name() {
    let mut pair = Pair::new();
    pair.append(1, 30);
    pair.original.advance_start_offset(Offset(25)).unwrap();
    assert!(pair.original.drop_below_start(NOW).unwrap() > 0);
    let to = pair.dir.path().join("elsewhere");
    pair.original.rename(&to).unwrap();
    pair.original.purge(TimestampMs(i64::MAX)).unwrap();
    let left = std::fs::read_dir(&to)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".deleted"));
    assert_eq!(left.count(), 0);
}
