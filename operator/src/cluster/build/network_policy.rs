//! NetworkPolicies: one over all nodes, for the ports that are the cluster's own, and one per listener, for its clients. They take effect where
//! the Kubernetes cluster's network enforces any.

use super::names;
use crate::{
    cluster::validate::ValidatedCluster,
    crd::{
        cluster::Listener,
        network::{NetworkPolicies, Peer, Selector},
    },
};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// All policies of a cluster. `operator` is the namespace that the operator's pods are in; without it the ports that it needs are open to
/// everybody, because it is not known where it is.
pub fn build(cluster: &ValidatedCluster, operator: Option<&str>) -> Vec<NetworkPolicy> {
    if cluster.network_policies == NetworkPolicies::Disabled {
        return Vec::new();
    }
    let listeners = cluster.listeners.iter().map(|listener| clients(cluster, listener));
    [nodes(cluster, operator)].into_iter().chain(listeners).collect()
}

/// The ports of the nodes: those of the cluster to its own pods, the operator's to the operator, HTTP and those of other containers to everybody.
fn nodes(cluster: &ValidatedCluster, operator: Option<&str>) -> NetworkPolicy {
    let members = [(names::CLUSTER.to_owned(), cluster.name.clone())];
    let own =
        NetworkPolicyPeer { pod_selector: Some(labels(members.clone())), ..NetworkPolicyPeer::default() };
    let operator = operator.map(|namespace| {
        let namespace = [("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())];
        let pods = [("app.kubernetes.io/name".to_owned(), names::FIELD_MANAGER.to_owned())];
        vec![NetworkPolicyPeer {
            namespace_selector: Some(labels(namespace)),
            pod_selector: Some(labels(pods)),
            ip_block: None,
        }]
    });
    let open = [("TCP".to_owned(), names::HTTP_PORT)].into_iter().chain(sidecars(cluster));
    let rules = vec![
        rule([names::CONTROLLER_PORT, names::REPLICATION_PORT].map(tcp), Some(vec![own])),
        rule([names::REPLICATION_PORT, names::ADMIN_PORT].map(tcp), operator),
        rule(open, None),
    ];
    policy(cluster, names::nodes_policy(&cluster.name), members.into(), rules)
}

/// Ports of containers that the user added: nobody asked for them to be closed.
fn sidecars(cluster: &ValidatedCluster) -> BTreeSet<(String, i32)> {
    let specs = cluster.nodes.iter().filter_map(|n| n.overrides.as_ref()?.spec.as_ref());
    let containers = specs.flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    let asked = ports.map(|p| (p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), p.container_port));
    let taken = cluster.listeners.iter().map(|l| l.port);
    let own = [names::CONTROLLER_PORT, names::REPLICATION_PORT, names::ADMIN_PORT, names::HTTP_PORT];
    let taken: BTreeSet<_> = taken.chain(own).collect();
    asked.filter(|(_, port)| !taken.contains(port)).collect()
}

fn clients(cluster: &ValidatedCluster, listener: &Listener) -> NetworkPolicy {
    let brokers = BTreeMap::from([
        (names::CLUSTER.to_owned(), cluster.name.clone()),
        (names::BROKER.to_owned(), "true".to_owned()),
    ]);
    let peers = Some(listener.allow_from.iter().map(peer).collect::<Vec<_>>()).filter(|p| !p.is_empty());
    let rules = vec![rule([tcp(listener.port)], peers)];
    policy(cluster, names::clients_policy(&cluster.name, &listener.name), brokers, rules)
}

fn peer(given: &Peer) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: given.pod_selector.as_ref().map(selector),
        namespace_selector: given.namespace_selector.as_ref().map(selector),
        ip_block: given.ip_block.as_ref().map(|block| IPBlock {
            cidr: block.cidr.clone(),
            except: Some(block.except.clone()).filter(|e| !e.is_empty()),
        }),
    }
}

fn selector(given: &Selector) -> LabelSelector {
    let expression = |e: &crate::crd::network::Expression| LabelSelectorRequirement {
        key: e.key.clone(),
        operator: format!("{:?}", e.operator),
        values: Some(e.values.clone()).filter(|v| !v.is_empty()),
    };
    let expressions: Vec<_> = given.match_expressions.iter().map(expression).collect();
    LabelSelector {
        match_labels: Some(given.match_labels.clone()).filter(|m| !m.is_empty()),
        match_expressions: Some(expressions).filter(|e| !e.is_empty()),
    }
}

