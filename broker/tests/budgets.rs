//! Memory and threads under clients that send much, slowly or never to the end, or do not read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::process::{Process, free_port};
use crate::common::{Client, PATIENCE, TestNode, batch, fetch_request, only_partition, produce_request};
use crate::keys::network::is_served;
use crate::metrics::scrape;

const USED: &str = "kafka_network_socketserver_memorypoolused";
const AVAILABLE: &str = "kafka_network_socketserver_memorypoolavailable";
const UNSENT: &str = "ottla_network_unsentresponsebytes";
const OPEN: &str = "kafka_server_socket_server_metrics_connection_count{listener=\"PLAINTEXT\"}";
const MIB: usize = 1 << 20;
/// `queued.max.request.bytes` when it is not set.
const BUDGET: usize = 128 * MIB;

/// One number of the metrics.
async fn gauge(node: &TestNode, name: &str) -> usize {
    format!("{:.0}", scrape(node).await[name]).parse().unwrap()
}

/// Waits until a number of the metrics is as it should be.
async fn until(node: &TestNode, name: &str, fits: impl Fn(usize) -> bool) {
    let begun = Instant::now();
    loop {
        let value = gauge(node, name).await;
        if fits(value) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} is still {value}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection that announces a frame and sends the beginning of it.
async fn begun(node: &TestNode, announced: usize, sent: usize) -> Client {
    let mut client = node.client().await;
    client.socket.write_all(&i32::try_from(announced).unwrap().to_be_bytes()).await.unwrap();
    client.socket.write_all(&vec![0; sent]).await.unwrap();
    client
}

/// A batch of about so many bytes.
fn sized(bytes: usize) -> Bytes {
    batch(&["x".repeat(bytes).as_str()], None)
}

/// As many descriptors as the system allows.
fn many_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_and_not_sent_costs_nothing() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[("max.message.bytes", "104857600")]).await;
    let mut announced = Vec::new();
    for _ in 0..300 {
        announced.push(begun(&node, 100 * MIB, 1).await);
    }
    until(&node, OPEN, |open| open == 301).await;
    assert_eq!((gauge(&node, USED).await, gauge(&node, AVAILABLE).await), (0, BUDGET));
    for size in [100_000, 3 * MIB, 40 * MIB] {
        assert_eq!(client.produce("t", 0, sized(size)).await.error_code, 0, "{size} bytes");
    }
    until(&node, USED, |used| used == 0).await;
    drop(announced);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_requests_do_not_wait_for_large_ones() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    let first = begun(&node, 90 * MIB, MIB).await;
    until(&node, USED, |used| used == 90 * MIB).await;
    let second = begun(&node, 90 * MIB, MIB).await;
    for _ in 0..20 {
        assert_eq!(client.produce("t", 0, sized(900_000)).await.error_code, 0);
    }
    until(&node, USED, |used| used == 90 * MIB).await;
    drop((first, second));
    until(&node, USED, |used| used == 0).await;
    node.stop().await;
}

/// Each sender of a large frame that stops in its middle is ended when the next one waits for its memory.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_in_the_middle_does_not_lock_out_others() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[("max.message.bytes", "104857600")]).await;
    let mut alone = begun(&node, 90 * MIB, 50_000).await;
    until(&node, USED, |used| used == 90 * MIB).await;
    // Longer than it takes to be cut, if there were somebody who waits.
    tokio::time::sleep(Duration::from_secs(6)).await;
    alone.socket.write_all(&[0]).await.unwrap();
    assert_eq!(gauge(&node, USED).await, 90 * MIB, "nobody waits");
    let request = produce_request("t", 0, sized(30 * MIB), -1);
    client.send(&request, 9).await;
    let (_, response) = client.receive::<ProduceRequest>(9).await;
    assert_eq!(only_partition(response).error_code, 0);
    assert!(alone.is_closed().await);
    until(&node, USED, |used| used == 0).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_are_served_in_turn_within_the_budget() {
    const SENDERS: usize = 6;
    const SIZE: usize = 60 * MIB;
    let node = TestNode::start().await;
    let mut client = node.client().await;
    let topic = [("max.message.bytes", "104857600"), ("segment.bytes", "1073741824")];
    client.create_topic("t", 1, &topic).await;
    let records = sized(SIZE);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let (mut client, records) = (node.client().await, records.clone());
        senders.spawn(async move { client.produce("t", 0, records).await.error_code });
    }
    let (mut most, mut done) = (0, 0);
    while done < SENDERS {
        tokio::select! {
            answer = senders.join_next() => {
                assert_eq!(answer.unwrap().unwrap(), 0);
                done += 1;
            }
            used = gauge(&node, USED) => most = most.max(used),
        }
    }
    assert!((SIZE..=BUDGET).contains(&most), "{most} bytes were used at the most");
    assert_eq!(client.list_offset("t", 0, -1).await, SENDERS as i64);
    until(&node, USED, |used| used == 0).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_that_nobody_reads_hold_no_memory() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[("max.message.bytes", "104857600")]).await;
    assert_eq!(client.produce("t", 0, sized(50 * MIB)).await.error_code, 0);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut reader = node.client().await;
        let mut request = fetch_request("t", 0, 0);
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        for _ in 0..10 {
            reader.send(&request, 12).await;
        }
        slow.push(reader);
    }
    assert_eq!(client.produce("t", 0, sized(1000)).await.error_code, 0);
    assert_eq!(client.fetch("t", 0, 1).await.error_code, 0);
    assert!(gauge(&node, UNSENT).await < 20 * 64 * 1024);
    // They are paused, not lost.
    let mut one = slow.remove(0);
    let (_, response) = one.receive::<FetchRequest>(12).await;
    assert!(response.responses[0].partitions[0].records.as_ref().unwrap().len() > 50 * MIB);
    drop(slow);
    until(&node, OPEN, |open| open == 2).await;
    node.stop().await;
}

