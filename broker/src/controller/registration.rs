//! Registration of brokers and controllers, fencing and controlled shutdown.

use ottla_quorum::image::{Endpoint, MetadataImage};
use ottla_quorum::{MetadataRecord, features};
use ottla_wire::records::metadata::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord, register_broker_record,
    register_controller_record,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::settings::ControllerSettings;
use super::{ControllerError, Decision, leadership};
use crate::config::Listener;

/// What a broker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub id: i32,
    /// Id of this run of the process.
    pub incarnation_id: Uuid,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<Str>,
    /// Ids of its log directories.
    pub log_dirs: Vec<Uuid>,
}

impl BrokerRegistration {
    /// Advertised listeners as they are registered.
    pub fn endpoints(listeners: &[Listener]) -> Vec<Endpoint> {
        listeners.iter().map(endpoint).collect()
    }
}

/// Registers a broker, fenced; its epoch is the record's offset. What an earlier incarnation led, nobody leads now.
pub(crate) fn register_broker(
    image: &MetadataImage,
    registration: &BrokerRegistration,
    next_offset: i64,
) -> Decision<i64> {
    let earlier = image.broker(registration.id);
    let restarted = earlier.is_some_and(|broker| broker.incarnation_id != registration.incarnation_id);
    let mut records = vec![MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: registration.id,
        incarnation_id: registration.incarnation_id,
        broker_epoch: next_offset,
        end_points: registration.endpoints.iter().map(broker_endpoint).collect(),
        features: features::advertised()
            .map(|feature| register_broker_record::BrokerFeature {
                name: Str::from(feature.name),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
                ..Default::default()
            })
            .collect(),
        rack: registration.rack.clone(),
        fenced: true,
        log_dirs: directories(image, registration),
        ..Default::default()
    })];
    if restarted {
        records.extend(leadership::leave(image, registration.id));
    }
    Decision { records, response: next_offset }
}

/// Levels before KIP-858 cannot express directories.
fn directories(image: &MetadataImage, registration: &BrokerRegistration) -> Vec<Uuid> {
    match image.metadata_version() {
        Some(level) if level.has_directory_assignment() => registration.log_dirs.clone(),
        _ => Vec::new(),
    }
}

/// Unfences a broker; it takes the partitions that nobody leads.
pub(crate) fn unfence_broker(
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    if !check_epoch(image, id, epoch)?.fenced {
        return Ok(Decision::answer(()));
    }
    let mut records = vec![change(id, epoch, |record| record.fenced = -1)];
    records.extend(leadership::join(image, id));
    Ok(Decision { records, response: () })
}

/// A broker wants to stop: it leads nothing from now on.
pub(crate) fn controlled_shutdown(
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    if check_epoch(image, id, epoch)?.in_controlled_shutdown {
        return Ok(Decision::answer(()));
    }
    let mut records = vec![change(id, epoch, |record| record.in_controlled_shutdown = 1)];
    records.extend(leadership::leave(image, id));
    Ok(Decision { records, response: () })
}

/// Fences a broker that has stopped.
pub(crate) fn fence_broker(
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    if check_epoch(image, id, epoch)?.fenced {
        return Ok(Decision::answer(()));
    }
    let mut records = vec![change(id, epoch, |record| record.fenced = 1)];
    records.extend(leadership::leave(image, id));
    Ok(Decision { records, response: () })
}

/// Registers this controller, at levels that know of it.
pub(crate) fn register_controller(image: &MetadataImage, settings: &ControllerSettings) -> Decision<()> {
    if !image.metadata_version().is_some_and(|level| level.has_controller_registration()) {
        return Decision::answer(());
    }
    let record = RegisterControllerRecord {
        controller_id: settings.config.node_id,
        incarnation_id: settings.identity.incarnation_id,
        zk_migration_ready: false,
        end_points: settings
            .config
            .advertised_controller_listeners
            .iter()
            .map(endpoint)
            .map(|endpoint| register_controller_record::ControllerEndpoint {
                name: endpoint.name,
                host: endpoint.host,
                port: endpoint.port,
                security_protocol: endpoint.security_protocol,
                ..Default::default()
            })
            .collect(),
        features: features::advertised()
            .map(|feature| register_controller_record::ControllerFeature {
                name: Str::from(feature.name),
                min_supported_version: feature.min,
                max_supported_version: feature.max,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    Decision { records: vec![MetadataRecord::RegisterController(record)], response: () }
}

fn check_epoch(
    image: &MetadataImage,
    id: i32,
    epoch: i64,
) -> Result<&ottla_quorum::image::BrokerImage, ControllerError> {
    let broker = image.broker(id).ok_or(ControllerError::Refused(ErrorCode::BrokerIdNotRegistered))?;
    if broker.epoch != epoch {
        return Err(ControllerError::Refused(ErrorCode::StaleBrokerEpoch));
    }
    Ok(broker)
}

fn change(
    broker_id: i32,
    broker_epoch: i64,
    set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> MetadataRecord {
    let mut record = BrokerRegistrationChangeRecord { broker_id, broker_epoch, ..Default::default() };
    set(&mut record);
    MetadataRecord::BrokerRegistrationChange(record)
}

fn endpoint(listener: &Listener) -> Endpoint {
    Endpoint {
        name: Str::from(listener.name.as_str()),
        host: Str::from(listener.host.as_str()),
        port: listener.port,
        security_protocol: listener.protocol.id(),
    }
}

fn broker_endpoint(endpoint: &Endpoint) -> register_broker_record::BrokerEndpoint {
    register_broker_record::BrokerEndpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
        ..Default::default()
    }
}
