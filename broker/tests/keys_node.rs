//! Configuration keys of the node, its network and its fetches: each changes what the node does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::field_reassign_with_default,
    reason = "a test may fail where it likes"
)]
#![allow(missing_docs)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Client, PATIENCE, TestNode, batch, fetch_request, produce_request, values};
use ottla_wire::messages::describe_topic_partitions_request::TopicRequest;
use ottla_wire::messages::{
    ApiVersionsRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest, FetchRequest, MetadataRequest,
    MetadataResponse, ProduceRequest,
};
use ottla_wire::{Str, Uuid};
use tokio::io::AsyncWriteExt as _;

async fn metadata(client: &mut Client) -> MetadataResponse {
    client.call(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 9).await
}

async fn is_served(client: &mut Client, patience: Duration) -> bool {
    let asked = async {
        client.send(&ApiVersionsRequest::default(), 0).await;
        client.receive::<ApiVersionsRequest>(0).await
    };
    tokio::time::timeout(patience, asked).await.is_ok()
}

/// Long enough to tell a connection that is not served from one that is.
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_registered_as_configured() {
    for (settings, id, rack, host) in [
        (&[][..], 1, None, "127.0.0.1"),
        (&[("node.id", "7")], 7, None, "127.0.0.1"),
        (&[("broker.id", "8")], 8, None, "127.0.0.1"),
        (&[("broker.rack", "r1")], 1, Some("r1"), "127.0.0.1"),
        (&[("advertised.listeners", "PLAINTEXT://elsewhere:1234")], 1, None, "elsewhere"),
    ] {
        let node = TestNode::start_with(settings).await;
        let answer = metadata(&mut node.client().await).await;
        let broker = &answer.brokers[0];
        assert_eq!((broker.node_id, broker.rack.as_deref(), &*broker.host), (id, rack, host));
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_configured_listener_is_bound_and_advertised_by_its_own_name() {
    let node = TestNode::start_with(&[
        ("listeners", "PLAINTEXT://127.0.0.1:0,OTHER://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("advertised.listeners", "PLAINTEXT://first:1,OTHER://second:2"),
        ("inter.broker.listener.name", "OTHER"),
    ])
    .await;
    assert_eq!(&*metadata(&mut node.client().await).await.brokers[0].host, "first");
    let mut other = Client::connect(node.node.address("OTHER").unwrap()).await;
    assert_eq!(&*metadata(&mut other).await.brokers[0].host, "second");
    node.stop().await;
}

fn is_log_directory(dir: &Path) -> bool {
    dir.join("meta.properties").exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_metadata_lie_where_configured() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let both = format!("{},{}", path("a"), path("b"));
    let node = TestNode::start_with(&[("log.dirs", &both), ("metadata.log.dir", &path("c"))]).await;
    node.client().await.create_topic("t", 2, &[]).await;
    node.stop().await;
    assert!(["a", "b", "c"].iter().all(|name| is_log_directory(&root.path().join(name))));
    assert!(root.path().join("c/__cluster_metadata-0").exists());
    for partition in ["t-0", "t-1"] {
        let places = ["a", "b", "c"].map(|name| root.path().join(name).join(partition).exists());
        assert!(places[0] != places[1] && !places[2], "{partition}: {places:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quorum_is_dynamic_or_static_as_configured() {
    let voter = async |settings: &[(&str, &str)]| {
        let node = TestNode::start_with(settings).await;
        let mut request = DescribeQuorumRequest::default();
        request.topics = vec![Default::default()];
        request.topics[0].topic_name = "__cluster_metadata".into();
        request.topics[0].partitions = vec![Default::default()];
        let answer = node.client().await.call(&request, 2).await;
        node.stop().await;
        answer.topics[0].partitions[0].current_voters[0].replica_directory_id
    };
    assert_ne!(voter(&[]).await, Uuid::ZERO);
    assert_eq!(voter(&[("controller.quorum.voters", "1@localhost:9093")]).await, Uuid::ZERO);
}

fn snapshots(node: &TestNode) -> usize {
    let dir = node.dir.path().join("data/__cluster_metadata-0");
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".checkpoint")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_log_gets_snapshots_as_often_as_configured() {
    let made = async |settings: &[(&str, &str)]| {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        for topic in ["a", "b", "c"] {
            client.create_topic(topic, 1, &[]).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let count = snapshots(&node);
        node.stop().await;
        count
    };
    let least = made(&[]).await;
    assert!(made(&[("metadata.log.max.record.bytes.between.snapshots", "1")]).await > least);
    assert!(made(&[("metadata.log.max.snapshot.interval.ms", "1")]).await > least);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_are_where_configured() {
    let node = TestNode::start().await;
    let address = node.node.http_address().expect("bound");
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    node.stop().await;
    let node = TestNode::start_with(&[("ottla.http.listener", "")]).await;
    assert_eq!(node.node.http_address(), None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_at_most_as_large_as_configured() {
    for (settings, closed) in [(&[][..], false), (&[("socket.request.max.bytes", "100")], true)] {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.socket.write_all(&200_i32.to_be_bytes()).await.unwrap();
        let ended = tokio::time::timeout(SHORT, client.is_closed()).await;
        assert_eq!(ended.is_ok_and(|closed| closed), closed);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_when_configured() {
    let node = TestNode::start_with(&[("connections.max.idle.ms", "100")]).await;
    assert!(node.client().await.is_closed().await);
    node.stop().await;
    let node = TestNode::start().await;
    let mut client = node.client().await;
    assert!(tokio::time::timeout(SHORT, client.is_closed()).await.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_at_most_as_many_connections_as_configured() {
    const PER_IP: &str = "max.connections.per.ip";
    for (settings, second_is_served) in [
        (&[][..], true),
        (&[("max.connections", "1")], false),
        (&[(PER_IP, "1")], false),
        (&[(PER_IP, "1"), ("max.connections.per.ip.overrides", "127.0.0.1:2")], true),
        (&[("max.connections.per.ip.overrides", "127.0.0.1:1")], false),
    ] {
        let node = TestNode::start_with(settings).await;
        let mut first = node.client().await;
        assert!(is_served(&mut first, PATIENCE).await);
        let mut second = node.client().await;
        let tried = tokio::spawn(async move { is_served(&mut second, SHORT).await });
        assert_eq!(tried.await.unwrap_or(false), second_is_served, "{settings:?}");
        node.stop().await;
    }
}

/// A request that is half there holds its share of the memory, so that the next one waits.
#[tokio::test(flavor = "multi_thread")]
async fn requests_share_the_configured_memory() {
    const SIZE: &str = "1000000";
    let max = ("socket.request.max.bytes", SIZE);
    for (settings, served) in [(&[max][..], true), (&[max, ("queued.max.request.bytes", SIZE)], false)] {
        let node = TestNode::start_with(settings).await;
        let mut second = node.client().await;
        second.create_topic("t", 1, &[]).await;
        let mut first = node.client().await;
        first.socket.write_all(&1_000_000_i32.to_be_bytes()).await.unwrap();
        first.socket.write_all(&[0; 10]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let request = produce_request("t", 0, batch(&["x".repeat(100_000).as_str()], None), -1);
        second.send(&request, 9).await;
        let answer = tokio::time::timeout(SHORT, second.receive::<ProduceRequest>(9)).await;
        assert_eq!(answer.is_ok(), served, "{settings:?}");
        drop(first);
        if !served {
            let answer = tokio::time::timeout(PATIENCE, second.receive::<ProduceRequest>(9)).await;
            assert!(answer.is_ok(), "it is served when the first has gone");
        }
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_gets_at_most_the_configured_bytes() {
    for (settings, batches) in [(&[][..], 3), (&[("fetch.max.bytes", "1024")], 1)] {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        for _ in 0..3 {
            client.produce("t", 0, batch(&["x".repeat(900).as_str()], None)).await;
        }
        assert_eq!(values(&client.fetch("t", 0, 0).await).len(), batches);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_fetch_sessions_as_configured() {
    for (settings, session) in
        [(&[][..], true), (&[("max.incremental.fetch.session.cache.slots", "0")], false)]
    {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        let mut request = fetch_request("t", 0, 0);
        (request.session_epoch, request.max_wait_ms) = (0, 0);
        let answer = client.call::<FetchRequest>(&request, 12).await;
        assert_eq!(answer.session_id != 0, session);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_described_in_pages_of_the_configured_size() {
    for (settings, partitions) in [(&[][..], 3), (&[("max.request.partition.size.limit", "2")], 2)] {
        let node = TestNode::start_with(settings).await;
        let mut client = node.client().await;
        client.create_topic("t", 3, &[]).await;
        let request = DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: Str::from("t"), ..Default::default() }],
            response_partition_limit: 2000,
            ..Default::default()
        };
        let answer = client.call(&request, 0).await;
        assert_eq!(answer.topics[0].partitions.len(), partitions);
        assert_eq!(answer.next_cursor.is_some(), partitions == 2);
        node.stop().await;
    }
}
