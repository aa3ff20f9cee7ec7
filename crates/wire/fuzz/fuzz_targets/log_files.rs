//! A partition's directory made of rubbish: a segment, its indexes, a producer snapshot, checkpoints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_log::checkpoint::{CleanShutdown, MetaProperties, OffsetCheckpoint, PartitionMetadata};
use ottla_log::disk::StdDisk;
use ottla_log::{Log, LogConfig, Offset, Opening, TimestampMs};
use std::sync::Arc;

const FILES: [&str; 10] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000001.snapshot",
    "leader-epoch-checkpoint",
    "partition.metadata",
    "meta.properties",
    ".kafka_cleanshutdown",
    "recovery-point-offset-checkpoint",
];

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("t-0");
    std::fs::create_dir(&path).unwrap();
    // The first byte says where one file ends and the next begins.
    let Some((separator, rest)) = data.split_first() else { return };
    let clean = separator % 2 == 0;
    for (name, content) in FILES.iter().zip(rest.split(|byte| byte == separator)) {
        std::fs::write(path.join(name), content).unwrap();
    }
    let _ = PartitionMetadata::read(&StdDisk, &path);
    let _ = MetaProperties::read(&StdDisk, &path);
    let _ = CleanShutdown::read(&StdDisk, &path);
    let _ = OffsetCheckpoint::new(Arc::new(StdDisk), path.join(FILES[9])).read();
    let opening = Opening { clean, ..Opening::default() };
    let now = TimestampMs(1);
    if let Ok(mut log) = Log::open(path, LogConfig::default(), Arc::new(StdDisk), opening, now) {
        for offset in 0..4 {
            let _ = log.read(Offset(offset), 100, Offset::MAX, true);
            let _ = log.offset_for_timestamp(TimestampMs(offset));
        }
        let _ = log.aborted_transactions(Offset(0), Offset::MAX);
        let _ = log.truncate_to(Offset(1), now);
        let _ = log.close_clean(now);
    }
});
