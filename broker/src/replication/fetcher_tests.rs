//! What a fetcher asks, and what it makes of answers.

use ottla_wire::messages::fetch_response::{EpochEndOffset, FetchableTopicResponse};
use ottla_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

use super::*;

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);

fn key(partition: i32) -> FollowedKey {
    FollowedKey { topic_id: TOPIC, partition }
}

fn followed(partition: i32, leader_epoch: i32) -> Followed {
    Followed { name: TopicPartition::new("t", partition), leader_epoch }
}

fn at(offset: i64) -> FollowerPosition {
    FollowerPosition { offset: Offset(offset), last_epoch: LeaderEpoch(2), log_start: Offset(1) }
}

fn fetcher(partitions: i32) -> Fetcher {
    let mut fetcher = Fetcher::new(FetchSettings {
        node_id: 9,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1000,
        partition_max_bytes: 100,
        backoff_ms: 1000,
    });
    fetcher.set_broker_epoch(77);
    (0..partitions).for_each(|partition| fetcher.follow(key(partition), followed(partition, 3), at(10)));
    fetcher
}

fn asked(step: Step) -> FetchRequest {
    match step {
        Step::Fetch(request) => request,
        other => panic!("{other:?}"),
    }
}

/// The partitions asked for, with their offsets.
fn offsets(request: &FetchRequest) -> Vec<(i32, i64)> {
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| (partition.partition, partition.fetch_offset)).collect()
}

fn response(session_id: i32, partitions: Vec<PartitionData>) -> FetchResponse {
    let topic = FetchableTopicResponse { topic_id: TOPIC, partitions, ..Default::default() };
    FetchResponse { session_id, responses: vec![topic], ..Default::default() }
}

fn data(partition_index: i32, records: &'static [u8]) -> PartitionData {
    PartitionData {
        partition_index,
        high_watermark: 8,
        log_start_offset: 0,
        records: Some(Records::Bytes(Bytes::from_static(records))),
        ..Default::default()
    }
}

fn failed(partition_index: i32, error: ErrorCode) -> PartitionData {
    PartitionData { error_code: error.code(), ..data(partition_index, b"") }
}

