//! `/metrics`: what happened is what is counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ottla_broker::broker::Node;
use ottla_wire::messages::AlterPartitionReassignmentsRequest;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};

use crate::common::pair::Pair;
use crate::common::{PATIENCE, TestNode, batch, values};
use crate::keys::topic::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const IN: &str = "kafka_server_brokertopicmetrics_messagesin_total";
const CONNECTIONS: &str = "kafka_server_socket_server_metrics_connection_count{listener=\"PLAINTEXT\"}";

/// Every sample, by name and labels.
pub async fn scrape(node: &TestNode) -> HashMap<String, f64> {
    scrape_node(&node.node).await
}

async fn scrape_node(node: &Node) -> HashMap<String, f64> {
    let mut socket = TcpStream::connect(node.http_address().unwrap()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.trim_end_matches("{}").to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

/// What changed from one scrape to the next; what was not there was 0.
fn growth(before: &HashMap<String, f64>, after: &HashMap<String, f64>, name: &str) -> f64 {
    let after = after.get(name).unwrap_or_else(|| panic!("no {name}"));
    after - before.get(name).unwrap_or(&0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_counted_by_topic_and_in_all() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[]).await;
    client.create_topic("u", 1, &[]).await;
    assert_eq!(scrape(&node).await[IN], 0.0, "there from the start");
    client.produce("u", 0, batch(&["x"], None)).await;
    // Whose answer is out, which is when the one before is counted.
    client.create_topic("v", 1, &[]).await;
    let before = scrape(&node).await;
    assert_eq!(before[IN], 1.0);

    let records = batch(&["a", "b", "c"], None);
    let size = f64::from(u32::try_from(records.len()).unwrap());
    client.produce("t", 0, records.clone()).await;
    client.produce("t", 1, records.clone()).await;
    let mut damaged = records.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_ne!(client.produce("t", 0, damaged.into()).await.error_code, 0);
    assert_ne!(client.produce("nowhere", 0, records).await.error_code, 0);
    // A request is counted when its response is out: all but the last are by now.
    assert_eq!(values(&client.fetch("t", 0, 0).await).len(), 3);

    let after = scrape(&node).await;
    let grew = |name: &str| growth(&before, &after, name);
    let topic = |name: &str| grew(&format!("kafka_server_brokertopicmetrics_{name}_total{{topic=\"t\"}}"));
    let all = |name: &str| grew(&format!("kafka_server_brokertopicmetrics_{name}_total"));
    assert_eq!((topic("messagesin"), all("messagesin")), (6.0, 6.0));
    assert_eq!((topic("bytesin"), all("bytesin")), (2.0 * size, 2.0 * size));
    assert_eq!((topic("bytesout"), all("bytesout")), (size, size));
    assert_eq!((topic("totalproducerequests"), all("totalproducerequests")), (3.0, 4.0));
    assert_eq!((topic("failedproducerequests"), all("failedproducerequests")), (1.0, 2.0));
    assert_eq!((topic("totalfetchrequests"), all("totalfetchrequests")), (1.0, 1.0));
    assert_eq!(grew(&format!("{IN}{{topic=\"u\"}}")), 0.0);
    assert!(!after.keys().any(|name| name.contains("nowhere")), "strangers' names are no labels");

    assert_eq!(grew("kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"9\"}"), 4.0);
    assert_eq!(grew("kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"}"), 4.0);
    let largest = after["kafka_network_requestmetrics_requestbytes{request=\"Produce\",quantile=\"0.999\"}"];
    assert!(largest > size && largest < size + 200.0, "{largest} bytes for a batch of {size}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_node_is_what_it_is() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let before = scrape(&node).await;
    client.create_topic("t", 3, &[]).await;
    client.produce("t", 1, batch(&["a", "b"], None)).await;
    let after = scrape(&node).await;
    let grew = |name: &str| growth(&before, &after, name);
    for name in ["partitioncount", "leadercount", "atminisrpartitioncount"] {
        assert_eq!(grew(&format!("kafka_server_replicamanager_{name}")), 3.0, "{name}");
    }
    for name in ["underreplicatedpartitions", "underminisrpartitioncount", "offlinereplicacount"] {
        assert_eq!(after[&format!("kafka_server_replicamanager_{name}")], 0.0, "{name}");
    }
    assert_eq!(grew("kafka_controller_kafkacontroller_globaltopiccount"), 1.0);
    assert_eq!(grew("kafka_controller_kafkacontroller_globalpartitioncount"), 3.0);
    let states = [
        ("kafka_controller_kafkacontroller_activecontrollercount", 1.0),
        ("kafka_controller_kafkacontroller_activebrokercount", 1.0),
        ("kafka_controller_kafkacontroller_fencedbrokercount", 0.0),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", 0.0),
        ("kafka_log_logmanager_offlinelogdirectorycount", 0.0),
        ("kafka_log_logmanager_cordonedlogdirectorycount", 0.0),
        ("kafka_server_replicaalterlogdirsmanager_maxlag{clientId=\"ReplicaAlterLogDirs\"}", 0.0),
        ("ottla_moves_partitions", 0.0),
        ("ottla_moves_completed_total", 0.0),
        ("kafka_server_kafkaserver_brokerstate", 3.0),
        ("kafka_log_log_logendoffset{topic=\"t\",partition=\"1\"}", 2.0),
        ("kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"}", 0.0),
        ("kafka_log_log_numlogsegments{topic=\"t\",partition=\"1\"}", 1.0),
    ];
    for (name, expected) in states {
        assert_eq!(after[name], expected, "{name}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_tell_of_the_cluster_and_leaders_of_their_isrs() {
    let http = [("ottla.http.listener", "127.0.0.1:0")];
    let pair = Pair::start_with(&http, &http).await;
    let mut client = pair.client().await;
    client.create_topic("t", 1, &[]).await;
    let image = || pair.broker.broker().image();
    until("there", || image().topics.by_name("t").is_some()).await;
    let leader = image().topics.by_name("t").unwrap().partitions[&0].leader;
    let both = ReassignablePartition { replicas: Some(vec![3 - leader, leader]), ..Default::default() };
    let topic = ReassignableTopic { name: "t".into(), partitions: vec![both], ..Default::default() };
    let request =
        AlterPartitionReassignmentsRequest { timeout_ms: 10_000, topics: vec![topic], ..Default::default() };
    assert_eq!(client.call(&request, 0).await.error_code, 0);
    until("in sync", || image().topics.by_name("t").unwrap().partitions[&0].isr.len() == 2).await;

    let nodes = [scrape_node(&pair.controller).await, scrape_node(&pair.broker).await];
    let told = |name: &str| nodes.each_ref().map(|node| node.get(name).copied());
    let controllers = "kafka_controller_kafkacontroller";
    assert_eq!(told(&format!("{controllers}_activecontrollercount")), [Some(1.0), None]);
    assert_eq!(told(&format!("{controllers}_activebrokercount")), [Some(2.0), None]);
    assert_eq!(told(&format!("{controllers}_preferredreplicaimbalancecount")), [Some(1.0), None]);
    assert_eq!(told("kafka_server_raftmetrics_current_leader"), [Some(1.0), None]);
    let expected = |id: i32| Some(if id == leader { 1.0 } else { 0.0 });
    assert_eq!(told("kafka_server_replicamanager_isrexpands_total"), [expected(1), expected(2)]);
    assert_eq!(told("kafka_server_replicamanager_isrshrinks_total"), [Some(0.0), Some(0.0)]);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_while_they_are_open() {
    let node = TestNode::start().await;
    let mut first = node.client().await;
    first.create_topic("t", 1, &[]).await;
    assert_eq!(scrape(&node).await[CONNECTIONS], 1.0);
    let mut second = node.client().await;
    second.produce("t", 0, batch(&["x"], None)).await;
    assert_eq!(scrape(&node).await[CONNECTIONS], 2.0);
    drop(second);
    let begun = Instant::now();
    while scrape(&node).await[CONNECTIONS] > 1.0 {
        assert!(begun.elapsed() < PATIENCE, "the broker notices that a client is gone");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let created = "kafka_server_socket_server_metrics_connection_creation_total{listener=\"PLAINTEXT\"}";
    assert_eq!(scrape(&node).await[created], 2.0);
    node.stop().await;
}
