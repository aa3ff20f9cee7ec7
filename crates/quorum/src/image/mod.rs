//! The metadata image: everything that the metadata records of the log add up to, at one offset.
//!
//! An image is immutable once published and cheap to clone: its parts are behind `Arc`s, and a change copies the
//! parts that it touches. [`MetadataImage::apply`] is what a record means; [`MetadataImage::to_records`] is the shortest list of
//! records that gives the image again, which is what a snapshot holds. Applying is pure and does not know about
//! transactions; see [`crate::replay`].

mod cluster;
mod configs;
mod features;
mod security;
mod topics;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ottla_wire::records::metadata::ProducerIdsRecord;
use ottla_wire::{Str, Uuid};

pub use cluster::{BrokerImage, ClusterImage, ControllerImage, Endpoint, FeatureRange};
pub use configs::{ConfigResource, ConfigsImage, resource_type};
pub use features::FeaturesImage;
pub use security::{QuotaEntity, SecurityImage};
pub use topics::{
    LEADER_UNCHANGED, LeaderRecoveryState, NO_LEADER, PartitionImage, TopicImage, TopicsImage, directory_id,
};

use crate::features::KRaftVersion;
use crate::metadata_version::MetadataVersion;
use crate::record::{MetadataRecord, VersionedRecord};

/// A record that does not fit the image: the log is damaged, or a decision was made on another image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// No topic has the id.
    #[error("no topic has the id {0}")]
    UnknownTopic(Uuid),
    /// Two topics with one name.
    #[error("topic {0} exists already")]
    DuplicateTopic(Str),
    /// No such partition in the topic.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// Name of the topic.
        topic: Str,
        /// Index of the partition.
        partition: i32,
    },
    /// Replicas and directories are lists of one length.
    #[error("partition {partition} of topic {topic} has {replicas} replicas and {directories} directories")]
    Directories {
        /// Name of the topic.
        topic: Str,
        /// Index of the partition.
        partition: i32,
        /// Length of the list of replicas.
        replicas: usize,
        /// Length of the list of directories.
        directories: usize,
    },
    /// The broker is not registered, or with another epoch.
    #[error("broker {id} is not registered with epoch {epoch}")]
    UnknownBroker {
        /// Id of the broker.
        id: i32,
        /// Epoch in the record.
        epoch: i64,
    },
    /// A transaction's marker has to be resolved before records are applied.
    #[error("{0} outside of the replay of a log")]
    TransactionMarker(&'static str),
}

/// Where an image stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Offset of the last record in the image, -1 of an empty one.
    pub offset: i64,
    /// Epoch of the last record.
    pub epoch: i32,
    /// Timestamp of the last batch, in milliseconds since 1970.
    pub timestamp: i64,
}

impl Provenance {
    /// An image of nothing.
    pub const EMPTY: Self = Self { offset: -1, epoch: -1, timestamp: 0 };
}

impl Default for Provenance {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The producer ids that are still to be handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerIdsImage {
    /// First id that nobody has.
    pub next: i64,
}

/// The cluster's metadata at one offset of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataImage {
    /// Id of the cluster, from `meta.properties`.
    pub cluster_id: Str,
    /// Last offset and epoch that are in here.
    pub provenance: Provenance,
    /// Finalised features.
    pub features: Arc<FeaturesImage>,
    /// Brokers and controllers.
    pub cluster: Arc<ClusterImage>,
    /// Topics and their partitions.
    pub topics: Arc<TopicsImage>,
    /// Dynamic configs.
    pub configs: Arc<ConfigsImage>,
    /// Blocks of producer ids.
    pub producer_ids: ProducerIdsImage,
    /// Access control, credentials, quotas, tokens, and what nobody here knows.
    pub security: Arc<SecurityImage>,
}

impl MetadataImage {
    /// An empty image of the cluster.
    pub fn empty(cluster_id: Str) -> Self {
        Self { cluster_id, ..Self::default() }
    }

    /// Last offset that is in the image, -1 if none.
    pub fn offset(&self) -> i64 {
        self.provenance.offset
    }

