//! Replicas of two nodes.

use ottla_wire::Str;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, CreateTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest,
};

use crate::common::pair::Pair;
use crate::common::{Client, batch, fetch_request};
use crate::keys::topic::{Pairs, until};

const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
/// Bytes of a batch: each is an answer of its own.
const LARGE: usize = 700_000;

/// A topic of one partition on these nodes, the first of which leads.
async fn create(client: &mut Client, name: &str, broker_ids: &[i32]) {
    let assignment = CreatableReplicaAssignment { broker_ids: broker_ids.to_vec(), ..Default::default() };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let made = client.call(&request, 7).await;
    assert_eq!(made.topics[0].error_code, 0, "{:?}", made.topics[0].error_message);
}

pub async fn set(client: &mut Client, resource_type: i8, name: &str, configs: &[(&str, &str)]) {
    let config = |(key, value): &(&str, &str)| AlterableConfig {
        name: Str::from(*key),
        value: Some(Str::from(*value)),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let altered = client.call(&request, 1).await;
    assert_eq!(altered.responses[0].error_code, 0, "{:?}", altered.responses[0].error_message);
}

fn in_sync(pair: &Pair, topic: &str) -> bool {
    let image = pair.controller.broker().image();
    image.topics.by_name(topic).is_some_and(|topic| topic.partitions[&0].isr.len() == 2)
}

/// A topic on the first node with three large batches, and another one, which are to have a replica on the second, too.
async fn begin_moves(configuration: &[(&str, &str)], throttled: (&str, &str)) -> Pair {
    let pair = Pair::start_with(configuration, configuration).await;
    let mut client = Client::connect(pair.controller.address("PLAINTEXT").unwrap()).await;
    let topics = ["throttled", "free"];
    for topic in topics {
        create(&mut client, topic, &[1]).await;
        for _ in 0..3 {
            let produced = client.produce(topic, 0, batch(&[&"x".repeat(LARGE)], None)).await;
            assert_eq!(produced.error_code, 0);
        }
    }
    let (side, replicas) = throttled;
    let (key, rate) =
        (format!("{side}.replication.throttled.replicas"), format!("{side}.replication.throttled.rate"));
    set(&mut client, TOPIC, "throttled", &[(&key, replicas)]).await;
    for node in ["1", "2"] {
        set(&mut client, BROKER, node, &[(&rate, "1000")]).await;
    }
    let both = ReassignablePartition { replicas: Some(vec![1, 2]), ..Default::default() };
    let moved = |name: &str| ReassignableTopic {
        name: name.into(),
        partitions: vec![both.clone()],
        ..Default::default()
    };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: topics.map(moved).to_vec(),
        ..Default::default()
    };
    assert_eq!(client.call(&request, 0).await.error_code, 0);
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_out_of_sync_take_no_more_than_configured() {
    for (side, replicas) in [("leader", "0:1"), ("leader", "*"), ("follower", "0:2")] {
        let pair = begin_moves(&[], (side, replicas)).await;
        until("the other topic is in sync", || in_sync(&pair, "free")).await;
        assert!(!in_sync(&pair, "throttled"), "{side} {replicas}");
        let mut client = pair.client().await;
        for node in ["1", "2"] {
            let rate = format!("{side}.replication.throttled.rate");
            set(&mut client, BROKER, node, &[(&rate, "1000000000")]).await;
        }
        until("in sync at a higher rate", || in_sync(&pair, "throttled")).await;
        pair.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_replicas_that_are_named_are_throttled() {
    for (side, replicas) in [("leader", "0:2,1:1"), ("follower", "0:1")] {
        let pair = begin_moves(&[], (side, replicas)).await;
        until("both are in sync", || in_sync(&pair, "free") && in_sync(&pair, "throttled")).await;
        pair.stop().await;
    }
}

/// What was sent is forgotten after as many samples as are kept, and a rate is that of a sample's length at least.
#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_replication_is_measured_over_the_configured_time() {
    let window = |num: &'static str, seconds: &'static str| {
        [("replication.quota.window.num", num), ("replication.quota.window.size.seconds", seconds)]
    };
    let short = begin_moves(&window("1", "1"), ("leader", "*")).await;
    let many = begin_moves(&window("3600", "1"), ("leader", "*")).await;
    let long = begin_moves(&window("3600", "3600"), ("leader", "*")).await;
    until("in sync after three seconds", || in_sync(&short, "throttled")).await;
    until("in sync, it is little for an hour", || in_sync(&long, "throttled")).await;
    assert!(!in_sync(&many, "throttled"));
    for pair in [short, many, long] {
        pair.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_are_sent_to_the_replica_of_their_rack_where_configured() {
    let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    for rack_aware in [true, false] {
        let mut first: Pairs<'_> = vec![("broker.rack", "a")];
        if rack_aware {
            first.push(("replica.selector.class", selector));
        }
        let pair = Pair::start_with(&first, &[("broker.rack", "b")]).await;
        let mut client = Client::connect(pair.controller.address("PLAINTEXT").unwrap()).await;
        create(&mut client, "t", &[1, 2]).await;
        assert_eq!(client.produce("t", 0, batch(&["x"], None)).await.error_code, 0);
        let request = FetchRequest { rack_id: "b".into(), ..fetch_request("t", 0, 0) };
        let mut sent = -1;
        // Until the leader has heard that the other one has the record.
        for _ in 0..50 {
            let answer = client.call(&request, 11).await;
            sent = answer.responses[0].partitions[0].preferred_read_replica;
            if sent >= 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(sent, if rack_aware { 2 } else { -1 });
        pair.stop().await;
    }
}
