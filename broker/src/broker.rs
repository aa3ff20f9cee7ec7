//! The node: what handlers share, how it starts ([`start`]) and stops ([`Node::stop`]).

mod control;
mod lifecycle;
mod monitor;
mod producer_ids;
mod start;
mod stop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::{ErrorCode, Str};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::RequestContext;
use crate::cleaner::LogCleaner;
use crate::clock;
use crate::config::Config;
use crate::controller::{ControllerChannel, ControllerHandle, TopicError, refused_creation};
use crate::fetch_session::Sessions;
use crate::group::Coordinator;
use crate::net::{ConnectionLimits, ConnectionSlots, MemoryBudget};
use crate::partition::{Partition, Partitions};
use crate::quota::{MutationQuota, Quotas};
use crate::replication::{Connections, Replication};
use crate::security::{Action, Authoriser, Operation, Resource};
use crate::telemetry::Metrics;
use crate::telemetry::loggers::Loggers;

pub use lifecycle::Lifecycle;
pub use producer_ids::ProducerIds;
pub use start::{Node, StartError, start, start_on, start_with};

/// What every request handler gets.
#[derive(Debug)]
pub struct Broker {
    /// The node's configuration as it was started with.
    pub config: Arc<Config>,
    /// `cluster.id`.
    pub cluster_id: Str,
    /// `node.id`.
    pub node_id: i32,
    /// This node's part in the metadata quorum.
    pub controller: ControllerHandle,
    /// The way to the active controller, wherever it is; to be cloned.
    pub channel: ControllerChannel,
    /// This broker as a member of the cluster.
    pub lifecycle: Lifecycle,
    /// What is fetched from other brokers.
    pub replication: Replication<Connections>,
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
    /// Limits of clients.
    pub quotas: Quotas,
    /// Levels of what is logged.
    pub loggers: Arc<Loggers>,
    /// Everything that is counted.
    pub metrics: Metrics,
    /// Decides what principals may do.
    pub authoriser: Arc<dyn Authoriser>,
    /// Cancelled when the node begins to stop: no new requests, long polls answer at once.
    pub stopping: CancellationToken,
    image: ArcSwap<MetadataImage>,
    applied: watch::Sender<i64>,
    ready: AtomicBool,
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

    /// Whether the node serves: unfenced, logs recovered, groups loaded.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.groups.is_loaded() && !self.stopping.is_cancelled()
    }

    /// Asks the authoriser.
    pub fn allows(&self, context: &RequestContext, operation: Operation, resource: Resource<'_>) -> bool {
        self.authoriser.allows(context, Action { operation, resource })
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

    /// Creates topics that are needed here, paid for with `quota`.
    pub async fn create_topics(
        &self,
        request: CreateTopicsRequest,
        quota: MutationQuota,
    ) -> CreateTopicsResponse {
        if self.controller.is_active() {
            return self.controller.create_topics(request, quota).await;
        }
        let asked = request.clone();
        match self.channel.clone().call(move |_| asked).await {
            Ok(response) => response,
            Err(error) => refused_creation(
                &request,
                &TopicError { code: ErrorCode::NotController, message: error.to_string().into() },
            ),
        }
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
            self.cleaner.configure(config.cleaner);
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
        // Who stops has to know that everybody knows.
        let waits =
            new.cluster.brokers.values().any(|broker| broker.in_controlled_shutdown && !broker.fenced);
        self.image.store(new);
        self.applied.send_replace(offset);
        self.lifecycle.set_metadata_offset(offset, waits);
    }
}

/// The configuration of a node with what was changed while it ran. Changes that do not fit together are passed over.
fn current_config(config: &Config, image: &MetadataImage) -> Config {
    let (cluster, broker) = (image.configs.default_broker(), image.configs.broker(config.node_id));
    config.with_dynamic(&*cluster, &*broker).unwrap_or_else(|errors| {
        warn!(%errors, "changed configs of this broker have no effect");
        config.clone()
    })
}

/// The limits of connections; hosts that cannot be resolved (now) have none of their own.
fn connection_limits(config: &Config) -> ConnectionLimits {
    let (limits, unknown) = ConnectionLimits::resolve(&config.network);
    for host in unknown {
        warn!("{host}");
    }
    limits
}
