//! Registration of brokers (KIP-631), and its end.

use std::collections::BTreeSet;

use ottla_quorum::image::{BrokerImage, Endpoint, MetadataImage};
use ottla_quorum::{MetadataRecord, MetadataVersion, features};
use ottla_wire::messages::{BrokerRegistrationRequest, broker_registration_request};
use ottla_wire::records::metadata::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, UnregisterBrokerRecord, register_broker_record,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::brokers::Brokers;
use super::draft::Draft;
use super::view::View;
use super::{ControllerError, Decision, leadership};
use crate::config::Listener;

/// The first version of BrokerRegistration in which a broker says how it was stopped (KIP-966).
const FIRST_WITH_PREVIOUS_EPOCH: i16 = 3;

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
    /// Epoch that it had when it was stopped in order; -1 where it was not, is new, or a directory is: what lies in any of
    /// its directories may be less than it had.
    pub previous_epoch: i64,
}

impl BrokerRegistration {
    /// Advertised listeners as they are registered.
    pub fn endpoints(listeners: &[Listener]) -> Vec<Endpoint> {
        listeners.iter().map(endpoint).collect()
    }

    /// Endpoints as a request has them.
    pub fn listeners(endpoints: &[Endpoint]) -> Vec<broker_registration_request::Listener> {
        let listener = |endpoint: &Endpoint| broker_registration_request::Listener {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
            ..Default::default()
        };
        endpoints.iter().map(listener).collect()
    }

    /// The request that registers the broker, for the newest version.
    pub fn request(&self, cluster_id: Str) -> BrokerRegistrationRequest {
        let feature = |feature: features::SupportedFeature| broker_registration_request::Feature {
            name: Str::from(feature.name),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
            ..Default::default()
        };
        BrokerRegistrationRequest {
            broker_id: self.id,
            cluster_id,
            incarnation_id: self.incarnation_id,
            listeners: Self::listeners(&self.endpoints),
            features: features::advertised().map(feature).collect(),
            rack: self.rack.clone(),
            is_migrating_zk_broker: false,
            log_dirs: self.log_dirs.clone(),
            previous_broker_epoch: self.previous_epoch,
            ..Default::default()
        }
    }
}

/// Registers a broker, fenced, under a new epoch: the offset of the decision's first record. What an earlier incarnation
/// led, it leads no more. A broker that registers again in the same run amends what it said.
///
/// # Errors
/// Kafka's codes.
pub(crate) fn register_broker(
    view: &View<'_>,
    brokers: &mut Brokers,
    request: &BrokerRegistrationRequest,
    version: i16,
    next_offset: i64,
    now: i64,
) -> Result<Decision<i64>, ControllerError> {
    let image = view.image;
    let id = request.broker_id;
    let earlier = image.broker(id).map(|broker| &**broker);
    check_identity(image, brokers, request, earlier, now)?;
    let level = image.metadata_version().ok_or(refused(ErrorCode::UnsupportedVersion))?;
    check_directories(image, request, level)?;
    check_features(image, request)?;
    let amended = earlier.filter(|broker| broker.incarnation_id == request.incarnation_id);
    let mut records = Vec::new();
    if amended.is_none() {
        let stopped = earlier.map_or(-2, |broker| broker.epoch) == request.previous_broker_epoch;
        let clean = version < FIRST_WITH_PREVIOUS_EPOCH || stopped;
        records = if view.keeps_elr() && !clean {
            leadership::leave_uncleanly(view, id)
        } else {
            leadership::leave(view, id)
        };
        brokers.end(id);
    }
    let epoch = amended.map_or(next_offset, |broker| broker.epoch);
    records.push(MetadataRecord::RegisterBroker(record(request, level, epoch, amended)));
    let offset = next_offset.saturating_add(i64::try_from(records.len()).unwrap_or(i64::MAX)) - 1;
    brokers.register(id, epoch, offset, now);
    Ok(Decision { records, response: epoch })
}

fn check_identity(
    image: &MetadataImage,
    brokers: &Brokers,
    request: &BrokerRegistrationRequest,
    earlier: Option<&BrokerImage>,
    now: i64,
) -> Result<(), ControllerError> {
    if image.cluster_id != request.cluster_id {
        return Err(refused(ErrorCode::InconsistentClusterId));
    }
    if request.is_migrating_zk_broker {
        return Err(refused(ErrorCode::BrokerIdNotRegistered));
    }
    let another = earlier.is_some_and(|broker| {
        broker.incarnation_id != request.incarnation_id && brokers.is_live(broker.id, broker.epoch, now)
    });
    if another { Err(refused(ErrorCode::DuplicateBrokerRegistration)) } else { Ok(()) }
}

/// Levels before KIP-858 know of no directories.
fn check_directories(
    image: &MetadataImage,
    request: &BrokerRegistrationRequest,
    level: MetadataVersion,
) -> Result<(), ControllerError> {
    if !level.has_directory_assignment() {
        return Ok(());
    }
    let distinct: BTreeSet<&Uuid> = request.log_dirs.iter().collect();
    let anothers = |directory: &Uuid| {
        let mut others = image.cluster.brokers.values().filter(|broker| broker.id != request.broker_id);
        others.any(|broker| broker.log_dirs.contains(directory))
    };
    let bad = |directory: &Uuid| is_reserved(directory) || anothers(directory);
    if request.log_dirs.is_empty()
        || distinct.len() != request.log_dirs.len()
        || request.log_dirs.iter().any(bad)
    {
        return Err(refused(ErrorCode::InvalidRegistration));
    }
    Ok(())
}

