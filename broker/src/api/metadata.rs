//! Metadata (3): brokers, topics and partitions; creates topics that are asked for where that is allowed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use ottla_quorum::image::{MetadataImage, PartitionImage, TopicImage};
use ottla_wire::messages::metadata_request::MetadataRequestTopic;
use ottla_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::messages::{MetadataRequest, MetadataResponse};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::{RequestContext, auto_create, operations};
use crate::broker::Broker;
use crate::controller::check_topic_name;
use crate::partition;
use crate::security::{Operation, Resource};

/// From this version on topics may be asked for by id; the field is there from version 10 on.
const IDS_FROM: i16 = 12;

/// What a request is about.
enum Asked {
    All,
    Names(BTreeSet<Str>),
    Ids(BTreeSet<Uuid>),
}

impl Asked {
    /// Version 0 means all topics by an empty list, later ones by none.
    fn of(request: &MetadataRequest, version: i16) -> Result<Self, ErrorCode> {
        let Some(topics) = &request.topics else { return Ok(Self::All) };
        if topics.is_empty() && version == 0 {
            return Ok(Self::All);
        }
        let ids: BTreeSet<_> = topics.iter().map(|t| t.topic_id).filter(|id| *id != Uuid::ZERO).collect();
        if !ids.is_empty() && version >= IDS_FROM {
            return Ok(Self::Ids(ids));
        }
        if !ids.is_empty() || topics.iter().any(|topic| topic.name.is_none()) {
            return Err(ErrorCode::InvalidRequest);
        }
        Ok(Self::Names(topics.iter().filter_map(|topic| topic.name.clone()).collect()))
    }
}

/// Answers from the metadata image, after having created what is missing.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let asked = match Asked::of(&request, context.api_version) {
        Ok(asked) => asked,
        Err(error) => return refused(&request, error),
    };
    let mut image = broker.image();
    let mut refused = Vec::new();
    if let Asked::Names(names) = &asked {
        let missing = missing(broker, context, &image, names);
        let may_create = request.allow_auto_topic_creation || context.api_version < 4;
        if !missing.is_empty() && may_create && broker.config.topics.auto_create {
            refused = auto_create::create(broker, context, missing).await;
            image = broker.image();
        }
    }
    let view =
        View { broker, context, image: &image, with_operations: request.include_topic_authorized_operations };
    MetadataResponse {
        brokers: view.brokers(),
        cluster_id: Some(broker.cluster_id.clone()),
        controller_id: broker.some_broker_id(&image),
        topics: view.topics(&asked, &refused),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            operations::of_cluster(broker, context)
        } else {
            operations::NOT_ASKED
        },
        ..Default::default()
    }
}

/// As Kafka refuses a request: topic by topic, and without brokers.
fn refused(request: &MetadataRequest, error: ErrorCode) -> MetadataResponse {
    let row = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: error.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        topic_authorized_operations: operations::NOT_ASKED,
        ..Default::default()
    };
    MetadataResponse {
        error_code: error.code(),
        topics: request.topics.iter().flatten().map(row).collect(),
        ..Default::default()
    }
}

fn missing(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    names: &BTreeSet<Str>,
) -> Vec<Str> {
    let is_missing = |name: &&Str| {
        image.topics.by_name(name).is_none()
            && broker.allows(context, Operation::Describe, Resource::Topic(name))
    };
    names.iter().filter(is_missing).cloned().collect()
}

/// One request's view of the cluster.
struct View<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a MetadataImage,
    with_operations: bool,
}

