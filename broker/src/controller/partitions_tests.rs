//! What leaders, administrators and brokers ask about partitions: ISRs, reassignments, elections, directories.

use ottla_quorum::image::NO_LEADER;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::elect_leaders_request::TopicPartitions;
use ottla_wire::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterPartitionRequest,
    AssignReplicasToDirsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest,
    ListPartitionReassignmentsRequest, alter_configs_request, assign_replicas_to_dirs_request,
    incremental_alter_configs_request, list_partition_reassignments_request,
};
use ottla_wire::{ErrorCode, Uuid};

use super::brokers_tests::Controller;
use super::tests::{directory, uuid};
use super::{alter_partition, configs, directories, elections, elr, reassignment, replace_configs};

fn code(code: i16) -> ErrorCode {
    ErrorCode::try_from(code).expect("a code")
}

/// What the leader asks for: this ISR, with the epochs that it knows.
fn wish(controller: &Controller, n: u8, isr: &[i32]) -> AlterPartitionRequest {
    let partition = controller.image.partition(&format!("t{n}"), 0).expect("made");
    let member =
        |id: &i32| BrokerState { broker_id: *id, broker_epoch: controller.epoch(*id), ..Default::default() };
    let asked = PartitionData {
        partition_index: 0,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        new_isr_with_epochs: isr.iter().map(member).collect(),
        ..Default::default()
    };
    let topic = TopicData { topic_id: uuid(n), partitions: vec![asked], ..Default::default() };
    AlterPartitionRequest {
        broker_id: partition.leader,
        broker_epoch: controller.epoch(partition.leader),
        topics: vec![topic],
        ..Default::default()
    }
}

/// The partition's answer.
pub(super) fn alter(controller: &mut Controller, request: &AlterPartitionRequest) -> ErrorCode {
    let answer = controller.decide(|view, _, _| alter_partition::alter_partition(view, request, 3));
    match answer {
        Ok(response) => code(response.topics[0].partitions[0].error_code),
        Err(code) => code,
    }
}

pub(super) fn set_isr(controller: &mut Controller, n: u8, isr: &[i32]) -> ErrorCode {
    let request = wish(controller, n, isr);
    alter(controller, &request)
}

#[test]
fn a_leader_shrinks_and_grows_its_isr() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2, 3]);
    let request = wish(&controller, 1, &[1, 3]);
    let answer = controller
        .decide(|view, _, _| alter_partition::alter_partition(view, &request, 3))
        .expect("registered");
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch, partition.partition_epoch), (1, 0, 1));
    assert_eq!(partition.isr, [1, 3]);
    assert_eq!(set_isr(&mut controller, 1, &[1, 3, 2]), ErrorCode::None);
    assert_eq!(controller.state(1), (1, vec![1, 3, 2], vec![]));
    let offset = controller.next_offset;
    assert_eq!(set_isr(&mut controller, 1, &[1, 3, 2]), ErrorCode::None);
    assert_eq!(controller.next_offset, offset, "nothing changes");
}

#[test]
fn an_old_leader_names_members_without_epochs() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    let mut request = wish(&controller, 1, &[]);
    request.topics[0].partitions[0].new_isr = vec![1];
    let answer = controller.decide(|view, _, _| alter_partition::alter_partition(view, &request, 2));
    assert_eq!(answer.expect("registered").topics[0].partitions[0].isr, [1]);
}

