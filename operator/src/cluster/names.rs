//! Names, labels and annotations of what the operator makes, and the ports that it keeps for itself.

use super::identity::NodeId;
use std::collections::BTreeMap;

/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "ottla-operator";

/// Label: name of the `KafkaCluster`.
pub const CLUSTER: &str = "ottla.dev/cluster";
/// Label: name of the node pool.
pub const POOL: &str = "ottla.dev/pool";
/// Label: the node's id.
pub const NODE: &str = "ottla.dev/node-id";
/// Label on pods that clients may be sent to.
pub const BROKER: &str = "ottla.dev/broker";
/// Label on pods that vote or are to vote.
pub const CONTROLLER: &str = "ottla.dev/controller";
/// Annotation of a claim: Kafka's cluster id.
pub const CLUSTER_ID: &str = "ottla.dev/cluster-id";
/// Annotation of a claim: the log directory's id.
pub const DIRECTORY_ID: &str = "ottla.dev/directory-id";
/// Annotation of a claim: the directory was formatted once, and is never formatted again.
pub const FORMATTED: &str = "ottla.dev/formatted";
/// Annotation of a claim: the node is among those that the quorum began with.
pub const FIRST_VOTER: &str = "ottla.dev/first-voter";
/// Annotation of a claim: id of the volume in the pool.
pub const VOLUME: &str = "ottla.dev/volume-id";
/// Annotation of StatefulSet and pod: digest of what the pod was rendered to.
pub const TEMPLATE: &str = "ottla.dev/template";
/// Annotation of a StatefulSet: digest of what was asked for when it was rendered.
pub const REQUEST: &str = "ottla.dev/request";
/// Annotation of a `KafkaCluster`: another value restarts the nodes, with what this operator renders.
pub const RESTART: &str = "ottla.dev/restart";

/// The controllers' listener.
pub const CONTROLLER_PORT: i32 = 9090;
/// The listener of the brokers among themselves, and of the operator.
pub const REPLICATION_PORT: i32 = 9091;
/// Health and metrics.
pub const HTTP_PORT: i32 = 9404;
/// Questions of the operator, over TLS.
pub const ADMIN_PORT: i32 = 9405;
/// Name of that port on pods and Services.
pub const ADMIN: &str = "admin";

/// User and group of the processes, as in the images.
pub const USER: i64 = 65532;

/// Where the node's configuration is mounted.
pub const CONFIG_DIRECTORY: &str = "/etc/ottla";
/// Name of the properties file in [`CONFIG_DIRECTORY`].
pub const CONFIG_FILE: &str = "server.properties";

/// Where the certificates of the admin port are mounted.
pub const ADMIN_DIRECTORY: &str = "/etc/ottla-admin";
/// In a Secret: the certificate.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// In a Secret: its key.
pub const KEY_FILE: &str = "tls.key";
/// In a Secret: certificates of the authorities that count.
pub const AUTHORITIES_FILE: &str = "ca.crt";

/// The container that serves.
pub const BROKER_CONTAINER: &str = "broker";
/// The init container that formats a new node's storage.
pub const FORMAT_CONTAINER: &str = "format";

/// Whether a label or annotation is one that the operator writes.
pub fn is_own_key(key: &str) -> bool {
    const LABELS: [&str; 3] =
        ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];
    key.starts_with("ottla.dev/") || LABELS.contains(&key)
}

/// Whether a volume of a pod is one that the operator makes.
pub fn is_own_volume(name: &str) -> bool {
    name == "config" || name == ADMIN || name.starts_with("data-")
}

/// Labels of everything that belongs to `cluster`.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".into(), "ottla".into()),
        ("app.kubernetes.io/instance".into(), cluster.into()),
        ("app.kubernetes.io/managed-by".into(), FIELD_MANAGER.into()),
        (CLUSTER.into(), cluster.into()),
    ])
}

/// Labels of what belongs to one node.
pub fn node_labels(cluster: &str, pool: &str, node: NodeId) -> BTreeMap<String, String> {
    let mut labels = labels(cluster);
    labels.insert(POOL.into(), pool.into());
    labels.insert(NODE.into(), node.to_string());
    labels
}

/// Selects the objects of one cluster.
pub fn cluster_selector(cluster: &str) -> String {
    format!("{CLUSTER}={cluster},app.kubernetes.io/managed-by={FIELD_MANAGER}")
}

