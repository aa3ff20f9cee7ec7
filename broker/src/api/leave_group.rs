//! LeaveGroup (13).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_wire::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::classic::Leaving;
use crate::group::record::owned;
use crate::group::shard::{Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// From this version on several members may leave at once.
const MANY_MEMBERS: i16 = 3;

/// Takes members out of a group.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let members = members(context, &request);
    match leave(broker, context, &request, &members).await {
        Ok(fates) if context.api_version >= MANY_MEMBERS => {
            let members = members.into_iter().zip(fates).map(|(member, error)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: error.code(),
                ..Default::default()
            });
            LeaveGroupResponse { members: members.collect(), ..Default::default() }
        }
        Ok(fates) => refusal(fates.first().copied().unwrap_or(ErrorCode::None)),
        Err(error) => refusal(error),
    }
}

async fn leave(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &LeaveGroupRequest,
    members: &[MemberIdentity],
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let group = owned(&request.group_id);
    if !broker.allows(context, Operation::Read, Resource::Group(&group)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let leaving = members.iter().map(|member| Leaving {
        member_id: owned(&member.member_id),
        instance_id: member.group_instance_id.as_ref().map(owned),
    });
    let (id, leaving) = (group.clone(), leaving.collect());
    match broker.groups.ask(&id, |token| Request::Leave { token, group, leaving }).await {
        Ok(ShardAnswer::Leave(Ok(fates))) => Ok(fates
            .into_iter()
            .map(|fate| fate.err().map_or(ErrorCode::None, |error| error.code()))
            .collect()),
        Ok(ShardAnswer::Leave(Err(error))) | Err(error) => Err(error.code()),
        Ok(_) => Err(ErrorCode::UnknownServerError),
    }
}

fn members(context: &RequestContext, request: &LeaveGroupRequest) -> Vec<MemberIdentity> {
    if context.api_version >= MANY_MEMBERS {
        request.members.clone()
    } else {
        vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }]
    }
}

fn refusal(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}
