//! The handle over a real log: answers after commits, images in order, restarts.

use std::path::Path;
use std::sync::Arc;

use ottla_log::disk::StdDisk;
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::voters::VoterEndpoint;
use ottla_quorum::{LastRoom, Voter, VoterSet};
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::describe_quorum_request::{PartitionData, TopicData};
use ottla_wire::messages::*;
use ottla_wire::{ErrorCode, Str, Uuid};
use tokio::runtime::Handle;

use super::*;
use crate::clock;
use crate::config::Config;
use crate::quota::MutationQuota;

fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

/// A formatted directory with dynamic voters: this node.
fn format(dir: &Path) {
    let endpoint = VoterEndpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 };
    let voters = VoterSet::of_one(Voter::standalone(1, uuid(5), vec![endpoint]));
    bootstrap::write(&StdDisk, dir, &Bootstrap::default(), 0).expect("written");
    bootstrap::write_first_voters(&StdDisk, dir, &voters, 0).expect("written");
}

fn start(dir: &Path, incarnation: u8, overrides: &[(&str, &str)]) -> ControllerHandle {
    let log_dir = dir.to_str().expect("a plain path");
    let mut all = vec![("log.dirs", log_dir)];
    all.extend(overrides);
    let settings = ControllerSettings {
        config: Arc::new(Config::from_overrides(&all).expect("valid")),
        identity: ControllerIdentity {
            cluster_id: "4L6g3nShT-eMCtK--X86sw".into(),
            directory_id: uuid(5),
            incarnation_id: uuid(incarnation),
        },
    };
    ControllerHandle::start(settings, Arc::new(StdDisk), LastRoom::default(), Handle::current())
        .expect("started")
}

async fn join(handle: &ControllerHandle, incarnation: u8) -> i64 {
    let broker = BrokerRegistration {
        id: 1,
        incarnation_id: uuid(incarnation),
        endpoints: Vec::new(),
        rack: None,
        log_dirs: vec![uuid(5)],
        previous_epoch: -1,
    };
    let request = broker.request("4L6g3nShT-eMCtK--X86sw".into());
    let epoch = handle.broker_registration(request, 4).await.broker_epoch;
    let answer = beat(handle, 1, epoch, false).await;
    assert!(!answer.is_fenced, "{answer:?}");
    epoch
}

/// A heartbeat of a broker that has all metadata.
async fn beat(handle: &ControllerHandle, id: i32, epoch: i64, stop: bool) -> BrokerHeartbeatResponse {
    let request = BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: epoch,
        current_metadata_offset: handle.image().offset(),
        want_shut_down: stop,
        ..Default::default()
    };
    handle.broker_heartbeat(request, clock::monotonic_ms()).await
}

async fn producer_ids(handle: &ControllerHandle, epoch: i64) -> AllocateProducerIdsResponse {
    let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch: epoch, ..Default::default() };
    handle.allocate_producer_ids_for(request).await
}

fn topics(names: &[&str]) -> CreateTopicsRequest {
    let topic = |name: &&str| CreatableTopic {
        name: Str::from(*name),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: names.iter().map(topic).collect(), ..Default::default() }
}

#[tokio::test]
async fn what_was_answered_is_in_the_image_and_survives() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path());
    let handle = start(dir.path(), 1, &[]);
    let epoch = join(&handle, 1).await;
    assert_eq!(handle.image().broker(1).map(|broker| broker.epoch), Some(epoch));
    let response = handle.create_topics(topics(&["a", "b"]), MutationQuota::unlimited()).await;
    assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{response:?}");
    assert_eq!(handle.image().topics.len(), 2);
    let delete =
        DeleteTopicsRequest { topic_names: vec!["b".into()], timeout_ms: 5000, ..Default::default() };
    assert_eq!(handle.delete_topics(delete, MutationQuota::unlimited()).await.responses[0].error_code, 0);
    let first = producer_ids(&handle, epoch).await;
    assert!(!beat(&handle, 1, epoch, true).await.should_shut_down, "it leads");
    assert!(beat(&handle, 1, epoch, true).await.should_shut_down);
    handle.stop().await.expect("closed");
    assert_ne!(producer_ids(&handle, epoch).await.error_code, 0, "it has stopped");
    handle.stopped().await;

    let handle = start(dir.path(), 2, &[]);
    assert_eq!(handle.image().topics.len(), 1);
    let epoch = join(&handle, 2).await;
    let partition = handle.image().partition("a", 1).cloned().expect("made before");
    assert_eq!((partition.leader, partition.leader_epoch), (1, 2));
    let second = producer_ids(&handle, epoch).await;
    assert_eq!((first.producer_id_start, second.producer_id_start), (0, 1000));
}

#[tokio::test]
async fn many_askers_are_all_answered_and_see_their_own_writes() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path());
    let handle = start(dir.path(), 1, &[]);
    join(&handle, 1).await;
    let askers = (0..200).map(|n| {
        let handle = handle.clone();
        tokio::spawn(async move {
            let name = format!("topic-{n}");
            let response = handle.create_topics(topics(&[&name]), MutationQuota::unlimited()).await;
            assert_eq!(response.topics[0].error_code, 0);
            assert!(handle.image().topics.by_name(&name).is_some());
        })
    });
    for asker in askers.collect::<Vec<_>>() {
        asker.await.expect("answered");
    }
    assert_eq!(handle.image().topics.len(), 200);
    let mut changes = handle.image_changes();
    assert_eq!(changes.borrow_and_update().topics.len(), 200);
    handle.create_topics(topics(&["one-more"]), MutationQuota::unlimited()).await;
    assert!(changes.has_changed().expect("running"));
}

