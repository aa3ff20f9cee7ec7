//! The way to a group: from its id to the task that has it, for as long as this broker leads its partition.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use bytes::Bytes;
use ottla_log::{LeaderEpoch, Offset, Origin};
use ottla_quorum::image::{MetadataImage, PartitionImage};
use ottla_wire::Uuid;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::classic::{Limits, Token};
use super::log::OffsetsLog;
use super::placement::{OFFSETS_TOPIC, partition_of};
use super::runner::{Message, Runner};
use super::shard::{ListFilter, ListedGroup, Request, ShardAnswer, ShardConfig};
use super::{GroupError, Str};
use crate::clock;
use crate::config::Config;
use crate::partition::{Isolation, Partition, Partitions, ProduceError, RequiredAcks};

/// Requests that may queue at a partition before their senders have to wait.
const QUEUED_REQUESTS: usize = 1_024;

/// The coordinator of the groups whose partitions this broker leads.
#[derive(Debug)]
pub struct Coordinator {
    node_id: i32,
    config: ShardConfig,
    load_buffer_bytes: usize,
    partitions: Arc<Partitions>,
    runtime: Handle,
    tokens: AtomicU64,
    routes: Mutex<Routes>,
}

/// Where groups are, as the metadata image says.
#[derive(Debug, Default)]
struct Routes {
    /// Partitions of the offsets topic; 0 while there is none.
    count: i32,
    hosted: BTreeMap<i32, Hosted>,
}

/// A partition that is led here.
#[derive(Debug)]
struct Hosted {
    topic_id: Uuid,
    leader_epoch: i32,
    ready: Arc<AtomicBool>,
    messages: mpsc::Sender<Message>,
    stop: CancellationToken,
}

impl Coordinator {
    /// A coordinator of no groups, until [`Coordinator::apply`]. Must be called on a runtime, whose tasks it uses.
    pub fn new(config: &Config, partitions: Arc<Partitions>) -> Self {
        Self {
            node_id: config.node_id,
            config: shard_config(config),
            load_buffer_bytes: load_buffer_bytes(config),
            partitions,
            runtime: Handle::current(),
            tokens: AtomicU64::new(0),
            routes: Mutex::default(),
        }
    }

    /// Takes over which partitions are led here, and forgets offsets of topics that are gone. To be called when the
    /// partitions of `new` are open.
    pub fn apply(&self, old: &MetadataImage, new: &MetadataImage) {
        let mut routes = self.routes.lock();
        let topic = new.topics.by_name(OFFSETS_TOPIC);
        routes.count = topic.map_or(0, |topic| i32::try_from(topic.partitions.len()).unwrap_or(0));
        routes.hosted.retain(|index, hosted| {
            let state = topic.filter(|topic| topic.id == hosted.topic_id);
            let kept = state
                .and_then(|topic| topic.partitions.get(index))
                .is_some_and(|state| self.leads(state, hosted));
            if !kept {
                hosted.stop.cancel();
            }
            kept
        });
        if let Some(topic) = topic {
            for (index, state) in &topic.partitions {
                if state.leader == self.node_id
                    && !routes.hosted.contains_key(index)
                    && let Some(partition) = self.partitions.find(OFFSETS_TOPIC, *index)
                {
                    let hosted = self.host(*index, topic.id, state.leader_epoch, partition);
                    routes.hosted.insert(*index, hosted);
                }
            }
        }
        let gone = deleted_topics(old, new);
        if !gone.is_empty() {
            for hosted in routes.hosted.values() {
                let messages = hosted.messages.clone();
                let gone = gone.clone();
                self.runtime.spawn(async move { messages.send(Message::TopicsDeleted(gone)).await });
            }
        }
    }

    /// Ends all coordination: whoever waits is sent to look for another coordinator.
    pub fn stop(&self) {
        let mut routes = self.routes.lock();
        for hosted in std::mem::take(&mut routes.hosted).into_values() {
            hosted.stop.cancel();
        }
    }