#[test]
fn isrs_that_must_not_be_are_refused_with_kafkas_codes() {
    use ErrorCode as E;
    type Spoil = fn(&mut AlterPartitionRequest);
    let cases: Vec<(Spoil, E)> = vec![
        (|it| it.broker_epoch -= 1, E::StaleBrokerEpoch),
        (|it| it.broker_id = 77, E::StaleBrokerEpoch),
        (|it| it.topics[0].topic_id = uuid(99), E::UnknownTopicId),
        (|it| it.topics[0].topic_id = Uuid::ZERO, E::UnknownTopicId),
        (|it| it.topics[0].partitions[0].partition_index = 1, E::UnknownTopicOrPartition),
        (|it| it.topics[0].partitions[0].leader_epoch += 1, E::NotController),
        (|it| it.topics[0].partitions[0].partition_epoch += 1, E::NotController),
        (|it| it.topics[0].partitions[0].leader_epoch -= 1, E::FencedLeaderEpoch),
        (|it| it.topics[0].partitions[0].partition_epoch -= 1, E::InvalidUpdateVersion),
        (|it| (it.broker_id, it.broker_epoch) = (3, 13), E::InvalidRequest),
        (|it| it.topics[0].partitions[0].new_isr_with_epochs.clear(), E::InvalidRequest),
        (|it| drop(it.topics[0].partitions[0].new_isr_with_epochs.remove(0)), E::InvalidRequest),
        (|it| it.topics[0].partitions[0].new_isr_with_epochs[1].broker_id = 4, E::InvalidRequest),
        (|it| it.topics[0].partitions[0].new_isr_with_epochs[1].broker_id = 2, E::InvalidRequest),
        (|it| it.topics[0].partitions[0].leader_recovery_state = 1, E::InvalidRequest),
        (|it| it.topics[0].partitions[0].leader_recovery_state = 7, E::InvalidRequest),
        (|it| it.topics[0].partitions[0].new_isr_with_epochs[1].broker_epoch -= 1, E::IneligibleReplica),
    ];
    let mut controller = Controller::new(&[1, 2, 3, 4], &[]);
    controller.topic(1, &[1, 2, 3]);
    controller.fence(1);
    assert_eq!(controller.state(1), (2, vec![2, 3], vec![]));
    for (spoil, expected) in cases {
        let mut request = wish(&controller, 1, &[2, 3]);
        spoil(&mut request);
        let before = controller.image.clone();
        assert_eq!(alter(&mut controller, &request), expected, "{request:?}");
        assert_eq!(controller.image, before);
    }
    assert_eq!(set_isr(&mut controller, 1, &[2, 3, 1]), E::IneligibleReplica, "1 is fenced");
}

#[test]
fn a_broker_that_is_about_to_stop_joins_no_isr() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.topic(2, &[2]);
    let mut stop = controller.beat_of(2);
    stop.want_shut_down = true;
    controller.heartbeat(&stop).expect("registered");
    assert_eq!(controller.state(1), (1, vec![1], vec![]));
    assert_eq!(set_isr(&mut controller, 1, &[1, 2]), ErrorCode::IneligibleReplica);
}

#[test]
fn one_request_changes_a_partition_once() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2, 3]);
    let mut request = wish(&controller, 1, &[1, 2]);
    let again = request.topics[0].clone();
    request.topics.push(again);
    let answer = controller
        .decide(|view, _, _| alter_partition::alter_partition(view, &request, 3))
        .expect("registered");
    let codes: Vec<_> = answer.topics.iter().map(|topic| code(topic.partitions[0].error_code)).collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::InvalidUpdateVersion]);
}

#[test]
fn whoever_leads_uncleanly_recovers_before_others_join() {
    let mut controller = Controller::new(&[1, 2], &[("unclean.leader.election.enable", "true")]);
    controller.topic(1, &[1, 2]);
    assert_eq!(set_isr(&mut controller, 1, &[1]), ErrorCode::None);
    controller.fence(1);
    assert_eq!(controller.state(1), (2, vec![2], vec![]));
    controller.unfence(1);
    let mut request = wish(&controller, 1, &[2, 1]);
    request.topics[0].partitions[0].leader_recovery_state = 1;
    assert_eq!(alter(&mut controller, &request), ErrorCode::InvalidRequest);
    assert_eq!(set_isr(&mut controller, 1, &[2, 1]), ErrorCode::None, "it has recovered");
    assert_eq!(controller.image.partition("t1", 0).map(|it| it.leader_recovery_state.value()), Some(0));
}

