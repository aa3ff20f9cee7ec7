use crate::{
    cluster::{
        build::{address::Addresses, foundation, workload},
        names,
        observe::Observed,
    },
    fixtures::{cluster, validated},
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use serde_json::{Value, json};

fn template(change: impl FnOnce(&mut Value)) -> PodTemplateSpec {
    let cluster = validated(&cluster(change), &Observed::default()).unwrap();
    let workload = workload(&cluster, &Observed::default(), &Addresses::default());
    workload.nodes[0].stateful_set.spec.clone().unwrap().template
}

/// With these settings, and what they lead to at `pointer` of the template.
fn at(pods: Value, pointer: &str) -> Value {
    let template = serde_json::to_value(template(|s| s["pods"] = pods)).unwrap();
    template.pointer(pointer).cloned().unwrap_or(Value::Null)
}

/// Every field of `pods`, and where its effect is seen.
fn fields() -> Vec<(&'static str, Value, &'static str, Value)> {
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
    ]}}});
    let toleration = json!([{"key": "kafka", "operator": "Exists", "effect": "NoSchedule"}]);
    let alike = json!({"matchLabels": {"ottla.dev/cluster": "demo", "ottla.dev/broker": "true"}});
    let secret = json!({"secretKeyRef": {"name": "words", "key": "a"}});
    let spread = |more: Option<Value>| {
        let mut one =
            json!({"maxSkew": 2, "topologyKey": "rack.example", "whenUnsatisfiable": "DoNotSchedule"});
        if let Some(more) = more {
            one["labelSelector"] = more;
        }
        json!([one])
    };
    vec![
        ("metadata", json!({"labels": {"team": "shop"}}), "/metadata/labels/team", json!("shop")),
        ("metadata", json!({"annotations": {"team": "shop"}}), "/metadata/annotations/team", json!("shop")),
        ("nodeSelector", json!({"disk": "fast"}), "/spec/nodeSelector", json!({"disk": "fast"})),
        ("tolerations", toleration.clone(), "/spec/tolerations", toleration),
        ("affinity", affinity.clone(), "/spec/affinity", affinity),
        ("affinity", json!({}), "/spec/affinity", Value::Null),
        ("topologySpreadConstraints", spread(None), "/spec/topologySpreadConstraints", spread(Some(alike))),
        ("topologySpreadConstraints", json!([]), "/spec/topologySpreadConstraints", Value::Null),
        ("priorityClassName", json!("high"), "/spec/priorityClassName", json!("high")),
        ("imagePullSecrets", json!([{"name": "pull"}]), "/spec/imagePullSecrets", json!([{"name": "pull"}])),
        ("serviceAccountName", json!("kafka"), "/spec/serviceAccountName", json!("kafka")),
        ("terminationGracePeriodSeconds", json!(600), "/spec/terminationGracePeriodSeconds", json!(600)),
        (
            "env",
            json!([{"name": "RUST_LOG", "value": "debug"}]),
            "/spec/containers/0/env/2",
            json!({"name": "RUST_LOG", "value": "debug"}),
        ),
        (
            "env",
            json!([{"name": "KAFKA_SSL_KEY_PASSWORD", "valueFrom": secret}]),
            "/spec/containers/0/env/2/valueFrom",
            secret,
        ),
        (
            "volumes",
            json!([{"name": "tls", "mountPath": "/etc/tls", "readOnly": true, "subPath": "a", "secret": {"secretName": "tls"}}]),
            "/spec/containers/0/volumeMounts/3",
            json!({"name": "tls", "mountPath": "/etc/tls", "readOnly": true, "subPath": "a"}),
        ),
        (
            "volumes",
            json!([{"name": "tls", "mountPath": "/etc/tls", "secret": {"secretName": "tls"}}]),
            "/spec/volumes/3",
            json!({"name": "tls", "secret": {"secretName": "tls"}}),
        ),
        (
            "volumes",
            json!([{"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "1Gi"}}]),
            "/spec/volumes/3/emptyDir",
            json!({"sizeLimit": "1Gi"}),
        ),
        (
            "livenessProbe",
            json!({"failureThreshold": 30}),
            "/spec/containers/0/livenessProbe/failureThreshold",
            json!(30),
        ),
        (
            "livenessProbe",
            json!({"failureThreshold": 30}),
            "/spec/containers/0/livenessProbe/periodSeconds",
            json!(10),
        ),
        (
            "readinessProbe",
            json!({"periodSeconds": 9}),
            "/spec/containers/0/readinessProbe/periodSeconds",
            json!(9),
        ),
        (
            "readinessProbe",
            json!({"timeoutSeconds": 9}),
            "/spec/containers/0/readinessProbe/timeoutSeconds",
            json!(9),
        ),
        (
            "readinessProbe",
            json!({"initialDelaySeconds": 9}),
            "/spec/containers/0/readinessProbe/initialDelaySeconds",
            json!(9),
        ),
    ]
}

#[test]
fn every_field_has_its_effect_and_restarts_the_pod() {
    let digest = |t: &PodTemplateSpec| {
        t.metadata.as_ref().unwrap().annotations.as_ref().unwrap()[names::TEMPLATE].clone()
    };
    let plain = digest(&template(|_| {}));
    for (field, value, pointer, expected) in fields() {
        assert_eq!(at(json!({field: value}), pointer), expected, "{field}: {value}");
        assert_ne!(digest(&template(|s| s["pods"] = json!({field: value}))), plain, "{field}");
    }
}

#[test]
fn no_field_is_without_a_test() {
    let schema = serde_json::to_value(schemars::schema_for!(crate::crd::pods::PodSettings)).unwrap();
    let mut declared: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut tested: Vec<_> = fields().iter().map(|f| f.0).collect();
    tested.dedup();
    declared.sort_unstable();
    tested.sort_unstable();
    assert_eq!(tested, declared);
}

#[test]
fn nothing_asked_for_is_nothing_changed() {
    assert_eq!(template(|_| {}), template(|s| s["pods"] = json!({})));
}

#[test]
fn overrides_come_last() {
    let template = template(|s| {
        s["pods"] = json!({"priorityClassName": "high", "env": [{"name": "A", "value": "1"}]});
        s["nodePools"][0]["podOverrides"] = json!({"spec": {
            "priorityClassName": "higher",
            "containers": [{"name": "broker", "env": [{"name": "A", "value": "2"}]}],
        }});
    });
    let spec = template.spec.unwrap();
    assert_eq!(spec.priority_class_name.as_deref(), Some("higher"));
    let env = spec.containers[0].env.clone().unwrap();
    let found: Vec<_> = env.iter().filter(|e| e.name == "A").map(|e| e.value.as_deref()).collect();
    assert_eq!(found, [Some("2")]);
}

#[test]
fn resources_of_the_cluster_are_those_of_pools_that_name_none() {
    let limits = |change: &dyn Fn(&mut Value)| {
        let found = template(change).spec.unwrap().containers[0].resources.clone();
        found.and_then(|r| r.limits).map(|l| l["memory"].0.clone())
    };
    let of_all = |s: &mut Value| s["resources"] = json!({"limits": {"memory": "1Gi"}});
    assert_eq!(limits(&of_all).as_deref(), Some("1Gi"));
    let own = |s: &mut Value| {
        of_all(s);
        s["nodePools"][0]["resources"] = json!({"limits": {"memory": "2Gi"}});
    };
    assert_eq!(limits(&own).as_deref(), Some("2Gi"));
}

#[test]
fn services_and_claims_have_what_they_are_told_and_pods_do_not() {
    let metadata = json!({"labels": {"team": "shop"}, "annotations": {"external-dns.example/name": "kafka"}});
    let change = |s: &mut Value| {
        s["listeners"][1]["metadata"] = metadata.clone();
        s["nodePools"][0]["storage"]["metadata"] = metadata.clone();
    };
    let asked = validated(&cluster(change), &Observed::default()).unwrap();
    let made = foundation(&asked);
    let has =
        |labels: &std::collections::BTreeMap<String, String>| labels.get("team").is_some_and(|v| v == "shop");
    let with: Vec<_> = made.services.iter().filter(|s| has(s.labels())).collect();
    let names: Vec<_> = with.iter().map(|s| s.name_any()).collect();
    assert_eq!(names, ["demo-external-bootstrap", "demo-main-0-external"]);
    assert!(with.iter().all(|s| s.annotations()["external-dns.example/name"] == "kafka"));
    let claim = &made.claims[0];
    assert!(has(claim.labels()) && claim.labels()[names::NODE] == "0");
    assert!(claim.annotations().contains_key(names::DIRECTORY_ID));
    assert_eq!(claim.annotations()["external-dns.example/name"], "kafka");
    assert_eq!(template(change), template(|_| {}));
}
