//! What the operator asks of a cluster, in its own terms.

use super::{config_kind::ConfigKind, error::KafkaError, pool::Link};
use ottla_client::CallError;
use ottla_wire::{
    ErrorCode, Request, Str, Uuid,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
        IncrementalAlterConfigsRequest, MetadataRequest,
        create_partitions_request::CreatePartitionsTopic,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        metadata_request::MetadataRequestTopic,
    },
};
use std::collections::BTreeMap;

/// `ConfigResource.Type.TOPIC`.
const TOPIC: i8 = 2;
/// `ConfigResource.Type.BROKER`.
const BROKER: i8 = 4;
/// `ConfigSource.DYNAMIC_TOPIC_CONFIG`: set on the topic itself.
const SET_ON_TOPIC: i8 = 1;
/// `AlterConfigOp`.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// Topics in one request.
const BATCH: usize = 200;
/// How long the controller may take, below [`crate::lease::WRITE`].
const TIMEOUT_MS: i32 = 3_000;

/// A topic as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Kafka's id.
    pub id: Uuid,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of the first partition.
    pub replicas: i16,
    /// What is set on the topic itself; empty if not asked for.
    pub config: BTreeMap<String, String>,
}

/// A key and its new value; none sets it back to the default.
pub type ConfigChange = (String, Option<String>);

/// Asks one cluster.
pub struct Admin(Link);

impl Admin {
    pub(super) fn new(link: Link) -> Self {
        Self(link)
    }

    pub(super) async fn send<R: Request>(&self, request: &R) -> Result<R::Response, KafkaError> {
        self.0.send(request).await
    }

    pub(super) async fn change<R: Request>(&self, request: &R) -> Result<R::Response, KafkaError> {
        self.0.change(request).await
    }

    /// The topics among `names` that exist, with their configuration.
    ///
    /// # Errors
    /// When the cluster does not answer for one of them.
    pub async fn describe(&self, names: &[String]) -> Result<BTreeMap<String, TopicDescription>, KafkaError> {
        let mut found = BTreeMap::new();
        for batch in names.chunks(BATCH) {
            let topics = self.metadata(batch).await?;
            let mut configs = self.configs(topics.keys()).await?;
            found.extend(topics.into_iter().map(|(name, mut topic)| {
                topic.config = configs.remove(&name).unwrap_or_default();
                (name, topic)
            }));
        }
        Ok(found)
    }

    async fn metadata(&self, names: &[String]) -> Result<BTreeMap<String, TopicDescription>, KafkaError> {
        let topics = names
            .iter()
            .map(|name| MetadataRequestTopic {
                name: Some(name.as_str().into()),
                ..MetadataRequestTopic::default()
            })
            .collect();
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = self.0.send(&request).await?;
        let mut found = BTreeMap::new();
        for topic in response.topics {
            if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() {
                continue;
            }
            // A topic without a leader exists all the same.
            if topic.error_code != ErrorCode::LeaderNotAvailable.code() {
                KafkaError::check(topic.error_code, None)?;
            }
            let replicas = topic.partitions.first().map_or(0, |p| p.replica_nodes.len());
            let description = TopicDescription {
                id: topic.topic_id,
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                replicas: i16::try_from(replicas).unwrap_or(i16::MAX),
                config: BTreeMap::new(),
            };
            found.insert(topic.name.unwrap_or_default().to_string(), description);
        }
        Ok(found)
    }

    async fn configs(
        &self,
        names: impl Iterator<Item = &String>,
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, KafkaError> {
        let resources: Vec<_> = names
            .map(|name| DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: name.as_str().into(),
                configuration_keys: None,
                ..DescribeConfigsResource::default()
            })
            .collect();
        if resources.is_empty() {
            return Ok(BTreeMap::new());
        }
        let request = DescribeConfigsRequest { resources, ..DescribeConfigsRequest::default() };
        let mut found = BTreeMap::new();
        for result in self.0.send(&request).await?.results {
            KafkaError::check(result.error_code, result.error_message.as_ref())?;
            let set = result.configs.into_iter().filter(|c| c.config_source == SET_ON_TOPIC);
            let set = set.filter_map(|c| Some((c.name.to_string(), c.value?.to_string())));
            found.insert(result.resource_name.to_string(), set.collect());
        }
        Ok(found)
    }

    /// Every configuration that broker `node` has, and its kind.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn broker_keys(&self, node: i32) -> Result<BTreeMap<String, ConfigKind>, KafkaError> {
        let resource = DescribeConfigsResource {
            resource_type: BROKER,
            resource_name: node.to_string().into(),
            configuration_keys: None,
            ..DescribeConfigsResource::default()
        };
        let request =
            DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
        let response = self.0.send(&request).await?;
        let result = response.results.into_iter().next().ok_or(CallError::Protocol("no resource in it"))?;
        KafkaError::check(result.error_code, result.error_message.as_ref())?;
        Ok(result.configs.into_iter().map(|c| (c.name.to_string(), c.config_type.into())).collect())
    }

    /// Creates a topic; counts that are absent are the cluster's defaults.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn create(
        &self,
        name: &str,
        partitions: Option<i32>,
        replicas: Option<i16>,
        config: &BTreeMap<String, String>,
    ) -> Result<(), KafkaError> {
        let configs = config
            .iter()
            .map(|(key, value)| CreatableTopicConfig {
                name: key.as_str().into(),
                value: Some(value.as_str().into()),
                ..CreatableTopicConfig::default()
            })
            .collect();
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions.unwrap_or(-1),
            replication_factor: replicas.unwrap_or(-1),
            configs,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let response = self.0.change(&request).await?;
        let result = response.topics.first().ok_or(CallError::Protocol("no topic in it"))?;
        KafkaError::check(result.error_code, result.error_message.as_ref())
    }

    /// Adds partitions until there are `count`.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn add_partitions(&self, name: &str, count: i32) -> Result<(), KafkaError> {
        let topic = CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: None,
            ..CreatePartitionsTopic::default()
        };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
            ..CreatePartitionsRequest::default()
        };
        let response = self.0.change(&request).await?;
        let result = response.results.first().ok_or(CallError::Protocol("no topic in it"))?;
        KafkaError::check(result.error_code, result.error_message.as_ref())
    }

    /// Changes a topic's configuration.
    ///
    /// # Errors
    /// The broker's refusal; then nothing is changed.
    pub async fn alter_config(&self, name: &str, changes: &[ConfigChange]) -> Result<(), KafkaError> {
        let configs = changes
            .iter()
            .map(|(key, value)| AlterableConfig {
                name: key.as_str().into(),
                config_operation: if value.is_some() { SET } else { DELETE },
                value: value.as_deref().map(Str::from),
                ..AlterableConfig::default()
            })
            .collect();
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: name.into(),
            configs,
            ..AlterConfigsResource::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            validate_only: false,
            ..IncrementalAlterConfigsRequest::default()
        };
        let response = self.0.change(&request).await?;
        let result = response.responses.first().ok_or(CallError::Protocol("no resource in it"))?;
        KafkaError::check(result.error_code, result.error_message.as_ref())
    }

    /// Deletes the topic with this id, and never another one that has taken its name. One that is gone already is no error.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn delete(&self, id: Uuid) -> Result<(), KafkaError> {
        let topic = DeleteTopicState { name: None, topic_id: id, ..DeleteTopicState::default() };
        let request = DeleteTopicsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let response = self.0.change(&request).await?;
        let result = response.responses.first().ok_or(CallError::Protocol("no topic in it"))?;
        match KafkaError::check(result.error_code, result.error_message.as_ref()) {
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicId) => Ok(()),
            result => result,
        }
    }
}
