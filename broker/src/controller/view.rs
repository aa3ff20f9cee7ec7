//! What decisions about partitions rest on: an image, and what its topics are configured to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_quorum::image::{BrokerImage, PartitionImage, TopicImage, directory_id};
use ottla_quorum::{MetadataImage, MetadataVersion, features};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::ControllerError;
use crate::config::{BrokerLayers, Config, topic_value};

/// An image and the layers of configs above the topics' own.
pub(crate) struct View<'a> {
    /// The image that is decided on.
    pub(crate) image: &'a MetadataImage,
    config: &'a Config,
    broker: Arc<BTreeMap<Str, Str>>,
    cluster: Arc<BTreeMap<Str, Str>>,
}

/// What a topic's configs say about its leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// `min.insync.replicas`.
    pub(crate) configured_min_isr: usize,
    /// The same, and no more than the topic's first partition has replicas: what Kafka's controller goes by.
    pub(crate) min_isr: usize,
    /// `unclean.leader.election.enable`.
    pub(crate) unclean: bool,
}

impl<'a> View<'a> {
    /// Defaults are those of `config`'s node, as in Kafka.
    pub(crate) fn new(image: &'a MetadataImage, config: &'a Config) -> Self {
        let broker = image.configs.broker(config.node_id);
        let cluster = image.configs.default_broker();
        Self { image, config, broker, cluster }
    }

    /// The same configs over a later image.
    pub(crate) fn over<'b>(&self, image: &'b MetadataImage) -> View<'b>
    where
        'a: 'b,
    {
        View::new(image, self.config)
    }

    /// Finalised level of `metadata.version`.
    pub(crate) fn level(&self) -> MetadataVersion {
        self.image.metadata_version().unwrap_or(MetadataVersion::LATEST)
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub(crate) fn keeps_elr(&self) -> bool {
        self.image.features.level(features::ELIGIBLE_LEADER_REPLICAS) > 0
    }

    /// What holds for the topic's partitions.
    pub(crate) fn rules(&self, topic: &TopicImage) -> Rules {
        let own = self.image.configs.topic(&topic.name);
        let layers =
            BrokerLayers { broker: &*self.broker, cluster: &*self.cluster, fixed: &self.config.settings };
        let value = |key| topic_value(key, &layers, &*own);
        let configured = value("min.insync.replicas").and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let replicas = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
        let unclean = value("unclean.leader.election.enable")
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let min_isr = usize::min(configured, replicas);
        Rules { configured_min_isr: configured, min_isr, unclean }
    }

    /// The broker's registration, if it has this epoch.
    ///
    /// # Errors
    /// `STALE_BROKER_EPOCH`, also where it is not registered.
    pub(crate) fn broker_at(&self, id: i32, epoch: i64) -> Result<&'a BrokerImage, ControllerError> {
        let broker = self.image.broker(id).filter(|broker| broker.epoch == epoch);
        broker.map(|broker| &**broker).ok_or(ControllerError::Refused(ErrorCode::StaleBrokerEpoch))
    }

    /// Whether the broker has what it keeps of the partition.
    pub(crate) fn has_log(&self, broker: i32, partition: &PartitionImage) -> bool {
        let registered = self.image.broker(broker);
        registered
            .zip(partition.directory_of(broker))
            .is_some_and(|(broker, directory)| broker.has_online(directory))
    }

    /// See [`default_directory`].
    pub(crate) fn default_directory(&self, broker: i32) -> Uuid {
        default_directory(self.image, broker)
    }
}

/// Where the broker puts a new replica: its only directory; with several it chooses itself.
pub(crate) fn default_directory(image: &MetadataImage, broker: i32) -> Uuid {
    match image.broker(broker).map(|broker| broker.log_dirs.as_slice()) {
        Some([only]) => *only,
        Some([]) => directory_id::MIGRATING,
        _ => directory_id::UNASSIGNED,
    }
}
