//! A broker that is not the active controller, and what its clients ask of the controller.

use ottla_broker::broker::Node;
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DescribeQuorumRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest, MetadataRequest,
    UnregisterBrokerRequest, create_topics_request, describe_quorum_request,
};
use ottla_wire::{ApiKey, ErrorCode, Str};

use crate::common::pair::Pair;
use crate::common::{Client, PATIENCE};

fn topic(name: &str, partitions: i32) -> CreateTopicsRequest {
    let topic = create_topics_request::CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 2,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_controller_decides_may_be_asked_of_any_broker() {
    let pair = Pair::start().await;
    let mut client = pair.client().await;
    for version in 2..=7 {
        let made = client.call(&topic(&format!("t{version}"), 2), version).await;
        assert_eq!(made.topics[0].error_code, 0, "{:?}", made.topics[0].error_message);
    }
    let again = client.call(&topic("t7", 2), 7).await;
    assert_eq!(again.topics[0].error_code, ErrorCode::TopicAlreadyExists.code());

    let grown =
        CreatePartitionsTopic { name: "t7".into(), count: 3, assignments: None, ..Default::default() };
    let grow = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(client.call(&grow, 3).await.results[0].error_code, 0);
    let image = pair.controller.broker().controller.image();
    let partitions = &image.topics.by_name("t7").unwrap().partitions;
    assert_eq!(partitions.len(), 3);
    assert!(partitions.values().all(|partition| partition.replicas.len() == 2), "on both brokers");

    let elections = ElectLeadersRequest { timeout_ms: 5000, topic_partitions: None, ..Default::default() };
    assert_eq!(client.call(&elections, 2).await.error_code, 0);
    let moves = ListPartitionReassignmentsRequest::default();
    assert_eq!(client.call(&moves, 0).await.error_code, 0);
    let unknown = UnregisterBrokerRequest { broker_id: 99, ..Default::default() };
    let unregistered = client.call(&unknown, 0).await.error_code;
    assert_eq!(unregistered, ErrorCode::BrokerIdNotRegistered.code());
    let asked = describe_quorum_request::TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![describe_quorum_request::PartitionData::default()],
        ..Default::default()
    };
    let quorum = client.call(&DescribeQuorumRequest { topics: vec![asked], ..Default::default() }, 2).await;
    let partition = &quorum.topics[0].partitions[0];
    let observers: Vec<i32> = partition.observers.iter().map(|replica| replica.replica_id).collect();
    assert_eq!((partition.error_code, partition.leader_id, observers), (0, 1, vec![2]));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_knows_what_the_controller_serves() {
    let pair = Pair::start().await;
    let served = pair.broker.broker().channel.served().expect("it was registered there");
    let has = |api: ApiKey| served.contains_key(&api.code());
    assert!(has(ApiKey::CreateTopics) && has(ApiKey::BrokerHeartbeat) && !has(ApiKey::Produce));
    assert_eq!(pair.controller.broker().channel.served(), None, "it decides itself");
    let mut offered = Vec::new();
    for node in [&pair.controller, &pair.broker] {
        let mut client = Client::connect(node.address("PLAINTEXT").unwrap()).await;
        let request = ApiVersionsRequest {
            client_software_name: "test".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        offered.push(client.call(&request, 4).await.api_keys);
    }
    assert_eq!(offered[0], offered[1], "the controller is of the same release");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_brokers_own_stays_with_it() {
    let pair = Pair::start().await;
    let mut client = pair.client().await;
    assert_eq!(client.call(&topic("t", 1), 7).await.topics[0].error_code, 0);
    let change = |kind: i8, name: &str, key: &str, value: &str| AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![AlterableConfig {
            name: key.into(),
            value: Some(Str::from(value)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            change(8, "2", "root", "DEBUG"),
            change(2, "t", "retention.ms", "5"),
            change(8, "1", "root", "DEBUG"),
            change(2, "t2", "retention.ms", "5"),
        ],
        ..Default::default()
    };
    let response = client.call(&request, 1).await;
    let rows: Vec<_> = response
        .responses
        .iter()
        .map(|row| (row.resource_type, &*row.resource_name, row.error_code))
        .collect();
    let (invalid, unknown) = (ErrorCode::InvalidRequest.code(), ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(rows, [(8, "2", 0), (2, "t", 0), (8, "1", invalid), (2, "t2", unknown)]);
    let levels =
        |node: &Node| node.broker().loggers.described().into_iter().find(|(name, _)| *name == "root");
    assert_eq!(levels(&pair.broker).unwrap().1, "DEBUG");
    assert_ne!(levels(&pair.controller).unwrap().1, "DEBUG");
    let image = pair.controller.broker().controller.image();
    assert!(image.configs.iter().all(|(resource, _)| resource.resource_type != 8), "they are no metadata");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_on_use_by_any_broker() {
    let pair = Pair::start().await;
    let mut client = pair.client().await;
    let asked = MetadataRequestTopic { name: Some("new".into()), ..Default::default() };
    let request =
        MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: true, ..Default::default() };
    let metadata = client.call(&request, 12).await;
    assert_eq!(metadata.topics[0].error_code, 0);
    assert_eq!(metadata.topics[0].partitions.len(), 1);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_controller_the_client_learns_when_its_time_is_over() {
    let Pair { controller, broker, dir: _dir } = Pair::start().await;
    let mut client = Client::connect(broker.address("PLAINTEXT").unwrap()).await;
    controller.stop().await;
    let request = CreateTopicsRequest { timeout_ms: 500, ..topic("t", 1) };
    let answer = tokio::time::timeout(PATIENCE, client.call(&request, 7)).await.expect("an answer");
    assert_eq!(answer.topics[0].error_code, ErrorCode::RequestTimedOut.code());
    // Nobody lets it go in order.
    drop(tokio::time::timeout(PATIENCE, broker.stop()).await);
}
