//! `__consumer_offsets` comes into being when the first group asks for its coordinator.

use ottla_wire::ErrorCode;
use ottla_wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};

use super::placement::OFFSETS_TOPIC;
use crate::broker::Broker;
use crate::config::Config;

/// Milliseconds that the controller may take.
const TIMEOUT_MS: i32 = 30_000;

/// Creates the topic with the node's settings; that it exists already is fine.
///
/// # Errors
/// The controller refuses, because there are fewer brokers than replicas for example.
pub async fn create_offsets_topic(broker: &Broker) -> Result<(), ErrorCode> {
    let config = &broker.config;
    let request = CreateTopicsRequest {
        topics: vec![offsets_topic(config, broker.controller.image().cluster.brokers.len())],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let response = broker.channel.clone().call(move |_| request).await.map_err(|error| {
        tracing::warn!(%error, "cannot create __consumer_offsets");
        ErrorCode::NotController
    })?;
    let Some(result) = response.topics.first() else {
        return Err(ErrorCode::UnknownServerError);
    };
    match ErrorCode::try_from(result.error_code) {
        Ok(ErrorCode::None | ErrorCode::TopicAlreadyExists) => Ok(()),
        Ok(error) => {
            tracing::warn!(%error, message = result.error_message.as_deref().unwrap_or_default(),
                replication_factor = config.offsets.replication_factor,
                "cannot create __consumer_offsets; see offsets.topic.replication.factor");
            Err(error)
        }
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}

/// The topic as the node's settings want it. A replication factor that nobody set is no more than there are brokers.
pub fn offsets_topic(config: &Config, brokers: usize) -> CreatableTopic {
    let setting = |name: &str, value: String| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let configured = config.offsets.replication_factor;
    let replication_factor = if config.settings.is_set("offsets.topic.replication.factor") {
        configured
    } else {
        configured.min(i16::try_from(brokers.max(1)).unwrap_or(i16::MAX))
    };
    CreatableTopic {
        name: OFFSETS_TOPIC.into(),
        num_partitions: config.offsets.num_partitions,
        replication_factor,
        configs: vec![
            setting("cleanup.policy", "compact".to_owned()),
            setting("compression.type", "producer".to_owned()),
            setting("segment.bytes", config.offsets.segment_bytes.to_string()),
        ],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_as_configured_and_its_default_fits_the_cluster() {
        let of = |overrides: &[(&str, &str)], brokers| {
            offsets_topic(&Config::from_overrides(overrides).expect("valid"), brokers)
        };
        let changed =
            of(&[("offsets.topic.num.partitions", "7"), ("offsets.topic.segment.bytes", "2000000")], 1);
        assert_eq!((changed.num_partitions, changed.replication_factor), (7, 1));
        let segment = changed.configs.iter().find(|config| &*config.name == "segment.bytes");
        assert_eq!(segment.and_then(|config| config.value.as_deref()), Some("2000000"));
        let roles = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ];
        assert_eq!(of(&roles, 2).replication_factor, 2);
        assert_eq!(of(&roles, 5).replication_factor, 3);
        let asked = of(&[("offsets.topic.replication.factor", "3")], 1);
        assert_eq!(asked.replication_factor, 3, "what was asked for is not lowered");
    }
}
