//! `cordoned.log.dirs` (KIP-1066): directories, and brokers, that get no new partitions.

use std::path::Path;
use std::sync::Arc;

use ottla_broker::broker::Node;
use ottla_log::disk::StdDisk;
use ottla_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_wire::messages::{CreateTopicsRequest, DescribeLogDirsRequest};
use ottla_wire::{ErrorCode, Str};

use crate::common::pair::Pair;
use crate::common::{Client, batch, node_on};
use crate::keys::topic::{alter, until};
use crate::moves::{alter as move_to, log_dirs, other, path, until_moved};

const KEY: &str = "cordoned.log.dirs";

async fn start(dir: &Path, overrides: &[(&str, &str)]) -> (Node, Client) {
    let dirs = log_dirs(dir);
    let node = node_on(Arc::new(StdDisk), &[&[("log.dirs", &*dirs)], overrides].concat()).await.unwrap();
    let client = Client::connect(node.address("PLAINTEXT").unwrap()).await;
    (node, client)
}

/// Directories that are described as cordoned, by the ends of their names.
async fn cordoned(client: &mut Client, dir: &Path, version: i16) -> Vec<&'static str> {
    let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let results = client.call(&request, version).await.results;
    let is = |name: &&str| results.iter().any(|it| *it.log_dir == *path(dir, name) && it.is_cordoned);
    ["d0", "d1"].into_iter().filter(is).collect()
}

async fn create(client: &mut Client, name: &str, partitions: i32, replicas: &[i32]) -> ErrorCode {
    let by_hand = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: replicas.to_vec(),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions: if replicas.is_empty() { partitions } else { -1 },
        replication_factor: if replicas.is_empty() { 1 } else { -1 },
        assignments: if replicas.is_empty() { Vec::new() } else { vec![by_hand] },
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    ErrorCode::try_from(client.call(&request, 7).await.topics[0].error_code).unwrap()
}

fn registered(node: &Node, broker: i32) -> usize {
    let image = node.broker().controller.image();
    image.broker(broker).unwrap().cordoned_log_dirs.as_ref().map_or(0, Vec::len)
}

fn is_there(dir: &Path, partition: &str) -> [bool; 2] {
    ["d0", "d1"].map(|name| dir.join(name).join(partition).exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn cordoned_directories_get_no_new_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut client) = start(dir.path(), &[]).await;
    client.create_topic("t", 2, &[]).await;
    let here = if other(dir.path(), 0) == "d1" { "d0" } else { "d1" };
    let there = other(dir.path(), 0);
    assert!(cordoned(&mut client, dir.path(), 5).await.is_empty());

    alter(&mut client, "1", KEY, Some(&path(dir.path(), here))).await.unwrap();
    assert_eq!(cordoned(&mut client, dir.path(), 5).await, [here]);
    assert!(cordoned(&mut client, dir.path(), 4).await.is_empty(), "not known in that version");
    until("registered", || registered(&node, 1) == 1).await;
    client.create_topic("u", 4, &[]).await;
    for partition in 0..4 {
        let is_there = is_there(dir.path(), &format!("u-{partition}"));
        assert_eq!(is_there, [here == "d1", here == "d0"], "u-{partition} is not in {here}");
    }
    let target = path(dir.path(), here);
    assert_eq!(move_to(&mut client, target.clone(), "u", 0).await, ErrorCode::InvalidReplicaAssignment);
    assert_eq!(client.produce("t", 0, batch(&["a"], None)).await.error_code, 0, "what lies there is served");
    assert_eq!(move_to(&mut client, path(dir.path(), there), "t", 0).await, ErrorCode::None);
    until_moved(&mut client, dir.path(), there, 0).await;
    assert_eq!(client.read_all("t", 0).await, [(0, "a".to_owned())]);

    node.stop().await;
    let (node, mut client) = start(dir.path(), &[]).await;
    assert_eq!(cordoned(&mut client, dir.path(), 5).await, [here], "after a restart, too");
    for unknown in ["/elsewhere", "*,/elsewhere", "d0"] {
        assert!(alter(&mut client, "1", KEY, Some(unknown)).await.is_err(), "{unknown}");
    }
    assert!(alter(&mut client, "", KEY, Some("*")).await.is_err(), "each broker has its own directories");
    alter(&mut client, "1", KEY, None).await.unwrap();
    assert!(cordoned(&mut client, dir.path(), 5).await.is_empty());
    assert_eq!(move_to(&mut client, target, "u", 0).await, ErrorCode::None);
    node.stop().await;

    let (node, mut client) = start(dir.path(), &[(KEY, "*")]).await;
    assert_eq!(cordoned(&mut client, dir.path(), 5).await, ["d0", "d1"], "as it was started");
    until("registered", || registered(&node, 1) == 2).await;
    assert_eq!(create(&mut client, "v", 1, &[]).await, ErrorCode::InvalidReplicationFactor);
    alter(&mut client, "1", KEY, Some("")).await.unwrap();
    until("registered", || registered(&node, 1) == 0).await;
    assert_eq!(create(&mut client, "v", 1, &[]).await, ErrorCode::None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_another_directory_gets_what_it_is_given_by_hand_alone() {
    let pair = Pair::start().await;
    let mut client = pair.client().await;
    alter(&mut client, "2", KEY, Some("*")).await.unwrap();
    until("registered", || registered(&pair.controller, 2) == 1).await;
    assert_eq!(create(&mut client, "t", 6, &[]).await, ErrorCode::None);
    let image = || pair.controller.broker().controller.image();
    let placed = image();
    let partitions = &placed.topics.by_name("t").unwrap().partitions;
    assert!(partitions.values().all(|partition| partition.replicas == [1]), "{partitions:?}");
    assert_eq!(create(&mut client, "by-hand", 1, &[2]).await, ErrorCode::None);
    until("it leads", || pair.broker.broker().partitions.find("by-hand", 0).is_some()).await;
    alter(&mut client, "2", KEY, None).await.unwrap();
    until("registered", || registered(&pair.controller, 2) == 0).await;
    assert_eq!(create(&mut client, "u", 6, &[]).await, ErrorCode::None);
    let placed = image();
    let partitions = &placed.topics.by_name("u").unwrap().partitions;
    assert!(partitions.values().any(|partition| partition.replicas == [2]), "{partitions:?}");
    pair.stop().await;
}
