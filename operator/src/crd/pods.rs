//! What users say about pods: once for a whole cluster (`spec.pods`) and once for a pool (`nodePools[].pods`).
//!
//! Maps and lists with names (labels, annotations, node selectors, variables, volumes) are merged by their keys; of anything else the pool's
//! word is in place of the cluster's. All of it is part of the pods: a change restarts them, one after the other.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Labels and annotations beside the operator's own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.startsWith('ottla.dev/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by']))")
        .message("metadata.labels: ottla.dev/..., app.kubernetes.io/name, instance and managed-by are the operator's own"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !k.startsWith('ottla.dev/'))")
        .message("metadata.annotations: ottla.dev/... are the operator's own"),
)]
pub struct Metadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Neither labels nor annotations.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What pods have beside what follows from the rest of the spec.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,

    /// Labels that a machine must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of machines that the pods put up with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub tolerations: Option<Vec<Toleration>>,

    /// In place of the operator's preferred anti-affinity over zones; an empty object is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<AffinitySettings>,

    /// In place of the operator's spread over machines; an empty list is none. Brokers are counted among brokers, controllers that are nothing
    /// else among controllers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(
        validation = Rule::new("self.all(c, self.exists_one(o, o.topologyKey == c.topologyKey && o.whenUnsatisfiable == c.whenUnsatisfiable))")
            .message("pods.topologySpreadConstraints: two constraints have the same topologyKey and whenUnsatisfiable"),
    )]
    pub topology_spread_constraints: Option<Vec<Spread>>,

    /// Name of a PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), length(max = 253))]
    pub priority_class_name: Option<String>,

    /// Secrets that the images are pulled with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Option<Vec<SecretName>>,

    /// Name of the pods' ServiceAccount; its token is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), length(max = 253))]
    pub service_account_name: Option<String>,

    /// How long a node may take to stop before it is killed: time to hand over what it leads and to flush. 120 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Variables of the container that serves. Kafka's configuration belongs into `spec.config`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<Variable>,

    /// More volumes, mounted in the container that serves. Where data lies is in `storage`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(v, self.exists_one(o, o.mountPath == v.mountPath))")
            .message("pods.volumes[].mountPath: two volumes are mounted at the same path"),
    )]
    pub volumes: Vec<ExtraVolume>,

    /// When a node that does not answer is killed. Every 10 s, 6 failures, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<ProbeSettings>,

    /// When a node counts as not ready. Every 2 s, 3 failures, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ProbeSettings>,
}

/// A taint that pods put up with.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value)")
        .message("pods.tolerations[]: the operator Exists takes no value"),
    validation = Rule::new("has(self.key) || (has(self.operator) && self.operator == 'Exists')")
        .message("pods.tolerations[]: without a key the operator is Exists"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')")
        .message("pods.tolerations[].tolerationSeconds belongs to the effect NoExecute"),
)]
pub struct Toleration {
    /// Key of the taint; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// How the value is compared; `Equal` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// How long a taint with `NoExecute` is put up with; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration is compared with a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value are the same.
    Equal,
    /// The key is the same.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// No new pods where others will do.
    PreferNoSchedule,
    /// No pods.
    NoExecute,
}

/// Kubernetes' affinity rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AffinitySettings {
    /// To machines: a `NodeAffinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub node_affinity: Option<serde_json::Value>,
    /// To pods: a `PodAffinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub pod_affinity: Option<serde_json::Value>,
    /// Away from pods: a `PodAntiAffinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub pod_anti_affinity: Option<serde_json::Value>,
}

/// How alike nodes are spread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// By how many pods the fullest and the emptiest place may differ.
    #[schemars(range(min = 1))]
    pub max_skew: i32,
    /// Label of the machines whose value is the place.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// A wish, or a condition.
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What becomes of a pod that cannot be placed as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnsatisfiable {
    /// It waits.
    DoNotSchedule,
    /// It is placed all the same.
    ScheduleAnyway,
}

impl WhenUnsatisfiable {
    /// Kubernetes' word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DoNotSchedule => "DoNotSchedule",
            Self::ScheduleAnyway => "ScheduleAnyway",
        }
    }
}

