//! Directories that Apache Kafka 4.3.1 wrote are read as Apache reads them. See `fixtures/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_log::disk::StdDisk;
use ottla_quorum::image::ConfigResource;
use ottla_quorum::load::{Loaded, load};
use ottla_quorum::{KRaftVersion, MetadataImage, VersionedRecord, bootstrap, quorum_state};
use ottla_wire::batch::batches;

fn fixture(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind)
}

fn loaded(kind: &str) -> Loaded {
    load(&StdDisk, &fixture(kind).join("__cluster_metadata-0"), &"4L6g3nShT-eMCtK--X86sw".into())
        .expect("what Apache wrote is read")
}

/// Lines `Topic: a TopicId: b PartitionCount: c ReplicationFactor: d ...` of `kafka-topics --describe`.
fn described(kind: &str) -> BTreeMap<String, (String, usize)> {
    let text = std::fs::read_to_string(fixture(kind).join("topics.txt")).expect("fixture");
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let value = |index: usize| {
                fields.get(index).and_then(|field| field.split_once(": ")).expect("a field").1.to_owned()
            };
            (value(0), (value(1), value(2).parse().expect("a number")))
        })
        .collect()
}

fn check_topics(kind: &str, image: &MetadataImage) {
    let ours: BTreeMap<_, _> = image
        .topics
        .iter()
        .map(|topic| (topic.name.to_string(), (topic.id.to_string(), topic.partitions.len())))
        .collect();
    assert_eq!(ours, described(kind));
    let orders = image.topics.by_name("orders").expect("made by Apache");
    for partition in orders.partitions.values() {
        assert_eq!((&*partition.replicas, &*partition.isr), (&[1][..], &[1][..]));
        assert_eq!(partition.leader, -1, "Apache was stopped in an orderly way");
        assert_eq!(partition.leader_epoch, 3, "led, left, led and left again");
    }
}

fn check_configs(image: &MetadataImage) {
    let of = |resource: ConfigResource| -> BTreeMap<String, String> {
        let configs = image.configs.get(&resource).expect("configured");
        configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    };
    let expected = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        of(ConfigResource::topic("orders".into())),
        expected(&[
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "2000000"),
            ("min.insync.replicas", "1")
        ])
    );
    assert_eq!(of(ConfigResource::broker(1)), expected(&[("log.cleaner.threads", "2")]));
    assert_eq!(of(ConfigResource::default_broker()), expected(&[("log.retention.ms", "86400000")]));
    assert_eq!(image.configs.iter().count(), 3, "the deleted topic's configs are gone");
}

fn check_rest(image: &MetadataImage) {
    assert_eq!(image.metadata_version().map(|level| level.level()), Some(30));
    assert_eq!(image.producer_ids.next, 1000);
    let broker = image.broker(1).expect("registered");
    assert!(broker.fenced && broker.in_controlled_shutdown);
    assert_eq!(broker.cordoned_log_dirs, Some(Vec::new()));
    assert_eq!(broker.endpoint("PLAINTEXT").map(|endpoint| &*endpoint.host), Some("127.0.0.1"));
    assert!(image.cluster.controllers.contains_key(&1));
    let security = &image.security;
    assert_eq!((security.acls.len(), security.scram.len(), security.quotas.len()), (1, 1, 1));
    assert!(security.unknown.is_empty());
}

#[test]
fn a_static_quorums_log_is_read() {
    let loaded = loaded("static");
    let image = loaded.replay.image();
    check_topics("static", image);
    check_configs(image);
    check_rest(image);
    assert_eq!(image.features.kraft_version, KRaftVersion::Static);
    assert!(loaded.replay.voters().is_none() && loaded.snapshots.is_empty());
    assert_eq!((loaded.log_end, loaded.last_epoch, loaded.torn_bytes), (66, 2, 0));
}

#[test]
fn a_dynamic_quorums_snapshot_and_log_are_read() {
    let loaded = loaded("dynamic");
    let image = loaded.replay.image();
    check_topics("dynamic", image);
    check_configs(image);
    check_rest(image);
    assert_eq!(image.features.kraft_version, KRaftVersion::Dynamic);
    let voters = loaded.replay.voters().expect("in the snapshot");
    assert_eq!(voters.ids().collect::<Vec<_>>(), [1]);
    assert_eq!(loaded.snapshots.len(), 2);
    assert_eq!((loaded.log_end, loaded.last_epoch), (68, 2));
}

