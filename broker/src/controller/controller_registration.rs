//! Registration of controllers (KIP-919): where they listen, and which features they serve.

use ottla_quorum::image::{Endpoint, MetadataImage};
use ottla_quorum::{MetadataRecord, features};
use ottla_wire::messages::{ControllerRegistrationRequest, controller_registration_request};
use ottla_wire::records::metadata::{RegisterControllerRecord, register_controller_record};
use ottla_wire::{ErrorCode, Str};

use super::registration::endpoint;
use super::settings::ControllerSettings;
use super::{ControllerError, Decision};

/// What this node's controller says of itself.
pub(crate) fn request(settings: &ControllerSettings) -> ControllerRegistrationRequest {
    let listener = |listener: Endpoint| controller_registration_request::Listener {
        name: listener.name,
        host: listener.host,
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..Default::default()
    };
    let feature = |feature: features::SupportedFeature| controller_registration_request::Feature {
        name: Str::from(feature.name),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
        ..Default::default()
    };
    let listeners = settings.config.advertised_controller_listeners.iter();
    ControllerRegistrationRequest {
        controller_id: settings.config.node_id,
        incarnation_id: settings.identity.incarnation_id,
        zk_migration_ready: false,
        listeners: listeners.map(endpoint).map(listener).collect(),
        features: features::advertised().map(feature).collect(),
        ..Default::default()
    }
}

/// Whether the image has this run of the node's controller.
pub(crate) fn is_registered(image: &MetadataImage, settings: &ControllerSettings) -> bool {
    let known = image.cluster.controllers.get(&settings.config.node_id);
    known.is_some_and(|known| known.incarnation_id == settings.identity.incarnation_id)
}

/// ControllerRegistration (KIP-919).
///
/// # Errors
/// `UNSUPPORTED_VERSION` at levels that do not know of it.
pub(crate) fn register(
    image: &MetadataImage,
    request: &ControllerRegistrationRequest,
) -> Result<Decision<()>, ControllerError> {
    if !image.metadata_version().is_some_and(|level| level.has_controller_registration()) {
        return Err(ControllerError::Refused(ErrorCode::UnsupportedVersion));
    }
    let endpoint = |listener: &controller_registration_request::Listener| {
        register_controller_record::ControllerEndpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..Default::default()
        }
    };
    let feature =
        |feature: &controller_registration_request::Feature| register_controller_record::ControllerFeature {
            name: feature.name.clone(),
            min_supported_version: feature.min_supported_version,
            max_supported_version: feature.max_supported_version,
            ..Default::default()
        };
    let record = RegisterControllerRecord {
        controller_id: request.controller_id,
        incarnation_id: request.incarnation_id,
        zk_migration_ready: false,
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        ..Default::default()
    };
    Ok(Decision { records: vec![MetadataRecord::RegisterController(record)], response: () })
}
