//! Under which address a node is told to clients, listener by listener: what Kubernetes assigned to its Services, what its pod will know of itself
//! when it runs, or what the user says in their place.

use super::names;
use crate::{
    cluster::{identity::NodeId, observe::Observed, validate::ValidatedCluster},
    crd::cluster::{Listener, ListenerType},
};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Variable of the pod: its own address.
pub const POD_IP: &str = "OTTLA_POD_IP";

/// What Kubernetes assigned to Services, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(BTreeMap<String, Assigned>);

/// What Kubernetes assigned to a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Assigned {
    node_port: Option<i32>,
    cluster_ip: Option<String>,
}

impl Addresses {
    /// Reads them from applied Services.
    pub fn of(services: &[Service]) -> Self {
        let assigned = |service: &Service| {
            let spec = service.spec.as_ref();
            let is_address = |ip: &String| ip.parse::<std::net::IpAddr>().is_ok();
            Assigned {
                node_port: spec.and_then(|s| s.ports.as_ref()?.iter().find_map(|p| p.node_port)),
                cluster_ip: spec.and_then(|s| s.cluster_ip.clone()).filter(is_address),
            }
        };
        Self(services.iter().map(|s| (s.name_any(), assigned(s))).collect())
    }

    /// The node port of a Service.
    pub(super) fn node_port(&self, service: &str) -> Option<i32> {
        self.0.get(service)?.node_port
    }

    fn cluster_ip(&self, service: &str) -> Option<String> {
        self.0.get(service)?.cluster_ip.as_deref().map(bracketed)
    }

    /// What clients of `listener` are told about a broker, `host:port`; none while it is not known. `$(HOST_IP)` and `$(OTTLA_POD_IP)` stand for what
    /// the pod knows of itself, in brackets because it may be an IPv6 address: the broker takes the brackets off any address.
    pub fn told(
        &self,
        cluster: &ValidatedCluster,
        listener: &Listener,
        id: NodeId,
        node: &str,
    ) -> Option<String> {
        let service = names::node_listener(node, &listener.name);
        let (host, port) = match listener.type_ {
            ListenerType::Internal => {
                (Some(names::service_host(node, &cluster.namespace)), Some(listener.port))
            }
            ListenerType::ClusterIp => (self.cluster_ip(&service), Some(listener.port)),
            ListenerType::Nodeport => (Some("[$(HOST_IP)]".to_owned()), self.node_port(&service)),
            ListenerType::PodIp => (Some(format!("[$({POD_IP})]")), Some(listener.port)),
        };
        let given = ValidatedCluster::advertised(listener, id);
        let host = given.and_then(|g| g.host.clone()).or(host)?;
        let port = given.and_then(|g| g.port).or(port)?;
        Some(format!("{host}:{port}"))
    }

    /// For `bootstrap.servers`; none while it is not known. Where hosts are overridden, the nodes' own addresses: clients must reach those in any case,
    /// the bootstrap Service perhaps not.
    pub fn bootstrap(
        &self,
        cluster: &ValidatedCluster,
        listener: &Listener,
        observed: &Observed,
    ) -> Option<String> {
        let service = names::bootstrap(&cluster.name, &listener.name);
        let own = || match listener.type_ {
            ListenerType::Internal => {
                Some(format!("{}:{}", names::service_host(&service, &cluster.namespace), listener.port))
            }
            ListenerType::ClusterIp => Some(format!("{}:{}", self.cluster_ip(&service)?, listener.port)),
            ListenerType::Nodeport => {
                let port = self.node_port(&service)?;
                Some(format!("{}:{port}", of_pods(observed, |s| s.host_ip.as_ref()).next()?))
            }
            ListenerType::PodIp => {
                let hosts = of_pods(observed, |s| s.pod_ip.as_ref());
                joined(hosts.map(|host| format!("{host}:{}", listener.port)))
            }
        };
        let hosts = cluster.brokers().filter_map(|node| {
            ValidatedCluster::advertised(listener, node.id)?.host.as_ref()?;
            self.told(cluster, listener, node.id, &node.name)
        });
        joined(hosts).or_else(own)
    }
}

