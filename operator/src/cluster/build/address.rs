//! Under which address a broker is told to clients, listener by listener: what Kubernetes assigned to its Services, what its pod and its machine have,
//! or what the user says in their place.

use super::names;
use crate::{
    cluster::{
        machines::Machines,
        observe::Observed,
        validate::{Node, ValidatedCluster},
    },
    crd::cluster::{Listener, ListenerType},
};
use k8s_openapi::api::core::v1::{Pod, PodStatus, Service};
use kube::ResourceExt;
use ottla_client::admin::Address;
use std::collections::BTreeMap;

/// Of a list that may be long, so many are told.
const AT_MOST: usize = 10;

/// What Kubernetes assigned to Services, by name, and what it knows of machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    services: BTreeMap<String, Assigned>,
    machines: Option<Machines>,
}

/// What Kubernetes assigned to a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Assigned {
    node_port: Option<i32>,
    cluster_ip: Option<String>,
    /// Of its load balancer.
    ingress: Option<String>,
}

/// When a broker is told about.
#[derive(Clone, Copy, Debug)]
pub enum When<'a> {
    /// When it starts, and knows by itself what its pod has. The pod that there is, if it has a machine, is on the likely one.
    Start(Option<&'a Pod>),
    /// While it runs in this pod.
    Now(&'a Pod),
}

impl<'a> When<'a> {
    fn pod(self) -> Option<&'a Pod> {
        match self {
            Self::Start(pod) => pod,
            Self::Now(pod) => Some(pod),
        }
    }

    /// What is in `variable` of the pod.
    fn own(self, variable: &str, of: impl Fn(&PodStatus) -> Option<&String>) -> Option<String> {
        match self {
            Self::Start(_) => Some(format!("${{env:{variable}}}")),
            Self::Now(pod) => of(pod.status.as_ref()?).cloned(),
        }
    }
}

impl Addresses {
    /// Reads them from applied Services.
    pub fn of(services: &[Service], machines: Option<Machines>) -> Self {
        let services = services.iter().map(|s| (s.name_any(), assigned(s))).collect();
        Self { services, machines }
    }

    /// The node port of a Service.
    pub(super) fn node_port(&self, service: &str) -> Option<i32> {
        self.services.get(service)?.node_port
    }

    fn cluster_ip(&self, service: &str) -> Option<String> {
        self.services.get(service)?.cluster_ip.clone()
    }

    fn ingress(&self, service: &str) -> Option<String> {
        self.services.get(service)?.ingress.clone()
    }

    /// What clients of `listener` are told about a broker; none while it is not known.
    pub fn told(
        &self,
        cluster: &ValidatedCluster,
        listener: &Listener,
        node: &Node,
        when: When<'_>,
    ) -> Option<Address> {
        let service = names::node_listener(&node.name, &listener.name);
        let own = || match listener.type_ {
            ListenerType::Internal => Some(names::service_host(&node.name, &cluster.namespace)),
            ListenerType::ClusterIp => self.cluster_ip(&service),
            ListenerType::Loadbalancer => self.ingress(&service),
            ListenerType::Nodeport => self.machine(listener, when),
            ListenerType::PodIp => when.own(names::POD_IP, |s| s.pod_ip.as_ref()),
        };
        let given = ValidatedCluster::advertised(listener, node.id);
        let host = given.and_then(|g| g.host.as_deref()).map(unbracketed).or_else(own)?;
        let port = match listener.type_ {
            ListenerType::Nodeport => self.node_port(&service),
            _ => Some(listener.port),
        };
        let port = given.and_then(|g| g.port).or(port)?;
        Some(Address { host, port: u16::try_from(port).ok()? })
    }

    /// The address of a pod's machine that clients of `listener` are told.
    fn machine(&self, listener: &Listener, when: When<'_>) -> Option<String> {
        let preferred = when.pod().and_then(|pod| self.preferred(listener, pod));
        preferred.or_else(|| when.own(names::HOST_IP, |s| s.host_ip.as_ref()))
    }

    fn preferred(&self, listener: &Listener, pod: &Pod) -> Option<String> {
        let addresses = self.machines.as_ref()?.of(pod.spec.as_ref()?.node_name.as_ref()?)?;
        let of =
            |kind: &str| addresses.iter().find(|(has, _)| has == kind).map(|(_, address)| address.clone());
        listener.preferred_address_types.iter().find_map(|kind| of(kind.as_str()))
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
        let port = u16::try_from(listener.port).ok()?;
        let pods = || observed.pods.iter().filter(|p| p.labels().contains_key(names::BROKER)).map(When::Now);
        let at = |host, port| Address { host, port }.to_string();
        let own = || match listener.type_ {
            ListenerType::Internal => Some(at(names::service_host(&service, &cluster.namespace), port)),
            ListenerType::ClusterIp => Some(at(self.cluster_ip(&service)?, port)),
            ListenerType::Loadbalancer => Some(at(self.ingress(&service)?, port)),
            ListenerType::Nodeport => {
                let port = u16::try_from(self.node_port(&service)?).ok()?;
                Some(at(pods().find_map(|pod| self.machine(listener, pod))?, port))
            }
            ListenerType::PodIp => {
                let hosts = pods().filter_map(|pod| pod.own(names::POD_IP, |s| s.pod_ip.as_ref()));
                joined(hosts.map(|host| at(host, port)))
            }
        };
        let hosts = cluster.brokers().filter_map(|node| {
            ValidatedCluster::advertised(listener, node.id)?.host.as_ref()?;
            Some(self.told(cluster, listener, node, When::Start(None))?.to_string())
        });
        joined(hosts).or_else(own)
    }

