//! Replicas that move between the directories of a node (AlterReplicaLogDirs), under load, through kills and restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::broker::Node;
use ottla_log::disk::StdDisk;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_wire::messages::describe_log_dirs_response::DescribeLogDirsPartition;
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, CreateTopicsRequest,
    DescribeLogDirsRequest, ProduceRequest,
};
use ottla_wire::{ErrorCode, Str};

use crate::common::pair::Pair;
use crate::common::process::{Process, free_port};
use crate::common::{Client, PATIENCE, batch, node_on, only_partition, produce_request};
use crate::keys::replication::{BROKER, set};
use crate::keys::topic::until;

const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const PARTITIONS: i32 = 3;

pub fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

pub fn log_dirs(dir: &Path) -> String {
    format!("{},{}", path(dir, "d0"), path(dir, "d1"))
}

async fn start(dir: &Path, overrides: &[(&str, &str)]) -> (Node, Client) {
    let dirs = log_dirs(dir);
    let node = node_on(Arc::new(StdDisk), &[&[("log.dirs", &*dirs)], overrides].concat()).await.unwrap();
    let client = Client::connect(node.address("PLAINTEXT").unwrap()).await;
    (node, client)
}

fn move_request(moves: &[(String, &str, i32)]) -> AlterReplicaLogDirsRequest {
    let one = |(path, topic, partition): &(String, &str, i32)| AlterReplicaLogDir {
        path: Str::from(path.clone()),
        topics: vec![AlterReplicaLogDirTopic {
            name: Str::from(*topic),
            partitions: vec![*partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    AlterReplicaLogDirsRequest { dirs: moves.iter().map(one).collect(), ..Default::default() }
}

pub async fn alter(client: &mut Client, path: String, topic: &str, partition: i32) -> ErrorCode {
    let answer = client.call(&move_request(&[(path, topic, partition)]), 2).await;
    ErrorCode::try_from(answer.results[0].partitions[0].error_code).unwrap()
}

/// What lies in a directory of a partition.
async fn described(client: &mut Client, dir: &str, partition: i32) -> Vec<DescribeLogDirsPartition> {
    let answer = client.call(&DescribeLogDirsRequest { topics: None, ..Default::default() }, 4).await;
    let found = answer.results.into_iter().filter(|result| *result.log_dir == *dir);
    let topics = found.flat_map(|result| result.topics).filter(|topic| *topic.name == *"t");
    topics.flat_map(|topic| topic.partitions).filter(|row| row.partition_index == partition).collect()
}

/// Waits until the partition lies there, and nowhere else.
pub async fn until_moved(client: &mut Client, dir: &Path, to: &str, partition: i32) {
    let look = async {
        loop {
            let (here, other) = (path(dir, to), path(dir, if to == "d0" { "d1" } else { "d0" }));
            let here = described(client, &here, partition).await;
            let gone = described(client, &other, partition).await.is_empty();
            if gone && here.len() == 1 && !here[0].is_future_key {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it moves");
}

/// Where a partition does not lie.
pub fn other(dir: &Path, partition: i32) -> &'static str {
    if dir.join(format!("d0/t-{partition}")).exists() { "d1" } else { "d0" }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_to_and_fro_while_they_are_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, mut client) = start(dir.path(), &[]).await;
    client.create_topic("t", PARTITIONS, &[]).await;
    let mut written: Vec<Vec<String>> = vec![Vec::new(); 3];
    for round in 0..3 {
        let targets: Vec<_> = (0..PARTITIONS).map(|partition| other(dir.path(), partition)).collect();
        for (partition, target) in (0..).zip(&targets) {
            assert_eq!(alter(&mut client, path(dir.path(), target), "t", partition).await, ErrorCode::None);
        }
        for n in 0..150 {
            for (partition, written) in (0..).zip(&mut written) {
                let value = format!("{round}/{n}/{}", "x".repeat(n * 13 % 900));
                let produced = client.produce("t", partition, batch(&[&value], None)).await;
                assert_eq!(
                    (produced.error_code, produced.base_offset),
                    (0, i64::try_from(written.len()).unwrap())
                );
                written.push(value);
            }
        }
        if round == 1 {
            node.stop().await;
            (node, client) = start(dir.path(), &[]).await;
        }
        for (partition, target) in (0..).zip(&targets) {
            until_moved(&mut client, dir.path(), target, partition).await;
        }
        for (partition, written) in (0..).zip(&written) {
            let values = client.read_all("t", partition).await.into_iter().map(|(_, value)| value);
            assert_eq!(values.collect::<Vec<_>>(), *written, "round {round}");
        }
        let image = node.broker().controller.image();
        for (partition, target) in (0..).zip(&targets) {
            let directories = node.broker().partitions.directories();
            let target = directories.iter().find(|one| one.path().ends_with(target)).unwrap();
            assert_eq!(image.partition("t", partition).unwrap().directory_of(1), Some(target.id()));
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_kills_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let dirs = format!("log.dirs={}", log_dirs(dir.path()));
    let mut acked: Vec<Vec<(i64, String)>> = vec![Vec::new(); 3];
    for round in 0..6_u64 {
        let mut process = Process::start(dir.path(), port, &[&dirs], None).await;
        let mut client = Client::connect(process.address).await;
        if round == 0 {
            client.create_topic("t", PARTITIONS, &[]).await;
        }
        check(&mut client, &acked).await;
        let moves: Vec<_> = (0..PARTITIONS)
            .map(|partition| (path(dir.path(), other(dir.path(), partition)), "t", partition))
            .collect();
        for row in client.call(&move_request(&moves), 1).await.results {
            assert_eq!(row.partitions[0].error_code, 0);
        }
        let kill = async {
            tokio::time::sleep(Duration::from_millis(40 + round * 60)).await;
            process.kill();
        };
        let load = async {
            for n in 0.. {
                let partition = n % 3;
                let value = format!("{round}/{n}/{}", "x".repeat(n * 7 % 3000));
                let request =
                    produce_request("t", i32::try_from(partition).unwrap(), batch(&[&value], None), -1);
                if client.try_send(&request, 9).await.is_none() {
                    return;
                }
                let Some((_, answer)) = client.try_receive::<ProduceRequest>(9).await else { return };
                let answer = only_partition(answer);
                assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
                acked[partition].push((answer.base_offset, value));
            }
        };
        tokio::join!(kill, load);
    }
    let process = Process::start(dir.path(), port, &[&dirs], None).await;
    let mut client = Client::connect(process.address).await;
    check(&mut client, &acked).await;
    assert!(acked.iter().map(Vec::len).sum::<usize>() > 100, "the load did something");
    for partition in 0..PARTITIONS {
        let goal = other(dir.path(), partition);
        assert_eq!(alter(&mut client, path(dir.path(), goal), "t", partition).await, ErrorCode::None);
        until_moved(&mut client, dir.path(), goal, partition).await;
    }
    check(&mut client, &acked).await;
}

/// Everything acknowledged is where it was acknowledged.
async fn check(client: &mut Client, acked: &[Vec<(i64, String)>]) {
    for (partition, acked) in (0..).zip(acked).filter(|(_, acked)| !acked.is_empty()) {
        let found: std::collections::HashMap<_, _> =
            client.read_all("t", partition).await.into_iter().collect();
        for (offset, value) in acked {
            assert_eq!(found.get(offset), Some(value), "t-{partition} at {offset}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_told_for_each_partition() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut client) = start(dir.path(), &[]).await;
    client.create_topic("t", 1, &[]).await;
    let here = if other(dir.path(), 0) == "d1" { "d0" } else { "d1" };
    let moves = [
        (path(dir.path(), here), "t", 0),
        (path(dir.path(), "d1"), "t", 7),
        (path(dir.path(), "d1"), "unknown", 0),
        ("/nowhere".to_owned(), "elsewhere", 0),
        (path(dir.path(), "d0"), "unknown", 1),
    ];
    for version in [1, 2] {
        let answer = client.call(&move_request(&moves), version).await;
        let mut told: Vec<_> = answer
            .results
            .iter()
            .flat_map(|topic| {
                let name = topic.topic_name.to_string();
                topic.partitions.iter().map(move |it| {
                    (name.clone(), it.partition_index, ErrorCode::try_from(it.error_code).unwrap())
                })
            })
            .collect();
        told.sort_by_key(|(name, index, _)| (name.clone(), *index));
        assert_eq!(
            told,
            [
                ("elsewhere".into(), 0, ErrorCode::LogDirNotFound),
                ("t".into(), 0, ErrorCode::None),
                ("t".into(), 7, ErrorCode::UnknownTopicOrPartition),
                ("unknown".into(), 0, ErrorCode::UnknownTopicOrPartition),
                ("unknown".into(), 1, ErrorCode::UnknownTopicOrPartition),
            ]
        );
    }
    assert!(client.call(&AlterReplicaLogDirsRequest::default(), 2).await.results.is_empty());
    // Made where it was asked for.
    client.create_topic("unknown", 2, &[]).await;
    assert!(dir.path().join("d1/unknown-0").exists() && dir.path().join("d0/unknown-1").exists());
    node.stop().await;
}

/// A node on which a partition of three large batches begins to move, at 1,000 bytes a second.
async fn begin_slow_move(dir: &Path, overrides: &[(&str, &str)]) -> (Node, Client, &'static str) {
    let (node, mut client) = start(dir, overrides).await;
    client.create_topic("t", 1, &[]).await;
    for _ in 0..3 {
        let produced = client.produce("t", 0, batch(&[&"x".repeat(700_000)], None)).await;
        assert_eq!(produced.error_code, 0);
    }
    set(&mut client, BROKER, "", &[(RATE, "1000")]).await;
    let target = other(dir, 0);
    // In effect here, too.
    tokio::time::timeout(PATIENCE, node.broker().catch_up()).await.unwrap();
    assert_eq!(alter(&mut client, path(dir, target), "t", 0).await, ErrorCode::None);
    (node, client, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_takes_no_more_than_configured() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut client, target) = begin_slow_move(dir.path(), &[]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let rows = described(&mut client, &path(dir.path(), target), 0).await;
    assert!(rows[0].is_future_key && rows[0].offset_lag == 2, "{rows:?}");
    assert!((700_000..700_200).contains(&rows[0].partition_size), "{rows:?}");
    let figures = || node.broker().partitions.move_figures();
    let now = figures();
    assert_eq!((now.partitions, now.max_lag, now.completed, now.failed), (1, 2, 0, 0), "{now:?}");
    assert!((1_400_000..1_400_400).contains(&now.left_bytes) && now.copied_bytes > 700_000, "{now:?}");
    set(&mut client, BROKER, "", &[(RATE, "1000000000")]).await;
    until_moved(&mut client, dir.path(), target, 0).await;
    let now = figures();
    assert_eq!((now.partitions, now.left_bytes, now.max_lag, now.completed), (0, 0, 0, 1), "{now:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_moves_is_measured_over_the_configured_time() {
    let prefix = "alter.log.dirs.replication.quota.window";
    let (num, seconds) = (format!("{prefix}.num"), format!("{prefix}.size.seconds"));
    for (samples, length, moves) in [("1", "1", true), ("3600", "3600", true), ("3600", "1", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (node, mut client, target) =
            begin_slow_move(dir.path(), &[(&*num, samples), (&*seconds, length)]).await;
        if moves {
            until_moved(&mut client, dir.path(), target, 0).await;
        } else {
            tokio::time::sleep(Duration::from_secs(4)).await;
            let rows = described(&mut client, &path(dir.path(), target), 0).await;
            assert!(rows[0].is_future_key, "{rows:?}");
        }
        node.stop().await;
    }
}

/// Everything in a partition's segments.
fn bytes_of(dir: &Path) -> Vec<u8> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "log"));
    files.sort();
    files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect()
}

async fn has_all(pair: &Pair, isr: usize) {
    let partition = |node: &Node| node.broker().partitions.find("t", 0).unwrap();
    until("the follower has everything", || {
        let image = pair.controller.broker().controller.image();
        let ends = [&pair.controller, &pair.broker].map(|node| partition(node).log_end_offset());
        ends[0] == ends[1] && image.partition("t", 0).unwrap().isr.len() == isr
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_moves_to_and_fro_and_stays_in_sync() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = log_dirs(dir.path());
    let pair = Pair::start_with(&[], &[("log.dirs", &dirs)]).await;
    let mut leader = Client::connect(pair.controller.address("PLAINTEXT").unwrap()).await;
    let mut follower = pair.client().await;
    let both =
        CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1, 2], ..Default::default() };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![both],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(leader.call(&request, 7).await.topics[0].error_code, 0);
    until("the leader is there", || pair.controller.broker().partitions.find("t", 0).is_some()).await;
    until("the follower is there", || pair.broker.broker().partitions.find("t", 0).is_some()).await;
    let mut written = Vec::new();
    for round in 0..3 {
        let target = other(dir.path(), 0);
        for n in 0..200 {
            if n == 50 {
                assert_eq!(alter(&mut follower, path(dir.path(), target), "t", 0).await, ErrorCode::None);
            }
            let value = format!("{round}/{n}/{}", "x".repeat(n * 13 % 900));
            assert_eq!(leader.produce("t", 0, batch(&[&value], None)).await.error_code, 0);
            written.push(value);
        }
        until_moved(&mut follower, dir.path(), target, 0).await;
        has_all(&pair, 2).await;
        let own = bytes_of(&dir.path().join(target).join("t-0"));
        assert!(own == bytes_of(&pair.dir.path().join("1/t-0")), "round {round}: the replicas differ");
        let image = pair.controller.broker().controller.image();
        let directories = pair.broker.broker().partitions.directories();
        let place = directories.iter().find(|one| one.path().ends_with(target)).unwrap();
        assert_eq!(image.partition("t", 0).unwrap().directory_of(2), Some(place.id()), "round {round}");
    }
    let shrinks = pair.controller.broker().partitions.surroundings().isr_changes.counted().shrinks;
    assert_eq!(shrinks, 0, "a move costs no follower its place");
    // It leads now, from where it has moved to.
    let moved = ReassignablePartition { replicas: Some(vec![2]), ..Default::default() };
    let topic = ReassignableTopic { name: "t".into(), partitions: vec![moved], ..Default::default() };
    let request =
        AlterPartitionReassignmentsRequest { timeout_ms: 10_000, topics: vec![topic], ..Default::default() };
    assert_eq!(leader.call(&request, 0).await.error_code, 0);
    until("it leads", || pair.broker.broker().partitions.find("t", 0).unwrap().leadership().here).await;
    let values = follower.read_all("t", 0).await.into_iter().map(|(_, value)| value);
    assert_eq!(values.collect::<Vec<_>>(), written);
    pair.stop().await;
}
