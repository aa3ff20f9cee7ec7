//! What records mean, and that snapshots lose nothing.

use bytes::Bytes;
use ottla_wire::records::metadata::*;
use proptest::prelude::*;

use super::*;
use crate::record::UnknownRecord;

fn id(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

fn name(n: u8) -> Str {
    Str::from(format!("topic-{n}"))
}

fn at_latest() -> MetadataImage {
    let mut image = MetadataImage::empty("cluster".into());
    image.apply(&feature("metadata.version", 30)).expect("a level");
    image
}

fn feature(name: &str, level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.into(), feature_level: level, ..Default::default() }.into()
}

fn topic(n: u8) -> MetadataRecord {
    TopicRecord { name: name(n), topic_id: id(n), ..Default::default() }.into()
}

fn partition(topic: u8, index: i32, replicas: &[i32]) -> MetadataRecord {
    PartitionRecord {
        partition_id: index,
        topic_id: id(topic),
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        leader: replicas.first().copied().unwrap_or(-1),
        leader_epoch: 0,
        partition_epoch: 0,
        directories: replicas.iter().map(|replica| id(u8::try_from(*replica).unwrap_or(0))).collect(),
        ..Default::default()
    }
    .into()
}

fn config(kind: i8, resource: &str, key: &str, value: Option<&str>) -> MetadataRecord {
    ConfigRecord {
        resource_type: kind,
        resource_name: resource.into(),
        name: key.into(),
        value: value.map(Str::from),
        ..Default::default()
    }
    .into()
}

fn applied(records: &[MetadataRecord]) -> MetadataImage {
    let mut image = at_latest();
    for record in records {
        image.apply(record).expect("fits");
    }
    image
}

fn from_snapshot(image: &MetadataImage) -> MetadataImage {
    let mut copy = MetadataImage::empty(image.cluster_id.clone());
    copy.provenance = image.provenance;
    copy.set_kraft_version(image.features.kraft_version);
    for record in image.to_records() {
        let bytes = record.encode().expect("written by us");
        let decoded = VersionedRecord::decode(bytes).expect("read by us");
        assert_eq!(decoded, record);
        copy.apply(&decoded.record).expect("fits");
    }
    copy
}

#[test]
fn a_partition_change_bumps_epochs() {
    let change = PartitionChangeRecord {
        partition_id: 0,
        topic_id: id(1),
        isr: Some(vec![2]),
        leader: 2,
        ..Default::default()
    };
    let image = applied(&[topic(1), partition(1, 0, &[1, 2]), change.clone().into()]);
    let changed = image.partition("topic-1", 0).expect("there");
    assert_eq!((changed.leader, changed.leader_epoch, changed.partition_epoch), (2, 1, 1));
    assert_eq!((changed.isr.as_slice(), changed.replicas.as_slice()), (&[2][..], &[1, 2][..]));

    let shrink = PartitionChangeRecord { leader: -2, ..change };
    let image = applied(&[topic(1), partition(1, 0, &[1, 2]), shrink.into()]);
    let changed = image.partition("topic-1", 0).expect("there");
    assert_eq!((changed.leader, changed.leader_epoch, changed.partition_epoch), (1, 0, 1));
}

#[test]
fn other_replicas_need_other_directories_except_where_nobody_ever_named_any() {
    let moved = |replicas: &[i32], directories: Option<Vec<Uuid>>| -> MetadataRecord {
        PartitionChangeRecord {
            partition_id: 0,
            topic_id: id(1),
            replicas: Some(replicas.to_vec()),
            directories,
            ..Default::default()
        }
        .into()
    };
    let directories =
        |image: &MetadataImage| image.partition("topic-1", 0).expect("there").directories.clone();
    let named = applied(&[topic(1), partition(1, 0, &[1, 2])]);
    let mut image = named.clone();
    assert!(matches!(image.apply(&moved(&[3], None)), Err(ApplyError::Directories { .. })));
    assert_eq!(image, named);
    image.apply(&moved(&[2, 1], None)).expect("as many");
    assert_eq!(directories(&image), [id(1), id(2)], "as the record says, in Kafka too");
    image.apply(&moved(&[3], Some(vec![id(3)]))).expect("fits");
    assert_eq!(directories(&image), [id(3)]);
    let migrating = vec![directory_id::MIGRATING; 3];
    image.apply(&moved(&[1, 2, 3], Some(migrating.clone()))).expect("fits");
    assert_eq!(directories(&image), migrating);
    image.apply(&moved(&[1], None)).expect("no directory was ever named");
    assert_eq!(directories(&image), [directory_id::MIGRATING]);
}

