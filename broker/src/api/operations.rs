//! The "authorized operations" fields: a bit for every operation that the principal may do (KIP-430).

use super::RequestContext;
use crate::node::NodeContext;
use crate::security::{Action, Operation, Resource};

/// The value of the field when the client did not ask for it.
pub const NOT_ASKED: i32 = i32::MIN;

const TOPIC: &[Operation] = &[
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Alter,
    Operation::Describe,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

const GROUP: &[Operation] = &[
    Operation::Read,
    Operation::Describe,
    Operation::Delete,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

const CLUSTER: &[Operation] = &[
    Operation::Create,
    Operation::Alter,
    Operation::Describe,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
];

/// What the principal may do to the topic.
pub fn of_topic(node: &NodeContext, context: &RequestContext, topic: &str) -> i32 {
    bits(node, context, TOPIC, Resource::Topic(topic))
}

/// What the principal may do to the group.
pub fn of_group(node: &NodeContext, context: &RequestContext, group: &str) -> i32 {
    bits(node, context, GROUP, Resource::Group(group))
}

/// What the principal may do to the cluster.
pub fn of_cluster(node: &NodeContext, context: &RequestContext) -> i32 {
    bits(node, context, CLUSTER, Resource::Cluster)
}

fn bits(
    node: &NodeContext,
    context: &RequestContext,
    operations: &[Operation],
    resource: Resource<'_>,
) -> i32 {
    let allowed =
        |operation: &&Operation| node.authoriser.allows(context, Action { operation: **operation, resource });
    operations.iter().filter(allowed).fold(0, |bits, operation| bits | 1 << (*operation as i32))
}
