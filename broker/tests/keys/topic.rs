//! A node with one topic, and what the tests look at.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::messages::IncrementalAlterConfigsRequest;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::{ErrorCode, Str};

use crate::common::{Client, PATIENCE, TestNode};

pub type Pairs<'a> = Vec<(&'a str, &'a str)>;

pub const HOUR: i64 = 3_600_000;

pub const DAY: i64 = 24 * HOUR;

/// What comes before a broker's key that is set for all brokers while the node runs.
const RUNNING: &str = "running ";

/// Nothing set; the broker's key set; the topic's key set to the same; the broker's key set while it runs.
pub fn places<'a>(broker: &'a str, topic: &'a str, value: &'a str) -> [(Pairs<'a>, Pairs<'a>, bool); 4] {
    let running = format!("{RUNNING}{broker}").leak();
    [
        (vec![], vec![], false),
        (vec![(broker, value)], vec![], true),
        (vec![], vec![(topic, value)], true),
        (vec![(running, value)], vec![], true),
    ]
}

pub struct Topic {
    pub node: TestNode,
    pub client: Client,
}

impl Topic {
    /// A node with a topic `t` of one partition.
    pub async fn new(broker: &[(&str, &str)], topic: &[(&str, &str)]) -> Topic {
        let running = |pair: &&(&str, &str)| pair.0.starts_with(RUNNING);
        let fixed: Vec<_> = broker.iter().filter(|pair| !running(pair)).copied().collect();
        let node = TestNode::start_with(&fixed).await;
        let mut client = node.client().await;
        client.create_topic("t", 1, topic).await;
        for (key, value) in broker.iter().filter(running) {
            alter(&mut client, "", key.trim_start_matches(RUNNING), Some(value)).await.unwrap();
        }
        Topic { node, client }
    }

    pub async fn produce(&mut self, batch: Bytes) -> ErrorCode {
        ErrorCode::try_from(self.client.produce("t", 0, batch).await.error_code).unwrap()
    }

    pub async fn produce_all(&mut self, batches: impl IntoIterator<Item = Bytes>) {
        for batch in batches {
            assert_eq!(self.produce(batch).await, ErrorCode::None);
        }
    }

    pub fn data(&self) -> PathBuf {
        self.node.dir.path().join("data")
    }

    /// Files of the partition whose name ends so.
    pub fn files(&self, end: &str) -> Vec<PathBuf> {
        files_in(&self.data().join("t-0"), end)
    }

    /// Whether a checkpoint file has this offset for the partition.
    pub fn checkpointed(&self, file: &str, offset: i64) -> bool {
        let text = std::fs::read_to_string(self.data().join(file)).unwrap_or_default();
        text.lines().any(|line| line == format!("t 0 {offset}"))
    }

    pub async fn earliest(&mut self) -> i64 {
        self.client.list_offset("t", 0, -2).await
    }

    /// Waits until the log starts there.
    pub async fn until_earliest(&mut self, offset: i64) {
        let began = std::time::Instant::now();
        while self.earliest().await != offset {
            assert!(began.elapsed() < PATIENCE, "the log does not start at {offset}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub fn files_in(dir: &std::path::Path, end: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A batch of one record without key.
pub fn record(timestamp: i64, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    builder.push(Record { timestamp, value: Some(Bytes::from(vec![b'x'; size])), ..Default::default() });
    builder.build()
}

pub const SOON: [(&str, &str); 2] =
    [("log.retention.check.interval.ms", "30"), ("log.initial.task.delay.ms", "0")];

/// What runs once at the start, with such a delay, has run.
pub async fn first_tasks() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Sets a key of a broker, of all brokers if it has no name, or unsets it; else the error's message.
pub async fn alter(client: &mut Client, broker: &str, key: &str, value: Option<&str>) -> Result<(), String> {
    const BROKER: i8 = 4;
    alter_resource(client, (BROKER, broker), key, value).await
}

/// Sets or unsets a key of a topic; else the error's message.
pub async fn alter_topic(
    client: &mut Client,
    topic: &str,
    key: &str,
    value: Option<&str>,
) -> Result<(), String> {
    const TOPIC: i8 = 2;
    alter_resource(client, (TOPIC, topic), key, value).await
}

async fn alter_resource(
    client: &mut Client,
    (resource_type, name): (i8, &str),
    key: &str,
    value: Option<&str>,
) -> Result<(), String> {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: i8::from(value.is_none()),
        value: value.map(Str::from),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = client.call(&request, 1).await.responses.remove(0);
    match answer.error_code {
        0 => Ok(()),
        _ => Err(answer.error_message.unwrap_or_default().to_string()),
    }
}
