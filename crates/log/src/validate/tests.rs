use super::*;
use crate::compression;
use crate::config::CompressionLevels;
use bytes::BytesMut;
use ottla_wire::batch::{BatchBuilder, Record, RecordIter, patch_max_timestamp};

const NOW: TimestampMs = TimestampMs(1_000_000);

fn terms(config: &LogConfig) -> Terms<'_> {
    Terms { config, base_offset: Offset(77), leader_epoch: LeaderEpoch(5), origin: Origin::Client, now: NOW }
}

fn record(key: bool, timestamp: i64) -> Record {
    Record {
        timestamp,
        key: key.then(|| "key".into()),
        value: Some(vec![3; 100].into()),
        headers: vec![("h".into(), None)],
    }
}

fn builder() -> BatchBuilder {
    let mut builder = BatchBuilder::new(0);
    [10, 30, 20].into_iter().for_each(|timestamp| builder.push(record(true, timestamp)));
    builder
}

fn compressed(codec: Compression) -> Bytes {
    let compress = |body: &[u8]| compression::compress(codec, CompressionLevels::default(), body);
    builder().build_with(codec, compress).unwrap()
}

fn join(valid: &Valid) -> Batch {
    let mut raw = BytesMut::from(&valid.header.to_bytes()[..]);
    raw.extend_from_slice(&valid.body);
    let batch = Batch::parse(&raw.freeze()).unwrap();
    batch.verify_crc().unwrap();
    batch
}

fn code(records: &Bytes, config: &LogConfig) -> i16 {
    validate(records, &terms(config)).unwrap_err().code()
}

#[test]
fn the_producers_batch_is_kept_and_only_its_header_set() {
    for codec in Compression::ALL {
        let raw = compressed(codec);
        let valid = validate(&raw, &terms(&LogConfig::default())).unwrap();
        let batch = join(&valid);
        assert_eq!((batch.header.base_offset, batch.header.partition_leader_epoch), (77, 5));
        assert_eq!(batch.header.max_timestamp, 30);
        assert_eq!(valid.body.as_ptr(), raw[HEADER_LEN..].as_ptr(), "{codec:?}: not copied");
        assert_eq!(batch.header.crc, BatchHeader::parse(&raw).unwrap().crc);
    }
}

#[test]
fn the_brokers_view_of_time_is_set_with_a_valid_checksum() {
    let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    for codec in Compression::ALL {
        let batch = join(&validate(&compressed(codec), &terms(&config)).unwrap());
        assert_eq!(
            (batch.header.max_timestamp, batch.header.timestamp_type()),
            (NOW.0, config.timestamp_type)
        );
    }
    let mut lying = builder().build().to_vec();
    patch_max_timestamp(&mut lying, TimestampType::CreateTime, 999_999).unwrap();
    let batch = join(&validate(&lying.into(), &terms(&LogConfig::default())).unwrap());
    assert_eq!(batch.header.max_timestamp, 30, "the producer's max timestamp is not believed");
}

#[test]
fn another_codec_rebuilds_with_equal_records() {
    for source in Compression::ALL {
        for target in Compression::ALL {
            let config =
                LogConfig { compression_type: CompressionType::Fixed(target), ..LogConfig::default() };
            let batch = join(&validate(&compressed(source), &terms(&config)).unwrap());
            assert_eq!(batch.header.compression(), Ok(target));
            let body = compression::decompress_bounded(target, &batch.body(), 1 << 20).unwrap();
            let records: Vec<_> = RecordIter::new(&batch.header, body).map(Result::unwrap).collect();
            assert_eq!(
                records.iter().map(|r| (r.offset, r.timestamp)).collect::<Vec<_>>(),
                [(77, 10), (78, 30), (79, 20)]
            );
            assert!(records.iter().all(|r| r.headers.len() == 1 && r.key.is_some()));
        }
    }
}

#[test]
fn wrong_inner_offsets_are_rewritten() {
    let mut builder = BatchBuilder::new(0);
    for delta in [1, 0, 2] {
        builder.push_at(delta, 10, None, Some(b"v"), &[]);
    }
    let batch = join(&validate(&builder.build(), &terms(&LogConfig::default())).unwrap());
    let offsets: Vec<_> = batch.records().unwrap().map(|r| r.unwrap().offset).collect();
    assert_eq!(offsets, [77, 78, 79]);
}

