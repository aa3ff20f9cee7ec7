//! Connections and requests.

use std::time::Duration;

use ottla_broker::broker;
use ottla_broker::config::Config;
use ottla_wire::messages::{ApiVersionsRequest, ProduceRequest};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{Client, PATIENCE, TestNode, batch, fetch_request, produce_request};

pub async fn is_served(client: &mut Client, patience: Duration) -> bool {
    let asked = async {
        client.send(&ApiVersionsRequest::default(), 0).await;
        client.receive::<ApiVersionsRequest>(0).await
    };
    tokio::time::timeout(patience, asked).await.is_ok()
}

/// Long enough to tell a connection that is not served from one that is.
pub const SHORT: Duration = Duration::from_millis(300);

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
        first.socket.write_all(&[0; 50_000]).await.unwrap();
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
async fn connections_among_brokers_are_served_beyond_the_configured_number() {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let listeners = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SSL:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("max.connections", "1"),
    ];
    for (settings, served) in [
        (&[][..], false),
        (&[(NAME, "PLAINTEXT")], false),
        (&[(NAME, "SSL")], true),
        (&[(PROTOCOL, "PLAINTEXT")], false),
        (&[(PROTOCOL, "SSL")], true),
    ] {
        let node = TestNode::start_with(&[&listeners, settings].concat()).await;
        let mut first = node.client().await;
        assert!(is_served(&mut first, PATIENCE).await);
        let mut second = Client::connect(node.node.address("SSL").unwrap()).await;
        let patience = if served { PATIENCE } else { SHORT };
        assert_eq!(is_served(&mut second, patience).await, served, "{settings:?}");
        if served {
            assert!(first.is_closed().await, "it was the least recently used of the others");
        }
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_connections_are_for_hosts_that_exist() {
    const KEY: &str = "max.connections.per.ip.overrides";
    let node = TestNode::start_with(&[(KEY, "localhost:1")]).await;
    let mut first = node.client().await;
    assert!(is_served(&mut first, PATIENCE).await);
    assert!(node.client().await.is_closed().await);
    node.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let dirs = dir.path().join("data").display().to_string();
    let config = Config::from_overrides(&[("log.dirs", &dirs), (KEY, "nowhere.invalid:3")]).unwrap();
    let error = broker::start(config).await.unwrap_err().to_string();
    assert!(error.starts_with("max.connections.per.ip.overrides: nowhere.invalid:3: "), "{error}");
}

/// With one connection served, others stay in the backlog; above it the system lets nobody in.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_connections_wait_to_be_accepted_as_configured() {
    for (settings, all_are_in) in [(&[][..], true), (&[("socket.listen.backlog.size", "1")], false)] {
        let node = TestNode::start_with(&[settings, &[("max.connections", "1")]].concat()).await;
        let mut first = node.client().await;
        assert!(is_served(&mut first, PATIENCE).await);
        let mut waiting = Vec::new();
        for _ in 0..8 {
            waiting.extend(tokio::time::timeout(SHORT, TcpStream::connect(node.address)).await);
        }
        assert_eq!(waiting.len() == 8, all_are_in, "{settings:?}: {}", waiting.len());
        drop(waiting);
        node.stop().await;
    }
}

/// A client whose own buffers are as small as can be.
fn small_socket(node: &TestNode) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.set_send_buffer_size(1).unwrap();
    socket.connect(&node.address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// What the system takes for a connection that the broker does not read.
#[tokio::test(flavor = "multi_thread")]
async fn the_receive_buffer_is_as_large_as_configured() {
    let taken = async |size: &str| {
        let node =
            TestNode::start_with(&[("socket.receive.buffer.bytes", size), ("max.connections", "1")]).await;
        let mut first = node.client().await;
        assert!(is_served(&mut first, PATIENCE).await);
        let mut second = TcpStream::from_std(small_socket(&node)).unwrap();
        let mut taken = 0;
        while let Ok(written) = tokio::time::timeout(SHORT, second.write(&[0; 1024])).await {
            taken += written.unwrap();
        }
        node.stop().await;
        taken
    };
    let (small, large) = (taken("4096").await, taken("200000").await);
    assert!(small < 50_000 && large > 100_000, "{small} {large}");
}

/// A write that stands still ends the connection; what fits the send buffer does not stand still.
#[tokio::test(flavor = "multi_thread")]
async fn the_send_buffer_is_as_large_as_configured() {
    let sent = async |size: &str| {
        let node =
            TestNode::start_with(&[("socket.send.buffer.bytes", size), ("connections.max.idle.ms", "500")])
                .await;
        let mut client = node.client().await;
        client.create_topic("t", 1, &[]).await;
        client.produce("t", 0, batch(&["x".repeat(100_000).as_str()], None)).await;
        let mut slow = node.client().await;
        slow.socket = TcpStream::from_std(small_socket(&node)).unwrap();
        slow.send(&fetch_request("t", 0, 0), 12).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = tokio::time::timeout(PATIENCE, slow.socket.read_to_end(&mut all)).await.unwrap();
        node.stop().await;
        all.len()
    };
    let (small, large) = (sent("4096").await, sent("200000").await);
    assert!(small < 100_000 && large > 100_000, "{small} {large}");
}
