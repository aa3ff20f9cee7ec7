//! DeleteRecords, OffsetForLeaderEpoch, DescribeProducers and DescribeLogDirs.

use crate::common::{Client, TestNode, batch};
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_wire::messages::describe_producers_request::TopicRequest;
use ottla_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use ottla_wire::messages::{
    DeleteRecordsRequest, DescribeLogDirsRequest, DescribeProducersRequest, OffsetForLeaderEpochRequest,
};
use ottla_wire::{ErrorCode, Str};

/// Low watermark and error.
async fn delete(client: &mut Client, topic: &str, offset: i64) -> (i64, ErrorCode) {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() }];
    let topics = vec![DeleteRecordsTopic { name: Str::from(topic), partitions, ..Default::default() }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 1000, ..Default::default() };
    let response = client.call(&request, 2).await;
    let row = &response.topics[0].partitions[0];
    (row.low_watermark, ErrorCode::try_from(row.error_code).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_stay_deleted() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    client.create_topic("compacted", 1, &[("cleanup.policy", "compact")]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 0, batch(&[value], None)).await;
    }
    for wrong in [4, -2, i64::MAX, i64::MIN] {
        assert_eq!(delete(&mut client, "t", wrong).await, (-1, ErrorCode::OffsetOutOfRange), "{wrong}");
    }
    assert_eq!(delete(&mut client, "nowhere", 0).await, (-1, ErrorCode::UnknownTopicOrPartition));
    assert_eq!(delete(&mut client, "compacted", 0).await, (-1, ErrorCode::PolicyViolation));
    assert_eq!(delete(&mut client, "t", 2).await, (2, ErrorCode::None));
    assert_eq!(delete(&mut client, "t", 1).await, (2, ErrorCode::None), "it never moves back");
    assert_eq!(client.fetch("t", 0, 1).await.error_code, ErrorCode::OffsetOutOfRange.code());
    assert_eq!(client.read_all("t", 0).await, [(2, "c".to_owned())]);

    let node = node.restart(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.list_offset("t", 0, -2).await, 2);
    assert_eq!(delete(&mut client, "t", -1).await, (3, ErrorCode::None));
    assert_eq!(client.produce("t", 0, batch(&["d"], None)).await.base_offset, 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_end_where_the_log_does() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 1, &[]).await;
    client.produce("t", 0, batch(&["a", "b"], None)).await;
    for (current_leader_epoch, leader_epoch, expected) in [
        (-1, 0, (0, 0, 2)),
        (0, 0, (0, 0, 2)),
        (-1, 5, (0, -1, -1)),
        (-1, -1, (0, -1, -1)),
        (5, 0, (ErrorCode::UnknownLeaderEpoch.code(), -1, -1)),
        (-2, 0, (ErrorCode::FencedLeaderEpoch.code(), -1, -1)),
    ] {
        let partitions =
            vec![OffsetForLeaderPartition { current_leader_epoch, leader_epoch, ..Default::default() }];
        let topics = vec![OffsetForLeaderTopic { topic: Str::from("t"), partitions, ..Default::default() }];
        let request = OffsetForLeaderEpochRequest { topics, ..Default::default() };
        let response = client.call(&request, 4).await;
        let row = &response.topics[0].partitions[0];
        let found = (row.error_code, row.leader_epoch, row.end_offset);
        assert_eq!(found, expected, "{current_leader_epoch} {leader_epoch}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_and_directories_are_described() {
    let node = TestNode::start().await;
    let mut client = node.client().await;
    client.create_topic("t", 2, &[]).await;
    let records = batch(&["a", "b"], Some((7, 1, 0)));
    let size = i64::try_from(records.len()).unwrap();
    assert_eq!(client.produce("t", 0, records).await.error_code, 0);

    let topics = ["t", "nowhere"].map(|name| TopicRequest {
        name: Str::from(name),
        partition_indexes: vec![0, 1],
        ..Default::default()
    });
    let request = DescribeProducersRequest { topics: topics.into(), ..Default::default() };
    let response = client.call(&request, 0).await;
    let partitions = &response.topics[0].partitions;
    let producer = &partitions[0].active_producers[0];
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (7, 1, 1));
    assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
    assert!(producer.last_timestamp > 0 && partitions[1].active_producers.is_empty());
    let unknown = response.topics[1].partitions[0].error_code;
    assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition.code());

    let response = client.call(&DescribeLogDirsRequest { topics: None, ..Default::default() }, 4).await;
    let directory = &response.results[0];
    assert_eq!((response.error_code, directory.error_code), (0, 0));
    assert!(directory.usable_bytes > 0 && directory.total_bytes >= directory.usable_bytes);
    let rows = &directory.topics.iter().find(|topic| &*topic.name == "t").unwrap().partitions;
    let sizes: Vec<_> = rows.iter().map(|row| (row.partition_index, row.partition_size)).collect();
    assert_eq!(sizes, [(0, size), (1, 0)]);
    node.stop().await;
}
