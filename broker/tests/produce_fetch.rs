//! Produce and fetch, at every version of both; offsets by time; errors.

use crate::common::{TestNode, batch, fetch_request, only_partition, produce_request, values};
use ottla_wire::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use ottla_wire::{ApiKey, ErrorCode, Str, Uuid};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_produced_at_any_version_is_fetched_at_any_version() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let topic_id = topic_id(&mut client, "t").await;

    let mut expected = Vec::new();
    for version in ApiKey::Produce.versions() {
        let value = format!("v{version}");
        let mut request = produce_request("t", 0, batch(&[&value], None), -1);
        if version >= 13 {
            request.topic_data[0].name = Str::new();
            request.topic_data[0].topic_id = topic_id;
        }
        let produced = only_partition(client.call::<ProduceRequest>(&request, version).await);
        assert_eq!((produced.error_code, produced.base_offset), (0, expected.len() as i64), "v{version}");
        expected.push((expected.len() as i64, value));
    }
    for version in ApiKey::Fetch.versions() {
        let mut request = fetch_request("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic = Str::new();
            request.topics[0].topic_id = topic_id;
        }
        let response = client.call::<FetchRequest>(&request, version).await;
        let data = &response.responses[0].partitions[0];
        assert_eq!((data.error_code, data.high_watermark), (0, expected.len() as i64), "v{version}");
        assert_eq!(values(data), expected, "v{version}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_time_and_at_the_ends() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let before = crate::common::now_ms();
    for value in ["a", "b", "c"] {
        client.produce("t", 0, batch(&[value], None)).await;
    }
    assert_eq!(client.list_offset("t", 0, -2).await, 0, "earliest");
    assert_eq!(client.list_offset("t", 0, -1).await, 3, "latest");
    assert_eq!(client.list_offset("t", 0, before).await, 0, "by time");
    assert_eq!(client.list_offset("t", 0, before + 3_600_000).await, -1, "in the future");
    assert!((0..3).contains(&client.list_offset("t", 0, -3).await), "of the largest timestamp");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_has_its_own_error() {
    let node = TestNode::start_with(&[("auto.create.topics.enable", "false")]).await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let code = |error: ErrorCode| error.code();

    let unknown = client.produce("nowhere", 0, batch(&["x"], None)).await;
    assert_eq!(unknown.error_code, code(ErrorCode::UnknownTopicOrPartition));
    let unknown = client.produce("t", 7, batch(&["x"], None)).await;
    assert_eq!(unknown.error_code, code(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(client.fetch("t", 0, 5).await.error_code, code(ErrorCode::OffsetOutOfRange));

    let mut request = fetch_request("", 0, 0);
    request.topics[0].topic_id = Uuid::from_bytes([7; 16]);
    let response = client.call::<FetchRequest>(&request, 17).await;
    assert_eq!(response.responses[0].partitions[0].error_code, code(ErrorCode::UnknownTopicId));

    let mut request = fetch_request("t", 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 99;
    let response = client.call::<FetchRequest>(&request, 12).await;
    assert_eq!(response.responses[0].partitions[0].error_code, code(ErrorCode::UnknownLeaderEpoch));

    let wrong_acks = client.call(&produce_request("t", 0, batch(&["x"], None), 2), 9).await;
    assert_eq!(only_partition(wrong_acks).error_code, code(ErrorCode::InvalidRequiredAcks));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_respects_its_limits_but_gives_one_batch() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[]).await;
    let big = "x".repeat(10_000);
    for partition in [0, 1] {
        for _ in 0..3 {
            client.produce("t", partition, batch(&[&big], None)).await;
        }
    }
    let mut request = fetch_request("t", 0, 0);
    let second = ottla_wire::messages::fetch_request::FetchPartition {
        partition: 1,
        ..request.topics[0].partitions[0].clone()
    };
    request.topics[0].partitions.push(second);
    request.max_bytes = 100;
    let response = client.call::<FetchRequest>(&request, 12).await;
    let counts: Vec<_> = response.responses[0].partitions.iter().map(|data| values(data).len()).collect();
    assert_eq!(
        counts,
        [1, 0],
        "the first partition gives its first batch whatever its size, the second nothing"
    );

    request.max_bytes = 50 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 21_000;
    let response = client.call::<FetchRequest>(&request, 12).await;
    let counts: Vec<_> = response.responses[0].partitions.iter().map(|data| values(data).len()).collect();
    assert_eq!(counts, [2, 3], "whole batches only");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn min_insync_replicas_above_the_number_of_replicas_asks_for_all_of_them() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[("min.insync.replicas", "2")]).await;
    let all = client.produce("t", 0, batch(&["x"], None)).await;
    assert_eq!((all.error_code, client.fetch("t", 0, 0).await.high_watermark), (0, 1));
    node.stop().await;
}

async fn topic_id(client: &mut crate::common::Client, name: &str) -> Uuid {
    let topic = ottla_wire::messages::metadata_request::MetadataRequestTopic {
        name: Some(Str::from(name)),
        ..Default::default()
    };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    client.call(&request, 12).await.topics[0].topic_id
}
