//! Brokers and controllers, as they registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::records::metadata::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord, UnregisterBrokerRecord,
    register_broker_record, register_controller_record,
};
use ottla_wire::{Str, Uuid};

use super::{ApplyError, directory_id};
use crate::metadata_version::MetadataVersion;
use crate::record::MetadataRecord;

/// A listener's address, as advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the listener.
    pub name: Str,
    /// Host that clients connect to.
    pub host: Str,
    /// Port that clients connect to.
    pub port: u16,
    /// Kafka's number: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// Name of the feature.
    pub name: Str,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    /// Node id.
    pub id: i32,
    /// Offset of the registration, which fences older ones.
    pub epoch: i64,
    /// Differs with every start of the process.
    pub incarnation_id: Uuid,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// Levels of features that it can work with.
    pub features: Vec<FeatureRange>,
    /// `broker.rack`.
    pub rack: Option<Str>,
    /// Not to be talked to and never a leader.
    pub fenced: bool,
    /// Wants to stop.
    pub in_controlled_shutdown: bool,
    /// A migration from ZooKeeper is under way.
    pub is_migrating_zk_broker: bool,
    /// Ids of its log directories.
    pub log_dirs: Vec<Uuid>,
    /// Log directories that take no new partitions; `None` if it never said.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl BrokerImage {
    /// Whether the broker may lead partitions.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether there is a log directory that takes new partitions.
    pub fn takes_partitions(&self) -> bool {
        match &self.cordoned_log_dirs {
            Some(cordoned) if !self.log_dirs.is_empty() => {
                self.log_dirs.iter().any(|directory| !cordoned.contains(directory))
            }
            _ => true,
        }
    }

    /// Whether what lies in the directory can be served, as far as anybody knows. From before directories had ids none is
    /// listed, and a broker without any would have ended.
    pub fn has_online(&self, directory: Uuid) -> bool {
        match directory {
            directory_id::UNASSIGNED | directory_id::MIGRATING => true,
            directory_id::LOST => false,
            _ => self.log_dirs.is_empty() || self.log_dirs.contains(&directory),
        }
    }

    /// The listener with the name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| &*endpoint.name == listener)
    }

    fn from_record(record: &RegisterBrokerRecord) -> Self {
        Self {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record.end_points.iter().map(broker_endpoint).collect(),
            features: record.features.iter().map(broker_feature).collect(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            log_dirs: record.log_dirs.clone(),
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        }
    }

    fn to_record(&self, level: MetadataVersion) -> RegisterBrokerRecord {
        let version = level.register_broker_record_version();
        RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: version >= 2 && self.is_migrating_zk_broker,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self
                .endpoints
                .iter()
                .map(|endpoint| register_broker_record::BrokerEndpoint {
                    name: endpoint.name.clone(),
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|feature| register_broker_record::BrokerFeature {
                    name: feature.name.clone(),
                    min_supported_version: feature.min,
                    max_supported_version: feature.max,
                    ..Default::default()
                })
                .collect(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: if version >= 3 { self.log_dirs.clone() } else { Vec::new() },
            cordoned_log_dirs: self.cordoned_log_dirs.clone().filter(|_| version >= 4),
            ..Default::default()
        }
    }
}

/// A registered controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerImage {
    /// Node id.
    pub id: i32,
    /// Differs with every start of the process.
    pub incarnation_id: Uuid,
    /// A migration from ZooKeeper could begin.
    pub zk_migration_ready: bool,
    /// Listeners of the controller.
    pub endpoints: Vec<Endpoint>,
    /// Levels of features that it can work with.
    pub features: Vec<FeatureRange>,
}

impl ControllerImage {
    fn from_record(record: &RegisterControllerRecord) -> Self {
        Self {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record.end_points.iter().map(controller_endpoint).collect(),
            features: record.features.iter().map(controller_feature).collect(),
        }
    }

    fn to_record(&self) -> RegisterControllerRecord {
        RegisterControllerRecord {
            controller_id: self.id,
            incarnation_id: self.incarnation_id,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self
                .endpoints
                .iter()
                .map(|endpoint| register_controller_record::ControllerEndpoint {
                    name: endpoint.name.clone(),
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    security_protocol: endpoint.security_protocol,
                    ..Default::default()
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|feature| register_controller_record::ControllerFeature {
                    name: feature.name.clone(),
                    min_supported_version: feature.min,
                    max_supported_version: feature.max,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// Brokers and controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterImage {
    /// Brokers by id.
    pub brokers: BTreeMap<i32, Arc<BrokerImage>>,
    /// Controllers by id.
    pub controllers: BTreeMap<i32, Arc<ControllerImage>>,
}

impl ClusterImage {
    pub(super) fn register_broker(&mut self, record: &RegisterBrokerRecord) {
        self.brokers.insert(record.broker_id, Arc::new(BrokerImage::from_record(record)));
    }

    pub(super) fn change_broker(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
    ) -> Result<(), ApplyError> {
        let broker = self.broker_mut(record.broker_id, record.broker_epoch)?;
        match record.fenced {
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            broker.in_controlled_shutdown = true;
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs.clone_from(&record.log_dirs);
        }
        if record.cordoned_log_dirs.is_some() {
            broker.cordoned_log_dirs.clone_from(&record.cordoned_log_dirs);
        }
        Ok(())
    }

    pub(super) fn set_fenced(&mut self, id: i32, epoch: i64, fenced: bool) -> Result<(), ApplyError> {
        self.broker_mut(id, epoch)?.fenced = fenced;
        Ok(())
    }

    pub(super) fn unregister_broker(&mut self, record: &UnregisterBrokerRecord) -> Result<(), ApplyError> {
        self.broker_mut(record.broker_id, record.broker_epoch)?;
        self.brokers.remove(&record.broker_id);
        Ok(())
    }

    pub(super) fn register_controller(&mut self, record: &RegisterControllerRecord) {
        self.controllers.insert(record.controller_id, Arc::new(ControllerImage::from_record(record)));
    }

    fn broker_mut(&mut self, id: i32, epoch: i64) -> Result<&mut BrokerImage, ApplyError> {
        self.brokers
            .get_mut(&id)
            .filter(|broker| broker.epoch == epoch)
            .map(Arc::make_mut)
            .ok_or(ApplyError::UnknownBroker { id, epoch })
    }

    pub(super) fn write(&self, level: MetadataVersion, records: &mut Vec<MetadataRecord>) {
        records.extend(
            self.brokers.values().map(|broker| MetadataRecord::RegisterBroker(broker.to_record(level))),
        );
        if level.has_controller_registration() {
            records.extend(
                self.controllers
                    .values()
                    .map(|controller| MetadataRecord::RegisterController(controller.to_record())),
            );
        }
    }
}

fn broker_endpoint(endpoint: &register_broker_record::BrokerEndpoint) -> Endpoint {
    Endpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    }
}

fn broker_feature(feature: &register_broker_record::BrokerFeature) -> FeatureRange {
    FeatureRange {
        name: feature.name.clone(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    }
}

fn controller_endpoint(endpoint: &register_controller_record::ControllerEndpoint) -> Endpoint {
    Endpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    }
}

fn controller_feature(feature: &register_controller_record::ControllerFeature) -> FeatureRange {
    FeatureRange {
        name: feature.name.clone(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    }
}
