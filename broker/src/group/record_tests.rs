//! The format, against a segment of `__consumer_offsets` that Kafka 4.3.1 wrote: dynamic, static, deleted and
//! memberless groups, one of the newer protocol, and offsets committed and aborted in transactions.

use ottla_wire::Uuid;
use ottla_wire::batch::batches;

use super::*;
use crate::group::classic::{Limits, Now, State};
use crate::group::load::replay_batch;
use crate::group::shard::{Commands, Shard, ShardConfig};

const SEGMENT: &[u8] = include_bytes!("../../tests/fixtures/consumer-offsets-by-kafka-4.3.1.log");

const NOW: Now = Now { monotonic_ms: 0, wall_ms: 1_795_230_766_000 };

fn shard() -> Shard {
    let limits = Limits {
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        initial_rebalance_delay_ms: 0,
        max_size: 100,
    };
    let config = ShardConfig {
        limits,
        offset_metadata_max_bytes: 4_096,
        offsets_retention_ms: 604_800_000,
        retention_check_interval_ms: 600_000,
        commit_timeout_ms: 5_000,
    };
    Shard::new(config, NOW)
}

#[test]
fn what_kafka_wrote_is_read_and_written_again_byte_by_byte() {
    let mut kinds = [0; 3];
    for batch in batches(&Bytes::from_static(SEGMENT)) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        if batch.header.is_control() {
            continue;
        }
        for record in batch.records().unwrap() {
            let record = record.unwrap();
            let read = GroupRecord::decode(record.key.clone(), record.value.clone()).unwrap();
            match read {
                GroupRecord::Group { .. } => kinds[0] += 1,
                GroupRecord::Offset { .. } => kinds[1] += 1,
                GroupRecord::Other => {
                    kinds[2] += 1;
                    continue;
                }
            }
            assert_eq!(read.encode().unwrap(), (record.key.unwrap(), record.value), "{read:?}");
        }
    }
    assert_eq!(kinds, [10, 10, 9]);
}

#[test]
fn the_groups_that_kafka_wrote_come_back() {
    let mut shard = shard();
    for batch in batches(&Bytes::from_static(SEGMENT)) {
        replay_batch(&mut shard, &batch.unwrap(), NOW).unwrap();
    }
    shard.on_loaded(NOW, &mut Commands::default());
    let found: Vec<_> =
        shard.groups().map(|group| (group.id().to_string(), group.state(), group.generation())).collect();
    let expected = [
        ("dynamic", State::Empty, 2),
        ("newer", State::Empty, 0),
        ("simple", State::Empty, 0),
        ("static", State::Stable, 2),
        ("transactional", State::Empty, 2),
    ];
    assert_eq!(found, expected.map(|(id, state, generation)| (id.to_owned(), state, generation)));

    let offset = |group: &str, partition| {
        let offset = shard.committed(&group.into(), &"events".into(), partition);
        offset.map(|offset| (offset.offset, offset.leader_epoch, offset.metadata.to_string()))
    };
    assert_eq!(offset("dynamic", 0), Some((10, 0, "ten ü".to_owned())));
    assert_eq!(offset("dynamic", 1), Some((7, -1, String::new())));
    assert_eq!(offset("simple", 1), Some((5, -1, "kept".to_owned())));
    assert_eq!(offset("newer", 1), Some((5, 0, String::new())));
    assert_eq!(offset("deleted", 1), None);
    assert_eq!(
        offset("transactional", 0),
        Some((4, -1, String::new())),
        "the second transaction was aborted"
    );

    let group = shard.groups().find(|group| &**group.id() == "static").unwrap();
    let member = group.roster().iter().next().unwrap();
    assert_eq!(member.instance_id.as_deref(), Some("instance-1"));
    assert_eq!((member.session_timeout_ms, &*member.client_host), (45_000, "/127.0.0.1"));
    assert!(group.may_consume(&"events".into()) && !group.may_consume(&"others".into()));
}

#[test]
fn a_compressed_batch_is_read_like_any_other() {
    use ottla_log::CompressionLevels;
    use ottla_log::compression::compress;
    use ottla_wire::batch::{BatchBuilder, Compression, Record};

    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut builder = BatchBuilder::new(7);
        for partition in 0..3 {
            let offset = CommittedOffset {
                offset: 10,
                leader_epoch: 0,
                metadata: Str::default(),
                commit_timestamp_ms: 0,
                expire_timestamp_ms: None,
                topic_id: Uuid::ZERO,
                log_offset: -1,
            };
            let index = ("t".into(), partition);
            let (key, value) =
                GroupRecord::Offset { group: "g".into(), index, offset: Some(offset) }.encode().unwrap();
            builder.push(Record { timestamp: 0, key: Some(key), value, headers: Vec::new() });
        }
        let levels = CompressionLevels::default();
        let built = builder.build_with(compression, |body| compress(compression, levels, body)).unwrap();
        let mut shard = shard();
        replay_batch(&mut shard, &batches(&built).next().unwrap().unwrap(), NOW).unwrap();
        let found = shard.committed(&"g".into(), &"t".into(), 2).unwrap();
        assert_eq!((found.offset, found.log_offset), (10, 9), "{compression:?}");
    }
}

#[test]
fn an_offset_with_a_time_of_expiry_is_written_as_of_old() {
    let offset = CommittedOffset {
        offset: 1,
        leader_epoch: -1,
        metadata: "m".into(),
        commit_timestamp_ms: 5,
        expire_timestamp_ms: Some(9),
        topic_id: Uuid::ZERO,
        log_offset: -1,
    };
    let record = GroupRecord::Offset { group: "g".into(), index: ("t".into(), 0), offset: Some(offset) };
    let (key, value) = record.encode().unwrap();
    assert_eq!(value.as_ref().unwrap().get(..2), Some(&[0, 1][..]));
    assert_eq!(GroupRecord::decode(Some(key), value).unwrap(), record);
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    assert!(GroupRecord::decode(None, None).is_err());
    for key in [&b""[..], b"\x00", b"\x00\x01", b"\x00\x01\x00\x05ab", b"\x00\x02\xff\xff"] {
        assert!(GroupRecord::decode(Some(Bytes::from_static(key)), None).is_err(), "{key:?}");
    }
    let unknown = GroupRecord::decode(Some(Bytes::from_static(b"\x00\x63whatever")), None);
    assert_eq!(unknown.unwrap(), GroupRecord::Other);
    let group = Bytes::from_static(b"\x00\x02\x00\x01g");
    for value in [&b""[..], b"\x00\x03", b"\x00\x63\x00\x00"] {
        assert!(
            GroupRecord::decode(Some(group.clone()), Some(Bytes::from_static(value))).is_err(),
            "{value:?}"
        );
    }
}
