//! What AlterConfigs and IncrementalAlterConfigs refuse before the controller is asked, and warn of afterwards.

use ottla_quorum::image::resource_type;
use ottla_wire::{ErrorCode, Str};
use tracing::warn;

use super::RequestContext;
use crate::config::Config;
use crate::config::keys::{self, Scope, Status};
use crate::controller::TopicError;
use crate::net::ConnectionLimits;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};

/// The key whose values name directories.
const CORDONED: &str = "cordoned.log.dirs";
/// The key whose values name hosts.
const HOSTS: &str = "max.connections.per.ip.overrides";

/// Why a resource is not to be changed, as far as the controller does not decide it. `configs` are those of the request.
pub(super) async fn refusal<'a>(
    node: &NodeContext,
    context: &RequestContext,
    (resource_type, name): (i8, &str),
    mut configs: impl Iterator<Item = (&'a Str, &'a Option<Str>)>,
) -> Option<TopicError> {
    // Everything that is no topic belongs to the cluster.
    let (target, code) = match resource_type {
        resource_type::TOPIC => (Resource::Topic(name), ErrorCode::TopicAuthorizationFailed),
        _ => (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    if !node.allows(context, Operation::AlterConfigs, target) {
        return Some(TopicError::from(code));
    }
    let (_, value) = configs.find(|(key, _)| &***key == HOSTS)?;
    let value = value.as_ref().filter(|_| resource_type == resource_type::BROKER)?;
    let message = Str::from(unknown_host(value).await?);
    Some(TopicError { code: ErrorCode::InvalidRequest, message })
}

/// That a broker cannot cordon directories that it does not have; only it can tell. `configs` are what is set, or added.
pub(super) fn not_to_be_cordoned<'a>(
    node: &NodeContext,
    context: &RequestContext,
    (resource_type, name): (i8, &str),
    mut configs: impl Iterator<Item = (&'a Str, &'a Str)>,
) -> Option<TopicError> {
    let is_own = resource_type == resource_type::BROKER && name.parse() == Ok(node.node_id);
    // Who may not change it is refused by the controller.
    if !is_own || !node.allows(context, Operation::AlterConfigs, Resource::Cluster) {
        return None;
    }
    let (key, value) = configs.find(|(key, value)| &***key == CORDONED && !node.config.may_cordon(value))?;
    let message = format!("{key} must be * alone, or name directories of log.dirs: {value}");
    Some(TopicError { code: ErrorCode::InvalidRequest, message: message.into() })
}

/// Says which of the keys that were set drive nothing here.
pub(super) fn warn_of_idle<'a>(resource_type: i8, resource: &str, keys: impl Iterator<Item = &'a Str>) {
    let scope = match resource_type {
        resource_type::TOPIC => Scope::Topic,
        resource_type::BROKER => Scope::Broker,
        _ => return,
    };
    let idle = |name: &&Str| keys::find(scope, name).is_none_or(|key| key.status == Status::NoEffect);
    for key in keys.filter(idle) {
        warn!(%resource, "{key} has no effect");
    }
}

/// A host without an address in a broker's limits of connections. Waits for the name server, which the controller must
/// not.
async fn unknown_host(value: &Str) -> Option<String> {
    // What is no list at all is refused by the controller.
    let network = Config::from_overrides(&[(HOSTS, value)]).ok()?.network;
    let unknown = tokio::task::spawn_blocking(move || ConnectionLimits::resolve(&network).1).await.ok()?;
    unknown.first().map(ToString::to_string)
}
