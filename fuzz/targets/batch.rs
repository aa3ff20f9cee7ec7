//! Record batches: headers, records, patches, decompression, and what a leader appends. The first byte has flags: 1 asks for
//! right checksums.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_fuzz::{Scratch, flags, repair_checksums};
use ottla_log::compression::decompress_bounded;
use ottla_log::disk::StdDisk;
use ottla_log::{LeaderEpoch, Log, LogConfig, Offset, Opening, Origin, TimestampMs};
use ottla_wire::batch::{
    Batch, BatchHeader, HEADER_LEN, RecordIter, TimestampType, batches, compute_crc, patch_base_offset,
    patch_leader_epoch, patch_max_timestamp, skim_record,
};
use std::sync::Arc;

/// Most that a body may decompress to here.
const MAX_BODY: usize = 1 << 20;
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = flags(data) else { return };
    let mut data = data.to_vec();
    if flags & 1 == 1 {
        repair_checksums(&mut data);
    }
    let data = Bytes::from(data);
    let mut valid = true;
    for batch in batches(&data) {
        let Ok(batch) = batch else { break };
        assert_eq!(batch.header.to_bytes(), batch.bytes[..HEADER_LEN]);
        valid &= batch.verify_crc().is_ok();
        read_twice(&batch);
        patch(&batch);
        if let Ok(codec) = batch.header.compression()
            && let Ok(body) = decompress_bounded(codec, &batch.body(), MAX_BODY)
        {
            assert!(body.len() <= MAX_BODY);
        }
    }
    if valid {
        append(data);
    }
});

/// Records and their bare bounds: where the first can be read, so can the second.
fn read_twice(batch: &Batch) {
    let read = RecordIter::new(&batch.header, batch.body()).take_while(Result::is_ok).count();
    let mut rest = &batch.body()[..];
    let mut skimmed = 0;
    while let Ok((_, after)) = skim_record(rest) {
        rest = after;
        skimmed += 1;
    }
    // Reading asks for UTF-8 in header keys as well.
    assert!(read <= skimmed || batch.header.record_count < 0, "{read} records read, {skimmed} skimmed");
}

/// Offset and leader epoch lie outside of the checksum.
fn patch(batch: &Batch) {
    let mut raw = batch.bytes.to_vec();
    patch_base_offset(&mut raw, 7).unwrap();
    patch_leader_epoch(&mut raw, 8).unwrap();
    assert_eq!(compute_crc(&raw), compute_crc(&batch.bytes));
    if patch_max_timestamp(&mut raw, TimestampType::LogAppendTime, 9).is_ok() {
        let header = BatchHeader::parse(&raw).unwrap();
        assert_eq!((header.base_offset, header.max_timestamp), (7, 9));
    }
}

/// A batch that the leader takes is there to be read, also after a crash.
fn append(data: Bytes) {
    let scratch = Scratch::new();
    let config = LogConfig { max_decompressed_bytes: MAX_BODY, ..LogConfig::default() };
    let open = || {
        let (path, disk) = (scratch.path().join("t-0"), Arc::new(StdDisk));
        Log::open(path, config.clone(), disk, Opening::default(), NOW).expect("the log opens")
    };
    let mut log = open();
    let Ok(appended) = log.append_as_leader(data, LeaderEpoch(3), Origin::Client, NOW) else {
        assert_eq!(log.end_offset(), Offset(0), "what is refused leaves nothing");
        return;
    };
    assert_eq!((appended.base_offset, log.end_offset().0), (Offset(0), appended.last_offset.0 + 1));
    let read = |log: &Log| {
        let slice = log.read(Offset(0), usize::MAX, Offset::MAX, true).expect("it can be read");
        ottla_fuzz::read(&slice.records)
    };
    let written = read(&log);
    for batch in batches(&written) {
        let batch = batch.expect("a whole batch");
        batch.verify_crc().expect("a right checksum");
        assert_eq!(batch.header.partition_leader_epoch, 3);
    }
    drop(log);
    let log = open();
    assert_eq!(log.end_offset().0, appended.last_offset.0 + 1, "recovery keeps it");
    assert_eq!(read(&log), written);
}
