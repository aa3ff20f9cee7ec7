//! Decisions on images, without a log.

use ottla_quorum::image::{ConfigResource, Endpoint, MetadataImage, NO_LEADER};
use ottla_quorum::{MetadataRecord, bootstrap};
use ottla_wire::messages::IncrementalAlterConfigsRequest;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::records::metadata::{PartitionRecord, TopicRecord};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::brokers::Brokers;
use super::configs::incremental_alter_configs;
use super::registration::{self, BrokerRegistration};
use super::view::View;
use super::{ControllerError, Decision, producer_ids};
use crate::config::Config;

pub(super) fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

pub(super) fn apply(image: &mut MetadataImage, records: &[MetadataRecord]) {
    for record in records {
        image.apply(record).expect("decisions fit the image they were made on");
    }
}

/// Registers a broker with a controller that has heard of nobody.
pub(super) fn register_broker(
    image: &MetadataImage,
    broker: &BrokerRegistration,
    next_offset: i64,
) -> Decision<i64> {
    let config = Config::default_single_node();
    let request = broker.request(image.cluster_id.clone());
    let mut brokers = Brokers::new(9000);
    registration::register_broker(&View::new(image, &config), &mut brokers, &request, 4, next_offset, 0)
        .expect("registered")
}

type Change = fn(&View<'_>, i32, i64) -> Result<Decision<()>, ControllerError>;

fn change(
    change: Change,
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    change(&View::new(image, &Config::default_single_node()), id, epoch)
}

pub(super) fn unfence_broker(
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    change(registration::unfence_broker, image, id, epoch)
}

pub(super) fn fence_broker(
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    change(registration::fence_broker, image, id, epoch)
}

fn controlled_shutdown(image: &MetadataImage, id: i32, epoch: i64) -> Result<Decision<()>, ControllerError> {
    change(registration::controlled_shutdown, image, id, epoch)
}

/// The one log directory of a broker.
pub(super) fn directory(broker: i32) -> Uuid {
    uuid(u8::try_from(broker + 8).expect("a small id"))
}

pub(super) fn registration(id: i32, incarnation: u8) -> BrokerRegistration {
    BrokerRegistration {
        id,
        incarnation_id: uuid(incarnation),
        endpoints: vec![Endpoint {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            security_protocol: 0,
        }],
        rack: None,
        log_dirs: vec![directory(id)],
        previous_epoch: -1,
    }
}

/// A cluster at the newest level with these brokers, active.
pub(super) fn cluster(brokers: &[i32]) -> MetadataImage {
    let mut image = MetadataImage::empty("cluster".into());
    let records: Vec<_> = bootstrap::Bootstrap::default().records.into_iter().map(|r| r.record).collect();
    apply(&mut image, &records);
    for id in brokers {
        let registered = register_broker(&image, &registration(*id, 1), i64::from(*id) + 10);
        apply(&mut image, &registered.records);
        let unfenced = unfence_broker(&image, *id, registered.response).expect("just registered");
        apply(&mut image, &unfenced.records);
    }
    image
}

/// A topic with one partition of these replicas, all in sync.
pub(super) fn topic(name: &str, id: u8, replicas: &[i32]) -> [MetadataRecord; 2] {
    let partition = PartitionRecord {
        topic_id: uuid(id),
        partition_id: 0,
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        leader: replicas[0],
        leader_epoch: 0,
        partition_epoch: 0,
        directories: replicas.iter().map(|id| directory(*id)).collect(),
        ..Default::default()
    };
    let topic = TopicRecord { name: name.into(), topic_id: uuid(id), ..Default::default() };
    [topic.into(), partition.into()]
}

pub(super) fn with_topic(brokers: &[i32], replicas: &[i32]) -> MetadataImage {
    let mut image = cluster(brokers);
    apply(&mut image, &topic("t", 7, replicas));
    image
}

fn leader_and_isr(image: &MetadataImage) -> (i32, i32, Vec<i32>) {
    let partition = image.partition("t", 0).expect("made before");
    (partition.leader, partition.leader_epoch, partition.isr.clone())
}

#[test]
fn a_broker_is_fenced_until_it_is_ready() {
    let image = cluster(&[]);
    let registered = register_broker(&image, &registration(1, 1), 42);
    assert_eq!(registered.response, 42, "the epoch is the offset of the record");
    let mut image = image;
    apply(&mut image, &registered.records);
    assert!(image.active_broker(1).is_none());
    let stale = unfence_broker(&image, 1, 41).expect_err("an older incarnation");
    assert!(matches!(stale, ControllerError::Refused(ErrorCode::StaleBrokerEpoch)));
    let unfenced = unfence_broker(&image, 1, 42).expect("its epoch");
    apply(&mut image, &unfenced.records);
    assert!(image.active_broker(1).is_some());
    assert!(unfence_broker(&image, 1, 42).expect("again").records.is_empty());
}

#[test]
fn shutdown_and_restart_bump_the_leader_epoch_and_keep_the_last_in_sync_replica() {
    let mut image = with_topic(&[1], &[1]);
    let leaving = controlled_shutdown(&image, 1, 11).expect("registered");
    apply(&mut image, &leaving.records);
    assert_eq!(leader_and_isr(&image), (NO_LEADER, 1, vec![1]));
    let fenced = fence_broker(&image, 1, 11).expect("registered");
    assert_eq!(fenced.records.len(), 1, "it leads nothing any more");
    apply(&mut image, &fenced.records);
    let back = register_broker(&image, &registration(1, 2), 50);
    assert_eq!(back.records.len(), 1, "nothing to take from an orderly stopped broker");
    apply(&mut image, &back.records);
    let unfenced = unfence_broker(&image, 1, 50).expect("registered");
    apply(&mut image, &unfenced.records);
    assert_eq!(leader_and_isr(&image), (1, 2, vec![1]));
}

#[test]
fn a_crashed_broker_loses_its_leadership_when_it_comes_back() {
    let mut image = with_topic(&[1], &[1]);
    let back = register_broker(&image, &registration(1, 2), 50);
    apply(&mut image, &back.records);
    assert_eq!(leader_and_isr(&image), (NO_LEADER, 1, vec![1]));
    let unfenced = unfence_broker(&image, 1, 50).expect("registered");
    apply(&mut image, &unfenced.records);
    assert_eq!(leader_and_isr(&image), (1, 2, vec![1]));
}

#[test]
fn another_replica_takes_over() {
    let mut image = with_topic(&[1, 2, 3], &[1, 2, 3]);
    let fenced = fence_broker(&image, 1, 11).expect("registered");
    apply(&mut image, &fenced.records);
    assert_eq!(leader_and_isr(&image), (2, 1, vec![2, 3]));
    let fenced = fence_broker(&image, 3, 13).expect("registered");
    apply(&mut image, &fenced.records);
    assert_eq!(leader_and_isr(&image), (2, 1, vec![2]), "the leader stays, and so does its epoch");
}

#[test]
fn producer_ids_are_given_once() {
    let mut image = cluster(&[1]);
    let config = Config::default_single_node();
    let first = producer_ids::allocate(&View::new(&image, &config), 1, 11).expect("registered");
    apply(&mut image, &first.records);
    let second = producer_ids::allocate(&View::new(&image, &config), 1, 11).expect("registered");
    assert_eq!((first.response.first, first.response.len), (0, 1000));
    assert_eq!((second.response.first, second.response.len), (1000, 1000));
    let view = View::new(&image, &config);
    assert!(producer_ids::allocate(&view, 2, 12).is_err(), "not registered");
    assert!(producer_ids::allocate(&view, 1, 10).is_err(), "another epoch");
}

fn alter(
    image: &mut MetadataImage,
    resource_type: i8,
    name: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> (ErrorCode, Option<Str>) {
    let config = Config::default_single_node();
    let configs = changes.iter().map(|(key, operation, value)| AlterableConfig {
        name: (*key).into(),
        config_operation: *operation,
        value: value.map(Str::from),
        ..Default::default()
    });
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: configs.collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let decision = incremental_alter_configs(image, &request, &config);
    apply(image, &decision.records);
    let response = &decision.response.responses[0];
    (ErrorCode::try_from(response.error_code).expect("a code"), response.error_message.clone())
}

fn topic_config(image: &MetadataImage, key: &str) -> Option<String> {
    image.configs.get(&ConfigResource::topic("t".into()))?.get(key).map(ToString::to_string)
}

#[test]
fn topic_configs_are_set_appended_subtracted_and_unset() {
    let mut image = with_topic(&[1], &[1]);
    let ok = (ErrorCode::None, None);
    assert_eq!(alter(&mut image, 2, "t", &[("retention.ms", 0, Some("5"))]), ok);
    assert_eq!(topic_config(&image, "retention.ms").as_deref(), Some("5"));
    assert_eq!(alter(&mut image, 2, "t", &[("cleanup.policy", 2, Some("compact"))]), ok);
    assert_eq!(topic_config(&image, "cleanup.policy").as_deref(), Some("delete,compact"));
    assert_eq!(alter(&mut image, 2, "t", &[("cleanup.policy", 3, Some("delete"))]), ok);
    assert_eq!(topic_config(&image, "cleanup.policy").as_deref(), Some("compact"));
    assert_eq!(alter(&mut image, 2, "t", &[("retention.ms", 1, None), ("cleanup.policy", 1, None)]), ok);
    assert_eq!(image.configs.iter().count(), 0);
}

#[test]
fn bad_changes_are_refused_with_kafkas_codes_and_change_nothing() {
    let mut image = with_topic(&[1], &[1]);
    let before = image.clone();
    type Change<'a> = (&'a str, i8, Option<&'a str>);
    let cases: [(i8, &str, Change<'_>, ErrorCode); 14] = [
        (2, "t", ("retention.ms", 0, Some("x")), ErrorCode::InvalidConfig),
        (2, "t", ("nope", 0, Some("1")), ErrorCode::InvalidConfig),
        (2, "t", ("retention.ms", 2, Some("5")), ErrorCode::InvalidConfig),
        (2, "t", ("retention.ms", 0, None), ErrorCode::InvalidRequest),
        (2, "t", ("retention.ms", 9, Some("5")), ErrorCode::InvalidRequest),
        (2, "", ("retention.ms", 0, Some("5")), ErrorCode::InvalidRequest),
        (2, "unknown", ("retention.ms", 0, Some("5")), ErrorCode::UnknownTopicOrPartition),
        (2, "a b", ("retention.ms", 0, Some("5")), ErrorCode::InvalidTopicException),
        (4, "1", ("log.dirs", 0, Some("/x")), ErrorCode::InvalidRequest),
        (4, "", ("listeners", 0, Some("PLAINTEXT://:1")), ErrorCode::InvalidRequest),
        (4, "9", ("log.cleaner.threads", 0, Some("2")), ErrorCode::InvalidRequest),
        (4, "x", ("log.cleaner.threads", 0, Some("2")), ErrorCode::InvalidRequest),
        (4, "1", ("log.cleaner.threads", 0, Some("x")), ErrorCode::InvalidRequest),
        (3, "x", ("a", 0, Some("2")), ErrorCode::InvalidRequest),
    ];
    for (kind, name, change, code) in cases {
        let (got, message) = alter(&mut image, kind, name, &[change]);
        assert_eq!(got, code, "{kind} {name} {change:?}: {message:?}");
        assert!(message.is_some_and(|message| !message.is_empty()));
        assert_eq!(image, before);
    }
    let twice = [("retention.ms", 0, Some("5")), ("retention.ms", 0, Some("6"))];
    assert_eq!(alter(&mut image, 2, "t", &twice).0, ErrorCode::InvalidRequest);
}

#[test]
fn broker_configs_are_kept_by_broker_and_for_all() {
    let mut image = with_topic(&[1], &[1]);
    let ok = (ErrorCode::None, None);
    assert_eq!(alter(&mut image, 4, "1", &[("log.cleaner.threads", 0, Some("2"))]), ok);
    assert_eq!(alter(&mut image, 4, "", &[("log.retention.ms", 0, Some("86400000"))]), ok);
    assert_eq!(image.configs.broker(1).get("log.cleaner.threads").map(|v| &**v), Some("2"));
    assert_eq!(image.configs.default_broker().get("log.retention.ms").map(|v| &**v), Some("86400000"));
}