    /// Epoch of the last record.
    pub fn epoch(&self) -> i32 {
        self.provenance.epoch
    }

    /// Finalised level of `metadata.version`, if there is one and it is served.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.features.metadata_version()
    }

    /// The topic's partition.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Arc<PartitionImage>> {
        self.topics.by_name(topic)?.partitions.get(&partition)
    }

    /// A registered broker.
    pub fn broker(&self, id: i32) -> Option<&Arc<BrokerImage>> {
        self.cluster.brokers.get(&id)
    }

    /// The broker's registration, if it is neither fenced nor shutting down.
    pub fn active_broker(&self, id: i32) -> Option<&Arc<BrokerImage>> {
        self.broker(id).filter(|broker| broker.is_active())
    }

    /// Makes the record's change.
    ///
    /// # Errors
    /// The record does not fit; the image is unchanged then.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        use MetadataRecord as R;
        match record {
            R::AbortTransaction(_) | R::BeginTransaction(_) | R::EndTransaction(_) => {
                return Err(ApplyError::TransactionMarker(record.name()));
            }
            R::NoOp(_) => {}
            R::FeatureLevel(record) => Arc::make_mut(&mut self.features).apply(record),
            R::Topic(record) => Arc::make_mut(&mut self.topics).add(record)?,
            R::Partition(record) => Arc::make_mut(&mut self.topics).put_partition(record)?,
            R::PartitionChange(record) => Arc::make_mut(&mut self.topics).change(record)?,
            R::RemoveTopic(record) => {
                let name = Arc::make_mut(&mut self.topics).remove(record)?;
                Arc::make_mut(&mut self.configs).remove(&ConfigResource::topic(name));
            }
            R::ClearElr(record) => Arc::make_mut(&mut self.topics).clear_elr(record),
            R::Config(record) => Arc::make_mut(&mut self.configs).apply(record),
            R::RegisterBroker(record) => Arc::make_mut(&mut self.cluster).register_broker(record),
            R::BrokerRegistrationChange(record) => {
                Arc::make_mut(&mut self.cluster).change_broker(record)?;
            }
            R::FenceBroker(record) => {
                Arc::make_mut(&mut self.cluster).set_fenced(record.id, record.epoch, true)?;
            }
            R::UnfenceBroker(record) => {
                Arc::make_mut(&mut self.cluster).set_fenced(record.id, record.epoch, false)?;
            }
            R::UnregisterBroker(record) => {
                Arc::make_mut(&mut self.cluster).unregister_broker(record)?;
            }
            R::RegisterController(record) => {
                Arc::make_mut(&mut self.cluster).register_controller(record);
            }
            R::ProducerIds(record) => self.producer_ids.next = record.next_producer_id,
            R::AccessControlEntry(_)
            | R::ClientQuota(_)
            | R::DelegationToken(_)
            | R::RemoveAccessControlEntry(_)
            | R::RemoveDelegationToken(_)
            | R::RemoveUserScramCredential(_)
            | R::UserScramCredential(_)
            | R::ZkMigrationState(_)
            | R::Unknown(_) => Arc::make_mut(&mut self.security).apply(record),
        }
        Ok(())
    }

    /// Sets the level of `kraft.version`, which the log carries in control records.
    pub fn set_kraft_version(&mut self, version: KRaftVersion) {
        if self.features.kraft_version != version {
            Arc::make_mut(&mut self.features).kraft_version = version;
        }
    }

    /// The records of a snapshot, in Kafka's order.
    pub fn to_records(&self) -> Vec<VersionedRecord> {
        let level = self.metadata_version().unwrap_or(MetadataVersion::MINIMUM);
        let mut records = Vec::new();
        self.features.write(&mut records);
        self.cluster.write(level, &mut records);
        self.topics.write(level, &mut records);
        self.configs.write(&mut records);
        self.security.write_quotas(&mut records);
        if self.producer_ids.next > 0 {
            records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: self.producer_ids.next,
                ..Default::default()
            }));
        }
        self.security.write_rest(&mut records);
        records.into_iter().map(|record| record.at(level)).collect()
    }
}
