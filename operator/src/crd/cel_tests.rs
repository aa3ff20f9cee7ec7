//! The rules, evaluated without an API server. The tests on kind meet the real one.

use super::{KafkaCluster, KafkaTopic};
use crate::fixtures::cluster_json;
use kube::CustomResourceExt;
use kube_cel::Validator;
use serde_json::{Value, json};

fn schema<K: CustomResourceExt>() -> Value {
    let crd = serde_json::to_value(K::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// What the rules say of `new`, after `old`.
fn judge<K: CustomResourceExt>(new: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(&schema::<K>(), new, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|e| e.message.clone()).collect(),
    }
}

fn refuses_new(change: impl FnOnce(&mut Value), field: &str) {
    let found = judge::<KafkaCluster>(&cluster_json(change), None);
    assert!(found.iter().any(|m| m.contains(field)), "{field} in {found:?}");
}

fn refuses_change(change: impl FnOnce(&mut Value), field: &str) {
    let found = judge::<KafkaCluster>(&cluster_json(change), Some(&cluster_json(|_| {})));
    assert!(found.iter().any(|m| m.contains(field)), "{field} in {found:?}");
}

fn topic(spec: &Value) -> Value {
    json!({"apiVersion": "ottla.dev/v1alpha1", "kind": "KafkaTopic", "metadata": {"name": "orders"}, "spec": spec})
}

#[test]
fn a_plain_cluster_passes_and_may_be_applied_again() {
    let plain = cluster_json(|_| {});
    assert_eq!(judge::<KafkaCluster>(&plain, None), Vec::<String>::new());
    assert_eq!(judge::<KafkaCluster>(&plain, Some(&plain)), Vec::<String>::new());
}

/// A second pool, with these roles and replicas.
fn with_pool(roles: &Value, replicas: i32) -> impl FnOnce(&mut Value) {
    let roles = roles.clone();
    move |s| {
        let mut second = s["nodePools"][0].clone();
        second["name"] = json!("second");
        second["roles"] = roles;
        second["replicas"] = json!(replicas);
        s["nodePools"].as_array_mut().unwrap().push(second);
    }
}

#[test]
fn any_number_of_nodes_and_pools_passes() {
    for replicas in [2, 3, 100] {
        let many = cluster_json(|s| s["nodePools"][0]["replicas"] = json!(replicas));
        assert_eq!(judge::<KafkaCluster>(&many, Some(&cluster_json(|_| {}))), Vec::<String>::new());
        assert_eq!(judge::<KafkaCluster>(&cluster_json(|_| {}), Some(&many)), Vec::<String>::new());
    }
    for roles in [json!(["broker"]), json!(["controller"]), json!(["controller", "broker"])] {
        let two = cluster_json(with_pool(&roles, 3));
        assert_eq!(judge::<KafkaCluster>(&two, Some(&cluster_json(|_| {}))), Vec::<String>::new());
    }
}

#[test]
fn somebody_keeps_the_metadata_and_somebody_holds_partitions() {
    refuses_new(|s| s["nodePools"][0]["roles"] = json!(["broker"]), "no pool with the role controller");
    refuses_new(|s| s["nodePools"][0]["roles"] = json!(["controller"]), "no pool with the role broker");
    refuses_new(|s| s["nodePools"][0]["replicas"] = json!(0), "no pool with the role controller");
    let empty = |s: &mut Value| {
        s["nodePools"][0]["roles"] = json!(["broker"]);
        with_pool(&json!(["controller"]), 0)(s);
    };
    refuses_new(empty, "no pool with the role controller");
}

#[test]
fn roles_stay_and_a_pool_goes_only_when_it_is_empty() {
    refuses_change(|s| s["nodePools"][0]["roles"] = json!(["broker"]), "roles cannot be changed");
    let plain = cluster_json(|_| {});
    let full = cluster_json(with_pool(&json!(["broker"]), 1));
    let found = judge::<KafkaCluster>(&plain, Some(&full));
    assert!(found.iter().any(|m| m.contains("set its replicas to 0 first")), "{found:?}");
    let emptied = cluster_json(with_pool(&json!(["broker"]), 0));
    assert_eq!(judge::<KafkaCluster>(&emptied, Some(&full)), Vec::<String>::new());
    assert_eq!(judge::<KafkaCluster>(&plain, Some(&emptied)), Vec::<String>::new());
}

#[test]
fn listeners_do_not_get_into_each_others_way() {
    refuses_new(|s| s["listeners"][1]["port"] = json!(9092), "two listeners have the same port");
    refuses_new(|s| s["listeners"][0]["port"] = json!(9091), "9090, 9091, 9404 and 9405");
    refuses_new(|s| s["listeners"][0]["name"] = json!("controller"), "spec.listeners[].name");
    refuses_new(|s| s["listeners"][0]["nodePort"] = json!(31000), "belongs to type nodeport");
    refuses_new(
        |s| s["listeners"][0]["advertised"] = json!([{"node": 0, "nodePort": 31000}]),
        "belongs to type nodeport",
    );
    refuses_new(
        |s| s["listeners"][1]["advertised"] = json!([{"node": 0}]),
        "at least one of host, port, nodePort",
    );
    refuses_new(
        |s| {
            s["listeners"][1]["nodePort"] = json!(31000);
            s["listeners"][1]["advertised"] = json!([{"node": 0, "nodePort": 31000}]);
        },
        "cannot share a node port",
    );
}

#[test]
fn keys_that_the_operator_writes_are_refused_by_name() {
    for (key, _) in super::OPERATOR_OWNED_KEYS {
        refuses_new(
            |s| s["config"][*key] = json!("x"),
            &format!("spec.config[{key}] is set by the operator"),
        );
    }
}

#[test]
fn storage_does_not_shrink_move_or_vanish() {
    refuses_change(
        |s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("4Gi"),
        "size cannot shrink",
    );
    refuses_change(
        |s| s["nodePools"][0]["storage"]["volumes"][0]["class"] = json!("fast"),
        "class cannot be changed",
    );
    refuses_change(
        |s| s["nodePools"][0]["storage"]["volumes"][0]["id"] = json!(1),
        "volumes cannot be added or removed",
    );
    refuses_change(|s| s["nodePools"][0]["name"] = json!("other"), "a pool cannot be renamed");
    let grown = cluster_json(|s| s["nodePools"][0]["storage"]["volumes"][0]["size"] = json!("5.5Gi"));
    assert_eq!(judge::<KafkaCluster>(&grown, Some(&cluster_json(|_| {}))), Vec::<String>::new());
}

#[test]
fn a_name_must_do_for_services() {
    let mut cluster = cluster_json(|_| {});
    for name in ["1st", "a.b", "abcdefghijklmnopqrstuvwxyzabc", "a-"] {
        cluster["metadata"]["name"] = json!(name);
        assert_eq!(judge::<KafkaCluster>(&cluster, None).len(), 1, "{name}");
    }
    cluster["metadata"]["name"] = json!("abcdefghijklmnopqrstuvwxyz12");
    assert!(judge::<KafkaCluster>(&cluster, None).is_empty());
}

#[test]
fn a_topic_keeps_its_cluster_and_name_and_its_partitions_do_not_go_down() {
    let old = topic(&json!({"cluster": "demo", "topicName": "Orders", "partitions": 3, "replicas": 1}));
    let refuses = |spec: Value, field: &str| {
        let found = judge::<KafkaTopic>(&topic(&spec), Some(&old));
        assert!(found.iter().any(|m| m.starts_with(field)), "{field} in {found:?}");
    };
    refuses(
        json!({"cluster": "other", "topicName": "Orders", "partitions": 3, "replicas": 1}),
        "spec.cluster",
    );
    refuses(
        json!({"cluster": "demo", "topicName": "Other", "partitions": 3, "replicas": 1}),
        "spec.topicName",
    );
    refuses(json!({"cluster": "demo", "partitions": 3, "replicas": 1}), "spec.topicName");
    refuses(
        json!({"cluster": "demo", "topicName": "Orders", "partitions": 2, "replicas": 1}),
        "spec.partitions",
    );
    refuses(json!({"cluster": "demo", "topicName": "Orders", "replicas": 1}), "spec.partitions");
    refuses(
        json!({"cluster": "demo", "topicName": "Orders", "partitions": 3, "replicas": 2}),
        "spec.replicas",
    );
    let more = topic(&json!({"cluster": "demo", "topicName": "Orders", "partitions": 4, "replicas": 1}));
    assert!(judge::<KafkaTopic>(&more, Some(&old)).is_empty());
}

#[test]
fn kafkas_own_topics_are_not_ours_to_manage() {
    for name in ["__consumer_offsets", ".", ".."] {
        assert!(
            !judge::<KafkaTopic>(&topic(&json!({"cluster": "demo", "topicName": name})), None).is_empty(),
            "{name}"
        );
    }
}
