//! ApiVersions (18): which APIs this broker serves, and the features of the cluster (KIP-35, KIP-511, KIP-584).

use std::sync::Arc;

use ottla_quorum::features;
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, ErrorCode, Str};

use super::{RequestContext, SERVED};
use crate::broker::Broker;

/// Up to this version a feature whose lowest level is 0 breaks the Java client (KAFKA-17011).
const FEATURES_FROM_ZERO_AFTER: i16 = 3;

/// Answers from the table of the dispatcher and the metadata image.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    answer(SERVED.iter().copied(), &broker.image(), context, &request)
}

/// What a listener says that serves these APIs.
pub(crate) fn answer(
    served: impl Iterator<Item = ApiKey>,
    image: &MetadataImage,
    context: &RequestContext,
    request: &ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.api_version >= 3 && !is_valid(request) {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
    }
    ApiVersionsResponse {
        api_keys: served.map(range).collect(),
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

fn range(api: ApiKey) -> ApiVersion {
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