/// The leader's answer to a question for one of its bounds.
fn told(offset: i64) -> ListOffsetsResponse {
    ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse {
            name: "t".into(),
            partitions: vec![ListOffsetsPartitionResponse { offset, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn a_follower_says_who_it_is_and_where_it_goes_on() {
    let request = asked(fetcher(1).step(Millis(0)));
    assert_eq!((request.replica_state.replica_id, request.replica_state.replica_epoch), (9, 77));
    let partition = &request.topics[0].partitions[0];
    assert_eq!((partition.current_leader_epoch, partition.fetch_offset), (3, 10));
    assert_eq!((partition.last_fetched_epoch, partition.log_start_offset), (2, 1));
    let old = fit(request, 14);
    assert_eq!((old.replica_id, old.replica_state.replica_id), (9, -1));
}

#[test]
fn what_was_fetched_is_appended_and_the_next_is_asked_for() {
    let mut fetcher = fetcher(2);
    asked(fetcher.step(Millis(0)));
    let commands = fetcher.fetched(response(5, vec![data(0, b"batch"), data(1, b"")]), Millis(1));
    let leader = LeaderBounds { high_watermark: Offset(8), log_start: Offset(0) };
    let append = |records| Action::Append { from: Offset(10), records, leader };
    assert_eq!(commands[0].action, append(Bytes::from_static(b"batch")));
    assert_eq!(commands[1].action, append(Bytes::new()), "it tells of the high watermark");
    fetcher.done(&commands[0], Some(at(15)), Millis(2));
    fetcher.done(&commands[1], Some(at(10)), Millis(2));
    let next = asked(fetcher.step(Millis(2)));
    assert_eq!((next.session_id, next.session_epoch, offsets(&next)), (5, 1, vec![(0, 15)]));
    assert_eq!(fetcher.fetched(response(5, vec![data(1, b"")]), Millis(3)), [], "nothing new");
}

#[test]
fn a_partition_whose_append_fails_rests_and_comes_back() {
    let mut fetcher = fetcher(2);
    asked(fetcher.step(Millis(0)));
    let commands = fetcher.fetched(response(5, vec![data(0, b"batch")]), Millis(1));
    fetcher.done(&commands[0], None, Millis(100));
    let next = asked(fetcher.step(Millis(101)));
    assert_eq!((offsets(&next).len(), next.forgotten_topics_data[0].partitions.as_slice()), (0, &[0][..]));
    assert_eq!(next.max_wait_ms, 500);
    fetcher.fetched(response(5, vec![]), Millis(601));
    assert_eq!(asked(fetcher.step(Millis(700))).max_wait_ms, 400, "it is to come back in time");
    fetcher.fetched(response(5, vec![]), Millis(1100));
    assert_eq!(offsets(&asked(fetcher.step(Millis(1100)))), [(0, 10)]);
}

#[test]
fn a_history_that_diverges_is_cut() {
    let mut fetcher = fetcher(1);
    asked(fetcher.step(Millis(0)));
    let diverging_epoch = EpochEndOffset { epoch: 1, end_offset: 6, ..Default::default() };
    let answer = PartitionData { diverging_epoch, ..data(0, b"") };
    let commands = fetcher.fetched(response(5, vec![answer]), Millis(1));
    assert_eq!(commands[0].action, Action::Truncate { epoch: LeaderEpoch(1), end: Offset(6) });
    fetcher.done(&commands[0], Some(at(6)), Millis(2));
    assert_eq!(offsets(&asked(fetcher.step(Millis(2)))), [(0, 6)]);
}

#[test]
fn outside_of_the_leaders_log_its_bounds_are_asked_for() {
    let mut fetcher = fetcher(2);
    asked(fetcher.step(Millis(0)));
    fetcher.fetched(response(5, vec![failed(0, ErrorCode::OffsetOutOfRange)]), Millis(1));
    let Step::Bounds { latest, earliest } = fetcher.step(Millis(2)) else { panic!("bounds first") };
    assert_eq!((latest.replica_id, latest.topics[0].partitions.len()), (9, 1));
    assert_eq!(latest.topics[0].partitions[0].current_leader_epoch, 3);
    assert_eq!(earliest.topics[0].partitions[0].timestamp, -2);
    let commands = fetcher.bounded(&told(30), &told(20), Millis(3));
    assert_eq!(commands[0].action, Action::Fit { start: Offset(20), end: Offset(30) });
    fetcher.done(&commands[0], Some(at(20)), Millis(4));
    assert_eq!(offsets(&asked(fetcher.step(Millis(4)))), [(0, 20)]);
}

#[test]
fn a_fit_that_changes_nothing_is_not_repeated_at_once() {
    let mut fetcher = fetcher(1);
    asked(fetcher.step(Millis(0)));
    fetcher.fetched(response(5, vec![failed(0, ErrorCode::OffsetOutOfRange)]), Millis(1));
    let commands = fetcher.bounded(&told(30), &told(0), Millis(3));
    fetcher.done(&commands[0], Some(at(10)), Millis(4));
    assert_eq!(fetcher.step(Millis(5)), Step::Wait(Some(Millis(1004))));
}

#[test]
fn a_fenced_partition_waits_for_another_epoch() {
    let mut fetcher = fetcher(1);
    asked(fetcher.step(Millis(0)));
    fetcher.fetched(response(5, vec![failed(0, ErrorCode::FencedLeaderEpoch)]), Millis(1));
    assert_eq!(fetcher.step(Millis(100_000)), Step::Wait(None));
    fetcher.follow(key(0), followed(0, 4), at(10));
    let next = asked(fetcher.step(Millis(100_001)));
    assert_eq!(next.topics[0].partitions[0].current_leader_epoch, 4);
}

#[test]
fn an_answer_counts_only_for_the_epoch_it_was_asked_under() {
    let mut fetcher = fetcher(1);
    asked(fetcher.step(Millis(0)));
    fetcher.follow(key(0), followed(0, 4), at(10));
    assert_eq!(fetcher.fetched(response(5, vec![data(0, b"batch")]), Millis(1)), []);
    fetcher.forget(&key(0));
    assert_eq!(fetcher.fetched(response(5, vec![data(0, b"batch")]), Millis(1)), []);
}

#[test]
fn without_an_answer_the_session_begins_anew_after_a_rest() {
    let mut fetcher = fetcher(1);
    asked(fetcher.step(Millis(0)));
    fetcher.fetched(response(5, vec![]), Millis(1));
    asked(fetcher.step(Millis(1)));
    fetcher.failed(Millis(2));
    assert_eq!(fetcher.step(Millis(3)), Step::Wait(Some(Millis(1002))));
    let again = asked(fetcher.step(Millis(1002)));
    assert_eq!((again.session_id, again.session_epoch, offsets(&again)), (5, 0, vec![(0, 10)]));
    let lost = FetchResponse { error_code: ErrorCode::FetchSessionIdNotFound.code(), ..Default::default() };
    fetcher.fetched(lost, Millis(1003));
    assert_eq!(asked(fetcher.step(Millis(1003))).session_id, 0, "at once");
}
