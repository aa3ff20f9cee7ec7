//! Which partitions are followed, from whom, and by which fetcher.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use ottla_quorum::image::{MetadataImage, PartitionImage, TopicImage};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::fetcher::{FetchSettings, Fetcher, Followed, FollowedKey};
use super::peer::Connect;
use super::run::{Loop, Orders};
use crate::config::Config;
use crate::partition::{Partitions, TopicPartition};

/// A leader, and which of the connections to it.
type FetcherId = (i32, usize);

/// The fetchers of this broker.
pub struct Replication<C> {
    settings: FetchSettings,
    fetchers_per_leader: AtomicUsize,
    partitions: Arc<Partitions>,
    broker_epoch: Arc<AtomicI64>,
    connect: C,
    runtime: Handle,
    tracker: TaskTracker,
    state: Mutex<State>,
}

impl<C> fmt::Debug for Replication<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replication").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    followed: HashMap<FollowedKey, (FetcherId, Followed)>,
    fetchers: BTreeMap<FetcherId, Running>,
}

struct Running {
    orders: Arc<Orders>,
    partitions: usize,
}

impl<C: Connect> Replication<C> {
    /// Without fetchers; they run on `runtime`, and their tasks are in `tracker`.
    pub fn new(
        config: &Config,
        partitions: Arc<Partitions>,
        connect: C,
        runtime: Handle,
        tracker: TaskTracker,
    ) -> Self {
        let replication = &config.replication;
        let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            settings: FetchSettings {
                node_id: config.node_id,
                max_wait_ms: i32::try_from(replication.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
                min_bytes: replication.fetch_min_bytes,
                max_bytes: replication.response_max_bytes,
                partition_max_bytes: replication.fetch_max_bytes,
                backoff_ms: ms(replication.fetch_backoff),
            },
            fetchers_per_leader: AtomicUsize::new(replication.fetchers),
            partitions,
            broker_epoch: Arc::new(AtomicI64::new(-1)),
            connect,
            runtime,
            tracker,
            state: Mutex::default(),
        }
    }

    /// The epoch under which this broker is registered at any time; leaders know by it which start of it fetches.
    #[must_use]
    pub fn registered(self, broker_epoch: Arc<AtomicI64>) -> Self {
        Self { broker_epoch, ..self }
    }

    /// Another `num.replica.fetchers`; what is followed by `image` is spread anew.
    pub fn set_fetchers(&self, fetchers: usize, image: &MetadataImage) {
        if self.fetchers_per_leader.swap(fetchers, Ordering::AcqRel) != fetchers {
            self.apply(&MetadataImage::empty(image.cluster_id.clone()), image);
        }
    }

    /// Follows what `new` says; only what differs from `old` is looked at. After [`Partitions::apply`] with the same, and with
    /// an empty `old` after partitions were created later.
    pub fn apply(&self, old: &MetadataImage, new: &MetadataImage) {
        let mut state = self.state.lock();
        for topic in old.topics.iter().filter(|topic| new.topics.by_id(&topic.id).is_none()) {
            for index in topic.partitions.keys() {
                state.forget(FollowedKey { topic_id: topic.id, partition: *index });
            }
        }
        for topic in new.topics.iter() {
            let before = old.topics.by_id(&topic.id);
            if before.is_some_and(|before| Arc::ptr_eq(before, topic)) {
                continue;
            }
            for (index, partition) in &topic.partitions {
                let key = FollowedKey { topic_id: topic.id, partition: *index };
                match self.wanted(topic, *index, partition) {
                    Some((id, followed)) => self.follow(&mut state, key, id, followed),
                    None => state.forget(key),
                }
            }
        }
    }

    /// Ends all fetchers.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.followed.clear();
        for running in std::mem::take(&mut state.fetchers).into_values() {
            running.orders.stop.cancel();
        }
    }

    /// Who leads a partition that is hosted here and led elsewhere.
    fn wanted(
        &self,
        topic: &TopicImage,
        index: i32,
        partition: &PartitionImage,
    ) -> Option<(FetcherId, Followed)> {
        let me = self.settings.node_id;
        let follows = partition.replicas.contains(&me) && partition.leader >= 0 && partition.leader != me;
        let name = follows.then(|| TopicPartition::new(topic.name.clone(), index))?;
        let hosted = self.partitions.get(&name).filter(|hosted| hosted.topic_id() == topic.id)?;
        if hosted.directory().is_offline() {
            return None;
        }
        let fetchers = self.fetchers_per_leader.load(Ordering::Acquire);
        let id = (partition.leader, spread(&name, fetchers));
        Some((id, Followed { name, leader_epoch: partition.leader_epoch }))
    }

    fn follow(&self, state: &mut State, key: FollowedKey, id: FetcherId, followed: Followed) {
        match state.followed.get(&key) {
            Some((known, same)) if *known == id && *same == followed => return,
            // The fetcher goes on under the new epoch.
            Some((known, _)) if *known == id => {}
            _ => {
                state.forget(key);
                state.fetchers.entry(id).or_insert_with(|| self.start(id)).partitions += 1;
            }
        }
        if let Some(running) = state.fetchers.get(&id) {
            running.orders.give(key, Some(followed.clone()));
        }
        state.followed.insert(key, (id, followed));
    }

    fn start(&self, (leader, _): FetcherId) -> Running {
        let orders = Arc::new(Orders::default());
        let fetching = Loop {
            leader,
            fetcher: Fetcher::new(self.settings.clone()),
            peer: self.connect.peer(leader),
            partitions: Arc::clone(&self.partitions),
            broker_epoch: Arc::clone(&self.broker_epoch),
            orders: Arc::clone(&orders),
            connected: true,
        };
        self.tracker.spawn_on(fetching.run(), &self.runtime);
        Running { orders, partitions: 0 }
    }
}

impl State {
    fn forget(&mut self, key: FollowedKey) {
        let Some((id, _)) = self.followed.remove(&key) else { return };
        let Some(running) = self.fetchers.get_mut(&id) else { return };
        running.partitions -= 1;
        if running.partitions == 0 {
            running.orders.stop.cancel();
            self.fetchers.remove(&id);
        } else {
            running.orders.give(key, None);
        }
    }
}

/// Which of `fetchers` fetches the partition; those of a topic are spread evenly.
fn spread(name: &TopicPartition, fetchers: usize) -> usize {
    let hash =
        name.topic.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let at = hash.wrapping_add(u64::try_from(name.partition).unwrap_or(0));
    usize::try_from(at % u64::try_from(fetchers.max(1)).unwrap_or(1)).unwrap_or(0)
}