#[test]
fn a_directory_is_online_if_the_broker_registered_it_or_it_is_none_in_particular() {
    let broker = |log_dirs: Vec<Uuid>, cordoned: Option<Vec<Uuid>>| {
        let record = RegisterBrokerRecord {
            broker_id: 1,
            log_dirs,
            cordoned_log_dirs: cordoned,
            ..Default::default()
        };
        (**applied(&[record.into()]).broker(1).expect("registered")).clone()
    };
    let one = broker(vec![id(1)], None);
    assert!(one.has_online(id(1)) && !one.has_online(id(2)));
    assert!(one.has_online(directory_id::UNASSIGNED) && one.has_online(directory_id::MIGRATING));
    assert!(!one.has_online(directory_id::LOST));
    assert!(broker(Vec::new(), None).has_online(id(1)), "from before directories had ids");
    assert!(one.takes_partitions() && broker(vec![id(1)], Some(Vec::new())).takes_partitions());
    assert!(broker(vec![id(1), id(2)], Some(vec![id(1)])).takes_partitions());
    assert!(!broker(vec![id(1), id(2)], Some(vec![id(2), id(1)])).takes_partitions());
}

#[test]
fn a_removed_topic_takes_its_configs_along() {
    let image = applied(&[
        topic(1),
        config(2, "topic-1", "retention.ms", Some("5")),
        config(4, "", "log.retention.ms", Some("6")),
        RemoveTopicRecord { topic_id: id(1), ..Default::default() }.into(),
    ]);
    assert!(image.topics.is_empty() && image.topics.by_id(&id(1)).is_none());
    assert!(image.configs.topic("topic-1").is_empty());
    assert_eq!(image.configs.default_broker().get("log.retention.ms").map(|v| &**v), Some("6"));
}

#[test]
fn a_config_without_value_is_unset() {
    let set = config(2, "a", "k", Some("v"));
    let image = applied(&[set.clone(), config(2, "a", "k", None), config(2, "b", "k", None)]);
    assert_eq!(image.configs.iter().count(), 0);
    assert_eq!(applied(&[set]).configs.iter().count(), 1);
}

#[test]
fn published_images_do_not_change() {
    let mut image = applied(&[topic(1), partition(1, 0, &[1])]);
    let published = image.clone();
    let change = PartitionChangeRecord { topic_id: id(1), partition_id: 0, leader: -1, ..Default::default() };
    image.apply(&change.into()).expect("fits");
    assert_eq!(published.partition("topic-1", 0).map(|p| p.leader), Some(1));
    assert_eq!(image.partition("topic-1", 0).map(|p| p.leader), Some(-1));
}

#[test]
fn records_that_do_not_fit_change_nothing() {
    let mut image = applied(&[topic(1), partition(1, 0, &[1])]);
    let before = image.clone();
    let unfit: [MetadataRecord; 6] = [
        topic(1),
        partition(9, 0, &[1]),
        PartitionChangeRecord { topic_id: id(1), partition_id: 7, ..Default::default() }.into(),
        PartitionChangeRecord {
            topic_id: id(1),
            partition_id: 0,
            directories: Some(vec![id(1), id(2)]),
            ..Default::default()
        }
        .into(),
        FenceBrokerRecord { id: 1, epoch: 1, ..Default::default() }.into(),
        EndTransactionRecord::default().into(),
    ];
    for record in unfit {
        assert!(image.apply(&record).is_err(), "{record:?}");
        assert_eq!(image, before, "{record:?}");
    }
}

#[test]
fn old_partitions_get_migrating_directories() {
    let record =
        PartitionRecord { topic_id: id(1), partition_id: 0, replicas: vec![1, 2], ..Default::default() };
    let image = applied(&[topic(1), record.into()]);
    let partition = image.partition("topic-1", 0).expect("there");
    assert_eq!(partition.directories, [directory_id::MIGRATING; 2]);
}

#[test]
fn registrations_follow_changes_of_their_epoch_only() {
    let register = RegisterBrokerRecord { broker_id: 1, broker_epoch: 5, fenced: true, ..Default::default() };
    let unfence =
        BrokerRegistrationChangeRecord { broker_id: 1, broker_epoch: 5, fenced: -1, ..Default::default() };
    let mut image = applied(&[register.into(), unfence.clone().into()]);
    assert!(image.active_broker(1).is_some());
    let stale = BrokerRegistrationChangeRecord { broker_epoch: 4, fenced: 1, ..unfence };
    assert!(image.apply(&stale.into()).is_err());
    let shutdown = BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch: 5,
        in_controlled_shutdown: 1,
        ..Default::default()
    };
    image.apply(&shutdown.into()).expect("fits");
    assert!(image.active_broker(1).is_none());
}

#[test]
fn what_a_level_cannot_express_is_left_out_of_its_snapshots() {
    let mut image = applied(&[topic(1), partition(1, 0, &[1])]);
    image.apply(&feature("metadata.version", 16)).expect("a level");
    let records = image.to_records();
    let version = |name: &str| records.iter().find(|r| r.record.name() == name).map(|r| r.version);
    assert_eq!(version("PartitionRecord"), Some(0));
    assert!(records.iter().all(|record| record.encode().is_ok()));
}