/// A Secret in the cluster's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretName {
    /// Its name.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), length(max = 253))]
    pub name: String,
}

/// A variable of the container that serves.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.valueFrom)")
        .message("pods.env[]: set value or valueFrom"),
    validation = Rule::new("!self.name.startsWith('KAFKA_') || has(self.valueFrom)")
        .message("pods.env[]: set spec.config; a variable KAFKA_... takes its value from a Secret or a ConfigMap (valueFrom)"),
    validation = Rule::new("!(self.name in ['HOST_IP', 'OTTLA_POD_IP', 'KAFKA_ADVERTISED_LISTENERS', 'KAFKA_BROKER_RACK', 'KAFKA_NODE_ID', 'KAFKA_PROCESS_ROLES', 'KAFKA_LISTENERS', 'KAFKA_LOG_DIRS'])")
        .message("pods.env[].name: this one is set by the operator"),
)]
pub struct Variable {
    /// Its name.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"), length(max = 253))]
    pub name: String,
    /// Its value; `$(NAME)` stands for that of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    pub value: Option<String>,
    /// Where its value comes from: an `EnvVarSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<VariableSource>,
}

/// Where a variable's value comes from; Kubernetes takes exactly one.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.configMapKeyRef), has(self.secretKeyRef), has(self.fieldRef), has(self.resourceFieldRef)].exists_one(is, is)")
        .message("pods.env[].valueFrom: set one of configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef"),
)]
pub struct VariableSource {
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyOf>,
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyOf>,
    /// A field of the pod: an `ObjectFieldSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub field_ref: Option<serde_json::Value>,
    /// A resource of the container: a `ResourceFieldSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub resource_field_ref: Option<serde_json::Value>,
}

/// A key of an object in the cluster's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyOf {
    /// Name of the object.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), length(max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// The pod starts without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A volume beside those of `storage`, and where it is mounted.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.configMap), has(self.secret), has(self.projected), has(self.emptyDir), has(self.persistentVolumeClaim), has(self.csi)].exists_one(is, is)")
        .message("pods.volumes[]: set one of configMap, secret, projected, emptyDir, persistentVolumeClaim, csi"),
    validation = Rule::new("!(self.name in ['config', 'admin']) && !self.name.startsWith('data-')")
        .message("pods.volumes[].name: config, admin and data-... are the operator's own"),
    validation = Rule::new("!self.mountPath.contains('/..') && !['/var/lib/ottla', '/etc/ottla', '/etc/ottla-admin', '/usr'].exists(own, self.mountPath == own || self.mountPath.startsWith(own + '/'))")
        .message("pods.volumes[].mountPath: not below /var/lib/ottla, /etc/ottla, /etc/ottla-admin or /usr, which are the node's own"),
)]
pub struct ExtraVolume {
    /// Unique in the pod.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: String,
    /// Where it is mounted: an absolute path.
    #[schemars(regex(pattern = r"^(/[A-Za-z0-9_.-]+)+$"), length(max = 256))]
    pub mount_path: String,
    /// A directory or file of the volume, in place of its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$"),
        length(max = 256)
    )]
    pub sub_path: Option<String>,
    /// The node only reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// A `ConfigMapVolumeSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub config_map: Option<serde_json::Value>,
    /// A `SecretVolumeSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub secret: Option<serde_json::Value>,
    /// A `ProjectedVolumeSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub projected: Option<serde_json::Value>,
    /// An `EmptyDirVolumeSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub empty_dir: Option<serde_json::Value>,
    /// A `PersistentVolumeClaimVolumeSource`; one claim for all pods of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub persistent_volume_claim: Option<serde_json::Value>,
    /// A `CSIVolumeSource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub csi: Option<serde_json::Value>,
}

/// When a probe asks and what counts as a failure. What it asks is the operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSettings {
    /// Before the first question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub initial_delay_seconds: Option<i32>,
    /// Between two questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub period_seconds: Option<i32>,
    /// For an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<i32>,
    /// Failures in a row that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<i32>,
}

