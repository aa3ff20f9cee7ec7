//! Partitions over disks that fail: several log directories, durability, leader epochs.

mod group_commit;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::checkpoint::{CleanShutdown, LEADER_EPOCH, PartitionMetadata};
use ottla_log::disk::{Disk, StdDisk};
use ottla_log::testing::FaultyDisk;
use ottla_log::{Appended, LeaderEpoch, Offset, Origin};
use ottla_quorum::MetadataImage;
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::records::metadata::{PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};
use ottla_wire::{ErrorCode, Uuid};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;
use crate::clock;
use crate::config::Config;
use crate::storage::FileSystem;

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);
const NODE: i32 = 1;

/// A broker's partitions, without a broker.
struct Fixture {
    dir: TempDir,
    config: Arc<Config>,
    directories: Vec<Arc<LogDirectory>>,
    disks: Vec<FaultyDisk>,
    failures: Arc<Notify>,
    image: MetadataImage,
    partitions: Arc<Partitions>,
}

impl Fixture {
    /// As many log directories; none of the topic's partitions are there yet.
    fn new(directories: usize, overrides: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..directories).map(|index| dir.path().join(format!("d{index}"))).collect();
        let text = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
        let config = Config::from_overrides(&[&[("log.dirs", &*text)], overrides].concat()).unwrap();
        paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let disks: Vec<FaultyDisk> = paths.iter().map(|path| FaultyDisk::new(path).unwrap()).collect();
        let failures = Arc::new(Notify::new());
        let directory = |(path, disk): (&PathBuf, &FaultyDisk)| {
            let id = Uuid::from_bytes([u8::try_from(path.as_os_str().len()).unwrap(); 16]);
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            let file_system = FileSystem::new(Arc::clone(&disk), path, config.log.disk_reserve_bytes);
            LogDirectory::new(path.clone(), id, disk, file_system, Arc::clone(&failures))
        };
        let directories: Vec<_> = paths.iter().zip(&disks).map(directory).collect();
        let mut image = MetadataImage::empty("cluster".into());
        let topic = TopicRecord { name: "t".into(), topic_id: TOPIC, ..Default::default() };
        image.apply(&topic.into()).unwrap();
        let config = Arc::new(config);
        let partitions =
            Partitions::load(Arc::clone(&config), directories.clone(), &image, clock::now()).unwrap();
        Self { dir, config, directories, disks, failures, image, partitions }
    }

    /// Adds a partition that this node leads with epoch 0.
    fn create(&mut self, index: i32) -> Arc<Partition> {
        let old = self.image.clone();
        self.image.apply(&led(index).into()).unwrap();
        self.partitions.apply(&old, &self.image, clock::now());
        self.partitions.find("t", index).unwrap()
    }

    /// Elects a leader, which raises the epoch.
    fn elect(&mut self, leader: i32) {
        let old = self.image.clone();
        let record = PartitionChangeRecord { partition_id: 0, topic_id: TOPIC, leader, ..Default::default() };
        self.image.apply(&record.into()).unwrap();
        self.partitions.apply(&old, &self.image, clock::now());
    }

    /// In place of the topic one of the same name, at once.
    fn recreate(&mut self) {
        let old = self.image.clone();
        let topic_id = Uuid::from_bytes([8; 16]);
        self.image.apply(&RemoveTopicRecord { topic_id: TOPIC, ..Default::default() }.into()).unwrap();
        self.image.apply(&TopicRecord { name: "t".into(), topic_id, ..Default::default() }.into()).unwrap();
        self.image.apply(&PartitionRecord { topic_id, ..led(0) }.into()).unwrap();
        self.partitions.apply(&old, &self.image, clock::now());
    }

    /// As after a restart.
    fn reload(&mut self) {
        let (config, directories) = (Arc::clone(&self.config), self.directories.clone());
        self.partitions = Partitions::load(config, directories, &self.image, clock::now()).unwrap();
    }

    /// The checkpoint of partition 0.
    fn epochs(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("d0/t-0").join(LEADER_EPOCH)).unwrap()
    }
}

/// A partition that this node leads alone.
fn led(partition_id: i32) -> PartitionRecord {
    let (replicas, isr) = (vec![NODE], vec![NODE]);
    PartitionRecord {
        partition_id,
        topic_id: TOPIC,
        replicas,
        isr,
        leader: NODE,
        leader_epoch: 0,
        ..Default::default()
    }
}