/// An address of each broker's pod that has one.
fn of_pods<'a>(
    observed: &'a Observed,
    address: impl Fn(&'a k8s_openapi::api::core::v1::PodStatus) -> Option<&'a String>,
) -> impl Iterator<Item = String> {
    let brokers = observed.pods.iter().filter(|p| p.labels().contains_key(names::BROKER));
    brokers.filter_map(move |p| address(p.status.as_ref()?)).map(|ip| bracketed(ip))
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

fn joined(addresses: impl Iterator<Item = String>) -> Option<String> {
    Some(addresses.collect::<Vec<_>>().join(",")).filter(|a| !a.is_empty())
}

#[cfg(test)]
impl Addresses {
    /// Node ports by Service, for tests.
    pub fn node_ports<const N: usize>(ports: [(&str, i32); N]) -> Self {
        let assigned = |port| Assigned { node_port: Some(port), cluster_ip: None };
        Self(ports.into_iter().map(|(service, port)| (service.to_owned(), assigned(port))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{cluster, validated};
    use serde_json::{Value, json};

    /// A cluster of two brokers with one listener, what Kubernetes has made of its Services, and its pods with the addresses of two families.
    struct World {
        cluster: ValidatedCluster,
        addresses: Addresses,
        observed: Observed,
    }

    fn world(listener: Value) -> World {
        let asked = cluster(|s| {
            s["nodePools"][0]["replicas"] = json!(2);
            s["listeners"] = json!([listener]);
        });
        let cluster = validated(&asked, &Observed::default()).unwrap();
        let mut services = super::super::foundation(&cluster).services;
        for (index, service) in (1..).zip(&mut services) {
            let spec = service.spec.as_mut().unwrap();
            spec.cluster_ip = Some(format!("10.96.0.{index}"));
            if spec.type_.as_deref() == Some("NodePort") {
                spec.ports.as_mut().unwrap()[0].node_port.get_or_insert(31_000 + index);
            }
        }
        let pod = |(name, host, pod)| {
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {names::BROKER: "true"}},
                "status": {"hostIP": host, "podIP": pod},
            }))
            .unwrap()
        };
        let pods = [("demo-main-0-0", "172.18.0.2", "10.244.1.5"), ("demo-main-1-0", "fd00::2", "fd01::5")];
        let observed = Observed { pods: pods.map(pod).into(), ..Observed::default() };
        World { addresses: Addresses::of(&services), cluster, observed }
    }

    impl World {
        /// What is told about both brokers, and the bootstrap string.
        fn told(&self) -> [Option<String>; 3] {
            let listener = &self.cluster.listeners[0];
            let of = |index: usize| {
                let node = &self.cluster.nodes[index];
                self.addresses.told(&self.cluster, listener, node.id, &node.name)
            };
            [of(0), of(1), self.addresses.bootstrap(&self.cluster, listener, &self.observed)]
        }
    }

    fn listener(type_: &str) -> Value {
        json!({"name": "clients", "port": 9092, "type": type_})
    }

    #[test]
    fn each_type_has_its_addresses() {
        for (type_, expected) in [
            (
                "internal",
                [
                    "demo-main-0.shop.svc:9092",
                    "demo-main-1.shop.svc:9092",
                    "demo-clients-bootstrap.shop.svc:9092",
                ],
            ),
            // Services in order: two of the nodes, replication, bootstrap, two of the listener.
            ("cluster-ip", ["10.96.0.5:9092", "10.96.0.6:9092", "10.96.0.4:9092"]),
            ("nodeport", ["[$(HOST_IP)]:31005", "[$(HOST_IP)]:31006", "172.18.0.2:31004"]),
            (
                "pod-ip",
                ["[$(OTTLA_POD_IP)]:9092", "[$(OTTLA_POD_IP)]:9092", "10.244.1.5:9092,[fd01::5]:9092"],
            ),
        ] {
            assert_eq!(world(listener(type_)).told(), expected.map(|e| Some(e.to_owned())), "{type_}");
        }
    }

    #[test]
    fn what_the_user_says_is_in_place_of_it() {
        for type_ in ["internal", "cluster-ip", "nodeport", "pod-ip"] {
            let mut asked = listener(type_);
            asked["advertised"] =
                json!([{"node": 0, "host": "zero.example", "port": 443}, {"node": 1, "host": "one.example"}]);
            let [zero, one, bootstrap] = world(asked).told();
            assert_eq!(zero.as_deref(), Some("zero.example:443"), "{type_}");
            let port = if type_ == "nodeport" { 31_006 } else { 9092 };
            assert_eq!(one, Some(format!("one.example:{port}")), "{type_}");
            assert_eq!(bootstrap, Some(format!("zero.example:443,one.example:{port}")), "{type_}");
        }
        let mut mapped = listener("cluster-ip");
        mapped["advertised"] = json!([{"node": 0, "port": 443}]);
        let [zero, _, bootstrap] = world(mapped).told();
        assert_eq!(zero.as_deref(), Some("10.96.0.5:443"));
        assert_eq!(bootstrap.as_deref(), Some("10.96.0.4:9092"), "a port alone does not say where");
    }

    #[test]
    fn what_is_not_assigned_yet_is_not_told() {
        for (type_, is_known) in
            [("internal", true), ("cluster-ip", false), ("nodeport", false), ("pod-ip", true)]
        {
            let world = World { addresses: Addresses::default(), ..world(listener(type_)) };
            assert_eq!(world.told()[0].is_some(), is_known, "{type_}");
        }
        let mut headless = super::super::foundation(&world(listener("internal")).cluster).services;
        headless[0].spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
        assert_eq!(Addresses::of(&headless[..1]).cluster_ip("demo-main-0"), None);
    }

    #[test]
    fn addresses_of_the_second_family_are_in_brackets() {
        let service: Service =
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "fd00::7"}}))
                .unwrap();
        assert_eq!(Addresses::of(&[service]).cluster_ip("a").as_deref(), Some("[fd00::7]"));
    }
}
