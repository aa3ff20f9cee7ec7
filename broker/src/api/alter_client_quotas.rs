//! AlterClientQuotas (49): asks the controller.

use std::collections::BTreeSet;

use ottla_wire::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::controller::{TopicError, refused_quotas};
use crate::node::NodeContext;
use crate::quota;
use crate::security::{Operation, Resource};

/// Sets and removes quotas, entity by entity.
pub(crate) async fn decide(
    node: &NodeContext,
    context: &RequestContext,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    if !node.allows(context, Operation::AlterConfigs, Resource::Cluster) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return refused_quotas(&request, &TopicError::from(code));
    }
    let unknown = unknown_hosts(&request).await;
    node.controller.alter_client_quotas(request, unknown).await
}

/// Hosts without an address. Waits for the name server, which the controller must not.
async fn unknown_hosts(request: &AlterClientQuotasRequest) -> BTreeSet<Str> {
    let parts = request.entries.iter().flat_map(|entry| &entry.entity);
    let hosts = parts.filter(|part| &*part.entity_type == "ip").filter_map(|part| part.entity_name.clone());
    let hosts: BTreeSet<Str> = hosts.collect();
    if hosts.is_empty() {
        return hosts;
    }
    let unknown = |host: &Str| !host.is_empty() && quota::addresses_of(host).is_empty();
    let resolve = move || hosts.into_iter().filter(unknown).collect();
    tokio::task::spawn_blocking(resolve).await.unwrap_or_default()
}
