//! kill -9 in the middle of a produce load: every acknowledged record is there, once, in order; committed offsets too.
//!
//! `OTTLA_SEEDS` (5) runs, each of a few rounds of load, kill and restart over the same data.

use std::path::Path;
use std::time::Duration;

use crate::common::process::{Process, free_port};
use crate::common::{Client, batch, only_partition, produce_request};
use ottla_wire::Str;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_fetch_request::OffsetFetchRequestTopic;
use ottla_wire::messages::produce_response::PartitionProduceResponse;
use ottla_wire::messages::{
    InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, find_coordinator_request,
};

const ROUNDS: u64 = 3;
const PARTITIONS: i32 = 3;
/// Requests in flight on the connection, as Java's producer has them.
const IN_FLIGHT: usize = 5;

/// With small segments: rolls, index files and producer snapshots come into play.
async fn start(dir: &Path, port: u16) -> Process {
    let set = ["offsets.topic.num.partitions=3", "log.segment.bytes=1048576"];
    Process::start(dir, port, &set, None).await
}

/// What the load knows of one partition.
#[derive(Default)]
struct Ledger {
    /// Values that were acknowledged, with the offset of each.
    acked: Vec<(i64, String)>,
    /// Batches that were sent and not answered before the kill, with their sequence: they may be there or not, and are
    /// sent again after the restart, as every idempotent producer does.
    unanswered: Vec<(i32, Vec<String>)>,
    next_sequence: i32,
    committed: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_and_in_order() {
    let seeds: u64 = std::env::var("OTTLA_SEEDS").map_or(5, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut random = seed;
    let mut ledgers: Vec<Ledger> = (0..PARTITIONS).map(|_| Ledger::default()).collect();
    let mut producer = -1;
    for round in 0..ROUNDS {
        let mut process = start(dir.path(), port).await;
        let mut client = Client::connect(process.address).await;
        if round == 0 {
            client.create_topic("t", PARTITIONS, &[]).await;
            find_coordinator(&mut client).await;
            let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
            producer = client.call(&init, 4).await.producer_id;
        }
        check(&mut client, &mut ledgers, producer, seed, round).await;
        let life = Duration::from_millis(100 + next(&mut random) % 400);
        let kill = async {
            tokio::time::sleep(life).await;
            process.kill();
        };
        let ((), ()) = tokio::join!(kill, load(&mut client, &mut ledgers, producer, seed, round));
    }
    let process = start(dir.path(), port).await;
    let mut client = Client::connect(process.address).await;
    check(&mut client, &mut ledgers, producer, seed, ROUNDS).await;
    let total: usize = ledgers.iter().map(|ledger| ledger.acked.len()).sum();
    println!("seed {seed}: {total} records acknowledged, all there");
    assert!(total > 0, "the load did something");
}

/// Produces until the connection breaks, `IN_FLIGHT` requests at a time, each of one batch for one partition.
async fn load(client: &mut Client, ledgers: &mut [Ledger], producer: i64, seed: u64, round: u64) {
    let mut in_flight = std::collections::VecDeque::new();
    for n in 0.. {
        let partition = n % ledgers.len();
        let values: Vec<String> =
            (0..1 + n % 4).map(|i| format!("{seed}/{round}/{n}/{i}/{}", "x".repeat(n * 7 % 4000))).collect();
        let ledger = &mut ledgers[partition];
        let sequence = ledger.next_sequence;
        ledger.next_sequence += i32::try_from(values.len()).unwrap();
        let request = request(partition, producer, sequence, &values);
        in_flight.push_back((partition, sequence, values));
        if client.try_send(&request, 9).await.is_none() {
            break;
        }
        if in_flight.len() == IN_FLIGHT {
            let Some((_, response)) = client.try_receive::<ProduceRequest>(9).await else { break };
            let (partition, _, values) = in_flight.pop_front().unwrap();
            ledgers[partition].acknowledge(only_partition(response), values);
        }
    }
    for (partition, sequence, values) in in_flight {
        ledgers[partition].unanswered.push((sequence, values));
    }
}

fn request(partition: usize, producer: i64, sequence: i32, values: &[String]) -> ProduceRequest {
    let texts: Vec<&str> = values.iter().map(String::as_str).collect();
    let records = batch(&texts, Some((producer, 0, sequence)));
    produce_request("t", i32::try_from(partition).unwrap(), records, -1)
}

impl Ledger {
    fn acknowledge(&mut self, answer: PartitionProduceResponse, values: Vec<String>) {
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        self.acked.extend((answer.base_offset..).zip(values));
    }
}

/// Sends again what was not answered, reads everything and compares; commits how far that was, to be found again after
/// the next kill.
async fn check(client: &mut Client, ledgers: &mut [Ledger], producer: i64, seed: u64, round: u64) {
    for (partition, ledger) in ledgers.iter_mut().enumerate() {
        for (sequence, values) in std::mem::take(&mut ledger.unanswered) {
            let response = client.call(&request(partition, producer, sequence, &values), 9).await;
            ledger.acknowledge(only_partition(response), values);
        }
        let index = i32::try_from(partition).unwrap();
        let context = format!("seed {seed}, round {round}, partition {partition}");
        let found = client.read_all("t", index).await;
        let place = found.iter().zip(&ledger.acked).position(|(found, acked)| found != acked);
        let differs = place.map(|at| (&found[at], &ledger.acked[at]));
        assert!(differs.is_none(), "{context}: found and acknowledged differ: {differs:?}");
        assert_eq!(found.len(), ledger.acked.len(), "{context}: nothing lost, nothing twice");
        assert_eq!(committed(client, index).await, ledger.committed, "{context}: the committed offset");
        ledger.committed = i64::try_from(found.len()).unwrap();
        commit(client, index, ledger.committed).await;
    }
}

async fn find_coordinator(client: &mut Client) {
    let request =
        find_coordinator_request::FindCoordinatorRequest { key: Str::from("g"), ..Default::default() };
    assert_eq!(client.call(&request, 3).await.error_code, 0);
    for partition in 0..PARTITIONS {
        commit(client, partition, 0).await;
    }
}

async fn commit(client: &mut Client, partition_index: i32, committed_offset: i64) {
    let partition = OffsetCommitRequestPartition { partition_index, committed_offset, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: Str::from("t"), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest { group_id: Str::from("g"), topics: vec![topic], ..Default::default() };
    loop {
        let response = client.call(&request, 8).await;
        match response.topics[0].partitions[0].error_code {
            0 => return,
            // The coordinator is still loading.
            14..=16 => tokio::time::sleep(Duration::from_millis(20)).await,
            code => panic!("commit: {code}"),
        }
    }
}

async fn committed(client: &mut Client, partition: i32) -> i64 {
    let topic = OffsetFetchRequestTopic {
        name: Str::from("t"),
        partition_indexes: vec![partition],
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { group_id: Str::from("g"), topics: Some(vec![topic]), ..Default::default() };
    loop {
        let response = client.call(&request, 7).await;
        match response.error_code {
            0 => return response.topics[0].partitions[0].committed_offset,
            14..=16 => tokio::time::sleep(Duration::from_millis(20)).await,
            code => panic!("offset fetch: {code}"),
        }
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
