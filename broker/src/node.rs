//! What every node has, whatever its roles.

use std::sync::Arc;

use ottla_quorum::MetadataImage;
use ottla_wire::Str;
use tracing::warn;

use crate::api::RequestContext;
use crate::config::Config;
use crate::controller::ControllerHandle;
use crate::net::ConnectionLimits;
use crate::quota::Quotas;
use crate::security::{Action, Authoriser, Operation, Resource};
use crate::telemetry::Metrics;
use crate::telemetry::loggers::Loggers;

/// What the handlers of the controller's APIs get, and a part of what those of the broker's get.
#[derive(Debug)]
pub struct NodeContext {
    /// The node's configuration as it was started with.
    pub config: Arc<Config>,
    /// `cluster.id`.
    pub cluster_id: Str,
    /// `node.id`.
    pub node_id: i32,
    /// The controller.
    pub controller: ControllerHandle,
    /// Limits of clients.
    pub quotas: Quotas,
    /// Levels of what is logged.
    pub loggers: Arc<Loggers>,
    /// Everything that is counted.
    pub metrics: Metrics,
    /// Decides what principals may do.
    pub authoriser: Arc<dyn Authoriser>,
}

impl NodeContext {
    /// Asks the authoriser.
    pub fn allows(&self, context: &RequestContext, operation: Operation, resource: Resource<'_>) -> bool {
        self.authoriser.allows(context, Action { operation, resource })
    }
}

/// The configuration of a node with what was changed while it ran. Changes that do not fit together are passed over.
pub(crate) fn current_config(config: &Config, image: &MetadataImage) -> Config {
    let (cluster, broker) = (image.configs.default_broker(), image.configs.broker(config.node_id));
    config.with_dynamic(&*cluster, &*broker).unwrap_or_else(|errors| {
        warn!(%errors, "changed configs of this broker have no effect");
        config.clone()
    })
}

/// The limits of connections; hosts that cannot be resolved (now) have none of their own.
pub(crate) fn connection_limits(config: &Config) -> ConnectionLimits {
    let (limits, unknown) = ConnectionLimits::resolve(&config.network);
    for host in unknown {
        warn!("{host}");
    }
    limits
}