#[test]
fn each_broken_rule_has_kafkas_error() {
    let default = LogConfig::default();
    let good = builder().build();
    let header = |change: &dyn Fn(&mut BatchHeader)| {
        let mut header = BatchHeader::parse(&good).unwrap();
        change(&mut header);
        header.seal(&good[HEADER_LEN..]);
        Bytes::from([&header.to_bytes()[..], &good[HEADER_LEN..]].concat())
    };
    assert_eq!(code(&Bytes::new(), &default), 87);
    assert_eq!(code(&[&good[..], &good[..]].concat().into(), &default), 87, "two batches");
    assert_eq!(code(&good.slice(..good.len() - 1), &default), 87, "cut off");
    let mut bad = good.to_vec();
    bad[100] ^= 1;
    assert_eq!(code(&bad.clone().into(), &default), 2, "checksum");
    bad[16] = 1;
    assert_eq!(code(&bad.into(), &default), 87, "magic 1");
    assert_eq!(code(&header(&|h| h.base_offset = 3), &default), 87);
    assert_eq!(code(&header(&|h| h.record_count = 0), &default), 87);
    assert_eq!(code(&header(&|h| h.record_count = -1), &default), 87);
    assert_eq!(
        code(&header(&|h| (h.record_count, h.last_offset_delta) = (4, 3)), &default),
        87,
        "a record too few"
    );
    assert_eq!(
        code(&header(&|h| (h.record_count, h.last_offset_delta) = (2, 1)), &default),
        87,
        "a record too many"
    );
    assert_eq!(code(&header(&|h| h.last_offset_delta = 5), &default), 87);
    assert_eq!(code(&header(&|h| h.attributes |= 0x20), &default), 87, "control");
    assert_eq!(code(&header(&|h| h.producer_id = 3), &default), 87, "no sequence");
    assert_eq!(code(&header(&|h| h.attributes |= 5), &default), 76, "codec 5");
    let append_time = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    let says_append_time = header(&|h| h.attributes |= 8);
    assert_eq!(code(&says_append_time, &append_time), 32, "append time set by the producer");
    // As Kafka has it: where the topic has the producer's times, what the batch says of them is set right.
    assert!(validate(&says_append_time, &terms(&default)).is_ok());
    let small = LogConfig { max_message_bytes: 100, ..LogConfig::default() };
    assert_eq!(code(&good, &small), 10);
    assert!(
        validate(&good, &Terms { origin: Origin::Raft, leader_epoch: LeaderEpoch(-1), ..terms(&small) })
            .is_ok()
    );
}

#[test]
fn records_at_fault_are_named() {
    let compact = LogConfig { compact: true, ..LogConfig::default() };
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(0);
        [true, false, true, false].into_iter().for_each(|key| builder.push(record(key, 10)));
        let compress = |body: &[u8]| compression::compress(codec, CompressionLevels::default(), body);
        let error = validate(&builder.build_with(codec, compress).unwrap(), &terms(&compact)).unwrap_err();
        let indexes: Vec<_> = error.record_errors().iter().map(|e| e.batch_index).collect();
        assert_eq!((error.code(), indexes), (87, vec![1, 3]));
    }
    let narrow =
        LogConfig { timestamp_before_max_ms: 100, timestamp_after_max_ms: 50, ..LogConfig::default() };
    let mut builder = BatchBuilder::new(0);
    [-101, -100, 0, 50, 51].into_iter().for_each(|delta| builder.push(record(true, NOW.0 + delta)));
    builder.push(record(true, -1));
    let error = validate(&builder.build(), &terms(&narrow)).unwrap_err();
    let indexes: Vec<_> = error.record_errors().iter().map(|e| e.batch_index).collect();
    assert_eq!((error.code(), indexes), (32, vec![0, 4]));
    let append_time = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..narrow };
    let mut builder = BatchBuilder::new(0);
    builder.push(record(true, 1));
    assert!(validate(&builder.build(), &terms(&append_time)).is_ok(), "the producer's time does not matter");
}

#[test]
fn a_bomb_is_refused_and_damaged_bodies_never_panic() {
    let mut builder = BatchBuilder::new(0);
    builder.push(Record { timestamp: 1, value: Some(vec![0; 8 << 20].into()), ..Record::default() });
    let config = LogConfig { max_decompressed_bytes: 1 << 20, ..LogConfig::default() };
    for codec in Compression::ALL.into_iter().skip(1) {
        let compress = |body: &[u8]| compression::compress(codec, CompressionLevels::default(), body);
        let bomb = builder.clone().build_with(codec, compress).unwrap();
        assert_eq!(code(&bomb, &config), 10, "{codec:?}");
    }
    let mut state = 5u64;
    for codec in Compression::ALL {
        let good = compressed(codec);
        for _ in 0..2_000 {
            let mut body = good[HEADER_LEN..].to_vec();
            for _ in 0..2 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).unwrap() % body.len();
                body[at] = u8::try_from(state >> 24 & 0xff).unwrap();
            }
            let mut header = BatchHeader::parse(&good).unwrap();
            header.seal(&body);
            let raw = Bytes::from([&header.to_bytes()[..], &body[..]].concat());
            let _ = validate(&raw, &terms(&LogConfig::default()));
        }
    }
}