impl View<'_> {
    /// The brokers that serve, or did a moment ago, and have an address on the client's listener.
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let now = Instant::now();
        let all = self.image.cluster.brokers.values();
        let named = all.filter(|broker| !broker.fenced || self.broker.departed.has(broker.id, now));
        let row = |broker: &Arc<ottla_quorum::image::BrokerImage>| {
            let endpoint = broker.endpoint(self.context.listener.as_str())?;
            Some(MetadataResponseBroker {
                node_id: broker.id,
                host: endpoint.host.clone(),
                port: i32::from(endpoint.port),
                rack: broker.rack.clone(),
                ..Default::default()
            })
        };
        named.filter_map(row).collect()
    }

    fn topics(&self, asked: &Asked, refused: &[(Str, ErrorCode)]) -> Vec<MetadataResponseTopic> {
        match asked {
            Asked::All => {
                let all = self.image.topics.iter();
                all.filter(|topic| self.may_describe(&topic.name)).map(|topic| self.topic(topic)).collect()
            }
            Asked::Names(names) => names.iter().map(|name| self.by_name(name, refused)).collect(),
            Asked::Ids(ids) => ids.iter().map(|id| self.by_id(id)).collect(),
        }
    }

    fn by_name(&self, name: &Str, refused: &[(Str, ErrorCode)]) -> MetadataResponseTopic {
        if !self.may_describe(name) {
            return failed(Some(name.clone()), Uuid::ZERO, ErrorCode::TopicAuthorizationFailed);
        }
        match self.image.topics.by_name(name) {
            Some(topic) => self.topic(topic),
            None => {
                let reason = refused.iter().find(|(topic, _)| topic == name).map(|(_, error)| *error);
                let error = reason.unwrap_or_else(|| unknown(name));
                let row = failed(Some(name.clone()), Uuid::ZERO, error);
                MetadataResponseTopic { topic_authorized_operations: self.operations(name), ..row }
            }
        }
    }

    fn by_id(&self, id: &Uuid) -> MetadataResponseTopic {
        match self.image.topics.by_id(id) {
            Some(topic) if self.may_describe(&topic.name) => self.topic(topic),
            // Without the right to see it, its name is none of the client's business.
            Some(_) => failed(None, *id, ErrorCode::TopicAuthorizationFailed),
            None => failed(None, *id, ErrorCode::UnknownTopicId),
        }
    }

    fn may_describe(&self, topic: &str) -> bool {
        self.broker.allows(self.context, Operation::Describe, Resource::Topic(topic))
    }

    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        MetadataResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: partition::is_internal(&topic.name),
            partitions: topic.partitions.iter().map(|(index, state)| self.partition(*index, state)).collect(),
            topic_authorized_operations: self.operations(&topic.name),
            ..Default::default()
        }
    }

    /// Of a topic that need not exist.
    fn operations(&self, topic: &str) -> i32 {
        if self.with_operations {
            operations::of_topic(self.broker, self.context, topic)
        } else {
            operations::NOT_ASKED
        }
    }

    fn partition(&self, index: i32, state: &PartitionImage) -> MetadataResponsePartition {
        let leader = self.image.broker(state.leader).filter(|leader| !leader.fenced);
        let reachable =
            leader.is_some_and(|leader| leader.endpoint(self.context.listener.as_str()).is_some());
        let error = match (leader.is_some(), reachable) {
            (true, true) => ErrorCode::None,
            (true, false) if self.context.api_version >= 6 => ErrorCode::ListenerNotFound,
            _ => ErrorCode::LeaderNotAvailable,
        };
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: if reachable { state.leader } else { -1 },
            leader_epoch: state.leader_epoch,
            replica_nodes: state.replicas.clone(),
            isr_nodes: state.isr.clone(),
            offline_replicas: offline(self.image, self.context, state),
            ..Default::default()
        }
    }
}

/// The replicas whose brokers do not serve on the client's listener.
pub(super) fn offline(image: &MetadataImage, context: &RequestContext, state: &PartitionImage) -> Vec<i32> {
    let serves = |id: &i32| {
        let broker = image.broker(*id).filter(|broker| !broker.fenced);
        broker.is_some_and(|broker| broker.endpoint(context.listener.as_str()).is_some())
    };
    state.replicas.iter().copied().filter(|id| !serves(id)).collect()
}

/// The error for a topic that is not there: whether it could be.
pub(super) fn unknown(name: &str) -> ErrorCode {
    match check_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(error) => error.code,
    }
}

fn failed(name: Option<Str>, topic_id: Uuid, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.code(),
        is_internal: name.as_ref().is_some_and(|name| partition::is_internal(name)),
        name,
        topic_id,
        topic_authorized_operations: operations::NOT_ASKED,
        ..Default::default()
    }
}
