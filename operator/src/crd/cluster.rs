//! `KafkaCluster`: node pools, storage, listeners, configuration, and the status of all of it.

use super::{
    ConfigMapping, DeletionPolicy,
    network::{NetworkPolicies, Peer},
    pods::{Metadata, PodSettings, Resources},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Kafka cluster of Ottla brokers.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ottla.dev",
    version = "v1alpha1",
    kind = "KafkaCluster",
    namespaced,
    shortname = "kc",
    category = "ottla",
    status = "KafkaClusterStatus",
    derive = "PartialEq",
    doc = "A Kafka cluster of Ottla brokers.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Bootstrap", type_ = "string", json_path = ".status.listeners[0].bootstrapServers"),
    printcolumn(name = "Cluster-Id", type_ = "string", json_path = ".status.clusterId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,26}[a-z0-9])?$')")
        .message("metadata.name: at most 28 lower case letters, digits and '-', starting with a letter: Services and volumes are named after it"),
)]
#[x_kube(
    validation = Rule::new("self.nodePools.exists(p, 'controller' in p.roles && p.replicas > 0)")
        .message("spec.nodePools: no pool with the role controller has replicas; somebody has to keep the metadata"),
    validation = Rule::new("self.nodePools.exists(p, 'broker' in p.roles && p.replicas > 0)")
        .message("spec.nodePools: no pool with the role broker has replicas; somebody has to hold partitions"),
    validation = Rule::new("oldSelf.nodePools.all(o, o.replicas == 0 || self.nodePools.exists(p, p.name == o.name))")
        .message("spec.nodePools[].name: a pool cannot be renamed or replaced, its nodes hold the data; set its replicas to 0 first"),
    validation = Rule::new("self.listeners.all(l, self.listeners.exists_one(o, o.port == l.port))")
        .message("spec.listeners[].port: two listeners have the same port"),
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterSpec {
    /// Groups of nodes that are alike.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub node_pools: Vec<NodePool>,

    /// Where clients connect. A listener for the brokers themselves is added by the operator.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub listeners: Vec<Listener>,

    /// Kafka's broker configuration, under Kafka's names; values are strings, numbers or booleans.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[schemars(schema_with = "super::cluster_config_schema")]
    pub config: ConfigMapping,

    /// Tells each broker which zone it runs in, as `broker.rack`: replicas are spread over racks, consumers may read from their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,

    /// Image of the broker; the operator's own release when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// Whether NetworkPolicies are made: who may connect to each listener, and nobody but the cluster and the operator to the nodes' own ports.
    #[serde(default)]
    pub network_policies: NetworkPolicies,

    /// CPU and memory of the containers of pools that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// What all pods have; a pool's own `pods` adds to it and overrides it. A change restarts the nodes, one after the other.
    #[serde(default, skip_serializing_if = "PodSettings::is_empty")]
    pub pods: PodSettings,
}

fn is_empty(config: &ConfigMapping) -> bool {
    config.0.is_empty()
}

/// Where a broker's rack comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rack {
    /// Label of the machine whose value is the rack. Kubernetes copies these two to the pods (from 1.35 on), and no others.
    #[serde(default)]
    pub topology_key: TopologyKey,
}

/// A label of machines that Kubernetes copies to their pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopologyKey {
    /// The zone.
    #[default]
    #[serde(rename = "topology.kubernetes.io/zone")]
    Zone,
    /// The region.
    #[serde(rename = "topology.kubernetes.io/region")]
    Region,
}

impl TopologyKey {
    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "topology.kubernetes.io/zone",
            Self::Region => "topology.kubernetes.io/region",
        }
    }
}

/// Nodes that are alike.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePool {
    /// Unique in the cluster; part of the names of the nodes' objects.
    #[schemars(regex(pattern = r"^[a-z]([-a-z0-9]{0,10}[a-z0-9])?$"), length(max = 12))]
    pub name: String,

    /// What the nodes do.
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(r, r in oldSelf) && oldSelf.all(r, r in self)")
            .message("spec.nodePools[].roles cannot be changed"),
    )]
    pub roles: Vec<Role>,

    /// Number of nodes. Fewer take the highest ids away: a broker goes once no partition has a replica on it, a controller once it votes no
    /// more.
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,

    /// Where the nodes keep their data.
    pub storage: Storage,

    /// CPU and memory of the nodes' containers, in place of `spec.resources`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// What the pods have, beside and in place of what `spec.pods` says. A change restarts the pool's nodes, one after the other.
    #[serde(default, skip_serializing_if = "PodSettings::is_empty")]
    pub pods: PodSettings,

    /// What nothing else here has a word for: a partial `PodTemplateSpec` that is merged into the pods last. Lists merge by their keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::open_object_schema")]
    pub pod_overrides: Option<serde_json::Value>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds partitions and answers clients.
    Broker,
    /// Votes in the metadata quorum.
    Controller,
}