fn append(partition: &Arc<Partition>, records: usize) -> Result<Appended, ProduceError> {
    let now = clock::now();
    let mut batch = BatchBuilder::new(0);
    for _ in 0..records {
        batch.push(Record { timestamp: now.0, value: Some(Bytes::from_static(b"x")), ..Record::default() });
    }
    partition.append(batch.build(), Origin::Client, RequiredAcks::All, now)
}

fn is_clean(path: &Path) -> bool {
    CleanShutdown::read(&StdDisk, path).unwrap().is_some()
}

#[test]
fn a_leaders_epoch_begins_at_the_logs_end_when_it_is_elected() {
    let mut fixture = Fixture::new(1, &[]);
    let partition = fixture.create(0);
    let end = |partition: &Partition, epoch| {
        partition.end_offset_for_epoch(LeaderEpoch(epoch)).map(|(epoch, offset)| (epoch.0, offset.0))
    };
    assert_eq!(end(&partition, 0), Some((0, 0)), "before anything is appended");
    append(&partition, 3).unwrap();
    fixture.elect(NODE);
    assert_eq!((end(&partition, 0), end(&partition, 1)), (Some((0, 3)), Some((1, 3))));
    append(&partition, 2).unwrap();
    fixture.elect(2);
    assert_eq!(end(&partition, 2), None, "a follower learns of epochs from batches");
    fixture.elect(NODE);
    fixture.elect(NODE);
    assert_eq!((end(&partition, 3), end(&partition, 4)), (Some((1, 5)), Some((4, 5))), "3 has no records");
    append(&partition, 1).unwrap();

    fixture.elect(NODE);
    fixture.partitions.close(1, 1, clock::now());
    fixture.elect(NODE);
    fixture.reload();
    let partition = fixture.partitions.find("t", 0).unwrap();
    assert_eq!(
        (end(&partition, 4), end(&partition, 6)),
        (Some((4, 6)), Some((6, 6))),
        "a leader that starts"
    );
    assert_eq!(fixture.epochs(), "0\n3\n0 0\n1 3\n4 5\n", "nothing is written for epochs without records");
}

