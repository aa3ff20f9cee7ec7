use super::*;
use crate::fixtures::{claims, cluster, validated};
use kube::ResourceExt;
use serde_json::json;

fn ports() -> Addresses {
    Addresses::node_ports([("demo-main-0-external", 31001), ("demo-external-bootstrap", 31000)])
}

fn built(change: impl FnOnce(&mut serde_json::Value)) -> (Foundation, Workload) {
    let cluster = validated(&cluster(change), &Observed::default()).unwrap();
    (foundation(&cluster), workload(&cluster, &Observed::default(), &ports()))
}

/// As YAML would have it: 3 brokers, and 3 controllers that are nothing else.
fn apart(spec: &mut serde_json::Value) {
    let mut controllers = spec["nodePools"][0].clone();
    spec["nodePools"][0]["roles"] = json!(["broker"]);
    spec["nodePools"][0]["replicas"] = json!(3);
    controllers["name"] = json!("quorum");
    controllers["roles"] = json!(["controller"]);
    controllers["replicas"] = json!(3);
    spec["nodePools"].as_array_mut().unwrap().push(controllers);
}

fn config_maps(workload: &Workload) -> Vec<ConfigMap> {
    workload.nodes.iter().map(|n| n.config_map.clone()).collect()
}

fn stateful_sets(workload: &Workload) -> Vec<StatefulSet> {
    workload.nodes.iter().map(|n| n.stateful_set.clone()).collect()
}

fn property(workload: &Workload, node: usize, key: &str) -> Option<String> {
    let text = &workload.nodes[node].config_map.data.as_ref().unwrap()[names::CONFIG_FILE];
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

fn broker(workload: &Workload) -> k8s_openapi::api::core::v1::Container {
    workload.nodes[0].stateful_set.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0]
        .clone()
}

/// What the first node tells when it starts.
fn advertised(workload: &Workload) -> &str {
    &workload.nodes[0].config_map.data.as_ref().unwrap()[names::ADDRESSES]
}

#[test]
fn everything_of_a_cluster_of_one_node() {
    let (foundation, workload) = built(|_| {});
    insta::assert_yaml_snapshot!("claims", foundation.claims);
    insta::assert_yaml_snapshot!("services", foundation.services);
    insta::assert_yaml_snapshot!("config_maps", config_maps(&workload));
    insta::assert_yaml_snapshot!("stateful_sets", stateful_sets(&workload));
    insta::assert_yaml_snapshot!("budgets", [&workload.budget]);
}

#[test]
fn a_broker_and_a_controller_of_three_each() {
    let (foundation, workload) = built(|s| {
        apart(s);
        s["rack"] = json!({});
    });
    let of = |id: &str, labels: &BTreeMap<String, String>| labels.get(names::NODE).is_some_and(|v| v == id);
    let both = |labels: &BTreeMap<String, String>| of("1", labels) || of("4", labels);
    let claims: Vec<_> = foundation.claims.iter().filter(|c| both(c.labels())).collect();
    let services: Vec<_> = foundation.services.iter().filter(|s| both(s.labels())).collect();
    insta::assert_yaml_snapshot!("apart_claims", claims);
    insta::assert_yaml_snapshot!("apart_services", services);
    insta::assert_yaml_snapshot!(
        "apart_config_maps",
        [&workload.nodes[1].config_map, &workload.nodes[4].config_map]
    );
    insta::assert_yaml_snapshot!(
        "apart_stateful_sets",
        [&workload.nodes[1].stateful_set, &workload.nodes[4].stateful_set]
    );
    insta::assert_yaml_snapshot!("apart_budget", [&workload.budget]);
}

#[test]
fn copies_follow_the_number_of_brokers_unless_told_otherwise() {
    let keys = ["default.replication.factor", "min.insync.replicas", "offsets.topic.replication.factor"];
    for (brokers, expected) in
        [(1, ["1", "1", "1"]), (2, ["2", "1", "2"]), (3, ["3", "2", "3"]), (5, ["3", "2", "3"])]
    {
        let (_, workload) = built(|s| s["nodePools"][0]["replicas"] = json!(brokers));
        assert_eq!(keys.map(|key| property(&workload, 0, key).unwrap()), expected, "{brokers} brokers");
    }
    let (_, workload) = built(|s| {
        s["nodePools"][0]["replicas"] = json!(3);
        s["config"]["min.insync.replicas"] = json!(1);
    });
    let text = &workload.nodes[0].config_map.data.as_ref().unwrap()[names::CONFIG_FILE];
    assert_eq!(text.matches("min.insync.replicas").count(), 1);
    assert_eq!(property(&workload, 0, "min.insync.replicas").as_deref(), Some("1"));
}

