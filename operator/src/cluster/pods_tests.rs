use super::*;
use crate::{
    cluster::observe::Observed,
    fixtures::{cluster, validated},
};
use serde_json::{Value, json};

fn refused(pods: Value) -> String {
    validated(&cluster(|s| s["pods"] = pods), &Observed::default()).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_named_where_it_was_written() {
    let affinity = json!({"affinity": {"nodeAffinity": {"wanted": []}}});
    let in_a_pool =
        validated(&cluster(|s| s["nodePools"][0]["pods"] = affinity.clone()), &Observed::default());
    assert_eq!(
        in_a_pool.unwrap_err().to_string(),
        "spec.nodePools[main].pods.affinity.nodeAffinity.wanted: is not a field of an affinity"
    );
    for (given, told) in [
        (affinity, "spec.pods.affinity.nodeAffinity.wanted: is not a field of an affinity"),
        (json!({"metadata": {"labels": {"a b": "c"}}}), "spec.pods.metadata.labels[a b]: is not a key"),
        (json!({"nodeSelector": {"/x": "c"}}), "spec.pods.nodeSelector[/x]: is not a key"),
        (
            json!({"metadata": {"annotations": {"ottla.dev/template": "x"}}}),
            "spec.pods.metadata.annotations[ottla.dev/template]: is set by the operator",
        ),
        (
            json!({"env": [{"name": "KAFKA_NODE_ID", "value": "7"}]}),
            "spec.pods.env[KAFKA_NODE_ID]: is set by the operator: node ids are assigned",
        ),
        (
            json!({"env": [{"name": "KAFKA_CFG_LOG_DIRS", "value": "/tmp"}]}),
            "spec.pods.env[KAFKA_CFG_LOG_DIRS]: is set by the operator",
        ),
        (
            json!({"env": [{"name": "KAFKA_BROKER_RACK", "value": "a"}]}),
            "spec.pods.env[KAFKA_BROKER_RACK]: is set by the operator: set spec.rack",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"path": "x"}}}]}),
            "spec.pods.env[A].valueFrom.fieldRef",
        ),
        (
            json!({"volumes": [{"name": "a", "mountPath": "/a", "secret": {"secretname": "x"}}]}),
            "spec.pods.volumes[a].secret.secretname: is not a field of a volume",
        ),
        (
            json!({"volumes": [{"name": "a", "mountPath": "/a", "configMap": {"optional": true}}]}),
            "spec.pods.volumes[a].configMap.name: is missing",
        ),
    ] {
        let found = refused(given);
        assert!(found.starts_with(told), "{found}");
    }
}

#[test]
fn one_path_has_one_volume_whoever_asks_for_it() {
    let volume = |name: &str| json!([{"name": name, "mountPath": "/etc/tls", "emptyDir": {}}]);
    let both = cluster(|s| {
        s["pods"] = json!({"volumes": volume("a")});
        s["nodePools"][0]["pods"] = json!({"volumes": volume("b")});
    });
    let error = validated(&both, &Observed::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "spec.nodePools[main].pods.volumes[b].mountPath: another volume is mounted at /etc/tls"
    );
}

#[test]
fn overrides_leave_what_the_operator_counts_on() {
    let refused = |overrides: Value| {
        let asked = cluster(|s| s["nodePools"][0]["podOverrides"] = overrides);
        validated(&asked, &Observed::default()).unwrap_err().to_string()
    };
    let env = |name: &str| json!({"spec": {"containers": [{"name": "broker", "env": [{"name": name, "value": "x"}]}]}});
    let found = refused(json!({"metadata": {"labels": {"ottla.dev/cluster": "other"}}}));
    assert!(found.contains("metadata.labels[ottla.dev/cluster]: is set by the operator"), "{found}");
    let found = refused(env("KAFKA_PROCESS_ROLES"));
    assert!(
        found.contains("KAFKA_PROCESS_ROLES: is set by the operator: set spec.nodePools[].roles"),
        "{found}"
    );
}

#[test]
fn numbers_are_quantities_in_overrides_too() {
    let asked = cluster(|s| {
        s["nodePools"][0]["podOverrides"] =
            json!({"spec": {"containers": [{"name": "broker", "resources": {"limits": {"cpu": 2}}}]}});
    });
    let node = &validated(&asked, &Observed::default()).unwrap().nodes[0];
    let limits = node.container().unwrap().resources.clone().unwrap().limits.unwrap();
    assert_eq!(limits["cpu"].0, "2");
}

#[test]
fn a_quantity_that_is_none_is_told() {
    for (given, told) in [
        (json!({"requests": {"cpu": "many"}}), "spec.resources.requests[cpu]: many is not a quantity"),
        (json!({"limits": {"memory": -1}}), "spec.resources.limits[memory]: -1 is not a quantity"),
    ] {
        let asked = cluster(|s| s["resources"] = given);
        let found = validated(&asked, &Observed::default()).unwrap_err().to_string();
        assert!(found.starts_with(told), "{found}");
    }
}

#[test]
fn the_request_has_what_a_pool_takes_and_nothing_of_services_or_claims() {
    let request = |change: &dyn Fn(&mut Value)| {
        validated(&cluster(change), &Observed::default()).unwrap().nodes[0].request.clone()
    };
    let same = request(&|_| {});
    let metadata = json!({"labels": {"team": "shop"}, "annotations": {"a": "b"}});
    assert_eq!(same, request(&|s| s["listeners"][0]["metadata"] = metadata.clone()));
    assert_eq!(same, request(&|s| s["nodePools"][0]["storage"]["metadata"] = metadata.clone()));
    assert_ne!(same, request(&|s| s["pods"] = json!({"metadata": metadata})));

    let high = json!({"priorityClassName": "high"});
    let in_the_pool = request(&|s| s["nodePools"][0]["pods"] = high.clone());
    assert_eq!(in_the_pool, request(&|s| s["pods"] = high.clone()), "wherever it is written");
    let overridden = request(&|s| {
        s["pods"] = json!({"priorityClassName": "low"});
        s["nodePools"][0]["pods"] = high.clone();
    });
    assert_eq!(in_the_pool, overridden);

    let resources = json!({"limits": {"memory": "1Gi"}});
    let in_the_pool = request(&|s| s["nodePools"][0]["resources"] = resources.clone());
    assert_eq!(in_the_pool, request(&|s| s["resources"] = resources.clone()));
}

#[test]
fn references_are_what_a_pod_cannot_start_without() {
    let template: PodTemplateSpec = serde_json::from_value(json!({"spec": {
        "priorityClassName": "high",
        "serviceAccountName": "kafka",
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"name": "config", "configMap": {"name": "ours"}},
            {"name": "data-0", "persistentVolumeClaim": {"claimName": "ours"}},
            {"name": "tls", "secret": {"secretName": "tls"}},
            {"name": "more", "configMap": {"name": "more", "optional": true}},
            {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}},
        ],
        "containers": [{"name": "broker", "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "words", "key": "a"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "maybe", "key": "a", "optional": true}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "sure", "key": "a"}}},
        ]}],
    }}))
    .unwrap();
    let found: Vec<_> = references(&template).iter().map(ToString::to_string).collect();
    let expected = [
        "PriorityClass high",
        "ServiceAccount kafka",
        "Secret pull",
        "Secret tls",
        "Secret words",
        "ConfigMap sure",
        "PersistentVolumeClaim shared",
    ];
    assert_eq!(found, expected);
}
