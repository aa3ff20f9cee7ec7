//! A partition's directory made of rubbish: a segment, its indexes, a producer snapshot, checkpoints. The first byte has flags:
//! 1 opens as after a clean shutdown, 2 asks for right checksums; then the files, each after its length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::{Scratch, flags, piece, repair_checksums};
use ottla_log::checkpoint::{CleanShutdown, OffsetCheckpoint, PartitionMetadata};
use ottla_log::disk::StdDisk;
use ottla_log::{Log, LogConfig, LogError, Offset, Opening, TimestampMs};
use ottla_wire::batch::batches;
use std::path::Path;
use std::sync::Arc;

const CHECKPOINT: &str = "recovery-point-offset-checkpoint";
const LOG: &str = "00000000000000000000.log";
/// In this order in the input.
const FILES: [&str; 9] = [
    LOG,
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000070.snapshot",
    "leader-epoch-checkpoint",
    "partition.metadata",
    ".kafka_cleanshutdown",
    CHECKPOINT,
];
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fuzz_target!(|data: &[u8]| {
    let Some((flags, mut rest)) = flags(data) else { return };
    let scratch = Scratch::new();
    let dir = scratch.directory("t-0");
    for name in FILES {
        let mut content = piece(&mut rest).to_vec();
        if name == LOG && flags & 2 != 0 {
            repair_checksums(&mut content);
        }
        if !content.is_empty() || name == LOG {
            std::fs::write(dir.join(name), content).expect("space in /dev/shm");
        }
    }
    let _ = PartitionMetadata::read(&StdDisk, &dir);
    let _ = CleanShutdown::read(&StdDisk, &dir);
    checkpoint(&dir);
    let clean = flags & 1 != 0;
    let Ok(mut log) = open(&dir, clean) else { return };
    look(&log, clean);
    let (start, end) = (log.start_offset(), log.end_offset());
    let epoch = log.last_epoch();
    if clean {
        // Nothing was checked that would let the rest hold.
        let _ = log.truncate_to(Offset(1), NOW);
        let _ = log.close_clean(NOW);
        return;
    }
    log.close_clean(NOW).expect("a recovered log closes");
    let mut log = open(&dir, true).expect("and opens again");
    assert_eq!((log.start_offset(), log.end_offset(), log.last_epoch()), (start, end, epoch));
    look(&log, false);
    let middle = Offset(start.0 + (end.0 - start.0) / 2);
    log.truncate_to(middle, NOW).expect("it can be cut");
    assert!(log.end_offset() <= middle && log.end_offset() >= start);
});

fn open(dir: &Path, clean: bool) -> Result<Log, LogError> {
    let opening = Opening { clean, ..Opening::default() };
    Log::open(dir.to_owned(), LogConfig::default(), Arc::new(StdDisk), opening, NOW)
}

/// What is read once can be written, and reads the same.
fn checkpoint(dir: &Path) {
    let file = OffsetCheckpoint::new(Arc::new(StdDisk), dir.join(CHECKPOINT));
    if let Ok(offsets) = file.read() {
        file.write(&offsets).expect("it can be written");
        assert_eq!(file.read().expect("it can be read"), offsets);
    }
}

/// Reads by offset and by time, whatever the indexes say. After a recovery every batch is whole and follows the last.
fn look(log: &Log, damaged: bool) {
    assert!(log.start_offset() <= log.end_offset());
    let mut offset = log.start_offset();
    while offset < log.end_offset() {
        let slice = match log.read(offset, 1000, Offset::MAX, true) {
            Ok(slice) => slice,
            Err(_) if damaged => break,
            Err(error) => panic!("offset {offset}: {error}"),
        };
        if !damaged {
            for batch in batches(&ottla_fuzz::read(&slice.records)) {
                let batch = batch.expect("a whole batch");
                batch.verify_crc().expect("a right checksum");
                assert!(batch.header.last_offset() < log.end_offset().0);
            }
        }
        if slice.next_offset <= offset {
            assert!(damaged || slice.next_offset == log.end_offset(), "no way on from offset {offset}");
            break;
        }
        offset = slice.next_offset;
    }
    for at in [0, 1, 1_000, NOW.0, i64::MAX] {
        let _ = log.offset_for_timestamp(TimestampMs(at));
    }
    let _ = log.offset_of_max_timestamp();
    let _ = log.aborted_transactions(log.start_offset(), Offset::MAX);
}
