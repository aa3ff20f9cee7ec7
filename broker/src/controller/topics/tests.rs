//! Creation, growth and deletion, with Kafka's answers.

use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use ottla_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use ottla_wire::{ErrorCode, Uuid};
use proptest::prelude::*;

use super::placement::place;
use super::*;
use crate::controller::registration::BrokerRegistration;
use crate::controller::tests::{
    apply, cluster, directory, fence_broker, register_broker, unfence_broker, uuid,
};

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor, ..Default::default() }
}

fn assigned(name: &str, replicas: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = replicas.iter().map(|(index, ids)| CreatableReplicaAssignment {
        partition_index: *index,
        broker_ids: ids.to_vec(),
        ..Default::default()
    });
    CreatableTopic { assignments: assignments.collect(), ..topic(name, -1, -1) }
}

fn configured(name: &str, key: &str, value: Option<&str>) -> CreatableTopic {
    let config =
        CreatableTopicConfig { name: key.into(), value: value.map(Into::into), ..Default::default() };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

fn create_with(image: &mut MetadataImage, request: &CreateTopicsRequest) -> Vec<CreatableTopicResult> {
    let config = Config::default_single_node();
    let mut next = u8::try_from(image.topics.len() * 2).expect("few topics");
    let mut fresh_id = || {
        next += 1;
        Ok(uuid(next))
    };
    let mut context = Context { config: &config, fresh_id: &mut fresh_id, charge: &mut |_| Ok(()) };
    let decision = create_topics(image, request, &mut context);
    apply(image, &decision.records);
    decision.response.topics
}

fn create(image: &mut MetadataImage, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    create_with(image, &CreateTopicsRequest { topics, ..Default::default() })
}

fn code(result: &CreatableTopicResult) -> ErrorCode {
    ErrorCode::try_from(result.error_code).expect("a code")
}

#[test]
fn a_topic_is_made_with_partitions_configs_and_id() {
    let mut image = cluster(&[1]);
    let wanted =
        CreatableTopic { num_partitions: 3, ..configured("orders", "cleanup.policy", Some("compact")) };
    let results = create(&mut image, vec![wanted]);
    let result = &results[0];
    assert_eq!((code(result), result.num_partitions, result.replication_factor), (ErrorCode::None, 3, 1));
    let made = image.topics.by_name("orders").expect("made");
    assert_eq!((made.id, made.partitions.len()), (result.topic_id, 3));
    let partition = &made.partitions[&2];
    assert_eq!((partition.leader, partition.leader_epoch, &*partition.isr), (1, 0, &[1][..]));
    assert_eq!(partition.directories, [uuid(9)], "the broker has one directory");
    let configs = result.configs.as_ref().expect("always told");
    let policy = configs.iter().find(|config| &*config.name == "cleanup.policy").expect("known");
    assert_eq!((policy.value.as_deref(), policy.config_source), (Some("compact"), 1));
    assert_eq!(configs.len(), 33, "as many as Kafka tells");
}

#[test]
fn minus_one_asks_for_defaults() {
    let mut image = cluster(&[1]);
    let results = create(&mut image, vec![topic("d", -1, -1)]);
    assert_eq!((results[0].num_partitions, results[0].replication_factor), (1, 1));
}

#[test]
fn validation_alone_changes_nothing() {
    let mut image = cluster(&[1]);
    let before = image.clone();
    let request =
        CreateTopicsRequest { topics: vec![topic("v", 2, 1)], validate_only: true, ..Default::default() };
    let results = create_with(&mut image, &request);
    assert_eq!((code(&results[0]), results[0].num_partitions), (ErrorCode::None, 2));
    assert_eq!(image, before);
}

/// Kafka's own bound is on records, so that it refuses one topic of 10,000 partitions and these thousand.
#[test]
fn one_request_makes_ten_thousand_partitions() {
    let few = |index| topic(&format!("few-{index}"), 10, 1);
    let config = Config::default_single_node();
    for topics in [vec![topic("many", 10_000, 1)], (0..1000).map(few).collect()] {
        let mut image = cluster(&[1]);
        let mut next = 0_u128;
        let mut fresh_id = || {
            next += 1;
            Ok(Uuid::from_bytes((1 << 64 | next).to_be_bytes()))
        };
        let mut context = Context { config: &config, fresh_id: &mut fresh_id, charge: &mut |_| Ok(()) };
        let request = CreateTopicsRequest { topics, ..Default::default() };
        let decision = create_topics(&image, &request, &mut context);
        assert!(decision.response.topics.iter().all(|result| code(result) == ErrorCode::None));
        apply(&mut image, &decision.records);
        assert_eq!(image.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 10_000);
        let request = CreateTopicsRequest {
            topics: vec![topic("a", 5000, 1), topic("b", 5001, 1)],
            ..Default::default()
        };
        let results = create_topics(&image, &request, &mut context).response.topics;
        assert!(results.iter().all(|result| code(result) == ErrorCode::PolicyViolation));
    }
}

#[test]
fn what_cannot_be_made_is_refused_with_kafkas_codes() {
    use ErrorCode as E;
    let mut image = cluster(&[1]);
    create(&mut image, vec![topic("a", 1, 1), topic("x.y", 1, 1)]);
    let before = image.clone();
    let long = "x".repeat(250);
    let cases: Vec<(CreatableTopic, ErrorCode)> = vec![
        (topic("a", 1, 1), E::TopicAlreadyExists),
        (topic("", 1, 1), E::InvalidTopicException),
        (topic(".", 1, 1), E::InvalidTopicException),
        (topic("..", 1, 1), E::InvalidTopicException),
        (topic(&long, 1, 1), E::InvalidTopicException),
        (topic("a b", 1, 1), E::InvalidTopicException),
        (topic("ä", 1, 1), E::InvalidTopicException),
        (topic("x_y", 1, 1), E::InvalidTopicException),
        (topic("__cluster_metadata", 1, 1), E::InvalidRequest),
        (topic("r", 1, 0), E::InvalidReplicationFactor),
        (topic("r", 1, -2), E::InvalidReplicationFactor),
        (topic("r", 1, 3), E::InvalidReplicationFactor),
        (topic("r", 0, 1), E::InvalidPartitions),
        (topic("r", -2, 1), E::InvalidPartitions),
        (topic("r", 10_001, 1), E::PolicyViolation),
        (topic("r", i32::MAX, 1), E::PolicyViolation),
        (configured("r", "nope", Some("1")), E::InvalidConfig),
        (configured("r", "retention.ms", Some("x")), E::InvalidConfig),
        (configured("r", "retention.ms", None), E::InvalidConfig),
        (CreatableTopic { num_partitions: 1, ..assigned("r", &[(0, &[1])]) }, E::InvalidRequest),
        (CreatableTopic { replication_factor: 1, ..assigned("r", &[(0, &[1])]) }, E::InvalidRequest),
        (assigned("r", &[(0, &[9])]), E::InvalidReplicaAssignment),
        (assigned("r", &[(0, &[1, 1])]), E::InvalidReplicaAssignment),
        (assigned("r", &[(0, &[])]), E::InvalidReplicaAssignment),
        (assigned("r", &[(0, &[1]), (2, &[1])]), E::InvalidReplicaAssignment),
        (assigned("r", &[(0, &[1]), (0, &[1])]), E::InvalidReplicaAssignment),
    ];
    for (wanted, expected) in cases {
        let results = create(&mut image, vec![wanted.clone()]);
        assert_eq!(code(&results[0]), expected, "{wanted:?}: {:?}", results[0].error_message);
        assert!(results[0].error_message.as_ref().is_some_and(|message| !message.is_empty()));
        assert_eq!(image, before);
    }
}

#[test]
fn one_bad_topic_does_not_hold_up_the_others() {
    let mut image = cluster(&[1]);
    let results =
        create(&mut image, vec![topic("a", 1, 1), topic("b", 0, 1), topic("c", 1, 1), topic("c", 1, 1)]);
    let codes: Vec<_> = results.iter().map(|result| (&*result.name, code(result))).collect();
    assert_eq!(
        codes,
        [("a", ErrorCode::None), ("b", ErrorCode::InvalidPartitions), ("c", ErrorCode::InvalidRequest)]
    );
    assert_eq!(image.topics.len(), 1);
}

#[test]
fn assignments_by_hand_are_obeyed() {
    let mut image = cluster(&[1, 2, 3]);
    let results = create(&mut image, vec![assigned("a", &[(1, &[3, 1]), (0, &[2, 3])])]);
    assert_eq!((results[0].num_partitions, results[0].replication_factor), (2, 2));
    assert_eq!(image.partition("a", 0).map(|p| (p.leader, p.replicas.clone())), Some((2, vec![2, 3])));
    assert_eq!(image.partition("a", 1).map(|p| (p.leader, p.replicas.clone())), Some((3, vec![3, 1])));
}

#[test]
fn fenced_brokers_hold_replicas_and_are_not_in_sync() {
    let mut image = cluster(&[1, 2]);
    let fenced = fence_broker(&image, 2, 12).expect("registered");
    apply(&mut image, &fenced.records);
    create(&mut image, vec![topic("a", 1, 2)]);
    let partition = image.partition("a", 0).expect("made");
    assert_eq!((partition.leader, &*partition.replicas, &*partition.isr), (1, &[1, 2][..], &[1][..]));
}

#[test]
fn replicas_are_spread_over_racks() {
    let mut image = cluster(&[1, 2, 3, 4]);
    for id in [1, 2, 3, 4] {
        let racked = BrokerRegistration {
            id,
            incarnation_id: uuid(2),
            endpoints: Vec::new(),
            rack: Some(if id < 3 { "a".into() } else { "b".into() }),
            log_dirs: vec![directory(id)],
            previous_epoch: -1,
        };
        let registered = register_broker(&image, &racked, i64::from(id) + 100);
        apply(&mut image, &registered.records);
        let unfenced = unfence_broker(&image, id, registered.response).expect("registered");
        apply(&mut image, &unfenced.records);
    }
    create(&mut image, vec![topic("t", 8, 2)]);
    for partition in image.topics.by_name("t").expect("made").partitions.values() {
        let racks: Vec<_> = partition.replicas.iter().map(|id| *id < 3).collect();
        assert_ne!(racks[0], racks[1], "{:?}", partition.replicas);
    }
}

fn grow(
    image: &mut MetadataImage,
    name: &str,
    count: i32,
    assignments: Option<&[&[i32]]>,
    validate_only: bool,
) -> ErrorCode {
    let assignments = assignments.map(|lists| {
        let one =
            |ids: &&[i32]| CreatePartitionsAssignment { broker_ids: ids.to_vec(), ..Default::default() };
        lists.iter().map(one).collect()
    });
    let wanted = CreatePartitionsTopic { name: name.into(), count, assignments, ..Default::default() };
    let request = CreatePartitionsRequest {
        topics: vec![wanted],
        timeout_ms: 5000,
        validate_only,
        ..Default::default()
    };
    let decision = create_partitions(image, &request, &mut |_| Ok(()));
    apply(image, &decision.records);
    ErrorCode::try_from(decision.response.results[0].error_code).expect("a code")
}

#[test]
fn topics_grow_and_never_shrink() {
    use ErrorCode as E;
    let mut image = cluster(&[1]);
    create(&mut image, vec![topic("a", 2, 1)]);
    assert_eq!(grow(&mut image, "a", 3, None, true), E::None);
    assert_eq!(image.topics.by_name("a").map(|t| t.partitions.len()), Some(2));
    assert_eq!(grow(&mut image, "a", 3, None, false), E::None);
    assert_eq!(grow(&mut image, "a", 4, Some(&[&[1]]), false), E::None);
    assert_eq!(image.topics.by_name("a").map(|t| t.partitions.len()), Some(4));
    for (name, count, assignments, expected) in [
        ("a", 4, None, E::InvalidPartitions),
        ("a", 1, None, E::InvalidPartitions),
        ("a", -1, None, E::InvalidPartitions),
        ("nope", 2, None, E::UnknownTopicOrPartition),
        ("a", 6, Some(&[&[1][..]][..]), E::InvalidReplicaAssignment),
        ("a", 5, Some(&[&[1, 1][..]][..]), E::InvalidReplicaAssignment),
        ("a", 5, Some(&[&[3][..]][..]), E::InvalidReplicaAssignment),
        ("a", i32::MAX, None, E::PolicyViolation),
    ] {
        assert_eq!(grow(&mut image, name, count, assignments, false), expected, "{name} {count}");
    }
    assert_eq!(image.topics.by_name("a").map(|t| t.partitions.len()), Some(4));
}

fn delete(image: &mut MetadataImage, topics: &[(Option<&str>, Uuid)]) -> Vec<ErrorCode> {
    let topics = topics.iter().map(|(name, id)| DeleteTopicState {
        name: name.map(Into::into),
        topic_id: *id,
        ..Default::default()
    });
    let request = DeleteTopicsRequest { topics: topics.collect(), ..Default::default() };
    let decision = delete_topics(image, &request, true, &mut |_| Ok(()));
    apply(image, &decision.records);
    let code = |code: i16| ErrorCode::try_from(code).expect("a code");
    decision.response.responses.iter().map(|response| code(response.error_code)).collect()
}

#[test]
fn topics_are_deleted_by_name_or_id() {
    use ErrorCode as E;
    let mut image = cluster(&[1]);
    let made = create(&mut image, vec![topic("a", 1, 1), topic("b", 1, 1), topic("c", 1, 1)]);
    let (a, b) = (made[0].topic_id, made[1].topic_id);
    assert_eq!(delete(&mut image, &[(None, Uuid::ZERO)]), [E::InvalidRequest]);
    assert_eq!(delete(&mut image, &[(Some("a"), a)]), [E::InvalidRequest]);
    assert_eq!(delete(&mut image, &[(None, a), (None, a)]), [E::InvalidRequest]);
    assert_eq!(delete(&mut image, &[(None, a), (Some("a"), Uuid::ZERO)]), [E::InvalidRequest]);
    assert_eq!(delete(&mut image, &[(Some("nope"), Uuid::ZERO)]), [E::UnknownTopicOrPartition]);
    assert_eq!(delete(&mut image, &[(None, uuid(200))]), [E::UnknownTopicId]);
    assert_eq!(image.topics.len(), 3);
    assert_eq!(delete(&mut image, &[(Some("a"), Uuid::ZERO), (None, b)]), [E::None, E::None]);
    assert_eq!(image.topics.iter().map(|t| t.name.to_string()).collect::<Vec<_>>(), ["c"]);
    let request = DeleteTopicsRequest { topic_names: vec!["c".into()], ..Default::default() };
    let disabled = delete_topics(&image, &request, false, &mut |_| Ok(()));
    assert!(disabled.records.is_empty());
    assert_eq!(disabled.response.responses[0].error_code, E::TopicDeletionDisabled.code());
    assert_eq!(delete_topics(&image, &request, true, &mut |_| Ok(())).records.len(), 1);
}

#[test]
fn defaults_of_new_topics_are_the_brokers() {
    let mut image = cluster(&[1, 2]);
    let config = Config::from_overrides(&[("num.partitions", "4"), ("default.replication.factor", "2")])
        .expect("valid");
    let mut fresh_id = || Ok(uuid(1));
    let mut context = Context { config: &config, fresh_id: &mut fresh_id, charge: &mut |_| Ok(()) };
    let request = CreateTopicsRequest { topics: vec![topic("d", -1, -1)], ..Default::default() };
    let decision = create_topics(&image, &request, &mut context);
    apply(&mut image, &decision.records);
    let made = image.topics.by_name("d").expect("made");
    assert_eq!((made.partitions.len(), made.partitions[&0].replicas.len()), (4, 2));
}

proptest! {
    #[test]
    fn placement_is_even_and_without_repetition(brokers in 1..8usize, count in 1..40usize, start: usize) {
        let ids: Vec<i32> = (1..).take(brokers).collect();
        let image = cluster(&ids);
        for replication_factor in 1..=brokers {
            let placed = place(&image, count, replication_factor, start).expect("enough brokers");
            prop_assert_eq!(placed.len(), count);
            let mut led = vec![0usize; brokers + 1];
            for replicas in &placed {
                prop_assert_eq!(replicas.len(), replication_factor);
                let distinct: std::collections::BTreeSet<_> = replicas.iter().collect();
                prop_assert_eq!(distinct.len(), replication_factor);
                led[usize::try_from(replicas[0]).expect("an id")] += 1;
            }
            let (least, most) = (led[1..].iter().min(), led[1..].iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
        }
    }
}

fn racked(racks: &[(i32, &'static str)]) -> MetadataImage {
    let mut image = cluster(&[]);
    for (id, rack) in racks {
        let broker = BrokerRegistration {
            id: *id,
            incarnation_id: uuid(2),
            endpoints: Vec::new(),
            rack: Some((*rack).into()),
            log_dirs: vec![directory(*id)],
            previous_epoch: -1,
        };
        let registered = register_broker(&image, &broker, i64::from(*id) + 100);
        apply(&mut image, &registered.records);
        let unfenced = unfence_broker(&image, *id, registered.response).expect("registered");
        apply(&mut image, &unfenced.records);
    }
    image
}

fn set_fenced(image: &mut MetadataImage, id: i32) {
    let epoch = image.broker(id).map_or(-1, |broker| broker.epoch);
    let fenced = fence_broker(image, id, epoch).expect("registered");
    apply(image, &fenced.records);
}

#[test]
fn a_fenced_broker_never_leads_and_stands_in_for_its_rack() {
    let mut image = racked(&[(1, "a"), (2, "b"), (3, "b"), (4, "b")]);
    set_fenced(&mut image, 1);
    for seed in 0..50 {
        for replicas in place(&image, 7, 2, seed).expect("enough brokers") {
            assert!(replicas[0] != 1 && replicas[1] == 1, "one replica in each rack: {replicas:?}");
        }
    }
    set_fenced(&mut image, 4);
    for seed in 0..50 {
        for replicas in place(&image, 7, 3, seed).expect("enough brokers") {
            assert!(!replicas.contains(&4), "within a rack fenced brokers come last: {replicas:?}");
        }
    }
}

#[test]
fn brokers_that_stop_or_have_all_directories_cordoned_get_no_partitions() {
    let mut image = racked(&[(1, "a"), (2, "b"), (3, "c")]);
    let change = |id: i32| ottla_wire::records::metadata::BrokerRegistrationChangeRecord {
        broker_id: id,
        broker_epoch: i64::from(id) + 100,
        ..Default::default()
    };
    let mut stopping = change(1);
    stopping.in_controlled_shutdown = 1;
    let mut cordoned = change(2);
    cordoned.cordoned_log_dirs = Some(vec![directory(2)]);
    apply(&mut image, &[stopping.into(), cordoned.into()]);
    assert_eq!(place(&image, 2, 1, 5), Ok(vec![vec![3], vec![3]]));
    assert!(place(&image, 1, 2, 5).is_err());
    set_fenced(&mut image, 3);
    assert_eq!(place(&image, 1, 1, 5), Err(super::placement::PlacementError::AllFenced));
}

#[test]
fn the_same_brokers_are_not_together_for_ever() {
    let image = racked(&[(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")]);
    let pairs: std::collections::BTreeSet<_> =
        place(&image, 600, 3, 7).expect("enough brokers").into_iter().map(|it| (it[0], it[1])).collect();
    assert_eq!(pairs.len(), 24, "each leader with everybody of the other racks");
}
