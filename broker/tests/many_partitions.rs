//! More partitions than the process could hold all files of: they are made, written to, and there again after kill -9 and
//! after a clean stop.

use std::collections::BTreeSet;

use crate::common::process::{Process, free_port};
use crate::common::{Client, batch};
use ottla_wire::messages::ProduceRequest;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{ListOffsetsRequest, MetadataRequest};
use ottla_wire::{Records, Str};

/// One record to each partition; every one is acknowledged.
async fn produce_to_all(client: &mut Client, partitions: i32, value: &str) {
    let data = |index| PartitionProduceData {
        index,
        records: Some(Records::Bytes(batch(&[value], None))),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: Str::from("t"),
        partition_data: (0..partitions).map(data).collect(),
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic], ..Default::default() };
    let response = client.call(&request, 9).await;
    let answers = &response.responses[0].partition_responses;
    let codes: BTreeSet<i16> = answers.iter().map(|answer| answer.error_code).collect();
    assert_eq!((answers.len(), codes), (usize::try_from(partitions).unwrap(), BTreeSet::from([0])));
}

/// Where the partitions end.
async fn ends(client: &mut Client, partitions: i32) -> BTreeSet<i64> {
    let wanted =
        |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, ..Default::default() };
    let partitions = (0..partitions).map(wanted).collect();
    let topic = ListOffsetsTopic { name: Str::from("t"), partitions, ..Default::default() };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let response = client.call(&request, 7).await;
    let all = &response.topics[0].partitions;
    assert!(all.iter().all(|partition| partition.error_code == 0));
    all.iter().map(|partition| partition.offset).collect()
}

async fn survive(partitions: i32, descriptors: usize) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut process = Process::start(dir.path(), port, &[], Some(descriptors)).await;
    let mut client = Client::connect(process.address).await;
    client.create_topic("t", partitions, &[]).await;
    produce_to_all(&mut client, partitions, "first").await;
    assert!(process.open_files() < descriptors, "{} files are open", process.open_files());
    process.kill();

    let mut process = Process::start(dir.path(), port, &[], Some(descriptors)).await;
    let mut client = Client::connect(process.address).await;
    assert_eq!(ends(&mut client, partitions).await, BTreeSet::from([1]), "after kill -9");
    produce_to_all(&mut client, partitions, "second").await;
    process.terminate();

    let mut process = Process::start(dir.path(), port, &[], Some(descriptors)).await;
    let mut client = Client::connect(process.address).await;
    assert_eq!(ends(&mut client, partitions).await, BTreeSet::from([2]), "after a clean stop");
    for partition in [0, 1, partitions / 2, partitions - 1] {
        let values = client.read_all("t", partition).await;
        assert_eq!(values, [(0, "first".to_owned()), (1, "second".to_owned())], "partition {partition}");
    }
    assert!(process.open_files() < descriptors, "{} files are open", process.open_files());
    let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
    assert!(!log.contains("Too many open files") && !log.contains("fenced"), "{log}");
    process.kill();
}

/// The log files fit, their indexes would not.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_partitions_need_few_more_files_than_they_are() {
    survive(1000, 1500).await;
}

/// Not even the log files fit: those that were written to are synced to make room.
#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_than_descriptors() {
    survive(300, 200).await;
}

/// As many partitions as one request may make: in one topic, where Kafka stops at 9,999, and in many.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_makes_partitions_by_the_thousand() {
    let node = crate::common::TestNode::start().await;
    let mut client = node.client().await;
    let topics: Vec<(String, i32)> = (0..200).map(|index| (format!("many-{index}"), 10)).collect();
    client.create_topics(&topics).await;
    client.create_topics(&[("one".to_owned(), 1500)]).await;
    let metadata = client.call(&MetadataRequest { topics: None, ..Default::default() }, 12).await;
    let led = |topic: &ottla_wire::messages::metadata_response::MetadataResponseTopic| {
        topic.partitions.iter().filter(|partition| partition.leader_id >= 0).count()
    };
    assert_eq!(metadata.topics.iter().map(led).sum::<usize>(), 3500);
    node.stop().await;
}