#[test]
fn members_of_the_elr_leave_it_when_enough_are_in_sync() {
    let mut controller = Controller::new(&[1, 2, 3], &[("min.insync.replicas", "2")]).with_elr();
    controller.topic(1, &[1, 2, 3]);
    assert_eq!(set_isr(&mut controller, 1, &[1]), ErrorCode::None);
    assert_eq!(controller.state(1), (1, vec![1], vec![2, 3]));
    assert_eq!(set_isr(&mut controller, 1, &[1, 3]), ErrorCode::None);
    assert_eq!(controller.state(1), (1, vec![1, 3], vec![]));
}

fn reassign(controller: &mut Controller, n: u8, target: Option<&[i32]>, other_factor: bool) -> ErrorCode {
    let partition = ReassignablePartition {
        partition_index: 0,
        replicas: target.map(<[i32]>::to_vec),
        ..Default::default()
    };
    let topic =
        ReassignableTopic { name: format!("t{n}").into(), partitions: vec![partition], ..Default::default() };
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: other_factor,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = controller.decide(|view, _, _| Ok(reassignment::alter_reassignments(view, &request)));
    code(answer.expect("decided").responses[0].partitions[0].error_code)
}

/// Replicas, added, taken away.
fn assignment(controller: &Controller, n: u8) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let partition = controller.image.partition(&format!("t{n}"), 0).expect("made");
    (partition.replicas.clone(), partition.adding_replicas.clone(), partition.removing_replicas.clone())
}

#[test]
fn a_reassignment_ends_when_what_it_adds_is_in_sync() {
    let mut controller = Controller::new(&[1, 2, 3, 4], &[]);
    controller.topic(1, &[1, 2]);
    assert_eq!(reassign(&mut controller, 1, Some(&[3, 4]), false), ErrorCode::None);
    assert_eq!(assignment(&controller, 1), (vec![3, 4, 1, 2], vec![3, 4], vec![1, 2]));
    assert_eq!(controller.state(1), (1, vec![1, 2], vec![]));
    assert_eq!(set_isr(&mut controller, 1, &[1, 2, 3]), ErrorCode::None);
    assert_eq!(assignment(&controller, 1).1, [3, 4], "4 is not there yet");
    let epoch = controller.image.partition("t1", 0).map(|it| it.leader_epoch);
    assert_eq!(set_isr(&mut controller, 1, &[1, 2, 3, 4]), ErrorCode::NewLeaderElected);
    assert_eq!(assignment(&controller, 1), (vec![3, 4], vec![], vec![]));
    assert_eq!(controller.state(1), (3, vec![3, 4], vec![]));
    let partition = controller.image.partition("t1", 0).expect("made").clone();
    assert_eq!(Some(partition.leader_epoch), epoch.map(|epoch| epoch + 1));
    assert_eq!(partition.directories, [directory(3), directory(4)]);
}

#[test]
fn a_leader_that_stays_learns_of_the_end_by_a_new_epoch() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2]);
    assert_eq!(reassign(&mut controller, 1, Some(&[1, 3]), false), ErrorCode::None);
    assert_eq!(set_isr(&mut controller, 1, &[1, 2, 3]), ErrorCode::None);
    assert_eq!(controller.state(1), (1, vec![1, 3], vec![]));
    assert_eq!(controller.image.partition("t1", 0).map(|it| it.leader_epoch), Some(1));
}

