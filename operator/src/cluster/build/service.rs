//! Services: one of its own for every node, one bootstrap Service per listener, and for a `nodeport`, `loadbalancer` or `cluster-ip` listener one
//! per broker as well.
//!
//! All publish addresses that are not ready: a broker that starts must be found by its peers, and a Service's address does not change
//! while a pod's name in DNS is cached.

use super::names;
use crate::{
    cluster::validate::{Node, ValidatedCluster},
    crd::cluster::{Advertised, Listener, ListenerType},
};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use std::collections::BTreeMap;

/// All Services of a cluster.
pub fn build(cluster: &ValidatedCluster) -> Vec<Service> {
    let nodes = cluster.nodes.iter().map(|node| node_service(cluster, node));
    let bootstraps = cluster.listeners.iter().map(|listener| bootstrap(cluster, listener));
    let replication = replication(cluster);
    let has_own = |l: &&Listener| l.type_.has_node_services();
    let own = cluster.listeners.iter().filter(has_own);
    let own =
        own.flat_map(|listener| cluster.brokers().map(move |node| node_listener(cluster, node, listener)));
    nodes.chain([replication]).chain(bootstraps).chain(own).collect()
}

fn node_service(cluster: &ValidatedCluster, node: &Node) -> Service {
    let mut ports = Vec::new();
    if node.is_broker() {
        let inside = cluster.listeners.iter().filter(|l| l.type_ == ListenerType::Internal);
        ports.extend(inside.map(|l| port(&l.name, l.port, None)));
        ports.push(port("replication", names::REPLICATION_PORT, None));
    }
    if node.is_controller() {
        ports.push(port("controller", names::CONTROLLER_PORT, None));
    }
    ports.push(port(names::ADMIN, names::ADMIN_PORT, None));
    service(super::node_metadata(cluster, node), node_selector(cluster, node), "ClusterIP", ports)
}

/// Where the operator itself finds a broker.
fn replication(cluster: &ValidatedCluster) -> Service {
    let metadata =
        metadata(cluster, names::bootstrap(&cluster.name, "replication"), names::labels(&cluster.name));
    let ports = vec![port("replication", names::REPLICATION_PORT, None)];
    service(metadata, broker_selector(cluster), "ClusterIP", ports)
}

fn broker_selector(cluster: &ValidatedCluster) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::CLUSTER.to_owned(), cluster.name.clone()),
        (names::BROKER.to_owned(), "true".to_owned()),
    ])
}

fn bootstrap(cluster: &ValidatedCluster, listener: &Listener) -> Service {
    let name = names::bootstrap(&cluster.name, &listener.name);
    let metadata = told(metadata(cluster, name, names::labels(&cluster.name)), listener, None);
    let ports = vec![port(&listener.name, listener.port, listener.node_port)];
    service(metadata, broker_selector(cluster), service_type(listener), ports)
}

fn node_listener(cluster: &ValidatedCluster, node: &Node, listener: &Listener) -> Service {
    let labels = names::node_labels(&cluster.name, &node.pool, node.id);
    let name = names::node_listener(&node.name, &listener.name);
    let own = ValidatedCluster::advertised(listener, node.id);
    let metadata = told(metadata(cluster, name, labels), listener, own);
    let ports = vec![port(&listener.name, listener.port, own.and_then(|a| a.node_port))];
    service(metadata, node_selector(cluster, node), service_type(listener), ports)
}

fn service_type(listener: &Listener) -> &'static str {
    match listener.type_ {
        ListenerType::Internal | ListenerType::ClusterIp | ListenerType::PodIp => "ClusterIP",
        ListenerType::Nodeport => "NodePort",
        ListenerType::Loadbalancer => "LoadBalancer",
    }
}

fn node_selector(cluster: &ValidatedCluster, node: &Node) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::CLUSTER.to_owned(), cluster.name.clone()),
        (names::NODE.to_owned(), node.id.to_string()),
    ])
}

fn metadata(cluster: &ValidatedCluster, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![cluster.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// With the listener's labels and annotations, and the node's over these.
fn told(mut metadata: ObjectMeta, listener: &Listener, node: Option<&Advertised>) -> ObjectMeta {
    let mut annotations = listener.metadata.annotations.clone();
    annotations.extend(node.map(|given| given.annotations.clone()).unwrap_or_default());
    metadata.labels.get_or_insert_default().extend(listener.metadata.labels.clone());
    metadata.annotations = Some(annotations).filter(|a| !a.is_empty());
    metadata
}

fn port(name: &str, number: i32, node_port: Option<i32>) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        node_port,
        ..ServicePort::default()
    }
}

fn service(
    metadata: ObjectMeta,
    selector: BTreeMap<String, String>,
    type_: &str,
    ports: Vec<ServicePort>,
) -> Service {
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.to_owned()),
            selector: Some(selector),
            ports: Some(ports),
            publish_not_ready_addresses: Some(true),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