#[tokio::test]
async fn the_quorum_is_described() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path());
    let handle = start(dir.path(), 1, &[]);
    join(&handle, 1).await;
    let asked = |topic: &str| DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: Str::from(topic),
            partitions: vec![PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = handle.describe_quorum(asked("__cluster_metadata")).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.leader_id, partition.leader_epoch), (0, 1, 1));
    let voter = &partition.current_voters[0];
    assert_eq!((voter.replica_id, voter.replica_directory_id), (1, uuid(5)));
    assert_eq!(voter.log_end_offset, partition.high_watermark);
    assert_eq!(response.nodes[0].listeners.len(), 1);
    let other = handle.describe_quorum(asked("x")).await;
    assert_eq!(other.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn deletion_can_be_switched_off() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path());
    let handle = start(dir.path(), 1, &[("delete.topic.enable", "false")]);
    join(&handle, 1).await;
    handle.create_topics(topics(&["a"]), MutationQuota::unlimited()).await;
    let delete =
        DeleteTopicsRequest { topic_names: vec!["a".into()], timeout_ms: 5000, ..Default::default() };
    let response = handle.delete_topics(delete, MutationQuota::unlimited()).await;
    assert_eq!(response.responses[0].error_code, ErrorCode::TopicDeletionDisabled.code());
    assert_eq!(handle.image().topics.len(), 1);
}

#[tokio::test]
async fn other_brokers_register_beat_and_get_what_they_ask_for() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path());
    let handle = start(dir.path(), 1, &[]);
    let own = join(&handle, 1).await;
    let other = BrokerRegistration {
        id: 2,
        incarnation_id: uuid(7),
        endpoints: Vec::new(),
        rack: None,
        log_dirs: vec![uuid(8)],
        previous_epoch: -1,
    };
    let request = other.request("4L6g3nShT-eMCtK--X86sw".into());
    let registered = handle.broker_registration(request.clone(), 4).await;
    assert_eq!(registered.error_code, 0);
    let epoch = registered.broker_epoch;
    let strange = BrokerRegistrationRequest { cluster_id: "another".into(), ..request };
    let refused = handle.broker_registration(strange, 4).await;
    assert_eq!(refused.error_code, ErrorCode::InconsistentClusterId.code());
    let answer = beat(&handle, 2, epoch, false).await;
    assert_eq!((answer.error_code, answer.is_fenced, answer.is_caught_up), (0, false, true));
    assert!(handle.image().active_broker(2).is_some());
    let answer = beat(&handle, 2, epoch - 1, false).await;
    assert_eq!(answer.error_code, ErrorCode::StaleBrokerEpoch.code());
    let ids = AllocateProducerIdsRequest { broker_id: 2, broker_epoch: epoch, ..Default::default() };
    let block = handle.allocate_producer_ids_for(ids).await;
    assert_eq!((block.error_code, block.producer_id_start, block.producer_id_len), (0, 0, 1000));
    assert_eq!(producer_ids(&handle, own).await.producer_id_start, 1000);
    assert_eq!(handle.elect_leaders(ElectLeadersRequest::default()).await.error_code, 0);
    let nothing = AlterPartitionRequest { broker_id: 2, broker_epoch: epoch, ..Default::default() };
    assert_eq!(handle.alter_partition(nothing, 3).await.error_code, 0);
    let nothing = AlterPartitionReassignmentsRequest::default();
    assert_eq!(handle.alter_partition_reassignments(nothing).await.error_code, 0);
    assert!(handle.list_partition_reassignments(&Default::default()).topics.is_empty());
    let nothing = AssignReplicasToDirsRequest { broker_id: 2, broker_epoch: epoch, ..Default::default() };
    assert_eq!(handle.assign_replicas_to_dirs(nothing).await.error_code, 0);
    let controller = ControllerRegistrationRequest { controller_id: 2, ..Default::default() };
    assert_eq!(handle.controller_registration(controller).await.error_code, 0);
    assert!(handle.image().cluster.controllers.contains_key(&2));
    assert!(!handle.broker_gone(2, epoch, 0).await.expect("registered"), "it was heard of since");
    assert!(handle.broker_gone(2, epoch, i64::MAX).await.expect("registered"));
    assert!(handle.image().active_broker(2).is_none());
    let gone = UnregisterBrokerRequest { broker_id: 2, ..Default::default() };
    assert_eq!(handle.unregister_broker(gone.clone()).await.error_code, 0);
    let again = handle.unregister_broker(gone).await;
    assert_eq!(again.error_code, ErrorCode::BrokerIdNotRegistered.code());
    handle.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_only_node_may_always_stop() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path());
    let handle = start(dir.path(), 1, &[]);
    join(&handle, 1).await;
    let verdict = handle.ask_restart_permit(1).await.expect("running");
    assert!(matches!(verdict, permits::Verdict::Granted { .. }), "{verdict:?}");
    handle.return_restart_permit(1).await.expect("running");
    handle.stop().await.expect("stopped");
}
