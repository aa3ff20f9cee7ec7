//! Record batches: headers, records, patches. What a batch says of itself stays true after a leader's patches.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_wire::batch::{
    BatchHeader, HEADER_LEN, RecordIter, TimestampType, batches, compute_crc, patch_base_offset, patch_leader_epoch,
    patch_max_timestamp, skim_record,
};

fuzz_target!(|data: &[u8]| {
    for batch in batches(&Bytes::copy_from_slice(data)).flatten() {
        assert_eq!(batch.header.to_bytes(), batch.bytes[..HEADER_LEN]);
        let read = RecordIter::new(&batch.header, batch.body()).take_while(Result::is_ok).count();
        let mut rest = &batch.body()[..];
        let mut skimmed = 0;
        while let Ok((_, after)) = skim_record(rest) {
            rest = after;
            skimmed += 1;
        }
        // Reading asks for UTF-8 in header keys as well.
        assert!(read <= skimmed || batch.header.record_count < 0, "{read} records read, {skimmed} skimmed");
        let mut raw = batch.bytes.to_vec();
        patch_base_offset(&mut raw, 7).unwrap();
        patch_leader_epoch(&mut raw, 8).unwrap();
        assert_eq!(compute_crc(&raw), compute_crc(&batch.bytes));
        if patch_max_timestamp(&mut raw, TimestampType::LogAppendTime, 9).is_ok() {
            let header = BatchHeader::parse(&raw).unwrap();
            assert_eq!((header.base_offset, header.max_timestamp), (7, 9));
        }
    }
});