    /// The partition of the offsets topic that has a group; `None` while there is no such topic.
    pub fn partition_for(&self, group: &str) -> Option<i32> {
        partition_of(group, self.routes.lock().count)
    }

    /// Whether all partitions that are led here have been loaded.
    pub fn is_loaded(&self) -> bool {
        self.routes
            .lock()
            .hosted
            .values()
            .all(|hosted| hosted.ready.load(Ordering::Acquire) || hosted.messages.is_closed())
    }

    /// Asks the coordinator of `group`; `request` is given the token that the request must carry.
    ///
    /// # Errors
    /// The group is not coordinated here, or not yet.
    pub async fn ask(
        &self,
        group: &str,
        request: impl FnOnce(Token) -> Request,
    ) -> Result<ShardAnswer, GroupError> {
        let messages = self.route(group)?;
        self.send(&messages, request).await
    }

    /// The groups of all partitions that are led here.
    ///
    /// # Errors
    /// One of the partitions is not loaded yet.
    pub async fn list(&self, filter: &ListFilter) -> Result<Vec<ListedGroup>, GroupError> {
        let mut listed = Vec::new();
        for messages in self.all_routes()? {
            let request = |token| Request::List { token, filter: filter.clone() };
            // A partition that has just moved is left to whoever has it now.
            if let Ok(ShardAnswer::List(groups)) = self.send(&messages, request).await {
                listed.extend(groups);
            }
        }
        Ok(listed)
    }

