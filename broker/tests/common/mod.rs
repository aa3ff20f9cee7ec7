//! A node in this process and a small client, for tests.

pub mod pair;
pub mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_broker::broker::{self, Node};
use ottla_broker::config::Config;
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::produce_response::PartitionProduceResponse;
use ottla_wire::messages::{
    CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest, ProduceResponse,
};
use ottla_wire::{Decoder, Message, Records, Request, Str};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes; a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running node with its data in a directory of its own.
pub struct TestNode {
    pub node: Node,
    pub dir: TempDir,
    pub address: SocketAddr,
}

impl TestNode {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(overrides: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = node_in(dir.path(), overrides).await;
        Self::of(node, dir)
    }

    /// Stops the node and starts another over the same data.
    pub async fn restart(self, overrides: &[(&str, &str)]) -> Self {
        let dir = self.stop().await;
        let node = node_in(dir.path(), overrides).await;
        Self::of(node, dir)
    }

    pub async fn stop(self) -> TempDir {
        self.node.stop().await;
        self.dir
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    fn of(node: Node, dir: TempDir) -> Self {
        let address = node.address("PLAINTEXT").unwrap();
        Self { node, dir, address }
    }
}

/// A node on another disk; its `log.dirs` are among the overrides.
pub async fn node_on(
    disk: Arc<dyn ottla_log::disk::Disk>,
    overrides: &[(&str, &str)],
) -> Result<Node, String> {
    let mut all = vec![
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.listener.names", "CONTROLLER"),
        ("ottla.http.listener", ""),
        ("offsets.topic.num.partitions", "3"),
    ];
    all.extend_from_slice(overrides);
    let config = Config::from_overrides(&all).unwrap();
    broker::start_on(config, disk).await.map_err(|error| error.to_string())
}

async fn node_in(dir: &Path, overrides: &[(&str, &str)]) -> Node {
    let dir = dir.join("data");
    let mut all = vec![
        ("log.dirs", dir.to_str().unwrap()),
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.listener.names", "CONTROLLER"),
        ("ottla.http.listener", "127.0.0.1:0"),
        ("offsets.topic.num.partitions", "3"),
    ];
    all.extend_from_slice(overrides);
    broker::start(Config::from_overrides(&all).unwrap()).await.unwrap()
}

/// One connection; requests may be pipelined.
pub struct Client {
    pub socket: TcpStream,
    next: i32,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), next: 0 }
    }

    /// Sends a request without waiting; returns its correlation id.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        self.next += 1;
        let client_id = Some(Str::from_static("test"));
        let parts = ottla_wire::encode_request(request, version, self.next, client_id).unwrap();
        self.send_frame(&parts.into_bytes().unwrap()).await;
        self.next
    }

    pub async fn send_frame(&mut self, frame: &[u8]) {
        let mut bytes = BytesMut::with_capacity(4 + frame.len());
        bytes.extend_from_slice(&i32::try_from(frame.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(frame);
        self.socket.write_all(&bytes).await.unwrap();
    }

    /// The next response: correlation id and body.
    pub async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut decoder = Decoder::new(self.receive_frame().await);
        let header_version = R::KEY.response_header_version(version);
        let header = ottla_wire::messages::ResponseHeader::decode(&mut decoder, header_version).unwrap();
        let response = R::Response::decode(&mut decoder, version).unwrap();
        assert_eq!(decoder.remaining(), 0, "the response has nothing behind it");
        (header.correlation_id, response)
    }

    pub async fn receive_frame(&mut self) -> Bytes {
        let read = async {
            let length = self.socket.read_i32().await?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            self.socket.read_exact(&mut frame).await?;
            Ok::<_, std::io::Error>(Bytes::from(frame))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time").unwrap()
    }

    /// As [`Client::send`]; `None` when the connection is broken.
    pub async fn try_send<R: Request>(&mut self, request: &R, version: i16) -> Option<i32> {
        self.next += 1;
        let parts = ottla_wire::encode_request(request, version, self.next, None).unwrap();
        let frame = parts.into_bytes().unwrap();
        let length = i32::try_from(frame.len()).unwrap().to_be_bytes();
        self.socket.write_all(&[&length[..], &frame].concat()).await.ok()?;
        Some(self.next)
    }

    /// As [`Client::receive`]; `None` when the connection is broken.
    pub async fn try_receive<R: Request>(&mut self, version: i16) -> Option<(i32, R::Response)> {
        let length = self.socket.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.socket.read_exact(&mut frame).await.ok()?;
        let mut decoder = Decoder::new(Bytes::from(frame));
        let header_version = R::KEY.response_header_version(version);
        let header = ottla_wire::messages::ResponseHeader::decode(&mut decoder, header_version).unwrap();
        Some((header.correlation_id, R::Response::decode(&mut decoder, version).unwrap()))
    }

    /// Whether the broker closes the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut byte)).await;
        !matches!(read.expect("closed in time"), Ok(1..))
    }

    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let sent = self.send(request, version).await;
        let (id, response) = self.receive::<R>(version).await;
        assert_eq!(id, sent);
        response
    }

    pub async fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: Str::from(*name),
            value: Some(Str::from(*value)),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: Str::from(name),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
        let response = self.call(&request, 7).await;
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    /// Makes topics with so many partitions, all with one request.
    pub async fn create_topics(&mut self, topics: &[(String, i32)]) {
        let topic = |(name, partitions): &(String, i32)| CreatableTopic {
            name: Str::from(name.clone()),
            num_partitions: *partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let topics = topics.iter().map(topic).collect();
        let response =
            self.call(&CreateTopicsRequest { topics, timeout_ms: 5000, ..Default::default() }, 7).await;
        for topic in &response.topics {
            assert_eq!(topic.error_code, 0, "{}: {:?}", topic.name, topic.error_message);
        }
    }

    /// Produces one batch with acks=all; the partition's part of the response.
    pub async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        let response = self.call(&produce_request(topic, partition, batch, -1), 9).await;
        only_partition(response)
    }

    /// Fetches once without a session, waiting for at most a second.
    pub async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let mut response = self.call(&fetch_request(topic, partition, offset), 12).await;
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    /// Every value from `offset` to the high watermark, with its offset.
    pub async fn read_all(&mut self, topic: &str, partition: i32) -> Vec<(i64, String)> {
        let mut offset = self.list_offset(topic, partition, -2).await;
        let mut all = Vec::new();
        loop {
            let data = self.fetch(topic, partition, offset).await;
            assert_eq!(data.error_code, 0);
            let found = values(&data);
            all.extend(found.into_iter().filter(|(at, _)| *at >= offset));
            offset = all.last().map_or(offset, |(last, _)| last + 1);
            if offset >= data.high_watermark {
                return all;
            }
        }
    }

    pub async fn list_offset(&mut self, topic: &str, partition_index: i32, timestamp: i64) -> i64 {
        let partition = ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
        let topic =
            ListOffsetsTopic { name: Str::from(topic), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = self.call(&request, 7).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!(found.error_code, 0);
        found.offset
    }
}

