//! JoinGroup (11).

use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_wire::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::classic::{Join, Joined, JoinedMember, Protocol, Token};
use crate::group::record::owned;
use crate::group::shard::{Request, ShardAnswer};
use crate::security::{Operation, Resource};
use crate::storage::random_uuid;

/// From this version on a dynamic member joins in two steps.
const KNOWN_MEMBER_ID: i16 = 4;
/// From this version on no protocol is null.
const NULLABLE_PROTOCOL: i16 = 7;
/// From this version on a leader can be told not to assign.
const SKIP_ASSIGNMENT: i16 = 9;

/// Lets a member into a group; the answer waits for the others.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let group = owned(&request.group_id);
    if !broker.allows(context, Operation::Read, Resource::Group(&group)) {
        return refusal(context, Str::default(), ErrorCode::GroupAuthorizationFailed);
    }
    if group.is_empty() {
        return refusal(context, member_id, ErrorCode::InvalidGroupId);
    }
    let Ok(unique) = random_uuid() else {
        return refusal(context, member_id, ErrorCode::UnknownServerError);
    };
    let id = group.clone();
    let join = |token| Request::Join { group, join: join(context, &request, unique, token) };
    match broker.groups.ask(&id, join).await {
        Ok(ShardAnswer::Join(Ok(joined))) => response(context, joined),
        Ok(ShardAnswer::Join(Err(refused))) => refusal(context, refused.member_id, refused.error.code()),
        Ok(_) => refusal(context, member_id, ErrorCode::UnknownServerError),
        Err(error) => refusal(context, member_id, error.code()),
    }
}

fn join(context: &RequestContext, request: &JoinGroupRequest, unique: Uuid, token: Token) -> Join {
    let client_id = context.client_id.as_ref().map(owned).unwrap_or_default();
    let instance_id = request.group_instance_id.as_ref().map(owned);
    let named_after = instance_id.as_ref().unwrap_or(&client_id);
    let has_rebalance_timeout = context.api_version > 0;
    Join {
        token,
        member_id: owned(&request.member_id),
        fresh_member_id: format!("{named_after}-{}", hyphenated(unique)).into(),
        instance_id,
        client_host: owned(&context.client_host),
        protocol_type: owned(&request.protocol_type),
        protocols: protocols(&request.protocols),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if has_rebalance_timeout {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        requires_known_member_id: context.api_version >= KNOWN_MEMBER_ID,
        supports_skip_assignment: context.api_version >= SKIP_ASSIGNMENT,
        reason: request.reason.as_ref().map(owned),
        client_id,
    }
}

/// The id as UUIDs are usually written.
fn hyphenated(id: Uuid) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in id.as_bytes().iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Copies that outlive the request's frame; of a name that is given twice the first counts.
fn protocols(offered: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut protocols: Vec<Protocol> = Vec::new();
    for protocol in offered {
        if !protocols.iter().any(|known| known.name == protocol.name) {
            let metadata = Bytes::copy_from_slice(&protocol.metadata);
            protocols.push(Protocol { name: owned(&protocol.name), metadata });
        }
    }
    protocols
}

fn response(context: &RequestContext, joined: Joined) -> JoinGroupResponse {
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
        ..Default::default()
    };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type,
        protocol_name: protocol_name(context, joined.protocol_name),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn refusal(context: &RequestContext, member_id: Str, error: ErrorCode) -> JoinGroupResponse {
    let protocol_name = protocol_name(context, None);
    JoinGroupResponse { error_code: error.code(), member_id, protocol_name, ..Default::default() }
}

fn protocol_name(context: &RequestContext, name: Option<Str>) -> Option<Str> {
    if context.api_version < NULLABLE_PROTOCOL { Some(name.unwrap_or_default()) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_usual() {
        let id = Uuid::from_bytes([
            0x5a, 0x92, 0x7d, 3, 0x7d, 0xc0, 0x44, 0x86, 0xe4, 0x5f, 0xa5, 0x31, 0xf0, 8, 0xee, 9,
        ]);
        assert_eq!(hyphenated(id), "5a927d03-7dc0-4486-e45f-a531f008ee09");
    }
}
