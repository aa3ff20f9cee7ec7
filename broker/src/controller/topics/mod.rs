//! Topics: made, deleted, and grown. Pure decisions over an image.

mod create;
mod delete;
mod grow;
pub(crate) mod name;
mod placement;
mod replicas;

#[cfg(test)]
mod tests;

pub(crate) use create::{create_topics, refuse_all as refuse_create};
pub(crate) use delete::{delete_topics, refuse_all as refuse_delete};
pub(crate) use grow::{create_partitions, refuse_all as refuse_grow};
pub(crate) use replicas::check_assignment;

use ottla_quorum::MetadataImage;
use ottla_wire::Uuid;

use crate::config::{BrokerLayers, Config};
use crate::controller::TopicError;

/// Partitions that one request may make, as in Kafka.
const MAX_PARTITIONS: usize = 10_000;
/// Records that one request may lead to. In Kafka these are 10,000, so that it refuses the 10,000 partitions that it
/// allows: their topic is a record, too.
const MAX_RECORDS: usize = ottla_quorum::MAX_RECORDS_PER_BATCH;

/// What decisions about topics rest on besides the image and the request.
pub(crate) struct Context<'a> {
    /// Defaults and what is enabled.
    pub(crate) config: &'a Config,
    /// A new unique id with each call, as long as the system has randomness.
    pub(crate) fresh_id: &'a mut dyn FnMut() -> Result<Uuid, TopicError>,
    /// Pays for partitions.
    pub(crate) charge: Charge<'a>,
}

/// Pays for partitions that are made or deleted; refuses when the client's quota is used up.
pub(crate) type Charge<'a> = &'a mut dyn FnMut(usize) -> Result<(), TopicError>;

/// Calls `read` with the layers of configs that a topic's defaults come from.
pub(crate) fn with_layers<R>(
    config: &Config,
    image: &MetadataImage,
    read: impl FnOnce(&BrokerLayers<'_>) -> R,
) -> R {
    let broker = image.configs.broker(config.node_id);
    let cluster = image.configs.default_broker();
    read(&BrokerLayers { broker: &*broker, cluster: &*cluster, fixed: &config.settings })
}
