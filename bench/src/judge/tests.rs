//! The judge must find what it is there to find: each fault is put in by hand.

use super::*;

const RUN: u64 = 9;

fn id(producer: u32, number: u64) -> RecordId {
    RecordId { run: RUN, producer, number }
}

/// Ten records of one producer, all acknowledged where they lie, and a group that was given all of them.
struct Load {
    ledger: Ledger,
    group: Deliveries,
    log: Vec<Found>,
}

fn load() -> Load {
    let mut load =
        Load { ledger: Ledger::new(0), group: Deliveries::new("group".into(), RUN, &[100]), log: Vec::new() };
    for number in 0..10 {
        let offset = 100 + i64::try_from(number).unwrap();
        load.ledger.sent(0);
        load.ledger.acked(number, offset);
        load.group.given(0, offset, id(0, number));
        load.log.push(Found { partition: 0, offset, id: Some(id(0, number)), whole: true });
    }
    load
}

fn judged(load: Load) -> Verdict {
    let mut judge = Judge::new(RUN, vec![load.ledger], vec![load.group]);
    load.log.into_iter().for_each(|found| judge.found(found));
    judge.verdict()
}

/// Offsets in the order of the log.
fn renumber(log: &mut [Found]) {
    for (found, offset) in log.iter_mut().zip(100..) {
        found.offset = offset;
    }
}

/// A ledger whose acknowledgements named no offset, and no group: for faults that move what follows.
fn loose(mut load: Load) -> Load {
    load.ledger = Ledger::new(0);
    for number in 0..10 {
        load.ledger.sent(0);
        load.ledger.acked(number, -1);
    }
    load.group = Deliveries::new("group".into(), RUN, &[100]);
    for found in &load.log {
        load.group.given(0, found.offset, found.id.unwrap());
    }
    load
}

#[test]
fn a_faultless_load_is_good() {
    let verdict = judged(load());
    assert!(verdict.is_good(), "{verdict:?}");
    assert_eq!((verdict.sent, verdict.acked, verdict.log.in_log), (10, 10, 10));
    let group = &verdict.groups[0];
    assert_eq!((group.delivered, group.redelivered, group.missed), (10, 0, 0));
    assert_eq!(verdict.faults, Vec::<String>::new());
}

#[test]
fn finds_a_lost_record() {
    let mut load = load();
    load.log.remove(4);
    let verdict = judged(load);
    assert!(!verdict.is_good());
    assert_eq!(verdict.log, LogCounts { in_log: 9, lost: 1, ..LogCounts::default() });
    assert_eq!(verdict.groups[0].vanished, 1, "the group was given what the log has no more");
    assert_eq!(verdict.faults[0], "lost: producer 0 number 4, acknowledged by partition 0");
}

#[test]
fn finds_a_lost_tail() {
    let mut load = load();
    load.log.truncate(7);
    assert_eq!(judged(load).log.lost, 3);
}

#[test]
fn finds_a_doubled_record() {
    let mut load = load();
    let doubled = load.log[4];
    load.log.insert(7, doubled);
    renumber(&mut load.log);
    let verdict = judged(loose(load));
    assert!(!verdict.is_good());
    assert_eq!(verdict.log, LogCounts { in_log: 11, duplicated: 1, ..LogCounts::default() });
    assert_eq!(verdict.groups[0].delivered, 11);
}

#[test]
fn finds_a_swapped_pair() {
    let mut load = load();
    load.log.swap(4, 5);
    renumber(&mut load.log);
    let verdict = judged(loose(load));
    assert!(!verdict.is_good());
    assert_eq!(verdict.log, LogCounts { in_log: 10, reordered: 1, ..LogCounts::default() });
    assert_eq!(verdict.faults, ["reordered: 0/105: producer 0 number 4 comes after number 5"]);
}