#[tokio::test]
async fn a_directory_that_fails_is_fenced_and_the_others_go_on() {
    let mut fixture = Fixture::new(2, &[]);
    let (bad, good) = (fixture.create(0), fixture.create(1));
    assert!(!Arc::ptr_eq(&bad.directory(), &good.directory()), "the emptiest directory takes the next");
    append(&bad, 1).unwrap();
    append(&good, 1).unwrap();
    let failing = fixture.directories.iter().position(|one| Arc::ptr_eq(one, &bad.directory())).unwrap();
    fixture.disks[failing].set_sync_fails(true);
    assert!(bad.flush(clock::now()).is_err());
    fixture.failures.notified().await;

    assert_eq!(append(&bad, 1).unwrap_err().code(), ErrorCode::KafkaStorageError);
    let read = bad.read(Offset(0), 1000, Isolation::LogEnd, true);
    assert_eq!(read.unwrap_err().code(), ErrorCode::KafkaStorageError);
    assert_eq!(append(&good, 1).unwrap().base_offset, Offset(1));
    assert_eq!(good.read(Offset(0), 1000, Isolation::LogEnd, true).unwrap().high_watermark, Offset(2));
    fixture.disks[failing].set_sync_fails(false);
    assert!(append(&bad, 1).is_err(), "fenced for good");
    for index in 2..5 {
        let next = fixture.create(index);
        assert!(Arc::ptr_eq(&next.directory(), &good.directory()), "new partitions keep away from it");
    }

    fixture.partitions.close(1, 2, clock::now());
    assert!(is_clean(good.directory().path()));
    assert!(!is_clean(bad.directory().path()), "what a fenced directory holds is to be recovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_flush_messages_1_what_is_acknowledged_is_on_disk() {
    let lost = async |flush_messages: &str| {
        let mut lost = 0;
        for seed in 0..30 {
            let mut fixture = Fixture::new(1, &[("log.flush.interval.messages", flush_messages)]);
            let partition = fixture.create(0);
            for acknowledged in 1..=3 {
                let appended = append(&partition, 1).unwrap();
                partition.wait_committed(Offset(appended.last_offset.0 + 1)).await.unwrap();
                assert_eq!(partition.high_watermark(), Offset(acknowledged));
            }
            drop(partition.close());
            fixture.disks[0].cut_power(seed).unwrap();
            fixture.reload();
            let kept = fixture.partitions.find("t", 0).map_or(Offset(0), |kept| kept.log_end_offset());
            lost += 3 - kept.0;
        }
        lost
    };
    assert_eq!(lost("1").await, 0);
    assert!(lost("1000").await > 0, "the power cuts of this test lose what is not flushed");
}

/// A power cut right after takes none of their names; many are left to the kernel, and what is empty is made anew.
#[test]
fn the_names_of_few_new_partitions_survive_a_power_cut_once_they_are_settled() {
    let survivors = |count: i32, settled: bool, seed: u64| {
        let mut fixture = Fixture::new(1, &[]);
        let made: Vec<_> = (0..count).map(|index| fixture.create(index)).collect();
        if settled {
            fixture.partitions.settle_names();
        }
        made.iter().for_each(|partition| drop(partition.close()));
        fixture.disks[0].cut_power(seed).unwrap();
        let is_kept = |index: &i32| {
            let path = fixture.dir.path().join(format!("d0/t-{index}"));
            let metadata = PartitionMetadata::read(&StdDisk, &path).ok().flatten();
            metadata.is_some_and(|metadata| metadata.topic_id == TOPIC.to_string())
        };
        let kept = (0..count).filter(is_kept).count();
        fixture.reload();
        for index in 0..count {
            append(&fixture.partitions.find("t", index).unwrap(), 1).unwrap();
        }
        kept
    };
    let many = i32::try_from(close::FEW).unwrap() + 3;
    for seed in 0..10 {
        assert_eq!(survivors(3, true, seed), 3, "seed {seed}");
        survivors(many, true, seed);
    }
    assert!(
        (0..10).map(|seed| survivors(3, false, seed)).sum::<usize>() < 30,
        "power cuts lose what is not settled"
    );
}

#[test]
fn a_partition_whose_topic_was_not_durable_is_taken_for_the_images() {
    let mut fixture = Fixture::new(1, &[]);
    drop(fixture.create(0).close());
    let path = fixture.dir.path().join("d0/t-0").join(PartitionMetadata::FILE);
    std::fs::write(&path, "").unwrap();
    fixture.reload();
    append(&fixture.partitions.find("t", 0).unwrap(), 1).unwrap();
    let written = PartitionMetadata::read(&StdDisk, path.parent().unwrap()).unwrap();
    assert_eq!(written.map(|metadata| metadata.topic_id), Some(TOPIC.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_flush_messages_1_a_failed_fsync_acknowledges_nothing() {
    let mut fixture = Fixture::new(1, &[("log.flush.interval.messages", "1")]);
    let partition = fixture.create(0);
    append(&partition, 1).unwrap();
    partition.wait_committed(Offset(1)).await.unwrap();
    fixture.disks[0].set_sync_fails(true);
    let appended = append(&partition, 1).unwrap();
    let waiting = partition.wait_committed(Offset(appended.last_offset.0 + 1));
    let told = async {
        fixture.failures.notified().await;
        fixture.partitions.directories_failed();
    };
    let (acknowledged, ()) = tokio::join!(waiting, told);
    assert_eq!(acknowledged.unwrap_err().code(), ErrorCode::KafkaStorageError);
    assert_eq!(partition.high_watermark(), Offset(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_flush_messages_1_a_second_flush_does_not_take_the_first_ones_word() {
    let mut fixture = Fixture::new(1, &[("log.flush.interval.messages", "1")]);
    let partition = fixture.create(0);
    append(&partition, 1).unwrap();
    partition.wait_committed(Offset(1)).await.unwrap();
    let a_moment = || std::thread::sleep(std::time::Duration::from_millis(50));
    let second = fixture.disks[0].while_syncs_wait(|| {
        append(&partition, 1).unwrap();
        a_moment();
        let partitions = Arc::clone(&fixture.partitions);
        let second = std::thread::spawn(move || partitions.flush_due(clock::now()));
        a_moment();
        assert_eq!(partition.high_watermark(), Offset(1), "no fsync has come to its end");
        second
    });
    second.join().unwrap();
    partition.wait_committed(Offset(2)).await.unwrap();
}

#[test]
fn a_new_topic_of_an_old_name_does_not_take_up_the_old_ones_checkpoints() {
    let mut fixture = Fixture::new(1, &[]);
    let partition = fixture.create(0);
    append(&partition, 9).unwrap();
    partition.delete_records(Some(Offset(5))).unwrap();
    assert!(fixture.partitions.checkpoint_log_starts());
    fixture.recreate();
    append(&fixture.partitions.find("t", 0).unwrap(), 3).unwrap();
    // Killed before the next checkpoints.
    fixture.reload();
    let partition = fixture.partitions.find("t", 0).unwrap();
    assert_eq!((partition.log_start_offset(), partition.log_end_offset()), (Offset(0), Offset(3)));
}

#[test]
fn a_full_disk_refuses_clients_there_and_the_others_go_on() {
    let mut fixture = Fixture::new(2, &[("ottla.disk.reserve.bytes", "1000000")]);
    let (full, other) = (fixture.create(0), fixture.create(1));
    append(&full, 1).unwrap();
    let at = fixture.directories.iter().position(|one| Arc::ptr_eq(one, &full.directory())).unwrap();
    let space = |left| {
        fixture.disks[at].set_space_left(left);
        fixture.directories.iter().for_each(|directory| directory.file_system().look());
    };
    space(Some(900_000));
    let refused = append(&full, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    assert!(refused.to_string().contains("ottla.disk.reserve.bytes"), "{refused}");
    append(&other, 1).unwrap();
    assert!(full.read(Offset(0), 1000, Isolation::LogEnd, true).is_ok(), "it can be read");
    assert_eq!(full.delete_records(None).unwrap(), Offset(1), "and deleted from");
    let commit = |partition: &Arc<Partition>| {
        let mut batch = BatchBuilder::new(0);
        batch.push(Record { timestamp: clock::now().0, value: Some(Bytes::new()), ..Record::default() });
        partition.append(batch.build(), Origin::Coordinator, RequiredAcks::All, clock::now())
    };
    commit(&full).unwrap();
    space(Some(400_000));
    assert_eq!(commit(&full).unwrap_err().code(), ErrorCode::KafkaStorageError);
    for index in 2..5 {
        let next = fixture.create(index);
        assert!(Arc::ptr_eq(&next.directory(), &other.directory()), "new partitions keep away from it");
    }
    assert!(!full.directory().is_offline());
    fixture.disks[at].set_space_left(None);
    fixture.directories[at].file_system().look();
    append(&full, 1).unwrap();
}

/// Several batches of a producer are on their way; the disk has room again after the first was refused.
#[test]
fn what_follows_a_refused_batch_waits_for_it() {
    let mut fixture = Fixture::new(1, &[]);
    let partition = fixture.create(0);
    let send = |sequence: i32| {
        let mut batch = BatchBuilder::new(0).producer(7, 0, sequence);
        batch.push(Record { timestamp: clock::now().0, value: Some(Bytes::new()), ..Record::default() });
        let sent = partition.append(batch.build(), Origin::Client, RequiredAcks::All, clock::now());
        sent.map(|appended| appended.base_offset).map_err(|error| error.code())
    };
    assert_eq!(send(0), Ok(Offset(0)));
    fixture.disks[0].set_space_left(Some(10));
    assert_eq!(send(1), Err(ErrorCode::KafkaStorageError));
    fixture.disks[0].set_space_left(None);
    assert_eq!(send(2), Err(ErrorCode::KafkaStorageError), "not out of order");
    assert_eq!([send(1), send(2), send(3)], [Ok(Offset(1)), Ok(Offset(2)), Ok(Offset(3))]);
    assert_eq!(send(5), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[tokio::test]
async fn a_partition_without_room_is_created_when_there_is_some() {
    let mut fixture = Fixture::new(1, &[("ottla.disk.reserve.bytes", "1000000")]);
    fixture.disks[0].set_space_left(Some(0));
    let old = fixture.image.clone();
    fixture.image.apply(&led(0).into()).unwrap();
    fixture.partitions.apply(&old, &fixture.image, clock::now());
    assert!(fixture.partitions.find("t", 0).is_none() && fixture.partitions.lack_space());
    assert!(!fixture.directories[0].path().join("t-0").exists(), "nothing is left of it");
    let look = |partitions: &Partitions| {
        partitions.directories().iter().for_each(|directory| directory.file_system().look());
        partitions.on_space(clock::now());
    };
    look(&fixture.partitions);
    fixture.disks[0].set_space_left(None);
    look(&fixture.partitions);
    fixture.partitions.space_returned().await;
    fixture.partitions.create_missing(&fixture.image, clock::now());
    append(&fixture.partitions.find("t", 0).unwrap(), 1).unwrap();
    assert!(!fixture.partitions.lack_space() && !fixture.directories[0].is_offline());
}

/// What could not be written at the stop must not be noted as if it were on disk.
#[test]
fn a_stop_on_a_full_disk_is_not_a_clean_one() {
    let mut fixture = Fixture::new(1, &[]);
    let partition = fixture.create(0);
    append(&partition, 3).unwrap();
    fixture.disks[0].set_space_left(Some(20));
    fixture.partitions.close(1, 1, clock::now());
    assert!(!is_clean(partition.directory().path()));
    fixture.disks[0].set_space_left(None);
    fixture.reload();
    assert_eq!(fixture.partitions.find("t", 0).unwrap().log_end_offset(), Offset(3));
}

#[test]
fn a_log_that_cannot_be_opened_for_want_of_space_stays_as_it_is() {
    let mut fixture = Fixture::new(1, &[]);
    let partition = fixture.create(0);
    append(&partition, 3).unwrap();
    partition.with_log(|log| log.roll(clock::now())).unwrap().unwrap();
    drop(partition.close());
    let index = partition.directory().path().join("t-0/00000000000000000000.index");
    std::fs::remove_file(index).unwrap();
    // Of a finished segment: it has to be written again.
    std::fs::remove_file(partition.directory().path().join("t-0").join(LEADER_EPOCH)).unwrap();
    fixture.disks[0].set_space_left(Some(0));
    let (config, directories) = (Arc::clone(&fixture.config), fixture.directories.clone());
    let loaded = Partitions::load(config, directories, &fixture.image, clock::now());
    assert!(loaded.is_err_and(|error| error.is_no_space()));
    assert!(!fixture.directories[0].is_offline());
    fixture.disks[0].set_space_left(None);
    fixture.reload();
    assert_eq!(fixture.partitions.find("t", 0).unwrap().log_end_offset(), Offset(3));
}

/// Its disk was replaced: the registration under a new directory has taken it out of the ISR.
#[test]
fn a_replica_whose_directory_is_gone_is_made_anew_unless_it_counts_as_having_everything() {
    let (gone, other) = (Uuid::from_bytes([99; 16]), 2);
    let mut fixture = Fixture::new(1, &[]);
    for (index, isr) in [(0, vec![other]), (1, vec![NODE, other]), (2, vec![])] {
        let (replicas, directories) = (vec![NODE, other], vec![gone, gone]);
        let record = PartitionRecord { replicas, isr, directories, leader: other, ..led(index) };
        fixture.image.apply(&record.into()).unwrap();
    }
    fixture.reload();
    let made = |fixture: &Fixture| [0, 1, 2].map(|index| fixture.partitions.find("t", index).is_some());
    assert_eq!(made(&fixture), [true, false, true], "what is in sync may lie in the directory that is gone");
    let here = fixture.directories[0].id();
    assert_eq!(fixture.partitions.misplaced(&fixture.image), [(TOPIC, 0, here), (TOPIC, 2, here)]);

    let old = fixture.image.clone();
    let isr = Some(vec![other]);
    let left = PartitionChangeRecord { partition_id: 1, topic_id: TOPIC, isr, ..Default::default() };
    fixture.image.apply(&left.into()).unwrap();
    fixture.partitions.apply(&old, &fixture.image, clock::now());
    assert_eq!(made(&fixture), [true; 3], "in sync no more");
}

/// What a follower has may differ from the leader's log below that log's start, where no epoch tells of it any more.
#[test]
fn a_follower_that_ends_within_the_leaders_first_batch_goes_back_to_where_that_begins() {
    let mut fixture = Fixture::new(1, &[]);
    let partition = fixture.create(0);
    fixture.elect(2);
    let epoch = partition.leadership().epoch;
    let batch = |base: i64, records: usize| {
        let mut batch = BatchBuilder::new(base).leader_epoch(epoch);
        for _ in 0..records {
            batch.push(Record { value: Some(Bytes::from_static(b"x")), ..Record::default() });
        }
        batch.build()
    };
    let follow = |from: i64, records: Bytes| {
        let leader = LeaderBounds { high_watermark: Offset(0), log_start: Offset(0) };
        let followed = partition.append_as_follower(epoch, Offset(from), records, leader, clock::now());
        fixture.partitions.note_cuts();
        followed
    };
    follow(0, batch(0, 2)).unwrap();
    follow(2, batch(2, 1)).unwrap();
    let refused = follow(3, batch(2, 2));
    assert!(matches!(refused, Err(FollowError::BeginsBefore(Offset(2)))), "{refused:?}");
    assert_eq!(partition.begin_at(epoch, Offset(2), clock::now()).unwrap(), Offset(2));
    fixture.partitions.note_cuts();
    follow(2, batch(2, 2)).unwrap();
    assert_eq!(partition.log_end_offset(), Offset(4));
    let refused = follow(4, batch(1, 1));
    assert!(matches!(refused, Err(FollowError::Append(_))), "{refused:?}");
}