/// Records over few ids, so that they often meet.
fn any_record() -> impl Strategy<Value = MetadataRecord> {
    let n = 0..4u8;
    let broker = 0..3i32;
    let epoch = 0..2i64;
    let key = prop_oneof![Just("retention.ms"), Just("cleanup.policy")];
    prop_oneof![
        n.clone().prop_map(topic),
        (n.clone(), 0..3i32, prop::collection::vec(0..3i32, 1..3)).prop_map(|(t, p, r)| partition(t, p, &r)),
        (n.clone(), 0..3i32, -2..3i32, prop::option::of(prop::collection::vec(0..3i32, 0..3))).prop_map(
            |(t, p, leader, isr)| PartitionChangeRecord {
                topic_id: id(t),
                partition_id: p,
                leader,
                isr: isr.clone(),
                eligible_leader_replicas: isr,
                ..Default::default()
            }
            .into()
        ),
        n.clone().prop_map(|t| RemoveTopicRecord { topic_id: id(t), ..Default::default() }.into()),
        n.clone().prop_map(|t| ClearElrRecord { topic_name: name(t), ..Default::default() }.into()),
        (n.clone(), key, prop::option::of("[a-z]{0,3}")).prop_map(|(t, k, v)| config(
            2,
            &name(t),
            k,
            v.as_deref()
        )),
        (
            broker.clone(),
            epoch.clone(),
            any::<bool>(),
            prop::option::of(prop::collection::vec(n.clone(), 0..2))
        )
            .prop_map(|(b, e, fenced, cordoned)| RegisterBrokerRecord {
                broker_id: b,
                broker_epoch: e,
                fenced,
                rack: fenced.then(|| "r".into()),
                log_dirs: vec![id(1)],
                cordoned_log_dirs: cordoned.map(|dirs| dirs.into_iter().map(id).collect()),
                end_points: vec![register_broker_record::BrokerEndpoint {
                    name: "PLAINTEXT".into(),
                    host: "h".into(),
                    port: 9092,
                    ..Default::default()
                }],
                ..Default::default()
            }
            .into()),
        (broker.clone(), epoch.clone(), -1..2i8, 0..2i8).prop_map(|(b, e, fenced, shutdown)| {
            BrokerRegistrationChangeRecord {
                broker_id: b,
                broker_epoch: e,
                fenced,
                in_controlled_shutdown: shutdown,
                ..Default::default()
            }
            .into()
        }),
        (broker.clone(), epoch).prop_map(|(b, e)| UnregisterBrokerRecord {
            broker_id: b,
            broker_epoch: e,
            ..Default::default()
        }
        .into()),
        broker.prop_map(|c| RegisterControllerRecord { controller_id: c, ..Default::default() }.into()),
        (1..5000i64)
            .prop_map(|next| ProducerIdsRecord { next_producer_id: next, ..Default::default() }.into()),
        (n.clone(), any::<bool>()).prop_map(|(u, remove)| ClientQuotaRecord {
            entity: vec![client_quota_record::EntityData {
                entity_type: "user".into(),
                entity_name: (u > 0).then(|| name(u)),
                ..Default::default()
            }],
            key: "producer_byte_rate".into(),
            value: 1024.5,
            remove,
            ..Default::default()
        }
        .into()),
        n.clone().prop_map(|a| AccessControlEntryRecord { id: id(a), ..Default::default() }.into()),
        n.clone().prop_map(|a| RemoveAccessControlEntryRecord { id: id(a), ..Default::default() }.into()),
        n.clone().prop_map(|u| UserScramCredentialRecord { name: name(u), ..Default::default() }.into()),
        n.clone()
            .prop_map(|u| RemoveUserScramCredentialRecord { name: name(u), ..Default::default() }.into()),
        n.clone().prop_map(|t| DelegationTokenRecord { token_id: name(t), ..Default::default() }.into()),
        n.clone()
            .prop_map(|t| RemoveDelegationTokenRecord { token_id: name(t), ..Default::default() }.into()),
        n.prop_map(|u| MetadataRecord::Unknown(UnknownRecord {
            api_key: 999,
            version: 3,
            fields: Bytes::from(vec![u; 3]),
        })),
        Just(ZkMigrationStateRecord { zk_migration_state: 2, ..Default::default() }.into()),
        Just(NoOpRecord::default().into()),
    ]
}

proptest! {
    #[test]
    fn a_snapshot_gives_the_image_again(records in prop::collection::vec(any_record(), 0..60)) {
        let mut image = at_latest();
        for record in &records {
            let before = image.clone();
            if image.apply(record).is_err() {
                prop_assert_eq!(&image, &before, "a refused record changed something");
            }
        }
        let copy = from_snapshot(&image);
        prop_assert_eq!(&copy, &image);
        prop_assert_eq!(copy.to_records(), image.to_records());
    }
}
