//! Who the node is, where its data lies, and its quorum.

use std::path::Path;
use std::time::Duration;

use ottla_broker::broker;
use ottla_broker::config::{Config, Sources};
use ottla_wire::Uuid;
use ottla_wire::messages::{DescribeQuorumRequest, MetadataRequest, MetadataResponse};

use crate::common::{Client, TestNode, batch};

pub async fn metadata(client: &mut Client) -> MetadataResponse {
    client.call(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, 9).await
}

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

#[test]
fn values_take_variables_of_the_environment() {
    let load = |given: &[(&str, &str)]| {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let advertised = ("advertised.listeners", "PLAINTEXT://[${env:HOST_IP}]:9094");
        let sources = Sources {
            overrides: given.iter().chain([&advertised]).map(owned).collect(),
            environment: vec![("HOST_IP".to_owned(), "192.0.2.7".to_owned())],
            ..Sources::default()
        };
        Config::load(&sources)
    };
    let class = "org.apache.kafka.common.config.provider.EnvVarConfigProvider";
    let loaded = load(&[("config.providers", "env"), ("config.providers.env.class", class)]).unwrap();
    assert_eq!(loaded.config.advertised_listeners[0].to_string(), "PLAINTEXT://192.0.2.7:9094");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(load(&[]).is_err(), "nobody knows what ${{env:HOST_IP}} is");
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

pub fn is_log_directory(dir: &Path) -> bool {
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
async fn the_older_name_of_the_data_directory_counts_where_the_newer_is_not_set() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let node = TestNode::start_with(&[("log.dirs", &path("new")), ("log.dir", &path("old"))]).await;
    node.stop().await;
    assert!(is_log_directory(&root.path().join("new")) && !root.path().join("old").exists());
    let config = Config::from_overrides(&[
        ("log.dir", &path("old")),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("ottla.http.listener", ""),
    ]);
    broker::start(config.unwrap()).await.unwrap().stop().await;
    assert!(is_log_directory(&root.path().join("old")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controllers_listener_has_the_configured_name() {
    let name = async |settings: &[(&str, &str)]| {
        let node = TestNode::start_with(settings).await;
        let answer = node.client().await.call(&describe_quorum(), 2).await;
        node.stop().await;
        answer.nodes[0].listeners[0].name.to_string()
    };
    assert_eq!(name(&[]).await, "CONTROLLER");
    let other = [
        ("controller.listener.names", "OTHER"),
        ("listeners", "PLAINTEXT://127.0.0.1:0,OTHER://127.0.0.1:22091"),
    ];
    assert_eq!(name(&other).await, "OTHER");
}

fn describe_quorum() -> DescribeQuorumRequest {
    let mut request = DescribeQuorumRequest::default();
    request.topics = vec![Default::default()];
    request.topics[0].topic_name = "__cluster_metadata".into();
    request.topics[0].partitions = vec![Default::default()];
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quorum_is_dynamic_or_static_as_configured() {
    let voter = async |settings: &[(&str, &str)]| {
        let node = TestNode::start_with(settings).await;
        let answer = node.client().await.call(&describe_quorum(), 2).await;
        node.stop().await;
        answer.topics[0].partitions[0].current_voters[0].replica_directory_id
    };
    assert_ne!(voter(&[]).await, Uuid::ZERO);
    assert_eq!(voter(&[("controller.quorum.voters", "1@localhost:9093")]).await, Uuid::ZERO);
}

pub fn snapshots(node: &TestNode) -> usize {
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
async fn producers_stop_at_the_reserve() {
    let produced = async |reserve: &str| {
        let node = TestNode::start_with(&[("ottla.disk.reserve.bytes", reserve)]).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        let answer = client.produce("t", 0, batch(&["x"], None)).await;
        node.stop().await;
        (answer.error_code, answer.error_message)
    };
    let (code, message) = produced("4000000000000000000").await;
    assert_eq!(code, 56, "more than any disk has");
    assert!(message.is_some_and(|text| text.contains("4000000000000000000")));
    assert_eq!(produced("0").await.0, 0);
}