#[test]
fn the_users_spread_is_in_place_of_ours() {
    let spread = |overrides: serde_json::Value| {
        let (_, workload) = built(|s| s["nodePools"][0]["podOverrides"] = json!({"spec": overrides}));
        let pod = workload.nodes[0].stateful_set.spec.clone().unwrap().template.spec.unwrap();
        let keys = pod.topology_spread_constraints.unwrap_or_default().into_iter().map(|c| c.topology_key);
        keys.collect::<Vec<_>>()
    };
    assert_eq!(spread(json!({})), ["kubernetes.io/hostname"]);
    let own = json!([{"maxSkew": 1, "topologyKey": "rack.example", "whenUnsatisfiable": "DoNotSchedule"}]);
    assert_eq!(spread(json!({"topologySpreadConstraints": own})), ["rack.example"]);
    assert!(spread(json!({"topologySpreadConstraints": []})).is_empty());
}

#[test]
fn who_comes_later_does_not_begin_a_quorum_of_its_own() {
    let three = cluster(|s| s["nodePools"][0]["replicas"] = json!(3));
    let mut kept = claims(&three);
    kept[0].annotations_mut().insert(names::FORMATTED.into(), "true".into());
    let observed = Observed { claims: kept, ..Observed::default() };
    let five = cluster(|s| s["nodePools"][0]["replicas"] = json!(5));
    let five = validated(&five, &observed).unwrap();
    let workload = workload(&five, &observed, &ports());
    let formats: Vec<_> = workload
        .nodes
        .iter()
        .map(|n| {
            let pod = n.stateful_set.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            let init = pod.init_containers.as_ref()?.first()?;
            init.args.as_ref().map(|a| a[6..].join(" "))
        })
        .collect();
    let first = |id: i32, directory: u8| {
        format!("{id}@demo-main-{id}.shop.svc:9090:{}", crate::ids::Uuid::from_bytes([directory; 16]))
    };
    let initial = format!("--initial-controllers {},{},{}", first(0, 2), first(1, 3), first(2, 4));
    let later = "--no-initial-controllers".to_owned();
    assert_eq!(
        formats,
        [None, Some(initial.clone()), Some(initial), Some(later.clone()), Some(later)],
        "the late ones of the first three still write all three"
    );
    let bootstrap = property(&workload, 4, "controller.quorum.bootstrap.servers").unwrap();
    assert_eq!(bootstrap.split(',').count(), 5);
}

#[test]
fn claims_belong_to_the_cluster_only_while_they_go_with_it() {
    let owners = |policy: &str| {
        let (foundation, _) = built(|s| s["nodePools"][0]["storage"]["deletionPolicy"] = json!(policy));
        foundation.claims[0].owner_references().len()
    };
    assert_eq!((owners("Retain"), owners("Delete")), (0, 1));
}

#[test]
fn a_formatted_node_is_not_formatted_again_and_that_restarts_nothing() {
    let cluster = cluster(|_| {});
    let mut kept = claims(&cluster);
    let new = validated(&cluster, &Observed { claims: kept.clone(), ..Observed::default() }).unwrap();
    kept[0].annotations_mut().insert(names::FORMATTED.into(), "true".into());
    let old = validated(&cluster, &Observed { claims: kept, ..Observed::default() }).unwrap();
    let sets = [new, old].map(|c| workload(&c, &Observed::default(), &ports()).nodes.remove(0).stateful_set);
    let inits = sets
        .each_ref()
        .map(|s| s.spec.as_ref().unwrap().template.spec.as_ref().unwrap().init_containers.is_some());
    assert_eq!(inits, [true, false]);
    assert_eq!(sets[0].annotations(), sets[1].annotations());
}

#[test]
fn clients_are_told_the_override_or_the_mapped_port() {
    let (_, workload) = built(|s| {
        s["listeners"][1]["advertised"] = json!([{"node": 0, "host": "127.0.0.1", "nodePort": 32093}]);
    });
    assert!(
        advertised(&workload).contains("EXTERNAL://127.0.0.1:31001"),
        "the port that Kubernetes says it has"
    );
    let (_, workload) = built(|s| {
        s["listeners"][1]["advertised"] = json!([{"node": 0, "host": "kafka.example", "port": 443}]);
    });
    assert!(advertised(&workload).contains("EXTERNAL://kafka.example:443"));
    let (_, workload) = built(|s| s["listeners"][1]["advertised"] = json!([{"node": 5, "host": "other"}]));
    assert!(advertised(&workload).contains("EXTERNAL://[${env:HOST_IP}]:31001"));
}

