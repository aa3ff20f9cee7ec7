//! Every API that is advertised answers in every version that is advertised.

use crate::common::{Client, TestNode, batch, fetch_request, produce_request};
use ottla_wire::messages::*;
use ottla_wire::messages::{
    describe_configs_request::DescribeConfigsResource, find_coordinator_request, list_offsets_request,
    metadata_request::MetadataRequestTopic,
};
use ottla_wire::{ApiKey, Request, Str};

async fn all_versions<R: Request>(client: &mut Client, build: impl Fn(i16) -> R) -> Vec<R::Response> {
    let mut responses = Vec::new();
    for version in R::KEY.versions() {
        responses.push(client.call(&build(version), version).await);
    }
    responses
}

fn topic() -> Str {
    Str::from("t")
}

/// Requests about data and metadata; those of groups have a test of their own.
#[tokio::test(flavor = "multi_thread")]
async fn data_and_metadata() {
    let node = TestNode::start_with(&[("auto.create.topics.enable", "false")]).await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[]).await;
    client.produce("t", 0, batch(&["x"], None)).await;

    for name in ["t", "nowhere"] {
        let one = MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() };
        let build = |version: i16| MetadataRequest {
            topics: Some(vec![one.clone()]),
            include_topic_authorized_operations: version >= 8,
            include_cluster_authorized_operations: (8..=10).contains(&version),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        for response in all_versions(&mut client, build).await {
            assert_eq!(response.topics[0].error_code == 0, name == "t");
        }
    }
    for timestamp in [-1, -2, 0, i64::MAX] {
        let build = |_| {
            let partitions = vec![
                list_offsets_request::ListOffsetsPartition { timestamp, ..Default::default() },
                list_offsets_request::ListOffsetsPartition {
                    partition_index: 9,
                    timestamp,
                    ..Default::default()
                },
            ];
            let topics = vec![list_offsets_request::ListOffsetsTopic {
                name: topic(),
                partitions,
                ..Default::default()
            }];
            ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }
        };
        for response in all_versions(&mut client, build).await {
            let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
            assert_eq!(codes, [0, 3]);
        }
    }
    for version in ApiKey::Produce.versions() {
        let response = client.call(&produce_request("nowhere", 0, batch(&["x"], None), 1), version).await;
        assert_ne!(crate::common::only_partition(response).error_code, 0);
    }
    for version in ApiKey::Fetch.versions() {
        let response = client.call(&fetch_request("nowhere", 0, 0), version).await;
        assert_ne!(response.responses[0].partitions[0].error_code, 0);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administration() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;

    all_versions(&mut client, |_| DescribeClusterRequest { endpoint_type: 1, ..Default::default() }).await;
    all_versions(&mut client, |_| DescribeTopicPartitionsRequest::default()).await;
    all_versions(&mut client, |_| DescribeQuorumRequest::default()).await;
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: topic(),
        configuration_keys: None,
        ..Default::default()
    };
    for response in all_versions(&mut client, |_| DescribeConfigsRequest {
        resources: vec![resource.clone()],
        ..Default::default()
    })
    .await
    {
        assert_eq!(response.results[0].error_code, 0);
    }
    all_versions(&mut client, |version| {
        let name = Str::from(format!("new-{version}"));
        let topic = create_topics_request::CreatableTopic {
            name,
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }
    })
    .await;
    all_versions(&mut client, |version| {
        let name = Str::from(format!("new-{}", version + 1));
        let by_state =
            delete_topics_request::DeleteTopicState { name: Some(name.clone()), ..Default::default() };
        let mut request = DeleteTopicsRequest { timeout_ms: 1000, ..Default::default() };
        if version >= 6 {
            request.topics = vec![by_state];
        } else {
            request.topic_names = vec![name];
        }
        request
    })
    .await;
    all_versions(&mut client, |version| {
        let topic = create_partitions_request::CreatePartitionsTopic {
            name: topic(),
            count: 2 + i32::from(version),
            assignments: None,
            ..Default::default()
        };
        CreatePartitionsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }
    })
    .await;
    all_versions(&mut client, |_| IncrementalAlterConfigsRequest::default()).await;
    all_versions(&mut client, |version| {
        let mut request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec![Str::from("g")];
        } else {
            request.key = Str::from("g");
        }
        let _: &find_coordinator_request::FindCoordinatorRequest = &request;
        request
    })
    .await;
    node.stop().await;
}