#[test]
fn an_acknowledgement_with_the_wrong_offset_is_misplaced() {
    let mut load = load();
    load.ledger.acked(4, 105);
    let verdict = judged(load);
    assert!(!verdict.is_good());
    assert_eq!(verdict.log, LogCounts { in_log: 10, misplaced: 1, ..LogCounts::default() });
}

#[test]
fn a_record_in_another_partition_is_misplaced() {
    let mut load = loose(load());
    load.log.iter_mut().for_each(|found| found.partition = 1);
    assert_eq!(judged(load).log.misplaced, 10);
}

#[test]
fn damage_and_records_that_nobody_sent_are_corrupt() {
    let mut load = load();
    load.log[4].whole = false;
    load.log.push(Found { partition: 0, offset: 110, id: Some(id(0, 10)), whole: true });
    load.log.push(Found { partition: 0, offset: 111, id: Some(id(1, 0)), whole: true });
    let verdict = judged(load);
    assert!(!verdict.is_good());
    assert_eq!(verdict.log.corrupt, 3);
}

#[test]
fn what_was_not_acknowledged_may_be_there_once_or_not_at_all() {
    let mut load = loose(load());
    load.ledger.failed(3);
    load.ledger.sent(0); // number 10 stays pending, and is not in the log
    let verdict = judged(load);
    assert!(verdict.is_good(), "{verdict:?}");
    assert_eq!((verdict.failed, verdict.unresolved, verdict.log.unacknowledged_in_log), (1, 1, 1));

    let mut twice = loose(self::load());
    twice.ledger.failed(9);
    twice.log.push(Found { offset: 110, ..twice.log[9] });
    assert_eq!(judged(twice).log.duplicated, 1);
}

#[test]
fn records_of_others_do_not_count() {
    let mut load = load();
    load.log.push(Found { partition: 0, offset: 110, id: None, whole: false });
    let other = RecordId { run: RUN + 1, ..id(0, 3) };
    load.log.push(Found { partition: 0, offset: 111, id: Some(other), whole: true });
    load.group.given(0, 111, other);
    let verdict = judged(load);
    assert!(verdict.is_good(), "{verdict:?}");
    assert_eq!((verdict.log.foreign, verdict.groups[0].delivered), (2, 10));
}

#[test]
fn a_redelivered_offset_is_counted_apart() {
    let mut load = load();
    load.group.given(0, 104, id(0, 4));
    let verdict = judged(load);
    assert!(verdict.is_good());
    assert_eq!((verdict.groups[0].delivered, verdict.groups[0].redelivered), (10, 1));
}

#[test]
fn finds_what_a_group_missed_and_what_changed_under_it() {
    let mut load = load();
    load.group = Deliveries::new("group".into(), RUN, &[100]);
    for number in 0..9 {
        load.group.given(
            0,
            100 + i64::try_from(number).unwrap(),
            id(0, if number == 2 { 99 } else { number }),
        );
    }
    let verdict = judged(load);
    assert!(!verdict.is_good());
    assert_eq!((verdict.groups[0].missed, verdict.groups[0].changed, verdict.groups[0].vanished), (1, 1, 0));
}

#[test]
fn an_absurd_offset_takes_no_memory() {
    let mut load = load();
    load.group.given(0, i64::MAX, id(0, 4));
    load.group.given(7, 100, id(0, 4));
    assert_eq!(judged(load).groups[0].vanished, 2);
}

#[test]
fn a_load_without_acknowledgements_proves_nothing() {
    let mut ledger = Ledger::new(0);
    ledger.sent(0);
    ledger.failed(0);
    assert!(!Judge::new(RUN, vec![ledger], Vec::new()).verdict().is_good());
}

#[test]
fn faults_are_named_up_to_a_bound_and_all_counted() {
    let mut load = load();
    load.log.clear();
    for _ in 0..90 {
        load.ledger.sent(0);
    }
    (10..100).for_each(|number| load.ledger.acked(number, -1));
    let verdict = judged(load);
    assert_eq!((verdict.log.lost, verdict.faults.len()), (100, NAMED));
}
