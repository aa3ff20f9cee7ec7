//! Full disks, failing fsyncs, gaps: what a log does when the disk does not do what it should.

use super::*;
use crate::error::AppendError;
use crate::testing::FaultyDisk;
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, Record};

const NOW: TimestampMs = TimestampMs(1_000_000);
const EPOCH: LeaderEpoch = LeaderEpoch(0);

struct Setup {
    _dir: tempfile::TempDir,
    disk: FaultyDisk,
    log: Log,
}

fn setup(config: LogConfig) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(dir.path()).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = Log::open(dir.path().join("t-0"), config, shared, Opening::default(), NOW).unwrap();
    Setup { _dir: dir, disk, log }
}

fn batch(base: i64, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(base);
    builder.push(Record { timestamp: NOW.0, value: Some(vec![1; size].into()), ..Record::default() });
    builder.build()
}

impl Setup {
    fn append(&mut self, size: usize) -> Result<Appended, AppendError> {
        self.log.append_as_leader(batch(0, size), EPOCH, Origin::Client, NOW)
    }

    fn reopened(self) -> Log {
        let dir = self.log.dir().to_path_buf();
        let config = self.log.config().clone();
        drop(self.log);
        let log = Log::open(dir, config, Arc::new(self.disk), Opening::default(), NOW).unwrap();
        drop(self._dir);
        log
    }
}

#[test]
fn a_full_disk_refuses_the_batch_and_leaves_the_log_as_it_was() {
    let mut setup = setup(LogConfig::default());
    setup.append(100).unwrap();
    let size = setup.log.size();
    for space in [0, 1, 100, 500] {
        setup.disk.set_space_left(Some(space));
        let error = setup.append(1000).unwrap_err();
        assert!(matches!(error, AppendError::Log(LogError::NoSpace { .. })), "{error:?}");
        assert_eq!(error.code(), 56);
        assert_eq!((setup.log.size(), setup.log.end_offset()), (size, Offset(1)));
        let file = setup.log.active().unwrap().file().unwrap();
        assert_eq!(file.len().unwrap(), size, "cut back to the last whole batch");
    }
    assert_eq!(setup.log.poisoned(), None);
    setup.disk.set_space_left(None);
    assert_eq!(setup.append(1000).unwrap().base_offset, Offset(1));
    assert_eq!(setup.reopened().end_offset(), Offset(2));
}

#[test]
fn a_full_disk_while_rolling_keeps_the_old_segment() {
    let mut setup = setup(LogConfig { segment_bytes: 2000, ..LogConfig::default() });
    setup.append(1500).unwrap();
    setup.disk.set_space_left(Some(3));
    assert!(matches!(setup.append(1500), Err(AppendError::Log(LogError::NoSpace { .. }))));
    assert_eq!(setup.log.poisoned(), None);
    setup.disk.set_space_left(None);
    assert_eq!(setup.append(1500).unwrap().base_offset, Offset(1));
    assert_eq!((setup.log.segment_count(), setup.reopened().end_offset()), (2, Offset(2)));
}

#[test]
fn a_failed_fsync_is_final() {
    let mut setup = setup(LogConfig::default());
    setup.append(10).unwrap();
    setup.log.flush(NOW).unwrap();
    setup.append(10).unwrap();
    setup.disk.set_sync_fails(true);
    assert!(setup.log.flush(NOW).is_err());
    setup.disk.set_sync_fails(false);
    assert!(matches!(setup.log.flush(NOW), Err(LogError::Poisoned(_))), "not tried again");
    assert!(matches!(setup.append(10), Err(AppendError::Log(LogError::Poisoned(_)))));
    assert_eq!(setup.log.recovery_point(), Offset(1));
    assert!(setup.log.poisoned().unwrap().contains("sync"));
    assert!(!setup.log.read(Offset(0), 100, Offset::MAX, true).unwrap().records.is_empty(), "reads go on");
}