    async fn send(
        &self,
        messages: &mpsc::Sender<Message>,
        request: impl FnOnce(Token) -> Request,
    ) -> Result<ShardAnswer, GroupError> {
        let token = Token(self.tokens.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let message = Message::Ask(token, Box::new(request(token)), reply);
        messages.send(message).await.map_err(|_| GroupError::NotCoordinator)?;
        answer.await.map_err(|_| GroupError::NotCoordinator)
    }

    fn all_routes(&self) -> Result<Vec<mpsc::Sender<Message>>, GroupError> {
        let routes = self.routes.lock();
        let open = routes.hosted.values().filter(|hosted| !hosted.messages.is_closed());
        let ready = open.map(|hosted| {
            let ready = hosted.ready.load(Ordering::Acquire);
            if ready { Ok(hosted.messages.clone()) } else { Err(GroupError::LoadInProgress) }
        });
        ready.collect()
    }

    fn route(&self, group: &str) -> Result<mpsc::Sender<Message>, GroupError> {
        let routes = self.routes.lock();
        let index = partition_of(group, routes.count).ok_or(GroupError::NotCoordinator)?;
        let hosted = routes.hosted.get(&index).ok_or(GroupError::NotCoordinator)?;
        if hosted.messages.is_closed() {
            Err(GroupError::NotCoordinator)
        } else if hosted.ready.load(Ordering::Acquire) {
            Ok(hosted.messages.clone())
        } else {
            Err(GroupError::LoadInProgress)
        }
    }

    fn leads(&self, state: &PartitionImage, hosted: &Hosted) -> bool {
        state.leader == self.node_id && state.leader_epoch == hosted.leader_epoch
    }

    fn host(&self, index: i32, topic_id: Uuid, leader_epoch: i32, partition: Arc<Partition>) -> Hosted {
        let (messages, receiver) = mpsc::channel(QUEUED_REQUESTS);
        let (ready, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let runner = Runner {
            partition: index,
            log: Arc::new(PartitionLog::new(partition)),
            config: self.config,
            load_buffer_bytes: self.load_buffer_bytes,
            ready: Arc::clone(&ready),
            messages: receiver,
            stop: stop.clone(),
        };
        self.runtime.spawn(runner.run());
        Hosted { topic_id, leader_epoch, ready, messages, stop }
    }
}

/// Bytes that are read at a time when a partition is loaded.
pub(super) fn load_buffer_bytes(config: &Config) -> usize {
    usize::try_from(config.offsets.load_buffer_bytes).unwrap_or(0).max(1)
}

pub(super) fn shard_config(config: &Config) -> ShardConfig {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let short = |duration: std::time::Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    ShardConfig {
        limits: Limits {
            min_session_timeout_ms: short(config.group.min_session_timeout),
            max_session_timeout_ms: short(config.group.max_session_timeout),
            initial_rebalance_delay_ms: short(config.group.initial_rebalance_delay),
            max_size: usize::try_from(config.group.max_size).unwrap_or(1),
        },
        offset_metadata_max_bytes: usize::try_from(config.offsets.metadata_max_bytes).unwrap_or(0),
        offsets_retention_ms: millis(config.offsets.retention),
        retention_check_interval_ms: millis(config.offsets.retention_check_interval).max(1),
        commit_timeout_ms: millis(config.offsets.commit_timeout),
    }
}

fn deleted_topics(old: &MetadataImage, new: &MetadataImage) -> Vec<(Str, Uuid)> {
    if Arc::ptr_eq(&old.topics, &new.topics) {
        return Vec::new();
    }
    let gone = old.topics.iter().filter(|topic| new.topics.by_id(&topic.id).is_none());
    gone.map(|topic| (topic.name.clone(), topic.id)).collect()
}

/// A partition of this broker as the coordinator's log.
#[derive(Debug)]
pub(super) struct PartitionLog {
    partition: Arc<Partition>,
    /// Under which the newest append was made: only under it is it known to be there.
    epoch: AtomicI32,
}

impl PartitionLog {
    pub(super) fn new(partition: Arc<Partition>) -> Self {
        let epoch = AtomicI32::new(partition.leadership().epoch);
        Self { partition, epoch }
    }
}

impl OffsetsLog for PartitionLog {
    fn append(&self, batch: Bytes) -> Result<i64, GroupError> {
        let appended = self.partition.append(batch, Origin::Coordinator, RequiredAcks::All, clock::now());
        let appended = appended.map_err(|error| refused(&error))?;
        self.epoch.store(appended.leader_epoch.0, Ordering::Release);
        Ok(appended.last_offset.0)
    }

    fn high_watermark(&self) -> i64 {
        self.partition.high_watermark().0
    }

    fn wait_committed(&self, end: i64) -> impl Future<Output = Result<(), GroupError>> + Send {
        let (partition, epoch) = (Arc::clone(&self.partition), self.epoch.load(Ordering::Acquire));
        let (epoch, end) = (LeaderEpoch(epoch), Offset(end));
        async move {
            match partition.wait_committed_under(epoch, end).await {
                // All that were in sync have it; that some left since then takes nothing back.
                Ok(()) | Err(ProduceError::NotEnoughReplicasAfterAppend) => Ok(()),
                Err(error) => Err(refused(&error)),
            }
        }
    }

    fn bounds(&self) -> (i64, i64) {
        (self.partition.log_start_offset().0, self.partition.log_end_offset().0)
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Result<Bytes, GroupError> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(partition = %self.partition.name(), offset, %error, "cannot read group state");
            GroupError::NotCoordinator
        };
        let read = self
            .partition
            .read(Offset(offset), max_bytes, Isolation::LogEnd, true)
            .map_err(|error| failed(&error))?;
        read.records.read().map_err(|error| failed(&error))
    }
}

fn refused(error: &ProduceError) -> GroupError {
    // To look for the coordinator elsewhere, as NOT_COORDINATOR asks for, clients stop their heartbeats: a full disk would
    // cost members their place. This one has them try again here, and their heartbeats are taken meanwhile.
    let refused =
        if error.is_no_space() { GroupError::LoadInProgress } else { GroupError::from_append(error.code()) };
    tracing::debug!(%error, %refused, "a write of group state is refused");
    refused
}

#[cfg(test)]
#[path = "coordinator_tests.rs"]
mod tests;
