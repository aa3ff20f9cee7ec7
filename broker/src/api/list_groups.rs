//! ListGroups (16).

use std::sync::Arc;

use ottla_wire::Str;
use ottla_wire::messages::list_groups_request::ListGroupsRequest;
use ottla_wire::messages::list_groups_response::{ListGroupsResponse, ListedGroup};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::shard::{self, ListFilter};
use crate::security::{Operation, Resource};

/// The type of all groups that there are.
const CLASSIC: &str = "classic";

/// Lists the groups that are coordinated here.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let sees_all = broker.allows(context, Operation::Describe, Resource::Cluster);
    let visible = |group: &shard::ListedGroup| {
        sees_all || broker.allows(context, Operation::Describe, Resource::Group(&group.id))
    };
    match broker.groups.list(&filter(&request)).await {
        Ok(groups) => ListGroupsResponse {
            groups: groups.into_iter().filter(visible).map(listed).collect(),
            ..Default::default()
        },
        Err(error) => ListGroupsResponse { error_code: error.code().code(), ..Default::default() },
    }
}

fn filter(request: &ListGroupsRequest) -> ListFilter {
    let is_classic = |name: &Str| name.eq_ignore_ascii_case(CLASSIC);
    ListFilter {
        states: request
            .states_filter
            .iter()
            .map(|state| state.to_ascii_lowercase().trim().to_owned())
            .collect(),
        without_classic: !request.types_filter.is_empty() && !request.types_filter.iter().any(is_classic),
    }
}

fn listed(group: shard::ListedGroup) -> ListedGroup {
    ListedGroup {
        group_id: group.id,
        protocol_type: group.protocol_type.unwrap_or_default(),
        group_state: group.state.name().into(),
        group_type: CLASSIC.into(),
        ..Default::default()
    }
}
