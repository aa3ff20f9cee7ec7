//! From a [`ValidatedCluster`] to its objects, in the order in which they are applied: claims carry the ids and come first, Services give the
//! addresses that the rest is made of, a StatefulSet comes after the ConfigMap that its pod mounts.

pub mod address;
pub mod budget;
pub mod claim;
pub mod network_policy;
pub mod pod_details;
pub mod properties;
pub mod service;
pub mod stateful_set;

use super::{
    identity::NodeId,
    names,
    observe::Observed,
    validate::{Node, ValidatedCluster},
};
use address::Addresses;
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, PersistentVolumeClaim, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
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
#[derive(Clone, Debug)]
pub struct Workload {
    /// In the order of the cluster's nodes.
    pub nodes: Vec<NodeWorkload>,
    /// Over all of them.
    pub budget: PodDisruptionBudget,
}

/// What one node consists of, beside its claims and Services.
#[derive(Clone, Debug)]
pub struct NodeWorkload {
    /// The node.
    pub id: NodeId,
    /// Its configuration.
    pub config_map: ConfigMap,
    /// Its pod.
    pub stateful_set: StatefulSet,
}

/// Claims and Services.
pub fn foundation(cluster: &ValidatedCluster) -> Foundation {
    let claims = |node| claim::build(cluster, node);
    Foundation { claims: cluster.nodes.iter().flat_map(claims).collect(), services: service::build(cluster) }
}

/// Everything else. `addresses` are those of the applied Services.
pub fn workload(cluster: &ValidatedCluster, observed: &Observed, addresses: &Addresses) -> Workload {
    let node = |node: &Node| {
        let properties = properties::build(cluster, node);
        let stateful_set = stateful_set::build(cluster, node, &properties, addresses);
        NodeWorkload { id: node.id, config_map: config_map(cluster, node, properties), stateful_set }
    };
    Workload { nodes: cluster.nodes.iter().map(node).collect(), budget: budget::build(cluster, observed) }
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