#[test]
fn a_reassignment_is_cancelled_without_losing_anything() {
    let mut controller = Controller::new(&[1, 2, 3, 4], &[]);
    controller.topic(1, &[1, 2]);
    assert_eq!(reassign(&mut controller, 1, None, false), ErrorCode::NoReassignmentInProgress);
    reassign(&mut controller, 1, Some(&[3, 4]), false);
    set_isr(&mut controller, 1, &[1, 2, 3]);
    assert_eq!(reassign(&mut controller, 1, None, false), ErrorCode::None);
    assert_eq!(assignment(&controller, 1), (vec![1, 2], vec![], vec![]));
    assert_eq!(controller.state(1), (1, vec![1, 2], vec![]));
    reassign(&mut controller, 1, Some(&[3, 4]), false);
    set_isr(&mut controller, 1, &[1, 3]);
    controller.fence(1);
    assert_eq!(controller.state(1), (3, vec![3], vec![]));
    assert_eq!(reassign(&mut controller, 1, None, false), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(controller.state(1), (3, vec![3], vec![]), "only 3 has everything");
}

#[test]
fn another_target_counts_from_where_the_first_began() {
    let mut controller = Controller::new(&[1, 2, 3, 4, 5], &[]);
    controller.topic(1, &[1, 2]);
    reassign(&mut controller, 1, Some(&[3, 4]), false);
    assert_eq!(reassign(&mut controller, 1, Some(&[3, 5]), false), ErrorCode::None);
    assert_eq!(assignment(&controller, 1), (vec![3, 5, 1, 2], vec![3, 5], vec![1, 2]));
    assert_eq!(reassign(&mut controller, 1, Some(&[1, 2]), false), ErrorCode::None);
    assert_eq!(assignment(&controller, 1), (vec![1, 2], vec![], vec![]), "back is the same as to cancel");
}

#[test]
fn the_replication_factor_changes_only_where_that_is_allowed() {
    let mut controller = Controller::new(&[1, 2, 3, 4], &[]);
    controller.topic(1, &[1, 2]);
    assert_eq!(reassign(&mut controller, 1, Some(&[1, 2, 3]), false), ErrorCode::InvalidReplicationFactor);
    assert_eq!(reassign(&mut controller, 1, Some(&[1, 2, 3]), true), ErrorCode::None);
    assert_eq!(assignment(&controller, 1), (vec![1, 2, 3], vec![3], vec![]));
    assert_eq!(
        reassign(&mut controller, 1, Some(&[1, 2]), false),
        ErrorCode::InvalidReplicationFactor,
        "it is on its way to three"
    );
    set_isr(&mut controller, 1, &[1, 2, 3]);
    assert_eq!(assignment(&controller, 1), (vec![1, 2, 3], vec![], vec![]));
    set_isr(&mut controller, 1, &[1]);
    assert_eq!(reassign(&mut controller, 1, Some(&[1, 2]), true), ErrorCode::None);
    assert_eq!(assignment(&controller, 1).2, [3], "a smaller one waits for all that stay");
    set_isr(&mut controller, 1, &[1, 2]);
    assert_eq!(assignment(&controller, 1), (vec![1, 2], vec![], vec![]));
}

#[test]
fn targets_that_cannot_be_are_refused() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1]);
    for target in [&[][..], &[9], &[1, 1], &[2, 2]] {
        assert_eq!(
            reassign(&mut controller, 1, Some(target), true),
            ErrorCode::InvalidReplicaAssignment,
            "{target:?}"
        );
    }
    assert_eq!(reassign(&mut controller, 7, Some(&[1]), true), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn what_moves_is_listed() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2]);
    controller.topic(2, &[1, 2]);
    reassign(&mut controller, 2, Some(&[1, 3]), false);
    let list = |controller: &Controller, topics: Option<&[&str]>| {
        let topic = |name: &&str| list_partition_reassignments_request::ListPartitionReassignmentsTopics {
            name: (*name).into(),
            partition_indexes: vec![0, 5],
            ..Default::default()
        };
        let topics = topics.map(|names| names.iter().map(topic).collect());
        let request = ListPartitionReassignmentsRequest { topics, ..Default::default() };
        reassignment::list_reassignments(&controller.image, &request).topics
    };
    let all = list(&controller, None);
    assert_eq!(all, list(&controller, Some(&["t1", "t2", "t3"])));
    assert_eq!((all.len(), &*all[0].name), (1, "t2"));
    let moving = &all[0].partitions[0];
    assert_eq!(moving.replicas, [1, 3, 2]);
    assert_eq!((&*moving.adding_replicas, &*moving.removing_replicas), (&[3][..], &[2][..]));
}