#[test]
fn the_log_alone_gives_what_snapshot_and_log_give() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let source = fixture("dynamic").join("__cluster_metadata-0");
    let name = "00000000000000000000.log";
    std::fs::copy(source.join(name), dir.path().join(name)).expect("copied");
    let from_log = load(&StdDisk, dir.path(), &"4L6g3nShT-eMCtK--X86sw".into()).expect("read");
    assert_eq!(from_log.replay.image(), loaded("dynamic").replay.image());
    assert_eq!(from_log.replay.voters(), loaded("dynamic").replay.voters());
}

#[test]
fn votes_and_bootstrap_records_are_read() {
    for kind in ["static", "dynamic"] {
        let election = quorum_state::read(&StdDisk, &fixture(kind).join("__cluster_metadata-0"))
            .expect("readable")
            .expect("there");
        assert_eq!((election.epoch, election.leader, election.voted), (2, Some(1), None));
        let records = bootstrap::read(&StdDisk, &fixture(kind)).expect("readable").expect("there");
        assert_eq!(records, bootstrap::Bootstrap::default());
    }
}

#[test]
fn a_torn_end_is_left_out() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("00000000000000000000.log");
    let whole = std::fs::read(fixture("static").join("__cluster_metadata-0/00000000000000000000.log"))
        .expect("fixture");
    for cut in [1, 30, 60, 86] {
        let kept = whole.len() - cut;
        std::fs::write(&path, &whole[..kept]).expect("written");
        let loaded = load(&StdDisk, dir.path(), &"c".into()).expect("the rest is whole");
        assert_eq!(loaded.log_end, 65, "{cut} bytes cut off");
        assert!(loaded.torn_bytes > 0);
    }
    let mut flipped = whole;
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    std::fs::write(&path, &flipped).expect("written");
    let loaded = load(&StdDisk, dir.path(), &"c".into()).expect("the rest is whole");
    assert_eq!((loaded.log_end, loaded.torn_bytes), (65, 87));
}

/// Values of all records that Apache wrote here.
fn values() -> Vec<Bytes> {
    let mut values = Vec::new();
    for kind in ["static", "dynamic"] {
        for entry in std::fs::read_dir(fixture(kind).join("__cluster_metadata-0")).expect("fixture") {
            let path = entry.expect("fixture").path();
            if !matches!(path.extension().and_then(|ext| ext.to_str()), Some("log" | "checkpoint")) {
                continue;
            }
            for batch in batches(&Bytes::from(std::fs::read(path).expect("fixture"))) {
                let batch = batch.expect("whole");
                if !batch.header.is_control() {
                    let records = batch.records().expect("uncompressed");
                    values.extend(records.filter_map(|record| record.expect("whole").value));
                }
            }
        }
    }
    values
}

#[test]
fn apaches_records_are_written_again_byte_for_byte() {
    let values = values();
    assert!(values.len() > 100);
    for value in values {
        let record = VersionedRecord::decode(value.clone()).expect("read");
        assert_eq!(record.encode().expect("written"), value, "{record:?}");
    }
}

#[test]
fn damaged_records_are_errors_not_panics() {
    let values = values();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).expect("31 bits")
    };
    let mut image = MetadataImage::empty("c".into());
    let mut decoded = 0;
    for _ in 0..20_000 {
        let mut value = values[next() % values.len()].to_vec();
        for _ in 0..=next() % 3 {
            match next() % 4 {
                0 if value.len() > 1 => value.truncate(next() % value.len()),
                1 => value.push(u8::try_from(next() % 256).expect("a byte")),
                _ => {
                    let at = next() % value.len().max(1);
                    if let Some(byte) = value.get_mut(at) {
                        *byte = u8::try_from(next() % 256).expect("a byte");
                    }
                }
            }
        }
        if let Ok(record) = VersionedRecord::decode(Bytes::from(value)) {
            decoded += 1;
            // Whether it fits does not matter here.
            let _ = image.apply(&record.record);
            let _ = record.encode();
        }
        if image.topics.len() > 1000 {
            image = MetadataImage::empty("c".into());
        }
    }
    assert!(decoded > 1000, "mutations reach beyond the frame");
    for record in image.to_records() {
        let _ = record.encode();
    }
}
