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
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

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
        let stateful_set = stateful_set::build(cluster, node, &properties);
        let addresses = start_addresses(cluster, node, observed, addresses);
        NodeWorkload {
            id: node.id,
            config_map: config_map(cluster, node, properties, addresses),
            stateful_set,
        }
    };
    Workload { nodes: cluster.nodes.iter().map(node).collect(), budget: budget::build(cluster, observed) }
}

/// While a pod has no machine, and what it tells depends on that, what it told before is the best guess: most volumes bind it to the one it was on.
fn start_addresses(
    cluster: &ValidatedCluster,
    node: &Node,
    observed: &Observed,
    addresses: &Addresses,
) -> String {
    let name = names::pod(&node.name);
    let is_placed = |p: &&Pod| p.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    let pod = observed.pods.iter().find(|p| p.name_any() == name).filter(is_placed);
    let depends = cluster.listeners.iter().any(|l| !l.preferred_address_types.is_empty());
    let map = observed.config_maps.iter().find(|m| m.name_any() == node.name);
    let before = map.and_then(|m| m.data.as_ref()?.get(names::ADDRESSES));
    match before.filter(|_| depends && pod.is_none()) {
        Some(before) => before.clone(),
        None => properties::advertised_listeners(cluster, node, addresses, pod),
    }
}

impl Workload {
    /// The ConfigMaps to write: of nodes that are `released` as they are rendered, of the others as they are, with the addresses of today.
    pub fn config_maps(&self, released: &BTreeSet<NodeId>, observed: &Observed) -> Vec<ConfigMap> {
        let map = |node: &NodeWorkload| {
            let mut map = node.config_map.clone();
            if !released.contains(&node.id) {
                let present = observed.config_maps.iter().find(|m| m.name_any() == map.name_any())?;
                let properties = present.data.as_ref()?.get(names::CONFIG_FILE)?.clone();
                map.data.get_or_insert_default().insert(names::CONFIG_FILE.to_owned(), properties);
            }
            Some(map)
        };
        self.nodes.iter().filter_map(map).collect()
    }
}

fn config_map(cluster: &ValidatedCluster, node: &Node, properties: String, addresses: String) -> ConfigMap {
    let (file, addresses) =
        ((names::CONFIG_FILE.to_owned(), properties), (names::ADDRESSES.to_owned(), addresses));
    ConfigMap {
        metadata: node_metadata(cluster, node),
        data: Some(BTreeMap::from([file, addresses])),
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
