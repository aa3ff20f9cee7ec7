use super::*;
use bytes::Bytes;
use bytestring::ByteString;

fn sample() -> BatchBuilder {
    let mut builder = BatchBuilder::new(42).leader_epoch(7).producer(9, 1, i32::MAX);
    builder.push(Record { timestamp: 1000, key: Some("k".into()), value: None, headers: vec![] });
    builder.push(Record {
        timestamp: 900,
        key: None,
        value: Some(Bytes::from(vec![7; 300])),
        headers: vec![(ByteString::from("h"), None), (ByteString::from("h"), Some("v".into()))],
    });
    builder
}

#[test]
fn built_batch_reads_back() {
    let bytes = sample().build();
    let batch = Batch::parse(&bytes).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header.size_in_bytes(), bytes.len());
    assert_eq!((batch.header.base_offset, batch.header.last_offset()), (42, 43));
    assert_eq!((batch.header.base_timestamp, batch.header.max_timestamp), (1000, 1000));
    assert_eq!(batch.header.last_sequence(), 0, "the sequence wraps after i32::MAX");
    let records: Vec<_> = batch.records().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!((records[1].offset, records[1].timestamp), (43, 900));
    assert_eq!(records[1].headers.len(), 2);
    assert_eq!(batch.header.to_bytes(), bytes[..HEADER_LEN]);
}

#[test]
fn offset_and_epoch_patches_keep_the_crc_and_timestamp_patch_renews_it() {
    let mut raw = sample().build().to_vec();
    patch_base_offset(&mut raw, 1 << 40).unwrap();
    patch_leader_epoch(&mut raw, 99).unwrap();
    let before = Batch::parse(&Bytes::from(raw.clone())).unwrap();
    before.verify_crc().unwrap();
    patch_max_timestamp(&mut raw, TimestampType::LogAppendTime, 5000).unwrap();
    let after = Batch::parse(&Bytes::from(raw)).unwrap();
    after.verify_crc().unwrap();
    assert_ne!(before.header.crc, after.header.crc);
    assert_eq!(after.header.base_offset, 1 << 40);
    assert!(after.records().unwrap().all(|r| r.unwrap().timestamp == 5000));
}

#[test]
fn crc_from_the_bodys_crc_equals_crc_over_all() {
    let bytes = sample().build();
    let header = BatchHeader::parse(&bytes).unwrap();
    let body = &bytes[HEADER_LEN..];
    assert_eq!(header.crc_with_body(crc32c(body), body.len()), compute_crc(&bytes));
}

#[test]
fn crc_after_a_header_change_needs_no_body() {
    let bytes = sample().build();
    let before = BatchHeader::parse(&bytes).unwrap();
    let mut after = before;
    after.max_timestamp = 123_456;
    after.set_attributes(Compression::None, TimestampType::LogAppendTime);
    after.crc = after.crc_changed_from(&before, bytes.len() - HEADER_LEN);
    let whole = [&after.to_bytes()[..], &bytes[HEADER_LEN..]].concat();
    assert_eq!(after.crc, compute_crc(&whole));
}

#[test]
fn iteration_stops_at_the_first_error() {
    let mut raw = sample().build().to_vec();
    raw.extend_from_slice(&sample().build()[..50]);
    let all: Vec<_> = batches(&Bytes::from(raw)).collect();
    assert_eq!(all.len(), 2);
    assert!(matches!(all[1], Err(BatchError::Truncated { .. })));
}

#[test]
fn old_magic_and_absurd_lengths_are_refused() {
    let good = sample().build().to_vec();
    for magic in [0u8, 1, 3, 0xff] {
        let mut raw = good.clone();
        raw[MAGIC_OFFSET] = magic;
        assert_eq!(Batch::parse(&raw.into()), Err(BatchError::UnsupportedMagic(magic.cast_signed())));
    }
    for length in [i32::MIN, -1, 0, 48] {
        let mut raw = good.clone();
        raw[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Batch::parse(&raw.into()), Err(BatchError::InvalidLength(length)));
    }
    let mut raw = good;
    raw[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(Batch::parse(&raw.into()), Err(BatchError::Truncated { .. })));
}

#[test]
fn varints_round_trip_and_overlong_ones_are_refused() {
    for value in [0, 1, -1, 63, -64, 64, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
        let mut out = Vec::new();
        write_varlong(&mut out, value);
        assert_eq!(read_varlong(&out), Ok((value, &[][..])));
        let narrow = i32::try_from(value);
        assert_eq!(read_varint(&out).map(|(v, _)| v).ok(), narrow.ok());
    }
    assert_eq!(read_varlong(&[0xff; 11]), Err(BatchError::Varint));
    assert_eq!(read_varint(&[0x80; 4]), Err(BatchError::Varint));
}

/// Bits are flipped all over a valid batch: every reader returns, none panics, and the CRC notices.
#[test]
fn mutated_batches_never_panic() {
    let good = sample().build();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        let mut raw = good.to_vec();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(state >> 33).unwrap() % raw.len();
            raw[at] = u8::try_from((state >> 20) & 0xff).unwrap();
        }
        raw.truncate(raw.len() - usize::try_from(state % 3).unwrap());
        for batch in batches(&raw.into()).flatten() {
            let mut rest = &batch.body()[..];
            while let Ok((_, after)) = skim_record(rest) {
                rest = after;
            }
            let records = RecordIter::new(&batch.header, batch.body());
            assert!(records.count() <= batch.bytes.len());
        }
    }
}
