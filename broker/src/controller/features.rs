//! UpdateFeatures: which levels may be finalised, up and down (KIP-584, KIP-778, KIP-1022).

use ottla_quorum::image::{FeatureRange, MetadataImage};
use ottla_quorum::{MetadataRecord, MetadataVersion, features};
use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::update_features_response::UpdatableFeatureResult;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_wire::records::metadata::FeatureLevelRecord;
use ottla_wire::{ErrorCode, Str};

use super::{Decision, TopicError, elr};
use crate::config::Config;

const KRAFT_VERSION: &str = "kraft.version";

/// What an update may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
    Unknown,
}

/// Finalises all levels of the request, or none.
pub(crate) fn update_features(
    image: &MetadataImage,
    request: &UpdateFeaturesRequest,
    version: i16,
    config: &Config,
) -> Decision<UpdateFeaturesResponse> {
    let mut records = Vec::new();
    let elr = |update: &&FeatureUpdateKey| &*update.feature == features::ELIGIBLE_LEADER_REPLICAS;
    if request.feature_updates.iter().find(elr).is_some_and(|update| update.max_version_level > 0) {
        records.extend(elr::prepared(image, config));
    }
    for update in &request.feature_updates {
        match check(image, update, upgrade_type(update, version)) {
            Ok(record) => records.extend(record),
            Err(error) => {
                let message = format!(
                    "The update failed for all features since the following feature had an error: {}",
                    error.message
                );
                return Decision::answer(refuse(&TopicError::new(error.code, message)));
            }
        }
    }
    if request.validate_only {
        records.clear();
    }
    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        // Kafka's text for success.
        error_message: Some(Str::from_static("NONE")),
        ..Default::default()
    };
    let results = if version < 2 { request.feature_updates.iter().map(result).collect() } else { Vec::new() };
    Decision {
        records,
        response: UpdateFeaturesResponse { results, error_message: None, ..Default::default() },
    }
}

/// The answer when nothing is done.
pub(crate) fn refuse(error: &TopicError) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse {
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}

fn upgrade_type(update: &FeatureUpdateKey, version: i16) -> UpgradeType {
    match (version, update.upgrade_type) {
        (0, _) if update.allow_downgrade => UpgradeType::SafeDowngrade,
        (0, _) | (_, 1) => UpgradeType::Upgrade,
        (_, 2) => UpgradeType::SafeDowngrade,
        (_, 3) => UpgradeType::UnsafeDowngrade,
        _ => UpgradeType::Unknown,
    }
}

fn check(
    image: &MetadataImage,
    update: &FeatureUpdateKey,
    upgrade: UpgradeType,
) -> Result<Option<MetadataRecord>, TopicError> {
    let (name, level) = (&*update.feature, update.max_version_level);
    let current = image.features.level(name);
    let invalid = |reason: &str| {
        let message = format!("Invalid update version {level} for feature {name}. {reason}");
        Err(TopicError::new(ErrorCode::InvalidUpdateVersion, message))
    };
    if upgrade == UpgradeType::Unknown {
        let message = "The controller does not support the given upgrade type.";
        return Err(TopicError::new(ErrorCode::InvalidUpdateVersion, message));
    }
    if level < 0 {
        return invalid("A feature version cannot be less than 0.");
    }
    if let Some(reason) = not_served(name, level) {
        return invalid(&reason);
    }
    if let Some(reason) = not_served_by_all(image, name, level) {
        return invalid(&reason);
    }
    if level < current && upgrade == UpgradeType::Upgrade {
        return invalid("It is a downgrade, which neither safe nor unsafe downgrade was given for.");
    }
    if level > current && upgrade != UpgradeType::Upgrade {
        return invalid("Can't downgrade to a newer version.");
    }
    match name {
        MetadataVersion::FEATURE => check_metadata_downgrade(current, level, upgrade)?,
        KRAFT_VERSION if level == current => return Ok(None),
        KRAFT_VERSION if level < current => return invalid("Can't downgrade the version of this feature."),
        KRAFT_VERSION => return invalid("This broker does not raise it on a quorum that exists."),
        _ => {}
    }
    Ok(Some(MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: Str::from(name),
        feature_level: level,
        ..Default::default()
    })))
}

fn not_served(name: &str, level: i16) -> Option<String> {
    match features::SUPPORTED.iter().find(|feature| feature.name == name) {
        Some(feature) if (feature.min..=feature.max).contains(&level) => None,
        Some(feature) => Some(format!("This broker supports levels {} to {}.", feature.min, feature.max)),
        None => Some("This broker does not know the feature.".to_owned()),
    }
}

/// Every node of the cluster must serve the level; one that does not name a feature serves level 0 of it.
fn not_served_by_all(image: &MetadataImage, name: &str, level: i16) -> Option<String> {
    let reason =
        |kind: &str, id: i32, ranges: &[FeatureRange]| match ranges.iter().find(|range| &*range.name == name)
        {
            Some(range) if (range.min..=range.max).contains(&level) => None,
            Some(range) => Some(format!("{kind} {id} only supports levels {} to {}.", range.min, range.max)),
            None if level == 0 => None,
            None => Some(format!("{kind} {id} does not support this feature.")),
        };
    let mut controllers = image.cluster.controllers.values();
    let mut brokers = image.cluster.brokers.values();
    controllers
        .find_map(|node| reason("Controller", node.id, &node.features))
        .or_else(|| brokers.find_map(|node| reason("Broker", node.id, &node.features)))
}

/// A level may be left only if nothing in the metadata needs it.
fn check_metadata_downgrade(current: i16, level: i16, upgrade: UpgradeType) -> Result<(), TopicError> {
    let changed = (level.saturating_add(1)..=current).any(MetadataVersion::changes_metadata);
    if !changed {
        return Ok(());
    }
    let reason = match upgrade {
        UpgradeType::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
        _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
    };
    let name = |level: i16| {
        MetadataVersion::from_level(level).map_or_else(|| level.to_string(), |version| version.to_string())
    };
    let message =
        format!("Unsupported metadata.version downgrade from {} to {}. {reason}", name(current), name(level));
    Err(TopicError::new(ErrorCode::InvalidUpdateVersion, message))
}
