//! Flushes of several partitions in rounds.

use std::time::Duration;

use super::super::group_commit::flush_together;
use super::*;

const DURABLE: (&str, &str) = ("log.flush.interval.messages", "1");

fn create(fixture: &mut Fixture, count: i32) -> Vec<Arc<Partition>> {
    (0..count).map(|index| fixture.create(index)).collect()
}

async fn committed(partitions: &[Arc<Partition>], end: i64) -> Vec<Result<(), ProduceError>> {
    let waits = partitions.iter().map(|partition| partition.wait_committed(Offset(end)));
    futures::future::join_all(waits).await
}

/// Appends to the first, whose flush waits, and then to the others.
fn append_to_all(fixture: &Fixture, partitions: &[Arc<Partition>], then: impl FnOnce()) {
    fixture.disks[0].while_syncs_wait(|| {
        for partition in partitions {
            append(partition, 1).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        then();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_partitions_append_during_a_flush_is_durable_with_the_next_sync() {
    let mut fixture = Fixture::new(1, &[DURABLE]);
    let partitions = create(&mut fixture, 8);
    for partition in &partitions {
        // The first flush syncs the names, too.
        append(partition, 1).unwrap();
        partition.wait_committed(Offset(1)).await.unwrap();
    }
    let before = fixture.disks[0].syncs();
    append_to_all(&fixture, &partitions, || ());
    assert!(committed(&partitions, 2).await.iter().all(Result::is_ok));
    assert_eq!(fixture.disks[0].syncs() - before, 2, "the first one's, and one for the others");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_acknowledges_none_of_its_round() {
    let mut fixture = Fixture::new(1, &[DURABLE]);
    let partitions = create(&mut fixture, 4);
    let waiting = async {
        let partitions = partitions.clone();
        tokio::spawn(async move { committed(&partitions, 1).await }).await.unwrap()
    };
    append_to_all(&fixture, &partitions, || fixture.disks[0].set_sync_fails(true));
    let told = async {
        fixture.failures.notified().await;
        fixture.partitions.directories_failed();
    };
    let (acknowledged, ()) = tokio::join!(waiting, told);
    let codes: Vec<_> = acknowledged.into_iter().map(|ack| ack.unwrap_err().code()).collect();
    assert_eq!(codes, [ErrorCode::KafkaStorageError; 4]);
    assert!(partitions.iter().all(|partition| partition.high_watermark() == Offset(0)));
}

#[test]
fn a_partition_that_has_moved_since_is_flushed_where_it_is() {
    let mut fixture = Fixture::new(2, &[]);
    let partitions = create(&mut fixture, 4);
    for (seed, other) in fixture.directories.iter().enumerate() {
        let (away, here): (Vec<_>, Vec<_>) =
            partitions.iter().cloned().partition(|one| !Arc::ptr_eq(&one.directory(), other));
        assert_eq!((away.len(), here.len()), (2, 2));
        for partition in &partitions {
            append(partition, 1).unwrap();
        }
        let ends = away.iter().map(|partition| partition.log_end_offset()).collect::<Vec<_>>();
        other.flush_together(partitions.clone());
        for (partition, end) in away.iter().zip(ends) {
            assert_eq!(partition.look(ottla_log::Log::recovery_point), Some(end), "seed {seed}");
        }
    }
    partitions.iter().for_each(|partition| drop(partition.close()));
    fixture.disks.iter().for_each(|disk| disk.cut_power(7).unwrap());
    fixture.reload();
    for index in 0..4 {
        assert_eq!(fixture.partitions.find("t", index).unwrap().log_end_offset(), Offset(2));
    }
}

/// Leaders that append, followers' fetchers that wait, and housekeeping, all at once: what was acknowledged survives.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_whoever_flushed_it() {
    let mut fixture = Fixture::new(2, &[DURABLE]);
    let partitions = create(&mut fixture, 6);
    let append_much = |partition: Arc<Partition>| async move {
        let mut acked = 0;
        for _ in 0..60 {
            let appended = append(&partition, 1).unwrap();
            partition.wait_committed(Offset(appended.last_offset.0 + 1)).await.unwrap();
            acked = appended.last_offset.0 + 1;
        }
        acked
    };
    let leaders: Vec<_> = partitions.iter().cloned().map(|one| tokio::spawn(append_much(one))).collect();
    let followers = std::iter::repeat_with(|| partitions.clone()).take(3).map(|partitions| {
        tokio::task::spawn_blocking(move || (0..60).for_each(|_| flush_together(partitions.iter())))
    });
    let followers: Vec<_> = followers.collect();
    for _ in 0..20 {
        fixture.partitions.flush_due(clock::now());
    }
    let mut acked = Vec::new();
    for leader in leaders {
        acked.push(leader.await.unwrap());
    }
    for follower in followers {
        follower.await.unwrap();
    }
    partitions.iter().for_each(|partition| drop(partition.close()));
    fixture.disks.iter().for_each(|disk| disk.cut_power(3).unwrap());
    fixture.reload();
    for (partition, acked) in partitions.iter().zip(acked) {
        let again = fixture.partitions.get(partition.name()).unwrap();
        assert_eq!(again.log_end_offset(), Offset(acked), "{}", partition.name());
    }
}
