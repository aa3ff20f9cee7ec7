//! `KafkaTopic`: one topic of one cluster, as it shall be.

use super::{ConfigMapping, DeletionPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, ResourceExt};
use serde::{Deserialize, Serialize};

/// A topic of a `KafkaCluster` in the same namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "KafkaTopic",
    namespaced,
    shortname = "kt",
    category = "ottla",
    status = "KafkaTopicStatus",
    derive = "PartialEq",
    doc = "A topic of a KafkaCluster in the same namespace.",
    selectable = ".spec.cluster",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Topic-Id", type_ = "string", json_path = ".status.topicId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("has(self.spec.topicName) || self.metadata.name.size() <= 249")
        .message("metadata.name: a topic's name has at most 249 characters; set spec.topicName"),
)]
#[x_kube(
    validation = Rule::new("has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)")
        .message("spec.topicName cannot be changed; Kafka has no renaming"),
    validation = Rule::new("!has(oldSelf.partitions) || (has(self.partitions) && self.partitions >= oldSelf.partitions)")
        .message("spec.partitions cannot go down; Kafka only adds partitions"),
    validation = Rule::new("!has(oldSelf.replicas) || (has(self.replicas) && self.replicas == oldSelf.replicas)")
        .message("spec.replicas cannot be changed yet, replicas would have to move"),
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicSpec {
    /// Name of the KafkaCluster, in the same namespace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.cluster cannot be changed"))]
    pub cluster: String,

    /// Name in Kafka; the resource's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9._-]+$"), length(min = 1, max = 249))]
    #[x_kube(validation = Rule::new("self != '.' && self != '..' && !self.startsWith('__')")
        .message("spec.topicName: not '.', '..' or a name that starts with '__', which are Kafka's own"))]
    pub topic_name: Option<String>,

    /// Number of partitions; the broker's `num.partitions` when absent. Cannot go down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: Option<i32>,

    /// Replicas of each partition; the broker's `default.replication.factor` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32767))]
    pub replicas: Option<i16>,

    /// Kafka's topic configuration, under Kafka's names. What is not here is at the cluster's default.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub config: ConfigMapping,

    /// What becomes of the topic when this resource is deleted.
    #[serde(default = "delete")]
    pub deletion_policy: DeletionPolicy,
}

fn is_empty(config: &ConfigMapping) -> bool {
    config.0.is_empty()
}

fn delete() -> DeletionPolicy {
    DeletionPolicy::Delete
}

impl KafkaTopic {
    /// The topic's name in Kafka.
    pub fn topic_name(&self) -> String {
        self.spec.topic_name.clone().unwrap_or_else(|| self.name_any())
    }
}

/// What the operator found and did.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTopicStatus {
    /// The generation that the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Progressing`, `Degraded`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Name in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,

    /// Kafka's id of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,

    /// Number of partitions that the topic has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
}