    /// Services of `listener` whose address is waited for, as it is told to clients.
    pub fn pending(&self, cluster: &ValidatedCluster, listener: &Listener) -> Vec<String> {
        if !listener.type_.has_node_services() {
            return Vec::new();
        }
        let is_unknown = |node: &&Node| self.told(cluster, listener, node, When::Start(None)).is_none();
        let nodes =
            cluster.brokers().filter(is_unknown).map(|n| names::node_listener(&n.name, &listener.name));
        let bootstrap = names::bootstrap(&cluster.name, &listener.name);
        let has_hosts = listener.advertised.iter().any(|a| a.host.is_some());
        let is_assigned = match listener.type_ {
            ListenerType::Loadbalancer => self.ingress(&bootstrap).is_some(),
            ListenerType::Nodeport => self.node_port(&bootstrap).is_some(),
            _ => self.cluster_ip(&bootstrap).is_some(),
        };
        let bootstrap = (!is_assigned && !has_hosts).then_some(bootstrap);
        let what = match listener.type_ {
            ListenerType::Loadbalancer => "no load balancer has given it an address yet",
            _ => "it has no address yet",
        };
        let all: Vec<_> =
            bootstrap.into_iter().chain(nodes).map(|name| format!("Service {name}: {what}")).collect();
        let more = all.len().saturating_sub(AT_MOST);
        let more = (more > 0).then(|| format!("{more} more Services"));
        all.into_iter().take(AT_MOST).chain(more).collect()
    }

    /// Preferences that come to nothing.
    pub fn warnings(&self, cluster: &ValidatedCluster, observed: &Observed) -> Vec<String> {
        let prefers = |l: &&Listener| !l.preferred_address_types.is_empty();
        let warning = |listener: &Listener| {
            let field = format!("spec.listeners[{}].preferredAddressTypes", listener.name);
            if self.machines.is_none() {
                return Some(format!(
                    "{field}: has no effect, the operator may not read Nodes (clusterRole in the chart's values); clients are told internal addresses"
                ));
            }
            let is_placed = |p: &&Pod| p.spec.as_ref().is_some_and(|s| s.node_name.is_some());
            let mut brokers =
                observed.pods.iter().filter(|p| p.labels().contains_key(names::BROKER)).filter(is_placed);
            let pod = brokers.find(|p| self.preferred(listener, p).is_none())?;
            let machine = pod.spec.as_ref()?.node_name.as_ref()?;
            Some(format!(
                "{field}: machine {machine} has no address of these types; clients are told its internal one"
            ))
        };
        cluster.listeners.iter().filter(prefers).filter_map(warning).collect()
    }
}

fn assigned(service: &Service) -> Assigned {
    let spec = service.spec.as_ref();
    let is_address = |ip: &String| ip.parse::<std::net::IpAddr>().is_ok();
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()?.ingress.as_ref());
    // A name outlives the addresses behind it.
    let ingress = |i: &k8s_openapi::api::core::v1::LoadBalancerIngress| {
        let given = [&i.hostname, &i.ip].into_iter().flatten().find(|text| !text.is_empty());
        given.cloned()
    };
    Assigned {
        node_port: spec.and_then(|s| s.ports.as_ref()?.iter().find_map(|p| p.node_port)),
        cluster_ip: spec.and_then(|s| s.cluster_ip.clone()).filter(is_address),
        ingress: balancer.into_iter().flatten().find_map(ingress),
    }
}

fn unbracketed(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn joined(addresses: impl Iterator<Item = String>) -> Option<String> {
    Some(addresses.collect::<Vec<_>>().join(",")).filter(|a| !a.is_empty())
}

#[cfg(test)]
impl Addresses {
    /// Node ports by Service, for tests.
    pub fn node_ports<const N: usize>(ports: [(&str, i32); N]) -> Self {
        let assigned = |port| Assigned { node_port: Some(port), ..Assigned::default() };
        let services =
            ports.into_iter().map(|(service, port)| (service.to_owned(), assigned(port))).collect();
        Self { services, machines: None }
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