impl Role {
    /// Kafka's word for it, as in `process.roles`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Controller => "controller",
        }
    }
}

/// Where a node keeps its data.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Volumes, each a log directory. The first holds the metadata log as well.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["id".into()]),
        validation = Rule::new("self.size() == oldSelf.size() && oldSelf.all(o, self.exists(v, v.id == o.id))")
            .message("spec.nodePools[].storage.volumes: volumes cannot be added or removed yet, partitions would have to move"),
    )]
    pub volumes: Vec<Volume>,

    /// What becomes of the claims when the cluster is deleted. Kept claims are adopted again by a cluster of the same name.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Labels and annotations of the claims. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

/// One volume of a node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("spec.nodePools[].storage.volumes[].size cannot shrink"),
    validation = Rule::new("has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)")
        .message("spec.nodePools[].storage.volumes[].class cannot be changed, a claim keeps its class"),
)]
pub struct Volume {
    /// Unique in the pool; part of the claim's name.
    #[schemars(range(min = 0, max = 99))]
    pub id: i32,

    /// Size as a Kubernetes quantity, e.g. `20Gi`. Can grow where the class allows it, never shrink.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$"), length(max = 32))]
    pub size: String,

    /// Name of the StorageClass; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class: Option<String>,
}

/// Where clients connect.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'nodeport' || !has(self.nodePort)")
        .message("spec.listeners[].nodePort belongs to type nodeport"),
    validation = Rule::new("self.type == 'nodeport' || !has(self.advertised) || self.advertised.all(a, !has(a.nodePort))")
        .message("spec.listeners[].advertised[].nodePort belongs to type nodeport"),
    validation = Rule::new("!(self.name in ['controller', 'replication', 'http', 'admin'])")
        .message("spec.listeners[].name: controller, replication, http and admin are the operator's own"),
    validation = Rule::new("!(self.port in [9090, 9091, 9404, 9405])")
        .message("spec.listeners[].port: 9090, 9091, 9404 and 9405 are taken by controller, replication, HTTP and admin"),
    validation = Rule::new("self.type == 'nodeport' || !has(self.preferredAddressTypes)")
        .message("spec.listeners[].preferredAddressTypes belongs to type nodeport"),
    validation = Rule::new("self.type in ['cluster-ip', 'nodeport', 'loadbalancer'] || !has(self.advertised) || self.advertised.all(a, !has(a.annotations))")
        .message("spec.listeners[].advertised[].annotations belong to types with a Service for each node: cluster-ip, nodeport and loadbalancer"),
    validation = Rule::new("!has(self.nodePort) || !has(self.advertised) || self.advertised.all(a, !has(a.nodePort) || a.nodePort != self.nodePort)")
        .message("spec.listeners[].nodePort: the bootstrap Service and a node cannot share a node port"),
)]
pub struct Listener {
    /// Unique in the cluster; Kafka's listener name is this in upper case.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9]{0,11}$"), length(max = 12))]
    pub name: String,

    /// Port in the pods and on the cluster's Services.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,

    /// How clients reach it.
    #[serde(rename = "type")]
    pub type_: ListenerType,

    /// Security protocol.
    #[serde(default)]
    pub protocol: Protocol,

    /// Node port of the bootstrap Service; assigned by Kubernetes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,

    /// Which of its machine's addresses a node tells clients with `nodeport`: that of the first of these types that the machine has. Without it, or
    /// where it has none of them, its internal IP (of IPv4 and IPv6, that of the Kubernetes cluster's first family). A change restarts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(merge_strategy = ListMerge::Atomic, validation = Rule::new("self.all(t, self.exists_one(o, o == t))").message("spec.listeners[].preferredAddressTypes: a type is there twice"))]
    pub preferred_address_types: Vec<AddressType>,