/// Selects the objects of all clusters.
pub fn any_cluster_selector() -> String {
    format!("{CLUSTER},app.kubernetes.io/managed-by={FIELD_MANAGER}")
}

/// A node's StatefulSet, Service and ConfigMap.
pub fn node(cluster: &str, pool: &str, node: NodeId) -> String {
    format!("{cluster}-{pool}-{node}")
}

/// The pod of a node.
pub fn pod(node_name: &str) -> String {
    format!("{node_name}-0")
}

/// The claim of one volume of a node.
pub fn claim(node_name: &str, volume: i32) -> String {
    format!("data-{volume}-{node_name}")
}

/// The Service of one listener of a node, where it has one.
pub fn node_listener(node_name: &str, listener: &str) -> String {
    format!("{node_name}-{listener}")
}

/// The bootstrap Service of a listener.
pub fn bootstrap(cluster: &str, listener: &str) -> String {
    format!("{cluster}-{listener}-bootstrap")
}

/// The NetworkPolicy over all nodes.
pub fn nodes_policy(cluster: &str) -> String {
    format!("{cluster}-nodes")
}

/// The NetworkPolicy for the clients of a listener.
pub fn clients_policy(cluster: &str, listener: &str) -> String {
    format!("{cluster}-{listener}-clients")
}

/// The record of the topics that were made for resources of a cluster.
pub fn topic_record(cluster: &str) -> String {
    format!("{cluster}-topics")
}

/// The Secret with the authority of a cluster's admin ports, its key among it.
pub fn authority_secret(cluster: &str) -> String {
    format!("{cluster}-admin-ca")
}

/// The Secret with which the operator asks a cluster's nodes.
pub fn operator_secret(cluster: &str) -> String {
    format!("{cluster}-admin-operator")
}

/// The Secret that a node's pod mounts.
pub fn node_secret(node_name: &str) -> String {
    format!("{node_name}-admin")
}

/// Where a node answers the operator.
pub fn admin_address(node_name: &str, namespace: &str) -> String {
    format!("{}:{ADMIN_PORT}", service_host(node_name, namespace))
}

/// A Service's name in cluster DNS, which every pod's search list completes.
pub fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}

/// Where a node with the role controller is reached as one.
pub fn voter_address(node_name: &str, namespace: &str) -> String {
    format!("{}:{CONTROLLER_PORT}", service_host(node_name, namespace))
}

/// Where a broker is reached by the others, and by the operator.
pub fn replication_address(service: &str, namespace: &str) -> String {
    format!("{}:{REPLICATION_PORT}", service_host(service, namespace))
}

/// Kafka's name of a listener.
pub fn kafka_listener(name: &str) -> String {
    name.to_ascii_uppercase()
}

/// Variable of the pod: what clients are told when it starts.
pub const ADVERTISED_LISTENERS: &str = "KAFKA_ADVERTISED_LISTENERS";
/// Name of that variable's value in the node's ConfigMap: addresses change, and the pod's template does not.
pub const ADDRESSES: &str = "advertised.listeners";

/// Variable of the pod: the address of its machine.
pub const HOST_IP: &str = "HOST_IP";

/// Variable of the pod: its own address.
pub const POD_IP: &str = "OTTLA_POD_IP";

/// Variable of the pod: the rack, from the pod's own label.
pub const RACK: &str = "KAFKA_BROKER_RACK";

/// Where a volume is mounted.
pub fn mount_path(volume: i32) -> String {
    format!("/var/lib/ottla/{volume}")
}

/// The log directory on a volume: below the mount point, which may hold `lost+found`.
pub fn log_directory(volume: i32) -> String {
    format!("/var/lib/ottla/{volume}/log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit_into_a_label() {
        let node_name = node(&"c".repeat(28), &"p".repeat(12), NodeId(99_999));
        // The StatefulSet controller appends `-` and ten characters in the label `controller-revision-hash`.
        assert!(node_name.len() + 11 <= 63);
        assert!(node_listener(&node_name, &"l".repeat(12)).len() <= 63);
        assert!(bootstrap(&"c".repeat(28), &"l".repeat(12)).len() <= 63);
        assert!(topic_record(&"c".repeat(28)).len() <= 63);
    }
}
