use super::*;
use crate::fixtures::{cluster, validated};
use serde_json::{Value, json};

/// A cluster of two brokers with one listener, what Kubernetes has made of its Services, and its pods with the addresses of two families.
struct World {
    cluster: ValidatedCluster,
    addresses: Addresses,
    observed: Observed,
}

fn machines() -> Machines {
    Machines::from([
        ("m0", &[("InternalIP", "172.18.0.2"), ("Hostname", "m0"), ("ExternalIP", "203.0.113.2")][..]),
        ("m1", &[("InternalIP", "fd00::2"), ("Hostname", "m1")][..]),
    ])
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
        if spec.type_.as_deref() == Some("LoadBalancer") {
            let ingress = json!({"loadBalancer": {"ingress": [{"ip": format!("203.0.113.{index}")}]}});
            service.status = Some(serde_json::from_value(ingress).unwrap());
        }
    }
    let pod = |(name, machine, host, pod)| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {names::BROKER: "true"}},
            "spec": {"containers": [], "nodeName": machine},
            "status": {"hostIP": host, "podIP": pod},
        }))
        .unwrap()
    };
    let pods =
        [("demo-main-0-0", "m0", "172.18.0.2", "10.244.1.5"), ("demo-main-1-0", "m1", "fd00::2", "fd01::5")];
    let observed = Observed { pods: pods.map(pod).into(), ..Observed::default() };
    World { addresses: Addresses::of(&services, Some(machines())), cluster, observed }
}

impl World {
    /// What is told about both brokers when they start, and the bootstrap string.
    fn told(&self) -> [Option<String>; 3] {
        let [zero, one] = [0, 1].map(|index| self.at(index, When::Start(None)));
        [zero, one, self.addresses.bootstrap(&self.cluster, &self.cluster.listeners[0], &self.observed)]
    }

    /// And while they run.
    fn now(&self) -> [Option<String>; 2] {
        [0, 1].map(|index| self.at(index, When::Now(&self.observed.pods[index])))
    }

    fn at(&self, index: usize, when: When<'_>) -> Option<String> {
        let (listener, node) = (&self.cluster.listeners[0], &self.cluster.nodes[index]);
        self.addresses.told(&self.cluster, listener, node, when).map(|address| address.to_string())
    }

    fn pending(&self) -> Vec<String> {
        self.addresses.pending(&self.cluster, &self.cluster.listeners[0])
    }
}

fn listener(type_: &str) -> Value {
    json!({"name": "clients", "port": 9092, "type": type_})
}

const TYPES: [&str; 5] = ["internal", "cluster-ip", "nodeport", "loadbalancer", "pod-ip"];

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
        ("loadbalancer", ["203.0.113.5:9092", "203.0.113.6:9092", "203.0.113.4:9092"]),
        ("nodeport", ["[${env:HOST_IP}]:31005", "[${env:HOST_IP}]:31006", "172.18.0.2:31004"]),
        (
            "pod-ip",
            ["[${env:OTTLA_POD_IP}]:9092", "[${env:OTTLA_POD_IP}]:9092", "10.244.1.5:9092,[fd01::5]:9092"],
        ),
    ] {
        let world = world(listener(type_));
        assert_eq!(world.told(), expected.map(|e| Some(e.to_owned())), "{type_}");
        let now = match type_ {
            "nodeport" => ["172.18.0.2:31005", "[fd00::2]:31006"],
            "pod-ip" => ["10.244.1.5:9092", "[fd01::5]:9092"],
            _ => [expected[0], expected[1]],
        };
        assert_eq!(world.now(), now.map(|e| Some(e.to_owned())), "{type_}, running");
        assert!(world.pending().is_empty(), "{type_}");
    }
}

#[test]
fn what_the_user_says_is_in_place_of_it() {
    for type_ in TYPES {
        let mut asked = listener(type_);
        asked["advertised"] =
            json!([{"node": 0, "host": "zero.example", "port": 443}, {"node": 1, "host": "[fd00::1]"}]);
        let world = world(asked);
        let [zero, one, bootstrap] = world.told();
        assert_eq!(zero.as_deref(), Some("zero.example:443"), "{type_}");
        let port = if type_ == "nodeport" { 31_006 } else { 9092 };
        assert_eq!(one, Some(format!("[fd00::1]:{port}")), "{type_}");
        assert_eq!(bootstrap, Some(format!("zero.example:443,[fd00::1]:{port}")), "{type_}");
        assert_eq!(world.now(), [zero, one], "{type_}, running");
    }
    let mut mapped = listener("cluster-ip");
    mapped["advertised"] = json!([{"node": 0, "port": 443}]);
    let [zero, _, bootstrap] = world(mapped).told();
    assert_eq!(zero.as_deref(), Some("10.96.0.5:443"));
    assert_eq!(bootstrap.as_deref(), Some("10.96.0.4:9092"), "a port alone does not say where");
}