/// The first hundred ids have or may get a meaning of their own.
fn is_reserved(directory: &Uuid) -> bool {
    matches!(directory.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last] if *last < 100)
}

/// The broker must serve everything that is finalised.
fn check_features(image: &MetadataImage, request: &BrokerRegistrationRequest) -> Result<(), ControllerError> {
    let served = |name: &str| request.features.iter().find(|feature| &*feature.name == name);
    if served(MetadataVersion::FEATURE).is_none() {
        return Err(refused(ErrorCode::InvalidRegistration));
    }
    let level = |name: &str| image.features.level(name);
    let out_of_range = request.features.iter().any(|feature| {
        !(feature.min_supported_version..=feature.max_supported_version).contains(&level(&feature.name))
    });
    let kraft = features::KRaftVersion::FEATURE;
    let finalised = image.features.levels.keys().map(|name| &**name).chain([kraft]);
    let missing = finalised.into_iter().any(|name| level(name) > 0 && served(name).is_none());
    if out_of_range || missing { Err(refused(ErrorCode::UnsupportedVersion)) } else { Ok(()) }
}

fn record(
    request: &BrokerRegistrationRequest,
    level: MetadataVersion,
    epoch: i64,
    amended: Option<&BrokerImage>,
) -> RegisterBrokerRecord {
    let endpoint =
        |listener: &broker_registration_request::Listener| register_broker_record::BrokerEndpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..Default::default()
        };
    let feature = |feature: &broker_registration_request::Feature| register_broker_record::BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
        ..Default::default()
    };
    let log_dirs = if level.has_directory_assignment() { request.log_dirs.clone() } else { Vec::new() };
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch: epoch,
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: amended.is_none_or(|broker| broker.fenced),
        in_controlled_shutdown: amended.is_some_and(|broker| broker.in_controlled_shutdown),
        cordoned_log_dirs: amended.and_then(|broker| broker.cordoned_log_dirs.clone()),
        log_dirs,
        ..Default::default()
    }
}

/// Unfences a broker; what nobody leads may have found its leader.
pub(crate) fn unfence_broker(view: &View<'_>, id: i32, epoch: i64) -> Result<Decision<()>, ControllerError> {
    if !check_epoch(view.image, id, epoch)?.fenced {
        return Ok(Decision::answer(()));
    }
    let mut records = vec![change(id, epoch, |record| record.fenced = -1)];
    records.extend(leadership::join(view, id));
    Ok(Decision { records, response: () })
}

/// A broker wants to stop: it leads nothing from now on.
pub(crate) fn controlled_shutdown(
    view: &View<'_>,
    id: i32,
    epoch: i64,
) -> Result<Decision<()>, ControllerError> {
    let known = check_epoch(view.image, id, epoch)?.in_controlled_shutdown;
    let note = (!known).then(|| change(id, epoch, |record| record.in_controlled_shutdown = 1));
    let records = note.into_iter().chain(leadership::leave(view, id)).collect();
    Ok(Decision { records, response: () })
}

/// Fences a broker that has stopped, or is not heard of.
pub(crate) fn fence_broker(view: &View<'_>, id: i32, epoch: i64) -> Result<Decision<()>, ControllerError> {
    if check_epoch(view.image, id, epoch)?.fenced {
        return Ok(Decision::answer(()));
    }
    let mut records = leadership::leave(view, id);
    records.push(change(id, epoch, |record| record.fenced = 1));
    Ok(Decision { records, response: () })
}

/// UnregisterBroker: the broker is no part of the cluster any more.
///
/// # Errors
/// `BROKER_ID_NOT_REGISTERED`.
pub(crate) fn unregister_broker(
    view: &View<'_>,
    brokers: &mut Brokers,
    id: i32,
) -> Result<Decision<()>, ControllerError> {
    let broker = view.image.broker(id).ok_or(refused(ErrorCode::BrokerIdNotRegistered))?;
    let mut draft = Draft::new(view.image);
    draft.push(leadership::leave_for_good(view, id));
    let gone = UnregisterBrokerRecord { broker_id: id, broker_epoch: broker.epoch, ..Default::default() };
    draft.push([MetadataRecord::UnregisterBroker(gone)]);
    brokers.end(id);
    Ok(Decision { records: draft.into_records(), response: () })
}

fn check_epoch(image: &MetadataImage, id: i32, epoch: i64) -> Result<&BrokerImage, ControllerError> {
    let broker = image.broker(id).ok_or(refused(ErrorCode::BrokerIdNotRegistered))?;
    if broker.epoch != epoch {
        return Err(refused(ErrorCode::StaleBrokerEpoch));
    }
    Ok(broker)
}

/// A change of a broker's registration.
pub(super) fn change(
    broker_id: i32,
    broker_epoch: i64,
    set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> MetadataRecord {
    let mut record = BrokerRegistrationChangeRecord { broker_id, broker_epoch, ..Default::default() };
    set(&mut record);
    MetadataRecord::BrokerRegistrationChange(record)
}

fn refused(code: ErrorCode) -> ControllerError {
    ControllerError::Refused(code)
}

/// A listener as it is registered.
pub(super) fn endpoint(listener: &Listener) -> Endpoint {
    Endpoint {
        name: Str::from(listener.name.as_str()),
        host: Str::from(listener.host.as_str()),
        port: listener.port,
        security_protocol: listener.protocol.id(),
    }
}
