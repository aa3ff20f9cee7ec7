//! Replicas that move between the directories of a node (AlterReplicaLogDirs), under load, through kills and restarts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::broker::Node;
use ottla_log::disk::StdDisk;
use ottla_wire::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_wire::messages::describe_log_dirs_response::DescribeLogDirsPartition;
use ottla_wire::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest, ProduceRequest};
use ottla_wire::{ErrorCode, Str};

use crate::common::process::{Process, free_port};
use crate::common::{Client, PATIENCE, batch, node_on, only_partition, produce_request};
use crate::keys::replication::{BROKER, set};

const RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const PARTITIONS: i32 = 3;

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

fn log_dirs(dir: &Path) -> String {
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

async fn alter(client: &mut Client, path: String, topic: &str, partition: i32) -> ErrorCode {
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
async fn until_moved(client: &mut Client, dir: &Path, to: &str, partition: i32) {
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
fn other(dir: &Path, partition: i32) -> &'static str {
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
    set(&mut client, BROKER, "", &[(RATE, "1000000000")]).await;
    until_moved(&mut client, dir.path(), target, 0).await;
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
