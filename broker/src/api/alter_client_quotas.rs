//! AlterClientQuotas (49): asks the controller, and answers once the quotas are in effect here.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use super::RequestContext;
use crate::broker::Broker;
use crate::controller::{TopicError, refused_quotas};
use crate::security::{Operation, Resource};

/// Sets and removes quotas, entity by entity.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    if !broker.allows(context, Operation::AlterConfigs, Resource::Cluster) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return refused_quotas(&request, &TopicError { code, message: code.to_string().into() });
    }
    let response = broker.controller.alter_client_quotas(request).await;
    broker.catch_up().await;
    response
}
