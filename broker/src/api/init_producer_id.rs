//! InitProducerId (22): an id for an idempotent producer.
//!
//! No transactions yet: a transactional id gets TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which no client retries.

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::{InitProducerIdRequest, InitProducerIdResponse};
use tracing::warn;

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// No producer id, or no epoch.
const NONE: i64 = -1;

/// Hands out the next id of this broker's block; epoch 0.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if let Some(id) = request.transactional_id {
        return refused(match id.as_ref() {
            "" => ErrorCode::InvalidRequest,
            _ => ErrorCode::TransactionalIdAuthorizationFailed,
        });
    }
    // Id and epoch of a producer that goes on come together.
    if (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return refused(ErrorCode::InvalidRequest);
    }
    if !broker.allows(context, Operation::IdempotentWrite, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    match broker.producer_ids.next().await {
        Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            warn!(%error, "no producer ids from the controller");
            refused(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

fn refused(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    }
}
