//! From a [`ValidatedCluster`] to its objects, in the order in which they are applied: claims carry the ids and come first, Services give the
//! addresses that the rest is made of, a StatefulSet comes after the ConfigMap that its pod mounts.

pub mod budget;
pub mod claim;
pub mod properties;
pub mod service;
pub mod stateful_set;

use super::{
    names,
    observe::Observed,
    restart,
    validate::{Node, ValidatedCluster},
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, PersistentVolumeClaim, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use service::NodePorts;
use std::collections::BTreeMap;

/// What stands before the pods.
#[derive(Clone, Debug, Default)]
pub struct Foundation {
    /// One per node and volume.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Of nodes and listeners.
    pub services: Vec<Service>,
}

/// The pods and what they mount.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// One per node.
    pub config_maps: Vec<ConfigMap>,
    /// One per node.
    pub stateful_sets: Vec<StatefulSet>,
    /// One per node.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Nodes that this release would render differently although nothing else was asked for; they stay as they are.
    pub pending: Vec<String>,
}

/// Claims and Services.
pub fn foundation(cluster: &ValidatedCluster) -> Foundation {
    let claims = |node| claim::build(cluster, node);
    Foundation { claims: cluster.nodes.iter().flat_map(claims).collect(), services: service::build(cluster) }
}

/// Everything else. `ports` are those of the applied Services.
pub fn workload(cluster: &ValidatedCluster, observed: &Observed, ports: &NodePorts) -> Workload {
    let mut workload = Workload::default();
    for node in &cluster.nodes {
        let properties = properties::build(cluster, node);
        let set = stateful_set::build(cluster, node, &properties, ports);
        let present = observed.stateful_sets.iter().find(|s| s.metadata.name.as_ref() == Some(&node.name));
        if present.is_some_and(|present| restart::is_pending(present, &set)) {
            workload.pending.push(node.name.clone());
        } else {
            workload.config_maps.push(config_map(cluster, node, properties));
            workload.stateful_sets.push(set);
        }
        workload.budgets.push(budget::build(cluster, node, &observed.pods));
    }
    workload
}

fn config_map(cluster: &ValidatedCluster, node: &Node, properties: String) -> ConfigMap {
    ConfigMap {
        metadata: node_metadata(cluster, node),
        data: Some(BTreeMap::from([(names::CONFIG_FILE.to_owned(), properties)])),
        ..ConfigMap::default()
    }
}

/// Name, labels and owner of a node's object.
fn node_metadata(cluster: &ValidatedCluster, node: &Node) -> ObjectMeta {
    ObjectMeta {
        name: Some(node.name.clone()),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(names::node_labels(&cluster.name, &node.pool, node.id)),
        owner_references: Some(vec![cluster.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