    /// What single nodes tell clients in place of the address that the operator works out, and what their Services carry. A change restarts
    /// nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub advertised: Vec<Advertised>,

    /// Who may connect, where the Kubernetes cluster's network enforces NetworkPolicies; everybody when absent. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32))]
    pub allow_from: Vec<Peer>,

    /// Labels and annotations of the listener's Services. A change restarts nothing.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

/// How clients reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerType {
    /// From inside the Kubernetes cluster, by the name of each node's own Service.
    Internal,
    /// Over Services of the listener's own, one a node, by their addresses; or through whatever leads to these Services, with `advertised`.
    ClusterIp,
    /// From outside, over a port of the Kubernetes nodes.
    Nodeport,
    /// From outside, over a load balancer for each broker and one to find them all.
    #[serde(rename = "loadbalancer")]
    Loadbalancer,
    /// Where pods' addresses are reached directly.
    PodIp,
}

impl ListenerType {
    /// As in the resource.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::ClusterIp => "cluster-ip",
            Self::Nodeport => "nodeport",
            Self::Loadbalancer => "loadbalancer",
            Self::PodIp => "pod-ip",
        }
    }

    /// Each broker has a Service for it.
    pub fn has_node_services(self) -> bool {
        matches!(self, Self::ClusterIp | Self::Nodeport | Self::Loadbalancer)
    }
}

/// Kinds of addresses that Kubernetes knows of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AddressType {
    /// Reached from outside.
    #[serde(rename = "ExternalIP")]
    ExternalIp,
    /// Reached by the other machines.
    #[serde(rename = "InternalIP")]
    InternalIp,
    /// What the machine calls itself.
    Hostname,
    /// A name of the external address.
    #[serde(rename = "ExternalDNS")]
    ExternalDns,
    /// A name of the internal address.
    #[serde(rename = "InternalDNS")]
    InternalDns,
}

impl AddressType {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExternalIp => "ExternalIP",
            Self::InternalIp => "InternalIP",
            Self::Hostname => "Hostname",
            Self::ExternalDns => "ExternalDNS",
            Self::InternalDns => "InternalDNS",
        }
    }
}

/// Kafka's security protocols that are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// No encryption, no authentication.
    #[default]
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
}

impl Protocol {
    /// Kafka's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
        }
    }
}

/// What one node tells clients on a listener, and what its Service carries.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.host) || has(self.port) || has(self.nodePort) || has(self.annotations)")
        .message("spec.listeners[].advertised[]: set at least one of host, port, nodePort, annotations"),
)]
pub struct Advertised {
    /// The node's id.
    #[schemars(range(min = 0, max = 99999))]
    pub node: i32,

    /// Host name or address in place of the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^([0-9A-Za-z]([-0-9A-Za-z.]*[0-9A-Za-z])?|\[[0-9A-Fa-f:.]+\])$"),
        length(max = 253)
    )]
    pub host: Option<String>,

    /// Port that clients use where it is mapped to another one on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// Node port of this node's Service; assigned by Kubernetes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,

    /// Annotations of this node's Service, over the listener's: for what makes names in DNS or load balancers of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::pods::annotations_schema")]
    pub annotations: BTreeMap<String, String>,
}

/// What the operator found and did.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// The generation that the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, `Progressing`, `Degraded`; `ListenersReady`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Kafka's cluster id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,

    /// Ids of the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub node_ids: Vec<i32>,

    /// The nodes, those on their way out among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub nodes: Vec<NodeStatus>,

    /// Ids of the controllers that vote, as last told by the active one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub voters: Vec<i32>,

    /// What works and is not advisable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,

    /// Where to connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub listeners: Vec<ListenerStatus>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Kafka's `node.id`.
    pub id: i32,
    /// Name of its StatefulSet and Service.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Its pod is ready.
    pub ready: bool,
    /// The rack that its pod was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// What is still to be done to it, and why that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name in the spec.
    pub name: String,
    /// Type in the spec.
    #[serde(rename = "type")]
    pub type_: ListenerType,
    /// For `bootstrap.servers`; absent while the address is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_servers: Option<String>,
    /// What is waited for before clients can reach all brokers on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
}
