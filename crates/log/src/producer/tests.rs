use super::*;
use ottla_wire::batch::{BatchBuilder, Record};

fn batch(offset: i64, epoch: i16, sequence: i32, count: i32) -> BatchHeader {
    build(BatchBuilder::new(offset).producer(7, epoch, sequence), count)
}

fn build(mut builder: BatchBuilder, count: i32) -> BatchHeader {
    for _ in 0..count {
        builder.push(Record { timestamp: 1000, ..Record::default() });
    }
    BatchHeader::parse(&builder.build()).unwrap()
}

fn check(states: &ProducerStates, header: &BatchHeader) -> Result<Checked, i16> {
    states.check(header, None, Origin::Client).map_err(|e| e.code())
}

#[test]
fn the_last_five_batches_are_recognised_and_older_ones_refused() {
    let mut states = ProducerStates::default();
    for i in 0..6 {
        let header = batch(i64::from(i) * 3, 0, i * 3, 3);
        assert_eq!(check(&states, &header), Ok(Checked::New));
        states.apply(&header, None);
    }
    for i in 1..6 {
        let Ok(Checked::Duplicate(meta)) = check(&states, &batch(0, 0, i * 3, 3)) else {
            panic!("not recognised")
        };
        assert_eq!(meta.first_offset(), i64::from(i) * 3);
    }
    assert_eq!(check(&states, &batch(0, 0, 0, 3)), Err(45));
    assert_eq!(check(&states, &batch(0, 0, 19, 1)), Err(45), "gap");
    assert_eq!(check(&states, &batch(0, 0, 18, 1)), Ok(Checked::New));
}

#[test]
fn sequences_wrap_and_new_epochs_begin_at_zero() {
    let mut states = ProducerStates::default();
    states.apply(&batch(0, 3, i32::MAX - 1, 2), None);
    assert_eq!(check(&states, &batch(2, 3, 0, 1)), Ok(Checked::New));
    states.apply(&batch(2, 3, i32::MAX, 3), None);
    assert_eq!(check(&states, &batch(5, 3, 2, 1)), Ok(Checked::New), "wrapped inside the batch");
    let Ok(Checked::Duplicate(meta)) = check(&states, &batch(9, 3, i32::MAX, 3)) else {
        panic!("not recognised")
    };
    assert_eq!(meta.first_offset(), 2);
    assert_eq!(check(&states, &batch(5, 4, 1, 1)), Err(45));
    assert_eq!(check(&states, &batch(5, 4, 0, 1)), Ok(Checked::New));
    assert_eq!(check(&states, &batch(5, 2, 3, 1)), Err(47));
}

#[test]
fn unknown_producers_may_begin_anywhere_and_silent_ones_are_forgotten() {
    let mut states = ProducerStates::default();
    assert_eq!(check(&states, &batch(0, 0, 55, 1)), Ok(Checked::New));
    states.apply(&batch(0, 0, 55, 1), None);
    states.expire(TimestampMs(1999), 1000);
    assert_eq!(states.len(), 1);
    states.expire(TimestampMs(2000), 1000);
    assert_eq!(states.len(), 0);
}

#[test]
fn transactions_hold_back_the_stable_offset_until_their_marker_is_replicated() {
    let mut states = ProducerStates::default();
    states.apply(&batch(0, 0, 0, 1), None);
    let txn =
        |offset, sequence| build(BatchBuilder::new(offset).producer(7, 0, sequence).transactional(true), 1);
    states.apply(&txn(1, 1), None);
    assert_eq!(states.first_unstable_offset(Offset(2)), Some(Offset(1)));
    assert_eq!(check(&states, &batch(2, 0, 2, 1)), Err(48), "not transactional while a transaction is open");
    assert_eq!(check(&states, &txn(2, 2)), Ok(Checked::New));
    states.expire(TimestampMs(1 << 50), 1);
    assert_eq!(states.len(), 1, "open transactions do not expire");

    let marker = Marker { commit: false, coordinator_epoch: 5, timestamp: 2000 };
    let control = build(BatchBuilder::new(2).producer(7, 0, -1).control(true).transactional(true), 1);
    let done = states.apply(&control, Some(marker)).unwrap();
    assert_eq!((done.first_offset, done.last_offset, done.aborted), (Offset(1), Offset(2), true));
    assert_eq!(states.aborted(&done).last_stable_offset, Offset(3));
    assert_eq!(states.first_unstable_offset(Offset(2)), Some(Offset(1)));
    assert_eq!(states.first_unstable_offset(Offset(3)), None);
    states.forget_replicated(Offset(3));
    assert_eq!(states.first_unstable_offset(Offset(0)), None);
    let zombie = Marker { coordinator_epoch: 4, ..marker };
    assert_eq!(states.check(&control, Some(zombie), Origin::Coordinator).unwrap_err().code(), 52);
    let empty = states.apply(&control, Some(marker));
    assert_eq!(empty, None, "a marker without a transaction completes nothing");
}

#[test]
fn snapshots_round_trip_and_damage_is_noticed() {
    let mut states = ProducerStates::default();
    states.apply(&batch(0, 3, 5, 4), None);
    states.apply(&build(BatchBuilder::new(4).producer(9, 1, 0).transactional(true), 2), None);
    let raw = snapshot::encode(&states.entries());
    assert_eq!(snapshot::decode(&raw).unwrap(), states.entries());
    let again =
        ProducerStates::from_entries(snapshot::decode(&raw).unwrap(), Offset(6), TimestampMs(0), i64::MAX);
    assert_eq!(again.first_unstable_offset(Offset(6)), Some(Offset(4)));
    for at in 0..raw.len() {
        let mut bad = raw.clone();
        bad[at] ^= 0x55;
        assert!(snapshot::decode(&bad).is_err(), "byte {at}");
        assert!(snapshot::decode(&raw[..at]).is_err());
    }
}