pub fn produce_request(topic: &str, index: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData { index, records: Some(Records::Bytes(batch)), ..Default::default() };
    let topic = TopicProduceData { name: Str::from(topic), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() }
}

pub fn only_partition(mut response: ProduceResponse) -> PartitionProduceResponse {
    response.responses.remove(0).partition_responses.remove(0)
}

pub fn fetch_request(topic: &str, partition: i32, fetch_offset: i64) -> FetchRequest {
    let wanted =
        FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: Str::from(topic), partitions: vec![wanted], ..Default::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 1000,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// A batch of values without keys; of an idempotent producer if `(id, epoch, first sequence)` is given.
pub fn batch(values: &[&str], producer: Option<(i64, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    for value in values {
        builder.push(Record {
            timestamp: now_ms(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..Default::default()
        });
    }
    builder.build()
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The values in fetched records, with their offsets.
pub fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let Some(Records::Bytes(bytes)) = &data.records else { return Vec::new() };
    let mut found = Vec::new();
    for batch in ottla_wire::batch::batches(bytes) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        let base = batch.header.base_offset;
        for record in batch.records().unwrap() {
            let record = record.unwrap();
            let value = record.value.unwrap_or_default();
            let text = String::from_utf8(value.to_vec()).unwrap();
            found.push((base + i64::from(record.offset_delta), text));
        }
    }
    found
}
