//! SyncGroup (14).

use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::sync_group_request::SyncGroupRequest;
use ottla_wire::messages::sync_group_response::SyncGroupResponse;

use super::RequestContext;
use crate::broker::Broker;
use crate::group::classic::{Sync, Token};
use crate::group::record::owned;
use crate::group::shard::{Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// From this version on the protocol must be named.
const NAMES_PROTOCOL: i16 = 5;

/// Takes the leader's assignment; gives each member its own, once it is written.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if context.api_version >= NAMES_PROTOCOL
        && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return refusal(ErrorCode::InconsistentGroupProtocol);
    }
    let group = owned(&request.group_id);
    if !broker.allows(context, Operation::Read, Resource::Group(&group)) {
        return refusal(ErrorCode::GroupAuthorizationFailed);
    }
    if group.is_empty() {
        return refusal(ErrorCode::InvalidGroupId);
    }
    let id = group.clone();
    match broker.groups.ask(&id, |token| Request::Sync { group, sync: sync(&request, token) }).await {
        Ok(ShardAnswer::Sync(Ok(synced))) => SyncGroupResponse {
            protocol_type: synced.protocol_type,
            protocol_name: synced.protocol_name,
            assignment: synced.assignment,
            ..Default::default()
        },
        Ok(ShardAnswer::Sync(Err(error))) | Err(error) => refusal(error.code()),
        Ok(_) => refusal(ErrorCode::UnknownServerError),
    }
}

fn sync(request: &SyncGroupRequest, token: Token) -> Sync {
    let assignments = request.assignments.iter();
    Sync {
        token,
        member_id: owned(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(owned),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_ref().map(owned),
        protocol_name: request.protocol_name.as_ref().map(owned),
        assignments: assignments
            .map(|entry| (owned(&entry.member_id), Bytes::copy_from_slice(&entry.assignment)))
            .collect(),
    }
}

fn refusal(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}