fn elect(
    controller: &mut Controller,
    election_type: i8,
    topics: Option<&[&str]>,
) -> Vec<(String, i32, ErrorCode)> {
    let topic =
        |name: &&str| TopicPartitions { topic: (*name).into(), partitions: vec![0], ..Default::default() };
    let topic_partitions = topics.map(|names| names.iter().map(topic).collect());
    let request = ElectLeadersRequest { election_type, topic_partitions, ..Default::default() };
    let answer = controller.decide(|view, _, _| Ok(elections::elect_leaders(view, &request)));
    let mut results = Vec::new();
    for topic in answer.expect("decided").replica_election_results {
        for partition in &topic.partition_result {
            results.push((topic.topic.to_string(), partition.partition_id, code(partition.error_code)));
        }
    }
    results
}

#[test]
fn leaders_are_elected_on_demand() {
    use ErrorCode as E;
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.topic(2, &[1, 2]);
    controller.fence(1);
    assert_eq!(elect(&mut controller, 0, Some(&["t1"])), [("t1".into(), 0, E::PreferredLeaderNotAvailable)]);
    controller.unfence(1);
    set_isr(&mut controller, 1, &[2, 1]);
    assert_eq!(
        elect(&mut controller, 0, Some(&["t1", "t1", "t2", "t9"])),
        [
            ("t1".into(), 0, E::None),
            ("t1".into(), 0, E::None),
            ("t2".into(), 0, E::PreferredLeaderNotAvailable),
            ("t9".into(), 0, E::UnknownTopicOrPartition),
        ]
    );
    assert_eq!(controller.state(1).0, 1);
    assert_eq!(controller.image.partition("t1", 0).map(|it| it.leader_epoch), Some(2), "elected once");
    assert_eq!(elect(&mut controller, 0, Some(&["t1"])), [("t1".into(), 0, E::ElectionNotNeeded)]);
    assert_eq!(elect(&mut controller, 0, None).len(), 1, "those without need are not told");
    assert!(elect(&mut controller, 9, None).is_empty());
}

#[test]
fn an_unclean_election_on_demand_takes_whom_it_can_get() {
    use ErrorCode as E;
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.fence(2);
    controller.fence(1);
    assert_eq!(elect(&mut controller, 1, Some(&["t1"])), [("t1".into(), 0, E::EligibleLeadersNotAvailable)]);
    controller.unfence(2);
    assert_eq!(controller.state(1), (NO_LEADER, vec![1], vec![]));
    assert_eq!(elect(&mut controller, 1, Some(&["t1"])), [("t1".into(), 0, E::None)]);
    assert_eq!(controller.state(1), (2, vec![2], vec![]));
    assert_eq!(elect(&mut controller, 1, Some(&["t1"])), [("t1".into(), 0, E::ElectionNotNeeded)]);
}

#[test]
fn brokers_say_in_which_directories_their_replicas_lie() {
    use ErrorCode as E;
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.topic(2, &[2]);
    let assign = |controller: &mut Controller, n: u8, index: i32, to: Uuid| {
        let partition =
            assign_replicas_to_dirs_request::PartitionData { partition_index: index, ..Default::default() };
        let topic = assign_replicas_to_dirs_request::TopicData {
            topic_id: uuid(n),
            partitions: vec![partition],
            ..Default::default()
        };
        let place = assign_replicas_to_dirs_request::DirectoryData {
            id: to,
            topics: vec![topic],
            ..Default::default()
        };
        let request = AssignReplicasToDirsRequest {
            broker_id: 1,
            broker_epoch: controller.epoch(1),
            directories: vec![place],
            ..Default::default()
        };
        let answer = controller.decide(|view, _, _| directories::assign_replicas(view, &request));
        code(answer.expect("registered").directories[0].topics[0].partitions[0].error_code)
    };
    assert_eq!(assign(&mut controller, 9, 0, directory(1)), E::UnknownTopicId);
    assert_eq!(assign(&mut controller, 1, 3, directory(1)), E::UnknownTopicOrPartition);
    assert_eq!(assign(&mut controller, 2, 0, directory(1)), E::NotLeaderOrFollower);
    assert_eq!(assign(&mut controller, 1, 0, directory(1)), E::None);
    assert_eq!(controller.state(1).0, 1);
    assert_eq!(assign(&mut controller, 1, 0, uuid(88)), E::None);
    let partition = controller.image.partition("t1", 0).expect("made");
    assert_eq!(partition.directories, [uuid(88), directory(2)]);
    assert_eq!((partition.leader, &*partition.isr), (2, &[2][..]), "that directory is not online");
    controller.topic(3, &[1]);
    assert_eq!(assign(&mut controller, 3, 0, uuid(88)), E::None);
    assert_eq!(controller.state(3).0, -1);
    assert_eq!(assign(&mut controller, 3, 0, directory(1)), E::None);
    assert_eq!(controller.state(3).0, 1, "it is there after all, and nobody else leads");
}

