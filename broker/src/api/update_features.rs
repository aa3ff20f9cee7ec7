//! UpdateFeatures (57): asks the controller to finalise levels.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::RequestContext;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// All levels or none.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    if !node.allows(context, Operation::Alter, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return UpdateFeaturesResponse { error_code, ..Default::default() };
    }
    node.controller.update_features(request, context.api_version).await
}
