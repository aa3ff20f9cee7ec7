//! Heartbeat (12).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::heartbeat_request::HeartbeatRequest;
use ottla_wire::messages::heartbeat_response::HeartbeatResponse;

use super::RequestContext;
use crate::broker::Broker;
use crate::group::GroupError;
use crate::group::record::owned;
use crate::group::shard::{Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// Keeps a member's session alive, or tells it to join again.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let error = beat(broker, context, &request).await.err().unwrap_or(ErrorCode::None);
    HeartbeatResponse { error_code: error.code(), ..Default::default() }
}

async fn beat(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &HeartbeatRequest,
) -> Result<(), ErrorCode> {
    let group = owned(&request.group_id);
    if !broker.allows(context, Operation::Read, Resource::Group(&group)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let id = group.clone();
    let heartbeat = |token| Request::Heartbeat {
        token,
        group,
        member_id: owned(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(owned),
        generation: request.generation_id,
    };
    match broker.groups.ask(&id, heartbeat).await {
        Ok(ShardAnswer::Heartbeat(Ok(()))) => Ok(()),
        // Sessions start anew after loading, so nobody is missed.
        Err(GroupError::LoadInProgress) => Ok(()),
        Ok(ShardAnswer::Heartbeat(Err(error))) | Err(error) => Err(error.code()),
        Ok(_) => Err(ErrorCode::UnknownServerError),
    }
}