/// CPU and memory, as in a container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)")
        .message("resources: a request is above its limit"),
)]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantities")]
    #[schemars(schema_with = "super::quantities_schema")]
    pub requests: BTreeMap<String, Quantity>,
    /// What the container may not exceed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "quantities")]
    #[schemars(schema_with = "super::quantities_schema")]
    pub limits: BTreeMap<String, Quantity>,
}

/// `cpu: 2` is as good as `cpu: "2"`.
fn quantities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Quantity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Number(i64),
    }
    let given = BTreeMap::<String, Given>::deserialize(deserializer)?;
    let quantity = |given| match given {
        Given::Text(text) => Quantity(text),
        Given::Number(number) => Quantity(number.to_string()),
    };
    Ok(given.into_iter().map(|(name, given)| (name, quantity(given))).collect())
}

pub(super) fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" },
    })
}

pub(super) fn annotations_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 8192 },
    })
}

impl PodSettings {
    /// These over `base`: a pool's over the cluster's.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let own = self.clone();
        Self {
            metadata: Metadata {
                labels: merged(&base.metadata.labels, own.metadata.labels),
                annotations: merged(&base.metadata.annotations, own.metadata.annotations),
            },
            node_selector: merged(&base.node_selector, own.node_selector),
            tolerations: own.tolerations.or_else(|| base.tolerations.clone()),
            affinity: own.affinity.or_else(|| base.affinity.clone()),
            topology_spread_constraints: own
                .topology_spread_constraints
                .or_else(|| base.topology_spread_constraints.clone()),
            priority_class_name: own.priority_class_name.or_else(|| base.priority_class_name.clone()),
            image_pull_secrets: own.image_pull_secrets.or_else(|| base.image_pull_secrets.clone()),
            service_account_name: own.service_account_name.or_else(|| base.service_account_name.clone()),
            termination_grace_period_seconds: own
                .termination_grace_period_seconds
                .or(base.termination_grace_period_seconds),
            env: named(&base.env, own.env, |v| &v.name),
            volumes: named(&base.volumes, own.volumes, |v| &v.name),
            liveness_probe: own.liveness_probe.or(base.liveness_probe),
            readiness_probe: own.readiness_probe.or(base.readiness_probe),
        }
    }

    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn merged(base: &BTreeMap<String, String>, own: BTreeMap<String, String>) -> BTreeMap<String, String> {
    base.clone().into_iter().chain(own).collect()
}

/// Those of `base` that `own` does not name, then its own.
fn named<T: Clone>(base: &[T], own: Vec<T>, name: impl Fn(&T) -> &String) -> Vec<T> {
    let kept = base.iter().filter(|b| own.iter().all(|o| name(o) != name(b))).cloned();
    kept.collect::<Vec<_>>().into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(value: serde_json::Value) -> PodSettings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pool_adds_to_what_has_names_and_replaces_the_rest() {
        let cluster = settings(json!({
            "metadata": {"labels": {"team": "shop", "tier": "data"}},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "priorityClassName": "low",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
            "livenessProbe": {"periodSeconds": 20},
        }));
        let pool = settings(json!({
            "metadata": {"labels": {"tier": "quorum"}},
            "nodeSelector": {"arch": "arm"},
            "tolerations": [],
            "env": [{"name": "A", "value": "2"}],
            "livenessProbe": {"failureThreshold": 9},
        }));
        let expected = settings(json!({
            "metadata": {"labels": {"team": "shop", "tier": "quorum"}},
            "nodeSelector": {"disk": "fast", "arch": "arm"},
            "tolerations": [],
            "priorityClassName": "low",
            "env": [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}],
            "livenessProbe": {"failureThreshold": 9},
        }));
        assert_eq!(pool.over(&cluster), expected);
        assert_eq!(PodSettings::default().over(&cluster), cluster);
        assert_eq!(cluster.over(&PodSettings::default()), cluster);
    }

    #[test]
    fn quantities_may_be_numbers() {
        let found: Resources =
            serde_json::from_value(json!({"requests": {"cpu": 2, "memory": "1Gi"}})).unwrap();
        assert_eq!(found.requests["cpu"], Quantity("2".into()));
        assert_eq!(found.requests["memory"], Quantity("1Gi".into()));
    }
}