/// Node 0 of a cluster whose nodes prefer external addresses: what it tells when it starts, with this pod and this ConfigMap there.
fn told_with(node: Option<&str>, before: Option<&str>) -> String {
    let asked = cluster(|s| s["listeners"][1]["preferredAddressTypes"] = json!(["ExternalIP"]));
    let cluster = validated(&asked, &Observed::default()).unwrap();
    let pod = json!({"metadata": {"name": "demo-main-0-0"}, "spec": {"containers": [], "nodeName": node}});
    let map =
        json!({"metadata": {"name": "demo-main-0"}, "data": {names::ADDRESSES: before.unwrap_or_default()}});
    let observed = Observed {
        pods: vec![serde_json::from_value(pod).unwrap()],
        config_maps: before.map(|_| serde_json::from_value(map).unwrap()).into_iter().collect(),
        ..Observed::default()
    };
    let machines = crate::cluster::machines::Machines::from([("m0", &[("ExternalIP", "203.0.113.2")][..])]);
    let mut services = foundation(&cluster).services;
    for service in &mut services {
        service.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].node_port = Some(31_001);
    }
    let addresses = Addresses::of(&services, Some(machines));
    advertised(&workload(&cluster, &observed, &addresses)).to_owned()
}

#[test]
fn a_pod_is_started_with_the_address_of_its_likely_machine() {
    assert!(told_with(Some("m0"), None).contains("EXTERNAL://203.0.113.2:31001"));
    assert!(told_with(None, None).contains("EXTERNAL://[${env:HOST_IP}]:31001"));
    assert_eq!(told_with(None, Some("EXTERNAL://198.51.100.9:31001")), "EXTERNAL://198.51.100.9:31001");
    assert!(told_with(Some("m0"), Some("EXTERNAL://198.51.100.9:31001")).contains("203.0.113.2"));
}

#[test]
fn a_change_of_address_changes_no_pod() {
    let sets = |change: &dyn Fn(&mut serde_json::Value), addresses: Addresses| {
        let cluster = validated(&cluster(change), &Observed::default()).unwrap();
        let workload = workload(&cluster, &Observed::default(), &addresses);
        let template = |set: &StatefulSet| set.spec.as_ref().unwrap().template.clone();
        (advertised(&workload).to_owned(), stateful_sets(&workload).iter().map(template).collect::<Vec<_>>())
    };
    let (told, before) = sets(&|_| {}, ports());
    let moved = Addresses::node_ports([("demo-main-0-external", 32_001)]);
    let overridden = json!([{"node": 0, "host": "a", "annotations": {"dns": "a"}}]);
    for (now, after) in [
        sets(&|_| {}, moved),
        sets(&|_| {}, Addresses::default()),
        sets(&|s| s["listeners"][1]["advertised"] = overridden.clone(), ports()),
    ] {
        assert_ne!(told, now);
        assert_eq!(before, after);
    }
}

#[test]
fn a_node_that_is_not_released_keeps_its_configuration_and_gets_its_addresses() {
    let (_, before) = built(|_| {});
    let observed = Observed { config_maps: config_maps(&before), ..Observed::default() };
    let after =
        validated(&cluster(|s| s["config"]["num.partitions"] = json!(3)), &Observed::default()).unwrap();
    let moved = Addresses::node_ports([("demo-main-0-external", 32_001)]);
    let workload = workload(&after, &observed, &moved);
    let data = |released: &[NodeId], observed: &Observed| {
        let maps = workload.config_maps(&released.iter().copied().collect(), observed);
        maps.into_iter().next().map(|m| m.data.unwrap())
    };
    let held = data(&[], &observed).unwrap();
    assert_eq!(
        held[names::CONFIG_FILE],
        before.nodes[0].config_map.data.as_ref().unwrap()[names::CONFIG_FILE]
    );
    assert!(held[names::ADDRESSES].contains(":32001"));
    let released = data(&[NodeId(0)], &observed).unwrap();
    assert!(released[names::CONFIG_FILE].contains("num.partitions=3"));
    assert_eq!(released[names::ADDRESSES], held[names::ADDRESSES]);
    assert_eq!(data(&[], &Observed::default()), None, "there is nothing to keep");
}

