//! The node: what handlers share, how it starts ([`start`]) and stops ([`Node::stop`]).

mod control;
mod controller_node;
mod departed;
mod ground;
mod lifecycle;
pub(crate) mod member;
pub(crate) mod monitor;
mod producer_ids;
mod start;
mod stop;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use ottla_quorum::image::MetadataImage;
use ottla_wire::ErrorCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::RemoteController;
use crate::cleaner::LogCleaner;
use crate::clock;
use crate::config::Config;
use crate::controller::ControllerChannel;
use crate::fetch_session::Sessions;
use crate::group::Coordinator;
use crate::net::{ConnectionSlots, MemoryBudget};
use crate::node::{NodeContext, connection_limits, current_config};
use crate::partition::{Partition, Partitions};
use crate::replication::{Connections, Replication};

pub use controller_node::{ControllerNode, start_controller};
pub use departed::Departed;
pub use ground::StartError;
pub use lifecycle::Lifecycle;
pub use producer_ids::ProducerIds;
pub use start::{Node, start, start_on, start_with};

/// What every request handler gets.
#[derive(Debug)]
pub struct Broker {
    /// What it shares with the controller's APIs.
    pub node: Arc<NodeContext>,
    /// The way to the active controller, wherever it is; to be cloned.
    pub channel: ControllerChannel,
    /// This broker as a member of the cluster.
    pub lifecycle: Lifecycle,
    /// Brokers that were fenced a moment ago.
    pub departed: Departed,
    /// What is fetched from other brokers.
    pub replication: Replication<Connections>,
    /// The active controller, where that is another node.
    pub remote_controller: Arc<dyn RemoteController>,
    /// Partitions hosted here.
    pub partitions: Arc<Partitions>,
    /// Memory for requests and unsent responses.
    pub memory: MemoryBudget,
    /// Slots for connections.
    pub connections: Arc<ConnectionSlots>,
    /// Compacts logs.
    pub cleaner: Arc<LogCleaner>,
    /// Fetch sessions.
    pub fetch_sessions: Sessions,
    /// The groups whose coordinator this node is.
    pub groups: Coordinator,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Cancelled when the node begins to stop: no new requests, long polls answer at once.
    pub stopping: CancellationToken,
    image: ArcSwap<MetadataImage>,
    applied: watch::Sender<i64>,
    ready: AtomicBool,
}

/// A broker is a node.
impl Deref for Broker {
    type Target = NodeContext;

    fn deref(&self) -> &NodeContext {
        &self.node
    }
}

impl Broker {
    /// The metadata that this broker has put into effect: every partition in it that belongs here is here.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Returns once what the controller has committed by now is in effect here.
    pub async fn catch_up(&self) {
        let target = self.controller.image().offset();
        let mut applied = self.applied.subscribe();
        // Fails only when this broker is gone.
        let _ = applied.wait_for(|offset| *offset >= target).await;
    }

    /// Returns once the metadata in effect here is as wanted.
    pub async fn until(&self, wanted: impl Fn(&MetadataImage) -> bool) {
        let mut applied = self.applied.subscribe();
        while !wanted(&self.image()) && applied.changed().await.is_ok() {}
    }

    /// Whether the node serves: unfenced, logs recovered, groups loaded.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.groups.is_loaded() && !self.stopping.is_cancelled()
    }

    /// The partition, or the code that says why not.
    ///
    /// # Errors
    /// No such topic or partition; or it is elsewhere.
    pub fn find_partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        if let Some(partition) = self.partitions.find(topic, partition) {
            return Ok(partition);
        }
        let image = self.image();
        let Some(state) = image.partition(topic, partition) else {
            return Err(ErrorCode::UnknownTopicOrPartition);
        };
        // Hosted here but not there: its directory failed or is full, or it comes or goes right now.
        let here = state.replicas.contains(&self.node_id);
        let failed = self.partitions.lack_space()
            || self.partitions.directories().iter().any(|directory| directory.is_offline());
        Err(if here && failed { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower })
    }

    /// A broker that serves, which is what clients are told to be the controller; -1 if there is none.
    pub fn some_broker_id(&self, image: &MetadataImage) -> i32 {
        let active = |id: &i32| image.active_broker(*id).is_some();
        let mut others = image.cluster.brokers.keys().copied();
        Some(self.node_id).filter(active).or_else(|| others.find(active)).unwrap_or(-1)
    }

    /// The configuration with what was changed while the node ran.
    pub fn current_config(&self) -> Config {
        current_config(&self.config, &self.image())
    }

    /// Puts a newer image into effect. Does file I/O: not on a task of the runtime.
    fn apply(&self, new: Arc<MetadataImage>) {
        let old = self.image();
        self.partitions.apply(&old, &new, clock::now());
        self.replication.apply(&old, &new);
        let configs =
            |image: &MetadataImage| (image.configs.default_broker(), image.configs.broker(self.node_id));
        if configs(&old) != configs(&new) {
            let config = current_config(&self.config, &new);
            self.connections.limit(connection_limits(&config));
            self.replication.set_fetchers(config.replication.fetchers, &new);
            self.partitions.surroundings().quotas.limit(&config.replication);
            self.cleaner.configure(config.cleaner);
            self.lifecycle.cordon(self.partitions.cordoned());
        }
        if !Arc::ptr_eq(&old.security, &new.security) {
            self.quotas.set(&new.security);
        }
        self.groups.apply(&old, &new);
        for topic in old.topics.iter() {
            if new.topics.by_name(&topic.name).is_none() {
                self.metrics.topics.forget(&topic.name);
            }
        }
        let offset = new.offset();
        self.departed.apply(&old, &new, Instant::now());
        // Who stops has to know that everybody knows.
        let waits =
            new.cluster.brokers.values().any(|broker| broker.in_controlled_shutdown && !broker.fenced);
        self.image.store(new);
        self.applied.send_replace(offset);
        self.lifecycle.set_metadata_offset(offset, waits);
    }
}
