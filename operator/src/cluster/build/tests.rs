use super::*;
use crate::{
    cluster::validate::digest,
    fixtures::{claims, cluster, validated},
};
use kube::ResourceExt;
use serde_json::json;

fn ports() -> NodePorts {
    NodePorts(BTreeMap::from([
        ("demo-main-0-external".to_owned(), 31001),
        ("demo-external-bootstrap".to_owned(), 31000),
    ]))
}

fn built(change: impl FnOnce(&mut serde_json::Value)) -> (Foundation, Workload) {
    let cluster = validated(&cluster(change), &Observed::default()).unwrap();
    (foundation(&cluster), workload(&cluster, &Observed::default(), &ports()))
}

fn broker(workload: &Workload) -> k8s_openapi::api::core::v1::Container {
    workload.stateful_sets[0].spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].clone()
}

fn advertised(workload: &Workload) -> String {
    let env = broker(workload).env.unwrap();
    env.into_iter().find(|e| e.name == "KAFKA_ADVERTISED_LISTENERS").and_then(|e| e.value).unwrap()
}

#[test]
fn everything_of_a_cluster_of_one_node() {
    let (foundation, workload) = built(|_| {});
    insta::assert_yaml_snapshot!("claims", foundation.claims);
    insta::assert_yaml_snapshot!("services", foundation.services);
    insta::assert_yaml_snapshot!("config_maps", workload.config_maps);
    insta::assert_yaml_snapshot!("stateful_sets", workload.stateful_sets);
    insta::assert_yaml_snapshot!("budgets", workload.budgets);
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
    let sets = [new, old].map(|c| workload(&c, &Observed::default(), &ports()).stateful_sets.remove(0));
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
    assert!(advertised(&workload).contains("EXTERNAL://[$(HOST_IP)]:31001"));
}

#[test]
fn a_listener_without_an_address_is_bound_and_not_registered() {
    let cluster = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    let workload = workload(&cluster, &Observed::default(), &NodePorts::default());
    assert!(!advertised(&workload).contains("EXTERNAL"));
    let properties = &workload.config_maps[0].data.as_ref().unwrap()[names::CONFIG_FILE];
    assert!(properties.contains("EXTERNAL://:9094"));
}

#[test]
fn the_users_node_ports_are_asked_for() {
    let (foundation, _) = built(|s| {
        s["listeners"][1]["nodePort"] = json!(32092);
        s["listeners"][1]["advertised"] = json!([{"node": 0, "nodePort": 32093}]);
    });
    let ports = NodePorts::of(&foundation.services);
    assert_eq!(ports.bootstrap("demo", "external"), Some(32092));
    assert_eq!(ports.node("demo-main-0", "external"), Some(32093));
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
    let template = &workload.stateful_sets[0].spec.as_ref().unwrap().template;
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
        built(change).1.stateful_sets[0].annotations()[names::TEMPLATE].clone()
    };
    let same = digest(&|_| {});
    assert_eq!(same, digest(&|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("6Gi")));
    assert_ne!(same, digest(&|s| s["config"]["num.partitions"] = json!(3)));
    assert_ne!(same, digest(&|s| s["nodePools"][0]["resources"] = json!({"limits": {"memory": "1Gi"}})));
}

#[test]
fn another_release_of_the_operator_leaves_running_nodes_as_they_are() {
    let cluster = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    let mut present = workload(&cluster, &Observed::default(), &ports()).stateful_sets;
    present[0].annotations_mut().insert(names::TEMPLATE.into(), digest(&json!("as before")));
    let observed = Observed { stateful_sets: present.clone(), ..Observed::default() };
    let pending = workload(&cluster, &observed, &ports());
    assert_eq!(pending.pending, ["demo-main-0"]);
    assert!(pending.config_maps.is_empty() && pending.stateful_sets.is_empty());

    present[0].annotations_mut().insert(names::REQUEST.into(), "asked for something else".into());
    let observed = Observed { stateful_sets: present, ..Observed::default() };
    assert_eq!(workload(&cluster, &observed, &ports()).stateful_sets.len(), 1);
}

#[test]
fn a_drain_waits_while_a_broker_recovers_its_log() {
    let cluster = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    let allowed = |state: serde_json::Value, ready: bool| {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "demo-main-0-0"},
            "status": {"containerStatuses": [{
                "name": names::BROKER_CONTAINER, "image": "", "imageID": "", "ready": ready, "restartCount": 0, "state": state
            }]}
        }))
        .unwrap();
        let workload = workload(&cluster, &Observed { pods: vec![pod], ..Observed::default() }, &ports());
        workload.budgets[0].spec.as_ref().unwrap().max_unavailable.clone()
    };
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int;
    assert_eq!(allowed(json!({"running": {}}), false), Some(Int(0)));
    assert_eq!(allowed(json!({"running": {}}), true), Some(Int(1)));
    assert_eq!(allowed(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false), Some(Int(1)));
}