/// In a compacted log offsets are missing here and there. A crash must not take such a gap for lost data.
#[test]
fn gaps_of_a_compacted_log_survive_power_cuts() {
    for seed in 0..50 {
        let mut setup = setup(LogConfig { segment_bytes: 2000, compact: true, ..LogConfig::default() });
        for base in [0, 10, 20, 21, 22, 50, 60, 61] {
            setup.log.append_as_follower(batch(base, 1200), NOW).unwrap();
        }
        let flushed = setup.log.recovery_point();
        assert!(flushed >= Offset(61));
        let dir = setup.log.dir().to_path_buf();
        let config = setup.log.config().clone();
        drop(setup.log);
        setup.disk.cut_power(seed).unwrap();
        let disk = Arc::new(FaultyDisk::new(setup.disk.root()).unwrap());
        let log = Log::open(dir, config, disk, Opening::default(), NOW).unwrap();
        assert!(log.end_offset() >= flushed, "{} < {flushed}", log.end_offset());
        let slice = log.read(Offset(23), 10, Offset::MAX, true).unwrap();
        assert_eq!((slice.first_offset, slice.next_offset), (Offset(50), Offset(51)));
    }
}

/// Index entries wait in memory while there is no room for them; the records are made durable all the same.
#[test]
fn a_full_disk_does_not_keep_records_from_being_flushed() {
    let mut setup = setup(LogConfig { index_interval_bytes: 0, ..LogConfig::default() });
    for _ in 0..10 {
        setup.append(50).unwrap();
    }
    setup.disk.set_space_left(Some(0));
    setup.log.flush(NOW).unwrap();
    assert_eq!((setup.log.recovery_point(), setup.log.poisoned()), (Offset(10), None));
    let dir = setup.log.dir().to_path_buf();
    let config = setup.log.config().clone();
    drop(setup.log);
    setup.disk.set_space_left(None);
    setup.disk.cut_power(1).unwrap();
    let disk = Arc::new(FaultyDisk::new(setup.disk.root()).unwrap());
    let opening = Opening { recovery_point: Offset(10), ..Opening::default() };
    let log = Log::open(dir, config, disk, opening, NOW).unwrap();
    assert_eq!(log.end_offset(), Offset(10));
    let slice = log.read(Offset(7), 10, Offset::MAX, true).unwrap();
    assert_eq!(slice.first_offset, Offset(7));
}

#[test]
fn records_can_be_deleted_without_a_byte_to_write() {
    let mut setup = setup(LogConfig { segment_bytes: 2000, ..LogConfig::default() });
    for _ in 0..4 {
        setup.append(1500).unwrap();
    }
    setup.disk.set_space_left(Some(0));
    assert!(setup.log.advance_start_offset(Offset(3)).unwrap());
    assert_eq!(setup.log.retain(NOW, Offset(4)).unwrap(), 3);
    setup.log.purge(TimestampMs(i64::MAX)).unwrap();
    assert_eq!((setup.log.segment_count(), setup.log.poisoned()), (1, None));
    setup.disk.set_space_left(None);
    assert_eq!(setup.append(10).unwrap().base_offset, Offset(4));
}

/// However many index entries there are to be built anew, a node that was killed on a full disk starts again.
#[test]
fn a_log_is_recovered_without_a_byte_to_write() {
    for batches in 1..10 {
        let mut setup = setup(LogConfig { index_interval_bytes: 0, ..LogConfig::default() });
        for _ in 0..batches {
            setup.append(50).unwrap();
        }
        setup.log.flush(NOW).unwrap();
        setup.disk.set_space_left(Some(0));
        let disk = setup.disk.clone();
        let mut log = setup.reopened();
        assert_eq!((log.end_offset(), log.poisoned()), (Offset(batches), None));
        assert!(matches!(
            log.append_as_leader(batch(0, 50), EPOCH, Origin::Client, NOW),
            Err(AppendError::Log(LogError::NoSpace { .. }))
        ));
        for offset in 0..batches {
            let slice = log.read(Offset(offset), 1, Offset::MAX, true).unwrap();
            assert_eq!(slice.first_offset, Offset(offset));
        }
        disk.set_space_left(None);
    }
}
