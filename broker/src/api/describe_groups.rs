//! DescribeGroups (15).

use std::sync::Arc;

use futures::future::join_all;
use ottla_wire::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_wire::messages::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use ottla_wire::{ErrorCode, Str};

use super::operations::of_group;
use super::{RequestContext, repeats};
use crate::broker::Broker;
use crate::group::classic::State;
use crate::group::record::owned;
use crate::group::shard::{self, DescribedMember, Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// From this version on an unknown group is an error; before, it was a dead one.
const GROUP_ID_NOT_FOUND: i16 = 6;

/// Tells state, protocol and members of groups.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    repeats::bound(&mut request.groups, |group| Some(group.clone()));
    let described = request.groups.iter().map(|group| describe(broker, context, group));
    let mut groups = join_all(described).await;
    if request.include_authorized_operations {
        for group in groups.iter_mut().filter(|group| group.error_code == 0) {
            group.authorized_operations = of_group(broker, context, &group.group_id);
        }
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

async fn describe(broker: &Arc<Broker>, context: &RequestContext, group: &Str) -> DescribedGroup {
    if !broker.allows(context, Operation::Describe, Resource::Group(group)) {
        return refusal(group, ErrorCode::GroupAuthorizationFailed);
    }
    let group = owned(group);
    let id = group.clone();
    match broker.groups.ask(&id, |token| Request::Describe { token, group }).await {
        Ok(ShardAnswer::Describe(Some(described))) => response(id, described),
        Ok(ShardAnswer::Describe(None)) => unknown(context, id),
        Ok(_) => refusal(&id, ErrorCode::UnknownServerError),
        Err(error) => refusal(&id, error.code()),
    }
}

fn response(group_id: Str, group: shard::DescribedGroup) -> DescribedGroup {
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
        ..Default::default()
    };
    DescribedGroup {
        group_id,
        group_state: group.state.name().into(),
        protocol_type: group.protocol_type.unwrap_or_default(),
        protocol_data: group.protocol_name.unwrap_or_default(),
        members: group.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn unknown(context: &RequestContext, group_id: Str) -> DescribedGroup {
    let dead = DescribedGroup { group_state: State::Dead.name().into(), ..Default::default() };
    if context.api_version < GROUP_ID_NOT_FOUND {
        return DescribedGroup { group_id, ..dead };
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(format!("Group {group_id} not found.").into()),
        group_id,
        ..dead
    }
}

fn refusal(group: &Str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id: group.clone(), error_code: error.code(), ..Default::default() }
}
