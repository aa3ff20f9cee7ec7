//! DeleteGroups (42).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use ottla_wire::messages::delete_groups_request::DeleteGroupsRequest;
use ottla_wire::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::record::owned;
use crate::group::shard::{Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// Removes groups that have no members, with all that they have committed.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut seen = BTreeSet::new();
    let names = request.groups_names.into_iter().filter(|name| seen.insert(name.clone()));
    let results = names.map(|group_id| async move {
        let deleted = delete(broker, context, &group_id).await;
        let error_code = deleted.err().unwrap_or(ErrorCode::None).code();
        DeletableGroupResult { group_id, error_code, ..Default::default() }
    });
    DeleteGroupsResponse { results: join_all(results).await, ..Default::default() }
}

async fn delete(broker: &Arc<Broker>, context: &RequestContext, group: &Str) -> Result<(), ErrorCode> {
    if !broker.allows(context, Operation::Delete, Resource::Group(group)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let group = owned(group);
    let id = group.clone();
    match broker.groups.ask(&id, |token| Request::Delete { token, group }).await {
        Ok(ShardAnswer::Delete(Ok(()))) => Ok(()),
        Ok(ShardAnswer::Delete(Err(error))) | Err(error) => Err(error.code()),
        Ok(_) => Err(ErrorCode::UnknownServerError),
    }
}