fn set_min_isr(controller: &mut Controller, kind: i8, name: &str, value: Option<&str>) -> ErrorCode {
    let config = incremental_alter_configs_request::AlterableConfig {
        name: "min.insync.replicas".into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let config = controller.config.clone();
    let answer =
        controller.decide(|view, _, _| Ok(configs::incremental_alter_configs(view.image, &request, &config)));
    code(answer.expect("decided").responses[0].error_code)
}

#[test]
fn another_min_isr_clears_the_elr_that_the_last_one_made() {
    for kept in [false, true] {
        let mut controller = Controller::new(&[1, 2], &[("min.insync.replicas", "2")]);
        if kept {
            controller = controller.with_elr();
        }
        controller.topic(1, &[1, 2]);
        controller.topic(2, &[1, 2]);
        controller.fence(2);
        let eligible = if kept { vec![2] } else { vec![] };
        assert_eq!(controller.state(1).2, eligible);
        assert_eq!(set_min_isr(&mut controller, 2, "t1", Some("1")), ErrorCode::None);
        assert_eq!((controller.state(1).2, controller.state(2).2), (vec![], eligible));
        assert_eq!(set_min_isr(&mut controller, 4, "", Some("1")), ErrorCode::None);
        assert!(controller.state(2).2.is_empty());
    }
}

#[test]
fn with_the_elr_min_isr_is_the_whole_clusters() {
    let mut controller = Controller::new(&[1], &[]);
    assert_eq!(set_min_isr(&mut controller, 4, "1", Some("1")), ErrorCode::None);
    let mut controller = controller.with_elr();
    assert_eq!(set_min_isr(&mut controller, 4, "1", Some("1")), ErrorCode::InvalidConfig);
    assert_eq!(set_min_isr(&mut controller, 4, "", Some("2")), ErrorCode::None);
    assert_eq!(set_min_isr(&mut controller, 4, "", None), ErrorCode::InvalidConfig);
    let replaced = alter_configs_request::AlterConfigsResource {
        resource_type: 4,
        resource_name: "".into(),
        configs: Vec::new(),
        ..Default::default()
    };
    let request = AlterConfigsRequest { resources: vec![replaced], ..Default::default() };
    let answer = replace_configs::alter_configs(&controller.image, &request, &controller.config);
    assert_eq!(code(answer.response.responses[0].error_code), ErrorCode::InvalidConfig);
}

#[test]
fn before_the_elr_is_kept_min_isr_becomes_the_clusters() {
    let mut controller = Controller::new(&[1], &[("min.insync.replicas", "2")]);
    let own = ottla_wire::records::metadata::ConfigRecord {
        resource_type: 4,
        resource_name: "1".into(),
        name: "min.insync.replicas".into(),
        value: Some("3".into()),
        ..Default::default()
    };
    controller.write(&[own.into()]);
    let records = elr::prepared(&controller.image, &controller.config);
    controller.write(&records);
    let value = |configs: &std::collections::BTreeMap<ottla_wire::Str, ottla_wire::Str>| {
        configs.get("min.insync.replicas").map(ToString::to_string)
    };
    assert_eq!(value(&controller.image.configs.default_broker()).as_deref(), Some("2"));
    assert_eq!(value(&controller.image.configs.broker(1)), None);
    assert!(elr::prepared(&controller.image, &controller.config).is_empty());
}