#[test]
fn services_carry_what_is_asked_for_them() {
    let (foundation, _) = built(|s| {
        s["listeners"][1] = json!({
            "name": "external", "port": 9094, "type": "loadbalancer",
            "metadata": {"labels": {"team": "shop"}, "annotations": {"class": "a", "dns": "all"}},
            "advertised": [{"node": 0, "annotations": {"dns": "zero"}}],
        });
    });
    let service = |name: &str| foundation.services.iter().find(|s| s.name_any() == name).unwrap();
    for (name, dns) in [("demo-main-0-external", "zero"), ("demo-external-bootstrap", "all")] {
        let service = service(name);
        assert_eq!((&*service.annotations()["class"], &*service.annotations()["dns"]), ("a", dns));
        assert_eq!(service.labels()["team"], "shop");
        assert_eq!(service.spec.as_ref().unwrap().type_.as_deref(), Some("LoadBalancer"));
    }
}

#[test]
fn a_listener_without_an_address_is_bound_and_not_registered() {
    let cluster = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    let workload = workload(&cluster, &Observed::default(), &Addresses::default());
    assert!(!advertised(&workload).contains("EXTERNAL"));
    let properties = &workload.nodes[0].config_map.data.as_ref().unwrap()[names::CONFIG_FILE];
    assert!(properties.contains("EXTERNAL://:9094"));
}

#[test]
fn the_users_node_ports_are_asked_for() {
    let (foundation, _) = built(|s| {
        s["listeners"][1]["nodePort"] = json!(32092);
        s["listeners"][1]["advertised"] = json!([{"node": 0, "nodePort": 32093}]);
    });
    let ports = Addresses::of(&foundation.services, None);
    assert_eq!(ports.node_port("demo-external-bootstrap"), Some(32092));
    assert_eq!(ports.node_port("demo-main-0-external"), Some(32093));
}

#[test]
fn overrides_merge_by_name() {
    let (_, workload) = built(|s| {
        s["nodePools"][0]["podOverrides"] = json!({
            "metadata": {"annotations": {"team": "shop"}},
            "spec": {
                "nodeSelector": {"disk": "fast"},
                "containers": [{"name": "broker", "env": [{"name": "RUST_LOG", "value": "debug"}]}],
            }
        });
    });
    let template = &workload.nodes[0].stateful_set.spec.as_ref().unwrap().template;
    assert_eq!(template.metadata.as_ref().unwrap().annotations.as_ref().unwrap()["team"], "shop");
    let spec = template.spec.as_ref().unwrap();
    assert_eq!(spec.containers.len(), 1);
    assert_eq!(spec.node_selector.as_ref().unwrap()["disk"], "fast");
    let names: Vec<_> = broker(&workload).env.unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["HOST_IP", "KAFKA_ADVERTISED_LISTENERS", "RUST_LOG"]);
}

#[test]
fn what_changes_a_running_pod_changes_its_digest() {
    let digest = |change: &dyn Fn(&mut serde_json::Value)| {
        built(change).1.nodes[0].stateful_set.annotations()[names::TEMPLATE].clone()
    };
    let same = digest(&|_| {});
    assert_eq!(same, digest(&|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("6Gi")));
    assert_eq!(same, digest(&|s| s["listeners"][1]["advertised"] = json!([{"node": 0, "host": "a"}])));
    assert_ne!(same, digest(&|s| s["config"]["num.partitions"] = json!(3)));
    assert_ne!(same, digest(&|s| s["nodePools"][0]["resources"] = json!({"limits": {"memory": "1Gi"}})));
}

#[test]
fn drains_take_one_node_and_none_while_a_broker_recovers_its_log() {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int;
    let needed = |nodes: i32, state: serde_json::Value, ready: bool| {
        let cluster =
            validated(&cluster(|s| s["nodePools"][0]["replicas"] = json!(nodes)), &Observed::default())
                .unwrap();
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "demo-main-0-0"},
            "status": {"containerStatuses": [{
                "name": names::BROKER_CONTAINER, "image": "", "imageID": "", "ready": ready, "restartCount": 0, "state": state
            }]}
        }))
        .unwrap();
        let workload = workload(&cluster, &Observed { pods: vec![pod], ..Observed::default() }, &ports());
        workload.budget.spec.unwrap().min_available
    };
    assert_eq!(needed(1, json!({"running": {}}), false), Some(Int(1)));
    assert_eq!(needed(1, json!({"running": {}}), true), Some(Int(0)));
    assert_eq!(needed(1, json!({"waiting": {"reason": "CrashLoopBackOff"}}), false), Some(Int(0)));
    assert_eq!(needed(3, json!({"running": {}}), false), Some(Int(3)));
    assert_eq!(needed(3, json!({"running": {}}), true), Some(Int(2)));
}
