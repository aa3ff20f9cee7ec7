//! The decision whether a principal may do something to a resource (KIP-11's model).

use ottla_wire::ApiKey;

use crate::api::RequestContext;

/// What is done to a resource, in Kafka's terms; the numbers are Kafka's `AclOperation` codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Consume.
    Read = 3,
    /// Produce.
    Write = 4,
    /// Create.
    Create = 5,
    /// Delete.
    Delete = 6,
    /// Change, partitions for example.
    Alter = 7,
    /// See that it exists, and its layout.
    Describe = 8,
    /// What brokers do among themselves.
    ClusterAction = 9,
    /// See its configuration.
    DescribeConfigs = 10,
    /// Change its configuration.
    AlterConfigs = 11,
    /// Produce with a producer id.
    IdempotentWrite = 12,
}

/// What is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic, by name.
    Topic(&'a str),
    /// A group, by id.
    Group(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
    /// The cluster.
    Cluster,
    /// Sending a request of this kind at all; asked by the dispatcher before the handler runs.
    Api(ApiKey),
}

/// One question to the authoriser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action<'a> {
    /// What is done.
    pub operation: Operation,
    /// To what.
    pub resource: Resource<'a>,
}

/// Decides about actions; called on the request path, so it must answer from memory.
pub trait Authoriser: Send + Sync + std::fmt::Debug {
    /// Whether the principal of `context` may do `action`.
    fn allows(&self, context: &RequestContext, action: Action<'_>) -> bool;
}

/// The authoriser of a cluster without `authorizer.class.name`: everything is allowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Authoriser for AllowAll {
    fn allows(&self, _context: &RequestContext, _action: Action<'_>) -> bool {
        true
    }
}
