//! What is configured is what fetchers do.

use std::sync::Arc;
use std::time::Duration;

use ottla_log::disk::{Disk, StdDisk};
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::FetchRequest;
use ottla_wire::records::metadata::{PartitionRecord, TopicRecord};
use ottla_wire::{ApiKey, Request, Uuid, decode_exact, encode_to_bytes};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::{Connect, Peer, PeerError, Replication};
use crate::clock;
use crate::config::Config;
use crate::partition::{LogDirectory, Partitions};
use crate::storage::FileSystem;

const TOPIC: Uuid = Uuid::from_bytes([7; 16]);

/// What a leader was asked. It answers nothing: it is gone at once, or silent.
#[derive(Debug, Clone, Default)]
struct Leader {
    connections: Arc<Mutex<usize>>,
    asked: Arc<Mutex<Vec<FetchRequest>>>,
    is_gone: bool,
}

impl Connect for Leader {
    type Peer = Self;

    fn peer(&self, _node: i32) -> Self {
        *self.connections.lock() += 1;
        self.clone()
    }
}

impl Peer for Leader {
    async fn call<R: Request + Send>(
        &mut self,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, PeerError> {
        assert_eq!(R::KEY, ApiKey::Fetch);
        let version = *R::VERSIONS.end();
        let request = encode_to_bytes(&build(version), version).expect("the version can say it");
        self.asked.lock().push(decode_exact(request, version).expect("a fetch"));
        if self.is_gone {
            return Err(PeerError("gone".into()));
        }
        std::future::pending().await
    }
}

/// Four partitions that broker 1 leads and broker 2 follows.
fn image() -> MetadataImage {
    let mut image = MetadataImage::empty("cluster".into());
    let topic = TopicRecord { name: "t".into(), topic_id: TOPIC, ..Default::default() };
    image.apply(&topic.into()).unwrap();
    for partition_id in 0..4 {
        let record = PartitionRecord {
            partition_id,
            topic_id: TOPIC,
            replicas: vec![1, 2],
            isr: vec![1],
            leader: 1,
            directories: vec![Uuid::ZERO; 2],
            ..Default::default()
        };
        image.apply(&record.into()).unwrap();
    }
    image
}

/// Follows the leader until it was asked and for a while longer.
async fn follow(leader: &Leader, overrides: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let own = [("log.dirs", path.as_str()), ("node.id", "2")];
    let config = Config::from_overrides(&[&own[..], overrides].concat()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(StdDisk);
    let file_system = FileSystem::new(Arc::clone(&disk), dir.path(), Some(0));
    let failed = Arc::new(Notify::new());
    let directory = LogDirectory::new(dir.path().to_owned(), TOPIC, disk, file_system, failed);
    let loaded = Partitions::load(Arc::new(config.clone()), vec![directory], &image(), clock::now());
    let tracker = TaskTracker::new();
    let replication =
        Replication::new(&config, loaded.unwrap(), leader.clone(), Handle::current(), tracker.clone());
    replication.apply(&MetadataImage::empty("cluster".into()), &image());
    while leader.asked.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    replication.stop();
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn fetches_ask_for_what_is_configured() {
    type Field = fn(&FetchRequest) -> i32;
    let cases: [(&str, i32, Field); 4] = [
        ("replica.fetch.max.bytes", 4_097, |request| request.topics[0].partitions[0].partition_max_bytes),
        ("replica.fetch.min.bytes", 7, |request| request.min_bytes),
        ("replica.fetch.response.max.bytes", 99_999, |request| request.max_bytes),
        ("replica.fetch.wait.max.ms", 123, |request| request.max_wait_ms),
    ];
    for (key, value, field) in cases {
        let leader = Leader::default();
        follow(&leader, &[]).await;
        assert_ne!(field(&leader.asked.lock()[0]), value, "{key}");
        let leader = Leader::default();
        follow(&leader, &[(key, &value.to_string())]).await;
        assert_eq!(field(&leader.asked.lock()[0]), value, "{key}");
    }
}

#[tokio::test]
async fn there_are_as_many_connections_to_a_leader_as_configured() {
    for fetchers in [1, 3] {
        let leader = Leader::default();
        follow(&leader, &[("num.replica.fetchers", &fetchers.to_string())]).await;
        assert_eq!(*leader.connections.lock(), fetchers);
    }
}

#[tokio::test]
async fn a_fetcher_rests_after_an_error_as_long_as_configured() {
    for (backoff, again) in [("1", true), ("60000", false)] {
        let leader = Leader { is_gone: true, ..Leader::default() };
        follow(&leader, &[("replica.fetch.backoff.ms", backoff)]).await;
        assert_eq!(leader.asked.lock().len() > 1, again, "{backoff} ms");
    }
}
