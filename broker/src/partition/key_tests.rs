//! Partitions as an image and a configuration want them.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_log::disk::{Disk, DiskFile, DiskTree, OpenMode, Space, StdDisk};
use ottla_log::{Origin, TimestampMs};
use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, resource_type};
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::records::metadata::{
    ConfigRecord, PartitionChangeRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_wire::{ErrorCode, Str, Uuid};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;
use crate::config::Config;

const NOW: TimestampMs = TimestampMs(1_000);
const ID: Uuid = Uuid::from_bytes([7; 16]);

/// A topic `t` with partitions on these replicas, of which this broker alone is in sync.
fn image(partitions: i32, replicas: &[i32]) -> MetadataImage {
    let mut image = MetadataImage::empty("cluster".into());
    let topic = TopicRecord { name: "t".into(), topic_id: ID, ..Default::default() };
    let partition = |partition_id| PartitionRecord {
        topic_id: ID,
        partition_id,
        replicas: replicas.to_vec(),
        isr: vec![1],
        leader: 1,
        directories: vec![ID; replicas.len()],
        ..Default::default()
    };
    image.apply(&topic.into()).unwrap();
    for index in 0..partitions {
        image.apply(&partition(index).into()).unwrap();
    }
    image
}

fn set(resource_type: i8, name: &str, key: &str, value: &str) -> MetadataRecord {
    let (resource_name, name, value) = (Str::from(name), Str::from(key), Some(Str::from(value)));
    ConfigRecord { resource_type, resource_name, name, value, ..Default::default() }.into()
}

fn load(settings: &[(&str, &str)], image: &MetadataImage, disk: Arc<dyn Disk>) -> (TempDir, Arc<Partitions>) {
    let dir = tempfile::tempdir().unwrap();
    let config = Arc::new(Config::from_overrides(settings).unwrap());
    let file_system = crate::storage::FileSystem::new(Arc::clone(&disk), dir.path(), None);
    let directory = LogDirectory::new(dir.path().to_owned(), ID, disk, file_system, Arc::new(Notify::new()));
    (dir, Partitions::load(config, vec![directory], image, NOW).unwrap())
}

fn append(partitions: &Partitions, acks: RequiredAcks) -> ErrorCode {
    let mut builder = BatchBuilder::new(0);
    builder.push(Record { value: Some(Bytes::from("x")), ..Default::default() });
    let appended = partitions.find("t", 0).unwrap().append(builder.build(), Origin::Client, acks, NOW);
    appended.map_or_else(|error| error.code(), |_| ErrorCode::None)
}

/// With as few replicas as are in sync the minimum is theirs, as in Kafka.
#[test]
fn acks_all_needs_as_many_replicas_in_sync_as_configured() {
    const KEY: &str = "min.insync.replicas";
    let node = [(KEY, "2")];
    let nothing = image(1, &[1, 2]);
    let with = |record: MetadataRecord| {
        let mut image = nothing.clone();
        image.apply(&record).unwrap();
        image
    };
    for (settings, image, expected) in [
        (&[][..], nothing.clone(), ErrorCode::None),
        (&node, nothing.clone(), ErrorCode::NotEnoughReplicas),
        (&node, image(1, &[1]), ErrorCode::None),
        (&[], with(set(resource_type::TOPIC, "t", KEY, "2")), ErrorCode::NotEnoughReplicas),
        (&node, with(set(resource_type::TOPIC, "t", KEY, "1")), ErrorCode::None),
        (&[], with(set(resource_type::BROKER, "", KEY, "2")), ErrorCode::NotEnoughReplicas),
        (&[], with(set(resource_type::BROKER, "1", KEY, "2")), ErrorCode::NotEnoughReplicas),
    ] {
        let (_dir, partitions) = load(settings, &image, Arc::new(StdDisk));
        assert_eq!(append(&partitions, RequiredAcks::All), expected, "{settings:?}");
        assert_eq!(append(&partitions, RequiredAcks::Leader), ErrorCode::None);
    }
}

#[test]
fn the_minimum_in_sync_changes_while_the_broker_runs() {
    let old = image(1, &[1, 2]);
    let (_dir, partitions) = load(&[], &old, Arc::new(StdDisk));
    assert_eq!(append(&partitions, RequiredAcks::All), ErrorCode::None);
    let mut new = old.clone();
    new.apply(&set(resource_type::BROKER, "", "min.insync.replicas", "2")).unwrap();
    partitions.apply(&old, &new, NOW);
    assert_eq!(append(&partitions, RequiredAcks::All), ErrorCode::NotEnoughReplicas);
}

/// A disk on which a log's directory is made only when so many threads want one, or after a while.
#[derive(Debug)]
struct Crowd {
    wanted: usize,
    threads: Mutex<HashSet<ThreadId>>,
    more: Condvar,
}

impl Crowd {
    fn wait(&self) {
        let mut threads = self.threads.lock();
        threads.insert(std::thread::current().id());
        self.more.notify_all();
        let until = Instant::now() + Duration::from_millis(200);
        while threads.len() < self.wanted && !self.more.wait_until(&mut threads, until).timed_out() {}
    }
}

impl Disk for Crowd {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.wait();
        StdDisk.create_dir_all(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        StdDisk.open(path, mode)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        StdDisk.list(dir)
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        StdDisk.len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        StdDisk.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        StdDisk.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        StdDisk.sync_dir(dir)
    }

    fn tree(&self, dir: &Path) -> io::Result<Arc<dyn DiskTree>> {
        StdDisk.tree(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        StdDisk.space(dir)
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        StdDisk.modified_ms(path)
    }

    fn set_modified_ms(&self, path: &Path, modified: i64) -> io::Result<()> {
        StdDisk.set_modified_ms(path, modified)
    }
}

#[test]
fn logs_are_opened_by_as_many_threads_as_configured() {
    const KEY: &str = "num.recovery.threads.per.data.dir";
    let threads = |settings: &[(&str, &str)], image: &MetadataImage| {
        let crowd = Arc::new(Crowd { wanted: 8, threads: Mutex::default(), more: Condvar::new() });
        let (_dir, partitions) = load(settings, image, Arc::clone(&crowd) as Arc<dyn Disk>);
        assert_eq!(partitions.all().len(), 8);
        crowd.threads.lock().len()
    };
    let mut image = image(8, &[1]);
    assert_eq!(threads(&[], &image), 2);
    assert_eq!(threads(&[(KEY, "1")], &image), 1);
    assert_eq!(threads(&[(KEY, "5")], &image), 5);
    image.apply(&set(resource_type::BROKER, "", KEY, "4")).unwrap();
    assert_eq!(threads(&[], &image), 4, "as it was changed while the broker ran");
}

#[test]
fn a_replica_that_fetches_nothing_is_out_of_sync_after_the_configured_time() {
    let mut image = image(1, &[1, 2]);
    for broker_id in [1, 2] {
        let record = RegisterBrokerRecord { broker_id, broker_epoch: 1, fenced: false, ..Default::default() };
        image.apply(&MetadataRecord::from(record)).unwrap();
    }
    let isr = Some(vec![1, 2]);
    let change = PartitionChangeRecord { topic_id: ID, partition_id: 0, isr, ..Default::default() };
    image.apply(&change.into()).unwrap();
    for (lag, is_out) in [("1", true), ("3600000", false)] {
        let (_dir, partitions) = load(
            &[("replica.lag.time.max.ms", lag), ("replica.fetch.wait.max.ms", "1")],
            &image,
            Arc::new(StdDisk),
        );
        assert_eq!(append(&partitions, RequiredAcks::Leader), ErrorCode::None);
        std::thread::sleep(Duration::from_millis(20));
        partitions.shrink_isrs();
        let proposed = partitions.surroundings().proposals.take();
        assert_eq!(proposed.iter().any(|(_, proposal)| proposal.isr.len() == 1), is_out, "{lag} ms");
    }
}