/// Answers that are made in memory: one connection is not read any more after a few, and all together are bounded.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_bounded() {
    const TOPICS: usize = 30;
    // Unsent responses may hold the half.
    const ALLOWED: usize = 2 * MIB;
    let budget = (2 * ALLOWED).to_string();
    let small = ("socket.request.max.bytes", "1000000");
    let node = TestNode::start_with(&[("queued.max.request.bytes", &budget), small]).await;
    let mut client = node.client().await;
    for topic in 0..TOPICS {
        client.create_topic(&format!("topic-{topic}-{}", "x".repeat(200)), 100, &[]).await;
    }
    let request = MetadataRequest { topics: None, ..Default::default() };
    client.send(&request, 12).await;
    let size = client.receive_frame().await.len();
    assert!(size > 50_000, "{size}");
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut reader = node.client().await;
        for _ in 0..100 {
            reader.send(&request, 12).await;
        }
        slow.push(reader);
        // Each holds the answer that it is sent, and those behind it that fit; a squeeze is not immediate.
        let unsent = gauge(&node, UNSENT).await;
        assert!(unsent < ALLOWED + slow.len() * (512 * 1024 + 2 * size), "{unsent} with {}", slow.len());
    }
    until(&node, UNSENT, |unsent| unsent <= ALLOWED).await;
    until(&node, OPEN, |open| open < 61).await;
    assert!(is_served(&mut client, PATIENCE).await);
    node.stop().await;
}

/// The memory of a process, which nothing else uses: idle connections, and frames of which next to nothing has come.
#[tokio::test(flavor = "multi_thread")]
async fn connections_cost_little() {
    let descriptors = usize::try_from(many_descriptors()).unwrap_or(usize::MAX);
    let idle = 2000.min(descriptors - 200);
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start(dir.path(), free_port(), &[], None).await;
    let mut clients = Vec::new();
    for _ in 0..idle / 10 {
        clients.push(used_once(&broker).await);
    }
    let before = broker.resident();
    for _ in idle / 10..idle {
        clients.push(used_once(&broker).await);
    }
    let each = broker.resident().saturating_sub(before) / (idle - idle / 10);
    assert!(each < 16 * 1024, "{each} bytes for each");
    let before = broker.resident();
    for client in clients.iter_mut().take(300) {
        client.socket.write_all(&104_857_600_i32.to_be_bytes()).await.unwrap();
        client.socket.write_all(&[0]).await.unwrap();
    }
    assert!(is_served(clients.last_mut().unwrap(), PATIENCE).await);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes for 300 frames of 100 MiB that were announced");
}

async fn used_once(broker: &Process) -> Client {
    let mut client = Client::connect(broker.address).await;
    assert!(is_served(&mut client, PATIENCE).await);
    client
}

/// A frame may come in pieces of any size, others behind it at once.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_all_sizes_follow_each_other() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[("max.message.bytes", "104857600")]).await;
    let sizes = [10, 4000, 4096, 32_700, 32_768, 33_000, 70_000, MIB - 500, MIB, MIB + 1, 3 * MIB, 20];
    let mut all = Vec::new();
    for (number, size) in (1_i32..).zip(sizes) {
        let request = produce_request("t", 0, sized(size), -1);
        let parts = ottla_wire::encode_request(&request, 9, number, None).unwrap();
        let frame = parts.into_bytes().unwrap();
        all.extend_from_slice(&i32::try_from(frame.len()).unwrap().to_be_bytes());
        all.extend_from_slice(&frame);
    }
    for piece in [all.len(), 50_001] {
        let mut client = node.client().await;
        let (mut read, mut write) = client.socket.split();
        let sending = async {
            for piece in all.chunks(piece) {
                write.write_all(piece).await.unwrap();
            }
        };
        let receiving = async {
            for _ in sizes {
                let length = read.read_i32().await.unwrap();
                let mut frame = vec![0; usize::try_from(length).unwrap()];
                read.read_exact(&mut frame).await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, async { tokio::join!(sending, receiving) }).await.unwrap();
        let answered = client.call(&ApiVersionsRequest::default(), 0).await;
        assert_eq!(answered.error_code, 0);
    }
    assert_eq!(client.list_offset("t", 0, -1).await, 2 * sizes.len() as i64);
    for (offset, size) in (0..).zip(sizes.iter().chain(&sizes)) {
        let data = client.fetch("t", 0, offset).await;
        let length = data.records.map_or(0, |records| records.len());
        assert!(length > *size, "{length} bytes at {offset}");
    }
    node.stop().await;
}
