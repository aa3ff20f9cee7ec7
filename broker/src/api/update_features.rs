//! UpdateFeatures (57): asks the controller to finalise levels.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// All levels or none.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    if !broker.allows(context, Operation::Alter, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return UpdateFeaturesResponse { error_code, ..Default::default() };
    }
    let response = broker.controller.update_features(request, context.api_version).await;
    broker.catch_up().await;
    response
}