#[test]
fn what_is_not_assigned_yet_is_not_told_and_waited_for_by_name() {
    for type_ in TYPES {
        let is_known = matches!(type_, "internal" | "pod-ip");
        let world = World { addresses: Addresses::default(), ..world(listener(type_)) };
        assert_eq!(world.told()[0].is_some(), is_known, "{type_}");
        let pending = world.pending();
        assert_eq!(pending.len(), if is_known { 0 } else { 3 }, "{type_}");
        let names = ["demo-clients-bootstrap", "demo-main-0-clients", "demo-main-1-clients"];
        for (told, name) in pending.iter().zip(names) {
            assert!(told.starts_with(&format!("Service {name}: ")), "{told}");
        }
    }
    let mut headless = super::super::foundation(&world(listener("internal")).cluster).services;
    headless[0].spec.as_mut().unwrap().cluster_ip = Some("None".to_owned());
    assert_eq!(Addresses::of(&headless[..1], None).cluster_ip("demo-main-0"), None);
}

#[test]
fn a_load_balancer_that_is_not_needed_is_not_waited_for() {
    let mut asked = listener("loadbalancer");
    asked["advertised"] = json!([{"node": 0, "host": "zero.example"}]);
    let world = World { addresses: Addresses::default(), ..world(asked) };
    let pending = world.pending();
    assert_eq!(pending, ["Service demo-main-1-clients: no load balancer has given it an address yet"]);
    assert_eq!(world.told()[2].as_deref(), Some("zero.example:9092"));
}

#[test]
fn a_list_of_what_is_waited_for_stays_short() {
    let asked = cluster(|s| {
        s["nodePools"][0]["replicas"] = json!(30);
        s["listeners"] = json!([listener("loadbalancer")]);
    });
    let cluster = validated(&asked, &Observed::default()).unwrap();
    let pending = Addresses::default().pending(&cluster, &cluster.listeners[0]);
    assert_eq!((pending.len(), pending[10].as_str()), (11, "21 more Services"));
}

#[test]
fn a_load_balancers_name_is_told_before_its_address() {
    let of = |ingress: Value| {
        let service = json!({"metadata": {"name": "a"}, "status": {"loadBalancer": {"ingress": ingress}}});
        Addresses::of(&[serde_json::from_value(service).unwrap()], None).ingress("a")
    };
    assert_eq!(of(json!([])), None);
    assert_eq!(of(json!([{"ip": ""}])), None);
    assert_eq!(of(json!([{"ip": "fd00::7"}])).as_deref(), Some("fd00::7"));
    assert_eq!(of(json!([{"ip": "10.0.0.1", "hostname": "lb.example"}])).as_deref(), Some("lb.example"));
}

#[test]
fn of_a_machines_addresses_the_first_preferred_one_is_told() {
    let prefers = |types: Value| {
        let mut asked = listener("nodeport");
        asked["preferredAddressTypes"] = types;
        world(asked)
    };
    let world = prefers(json!(["ExternalDNS", "ExternalIP", "Hostname"]));
    let told = |now: [Option<String>; 2]| now.map(Option::unwrap);
    assert_eq!(told(world.now()), ["203.0.113.2:31005", "m1:31006"]);
    assert_eq!(world.at(0, When::Start(Some(&world.observed.pods[0]))).as_deref(), Some("203.0.113.2:31005"));
    assert_eq!(world.told()[2].as_deref(), Some("203.0.113.2:31004"));
    assert!(world.addresses.warnings(&world.cluster, &world.observed).is_empty());

    let world = prefers(json!(["ExternalIP"]));
    assert_eq!(told(world.now()), ["203.0.113.2:31005", "[fd00::2]:31006"]);
    let warned = world.addresses.warnings(&world.cluster, &world.observed);
    assert!(
        warned.len() == 1 && warned[0].contains("machine m1 has no address of these types"),
        "{warned:?}"
    );

    let blind = Addresses { machines: None, ..world.addresses.clone() };
    let world = World { addresses: blind, ..world };
    assert_eq!(told(world.now()), ["172.18.0.2:31005", "[fd00::2]:31006"]);
    let warned = world.addresses.warnings(&world.cluster, &world.observed);
    assert!(warned.len() == 1 && warned[0].contains("may not read Nodes"), "{warned:?}");
}
