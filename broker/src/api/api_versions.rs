//! ApiVersions (18): which APIs this broker serves, and the features of the cluster (KIP-35, KIP-511, KIP-584).

use std::sync::Arc;

use ottla_client::Versions;
use ottla_quorum::features;
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, ErrorCode, Str};

use super::controlled::CONTROLLED;
use super::{RequestContext, SERVED};
use crate::broker::Broker;

/// Up to this version a feature whose lowest level is 0 breaks the Java client (KAFKA-17011).
const FEATURES_FROM_ZERO_AFTER: i16 = 3;

/// Answers from the table of the dispatcher and the metadata image. What the active controller decides is offered as it
/// serves that: it may be of another release, or of another make.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let controller = broker.channel.served();
    let offered = SERVED.iter().filter_map(|api| offered(*api, controller.as_deref()));
    answer(offered, &broker.image(), context, &request)
}

/// What clients may ask, with a controller elsewhere that serves these versions.
fn offered(api: ApiKey, controller: Option<&Versions>) -> Option<ApiVersion> {
    let own = range(api);
    let Some(served) = controller.filter(|_| CONTROLLED.contains(&api)) else { return Some(own) };
    let (lowest, highest) = *served.get(&api.code())?;
    let common = ApiVersion {
        min_version: own.min_version.max(lowest),
        max_version: own.max_version.min(highest),
        ..own
    };
    (common.min_version <= common.max_version).then_some(common)
}

/// What a listener says that serves this.
pub(crate) fn answer(
    served: impl Iterator<Item = ApiVersion>,
    image: &MetadataImage,
    context: &RequestContext,
    request: &ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.api_version >= 3 && !is_valid(request) {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    ApiVersionsResponse {
        api_keys: served.collect(),
        supported_features: supported(context.api_version),
        finalized_features_epoch: image.offset(),
        finalized_features: finalised(image),
        ..Default::default()
    }
}

/// The range of ApiVersions itself, for clients that asked in a version that is not in it.
pub(super) fn own_range() -> Vec<ApiVersion> {
    vec![range(ApiKey::ApiVersions)]
}

/// All versions of an API that we know.
pub(crate) fn range(api: ApiKey) -> ApiVersion {
    ApiVersion {
        api_key: api.code(),
        min_version: api.advertised_min(),
        max_version: api.max_version(),
        ..Default::default()
    }
}

fn supported(version: i16) -> Vec<SupportedFeatureKey> {
    features::advertised()
        .filter(|feature| version > FEATURES_FROM_ZERO_AFTER || feature.min > 0)
        .map(|feature| SupportedFeatureKey {
            name: Str::from_static(feature.name),
            min_version: feature.min,
            max_version: feature.max,
            ..Default::default()
        })
        .collect()
}

fn finalised(image: &MetadataImage) -> Vec<FinalizedFeatureKey> {
    let kraft = (Str::from_static("kraft.version"), image.features.level("kraft.version"));
    let levels = image.features.levels.iter().map(|(name, level)| (name.clone(), *level));
    levels
        .chain((kraft.1 > 0).then_some(kraft))
        .map(|(name, level)| FinalizedFeatureKey {
            name,
            max_version_level: level,
            min_version_level: level,
            ..Default::default()
        })
        .collect()
}

/// KIP-511: name and version of the client software are identifiers, letters and digits at both ends.
fn is_valid(request: &ApiVersionsRequest) -> bool {
    let identifier = |text: &str| {
        let ends = [text.chars().next(), text.chars().next_back()];
        ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    identifier(&request.client_software_name) && identifier(&request.client_software_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_controller_decides_is_offered_as_the_controller_serves_it() {
        let (create, produce) = (range(ApiKey::CreateTopics), range(ApiKey::Produce));
        assert_eq!(offered(ApiKey::CreateTopics, None), Some(create.clone()), "it is here, or not known yet");
        let with = |versions: &[(ApiKey, i16, i16)]| -> Versions {
            versions.iter().map(|(api, lowest, highest)| (api.code(), (*lowest, *highest))).collect()
        };
        let older = with(&[(ApiKey::CreateTopics, 0, create.max_version - 1)]);
        let expected = ApiVersion { max_version: create.max_version - 1, ..create.clone() };
        assert_eq!(offered(ApiKey::CreateTopics, Some(&older)), Some(expected));
        let newer = with(&[(ApiKey::CreateTopics, create.max_version, create.max_version + 3)]);
        let expected = ApiVersion { min_version: create.max_version, ..create.clone() };
        assert_eq!(offered(ApiKey::CreateTopics, Some(&newer)), Some(expected));
        let disjoint = with(&[(ApiKey::CreateTopics, create.max_version + 1, create.max_version + 1)]);
        assert_eq!(offered(ApiKey::CreateTopics, Some(&disjoint)), None);
        assert_eq!(offered(ApiKey::DeleteTopics, Some(&older)), None, "the controller has no such API");
        assert_eq!(offered(ApiKey::Produce, Some(&older)), Some(produce), "brokers decide it");
    }
}