fn labels<const N: usize>(labels: [(String, String); N]) -> LabelSelector {
    LabelSelector { match_labels: Some(BTreeMap::from(labels)), match_expressions: None }
}

fn tcp(port: i32) -> (String, i32) {
    ("TCP".to_owned(), port)
}

fn rule(
    ports: impl IntoIterator<Item = (String, i32)>,
    from: Option<Vec<NetworkPolicyPeer>>,
) -> NetworkPolicyIngressRule {
    let port = |(protocol, port)| NetworkPolicyPort {
        port: Some(IntOrString::Int(port)),
        protocol: Some(protocol),
        end_port: None,
    };
    NetworkPolicyIngressRule { ports: Some(ports.into_iter().map(port).collect()), from }
}

fn policy(
    cluster: &ValidatedCluster,
    name: String,
    pods: BTreeMap<String, String>,
    rules: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(cluster.namespace.clone()),
            labels: Some(names::labels(&cluster.name)),
            owner_references: Some(vec![cluster.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(pods), match_expressions: None }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(rules),
            egress: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::observe::Observed,
        fixtures::{cluster, validated},
    };
    use kube::ResourceExt;
    use serde_json::{Value, json};

    fn built(change: impl FnOnce(&mut Value), operator: Option<&str>) -> Vec<NetworkPolicy> {
        build(&validated(&cluster(change), &Observed::default()).unwrap(), operator)
    }

    /// Who may connect to `port`, by the policies together: nobody, these, or (an empty list) everybody.
    fn may(policies: &[NetworkPolicy], port: i32) -> Option<Vec<NetworkPolicyPeer>> {
        let rules = policies.iter().flat_map(|p| p.spec.as_ref().unwrap().ingress.as_ref().unwrap());
        let with = |r: &&NetworkPolicyIngressRule| {
            r.ports.iter().flatten().any(|p| p.port == Some(IntOrString::Int(port)))
        };
        let rules: Vec<_> = rules.filter(with).collect();
        if rules.iter().any(|r| r.from.is_none()) {
            return Some(Vec::new());
        }
        Some(rules.iter().flat_map(|r| r.from.clone().unwrap()).collect::<Vec<_>>()).filter(|p| !p.is_empty())
    }

    #[test]
    fn the_policies_of_a_cluster() {
        let from = json!([
            {"podSelector": {"matchLabels": {"app": "shop"}}},
            {"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": "In", "values": ["a", "b"]}]}},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
        ]);
        insta::assert_yaml_snapshot!(
            "policies",
            built(|s| s["listeners"][0]["allowFrom"] = from, Some("ottla-system"))
        );
    }

    #[test]
    fn the_nodes_own_ports_are_closed_to_clients() {
        let policies = built(|_| {}, Some("ottla-system"));
        let peers = |port| may(&policies, port).unwrap().len();
        assert_eq!((peers(9090), peers(9091), peers(9405)), (1, 2, 1));
        for open in [9404, 9092, 9094] {
            assert_eq!(may(&policies, open), Some(Vec::new()), "{open}");
        }
        assert_eq!(may(&policies, 9999), None);
    }

    #[test]
    fn an_operator_that_does_not_know_where_it_is_does_not_lock_itself_out() {
        let policies = built(|_| {}, None);
        assert_eq!(may(&policies, 9405), Some(Vec::new()));
        assert_eq!(may(&policies, 9090).unwrap().len(), 1);
    }

    #[test]
    fn ports_of_other_containers_stay_open() {
        let sidecar = json!({"spec": {"containers": [
            {"name": "broker", "ports": [{"containerPort": 9090}]},
            {"name": "exporter", "ports": [{"containerPort": 5556}, {"containerPort": 53, "protocol": "UDP"}]},
        ]}});
        let policies = built(|s| s["nodePools"][0]["podOverrides"] = sidecar, Some("ottla-system"));
        assert_eq!((may(&policies, 5556), may(&policies, 53)), (Some(Vec::new()), Some(Vec::new())));
        assert_eq!(may(&policies, 9090).unwrap().len(), 1, "an override opens none of ours");
    }

    #[test]
    fn whoever_wants_none_gets_none() {
        assert!(built(|s| s["networkPolicies"] = json!("Disabled"), Some("x")).is_empty());
        let names: Vec<_> = built(|_| {}, Some("x")).iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["demo-nodes", "demo-internal-clients", "demo-external-clients"]);
    }
}
