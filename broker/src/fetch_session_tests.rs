use bytes::Bytes;
use ottla_wire::Records;

use super::*;

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic: Str::from("t"), topic_id: Uuid::ZERO, partition }
}

fn wanted(partition: i32, offset: i64) -> Wanted {
    Wanted {
        key: key(partition),
        leader_epoch: -1,
        offset,
        last_fetched_epoch: -1,
        log_start: -1,
        max_bytes: 1 << 20,
    }
}

fn data(partition: i32, high_watermark: i64, bytes: &'static [u8]) -> PartitionData {
    PartitionData {
        partition_index: partition,
        high_watermark,
        log_start_offset: 0,
        records: Some(Records::Bytes(Bytes::from_static(bytes))),
        ..Default::default()
    }
}

fn answers(rows: &[(i32, i64, &'static [u8])]) -> Vec<(PartitionKey, PartitionData)> {
    rows.iter().map(|(p, hw, bytes)| (key(*p), data(*p, *hw, bytes))).collect()
}

fn partitions(rows: &[(PartitionKey, PartitionData)]) -> Vec<i32> {
    rows.iter().map(|row| row.0.partition).collect()
}

/// Opens a session over partitions 0 and 1 whose client has been told high watermarks 5 and 5.
fn open(sessions: &Sessions, now: Instant) -> i32 {
    let (context, all) = sessions.begin((0, 0), false, vec![wanted(0, 0), wanted(1, 0)], &[], now).unwrap();
    let (id, _) = sessions.finish(context, false, all, answers(&[(0, 5, b""), (1, 5, b"")]), now);
    id
}

#[test]
fn only_news_are_told() {
    let (sessions, now) = (Sessions::new(10, 7), Instant::now());
    let id = open(&sessions, now);
    assert!(id > 0);
    let (context, all) = sessions.begin((id, 1), false, vec![], &[], now).unwrap();
    assert_eq!(all.len(), 2, "both are remembered");
    let (same, told) = sessions.finish(context, false, all, answers(&[(0, 5, b""), (1, 6, b"")]), now);
    assert_eq!((same, partitions(&told)), (id, vec![1]));
}

#[test]
fn an_error_is_told_and_so_is_its_end() {
    let (sessions, now) = (Sessions::new(10, 7), Instant::now());
    let id = open(&sessions, now);
    for (epoch, error, expected) in [(1, 3, vec![0]), (2, 3, vec![0]), (3, 0, vec![0]), (4, 0, vec![])] {
        let (context, all) = sessions.begin((id, epoch), false, vec![], &[], now).unwrap();
        let mut rows = answers(&[(0, 5, b""), (1, 5, b"")]);
        rows[0].1.error_code = error;
        let (_, told) = sessions.finish(context, false, all, rows, now);
        assert_eq!(partitions(&told), expected, "epoch {epoch}");
    }
}

#[test]
fn what_had_data_goes_to_the_end() {
    let (sessions, now) = (Sessions::new(10, 7), Instant::now());
    let id = open(&sessions, now);
    let (context, all) = sessions.begin((id, 1), false, vec![], &[], now).unwrap();
    sessions.finish(context, false, all, answers(&[(0, 6, b"x"), (1, 5, b"")]), now);
    let (_, all) = sessions.begin((id, 2), false, vec![], &[], now).unwrap();
    assert_eq!(all.iter().map(|w| w.key.partition).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let (sessions, now) = (Sessions::new(10, 7), Instant::now());
    let id = open(&sessions, now);
    let (_, all) = sessions.begin((id, 1), false, vec![wanted(0, 9), wanted(2, 0)], &[key(1)], now).unwrap();
    assert_eq!(all, [wanted(0, 9), wanted(2, 0)]);
    let (context, all) = sessions.begin((id, 2), false, vec![], &[key(0), key(2)], now).unwrap();
    assert!(all.is_empty() && matches!(context, Context::Sessionless), "an empty session is closed");
    assert!(sessions.is_empty());
}

#[test]
fn wrong_ids_epochs_and_kinds_are_refused() {
    let (sessions, now) = (Sessions::new(10, 7), Instant::now());
    let id = open(&sessions, now);
    let error = |id, epoch, by_id| sessions.begin((id, epoch), by_id, vec![], &[], now).unwrap_err();
    assert_eq!(error(id + 1, 1, false), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(error(id, 2, false), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(error(id, 1, true), ErrorCode::FetchSessionTopicIdError);
}

#[test]
fn the_final_epoch_closes() {
    let (sessions, now) = (Sessions::new(10, 7), Instant::now());
    let id = open(&sessions, now);
    let (context, all) = sessions.begin((id, -1), false, vec![wanted(0, 0)], &[], now).unwrap();
    assert!(matches!(context, Context::Sessionless) && all.len() == 1 && sessions.is_empty());
}

#[test]
fn a_full_cache_gives_slots_of_the_silent_only() {
    let (sessions, start) = (Sessions::new(1, 7), Instant::now());
    let first = open(&sessions, start);
    assert_eq!(open(&sessions, start), 0, "no slot, no session");
    let later = start + EVICTION + Duration::from_secs(1);
    let second = open(&sessions, later);
    assert!(second > 0 && second != first && sessions.len() == 1);
}

#[test]
fn a_followers_session_takes_a_consumers_slot_and_not_the_other_way_round() {
    let (sessions, now) = (Sessions::new(1, 7), Instant::now());
    open(&sessions, now);
    let full = |of_replica: bool| {
        let (context, all) = sessions.begin((0, 0), false, vec![wanted(0, 0)], &[], now).unwrap();
        let context = if of_replica { context.of_replica() } else { context };
        sessions.finish(context, false, all, answers(&[(0, 5, b"")]), now).0
    };
    assert_eq!(full(false), 0, "a consumer waits until one is silent");
    let id = full(true);
    assert!(id > 0);
    assert_eq!(full(false), 0);
    assert!(sessions.begin((id, 1), false, vec![], &[], now).is_ok());
}
