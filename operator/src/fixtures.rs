//! Resources for tests.

use crate::{
    cluster::{
        observe::Observed,
        validate::{self, Invalid, ValidatedCluster},
    },
    crd::{KafkaCluster, KafkaTopic},
    ids::Uuid,
};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

/// A cluster of one node as YAML would have it, with `change` applied to its spec.
pub fn cluster_json(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "nodePools": [{
            "name": "main",
            "roles": ["broker", "controller"],
            "replicas": 1,
            "storage": {"deletionPolicy": "Retain", "volumes": [{"id": 0, "size": "5Gi"}]},
        }],
        "listeners": [
            {"name": "internal", "port": 9092, "type": "internal", "protocol": "PLAINTEXT"},
            {"name": "external", "port": 9094, "type": "nodeport", "protocol": "PLAINTEXT"},
        ],
        "config": {"log.retention.hours": 72, "auto.create.topics.enable": false},
    });
    change(&mut spec);
    json!({
        "apiVersion": "ottla.dev/v1alpha1",
        "kind": "KafkaCluster",
        "metadata": {"name": "demo", "namespace": "shop", "uid": "uid-demo", "generation": 1},
        "spec": spec,
    })
}

/// The same, parsed.
pub fn cluster(change: impl FnOnce(&mut Value)) -> KafkaCluster {
    serde_json::from_value(cluster_json(change)).unwrap()
}

/// Ids 1, 2, 3 … in order.
pub fn ids() -> impl FnMut() -> Uuid {
    let mut last = 0;
    move || {
        last += 1;
        Uuid::from_bytes([last; 16])
    }
}

/// Validated with ids in order.
pub fn validated(cluster: &KafkaCluster, observed: &Observed) -> Result<ValidatedCluster, Invalid> {
    validate::validate(cluster, observed, "ottla-broker:1", ids())
}

/// The claims that a first pass over `cluster` makes, as they would be read back.
pub fn claims(cluster: &KafkaCluster) -> Vec<PersistentVolumeClaim> {
    let validated = validated(cluster, &Observed::default()).unwrap();
    crate::cluster::build::foundation(&validated).claims
}

/// A topic resource of cluster `demo`.
pub fn topic(name: &str, age: i64, spec: &Value) -> KafkaTopic {
    let mut spec = spec.clone();
    spec["cluster"] = json!("demo");
    let created = jiff::Timestamp::from_second(1_000_000 - age).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "ottla.dev/v1alpha1",
        "kind": "KafkaTopic",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created.to_string()},
        "spec": spec,
    }))
    .unwrap()
}
