//! A node in this process, and a client that speaks any version of any request.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_broker::broker::{Node, start};
use ottla_broker::config::Config;
use ottla_wire::messages::ResponseHeader;
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ottla_wire::{ApiKey, Decoder, Message, Request, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A node on ports of the system's choice, with its data in `dir`.
pub async fn node(dir: &Path, overrides: &[(&str, &str)]) -> Node {
    let data = dir.to_str().unwrap();
    let mut settings = vec![
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("ottla.http.listener", "127.0.0.1:0"),
        ("log.dirs", data),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "200"),
        ("offsets.topic.num.partitions", "3"),
    ];
    settings.extend_from_slice(overrides);
    start(Config::from_overrides(&settings).unwrap()).await.unwrap()
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Connects to the node's client listener.
    pub async fn connect(node: &Node) -> Self {
        let stream = TcpStream::connect(node.address("PLAINTEXT").unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, correlation_id: 0 }
    }

    /// Sends a request in a version and waits for its answer.
    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version).await;
        self.receive::<R>(version).await
    }

    /// Sends a request without waiting.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let parts = encode_request(request, version, self.correlation_id, Some("test".into())).unwrap();
        let body = parts.into_bytes().unwrap();
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(body.len()).unwrap());
        frame.put(body);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Waits for the answer to the last request.
    pub async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let length = usize::try_from(self.stream.read_i32().await.unwrap()).unwrap();
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).await.unwrap();
        let mut decoder = Decoder::new(Bytes::from(frame));
        let header = ResponseHeader::decode(&mut decoder, R::KEY.response_header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response = R::Response::decode(&mut decoder, version).unwrap();
        assert_eq!(decoder.remaining(), 0, "{:?} version {version} is longer than its schema", R::KEY);
        response
    }
}

/// Creates a topic.
pub async fn create_topic(client: &mut Client, name: &str, partitions: i32) {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let response = client.call(&request, ApiKey::CreateTopics.latest_version()).await;
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
}
