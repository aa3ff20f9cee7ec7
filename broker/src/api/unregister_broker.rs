//! UnregisterBroker (64): the metadata forgets a broker.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::RequestContext;
use crate::controller::TopicError;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// For those who may change the cluster.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    if node.allows(context, Operation::Alter, Resource::Cluster) {
        return node.controller.unregister_broker(request).await;
    }
    let code = ErrorCode::ClusterAuthorizationFailed;
    refused(&request, &TopicError::from(code))
}

/// It stays.
pub(crate) fn refused(_: &UnregisterBrokerRequest, error: &TopicError) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse {
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}
