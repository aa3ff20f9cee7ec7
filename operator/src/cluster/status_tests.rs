use super::*;
use crate::{
    cluster::build::{foundation, workload},
    fixtures::{cluster, validated},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn ports() -> NodePorts {
    NodePorts(BTreeMap::from([
        ("demo-main-0-external".to_owned(), 31001),
        ("demo-external-bootstrap".to_owned(), 31000),
    ]))
}

/// What is there: the claim in `phase`, and a pod with `status` that has the set's template, or another one.
fn observed(
    cluster: &ValidatedCluster,
    phase: &str,
    status: Option<Value>,
    current: bool,
) -> (Observed, Vec<StatefulSet>) {
    let sets = workload(cluster, &Observed::default(), &ports()).stateful_sets;
    let mut claims = foundation(cluster).claims;
    claims[0].status = Some(serde_json::from_value(json!({"phase": phase})).unwrap());
    let template = if current { sets[0].annotations()[names::TEMPLATE].clone() } else { "before".to_owned() };
    let pods = status.map(|status| {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-main-0-0", "annotations": {names::TEMPLATE: template}}, "status": status
        }))
        .unwrap()
    });
    let classes = StorageClasses { names: BTreeSet::from(["standard".to_owned()]), has_default: true };
    let observed = Observed {
        claims,
        pods: pods.into_iter().collect(),
        storage_classes: Some(classes),
        ..Observed::default()
    };
    (observed, sets)
}

fn ready() -> Value {
    json!({"hostIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]})
}

fn folded(
    change: impl FnOnce(&mut Value),
    phase: &str,
    status: Option<Value>,
    current: bool,
) -> (KafkaClusterStatus, Outcome) {
    let cluster = validated(&cluster(change), &Observed::default()).unwrap();
    let (observed, sets) = observed(&cluster, phase, status, current);
    fold(&cluster, &observed, &sets, &ports(), &[])
}

#[test]
fn ready_once_the_pod_is() {
    let (status, outcome) = folded(|_| {}, "Bound", Some(ready()), true);
    assert_eq!(outcome.state, State::Ready);
    assert_eq!(status.node_ids, [0]);
    let addresses: Vec<_> = status.listeners.iter().map(|l| l.bootstrap_servers.as_deref()).collect();
    assert_eq!(addresses, [Some("demo-internal-bootstrap.shop.svc:9092"), Some("10.0.0.7:31000")]);
}

#[test]
fn an_overridden_host_is_the_bootstrap_address_too() {
    let change = |s: &mut Value| s["listeners"][1]["advertised"] = json!([{"node": 0, "host": "127.0.0.1"}]);
    let (status, _) = folded(change, "Bound", Some(ready()), true);
    assert_eq!(status.listeners[1].bootstrap_servers.as_deref(), Some("127.0.0.1:31001"));
}

#[test]
fn without_a_pod_no_address_of_a_node_is_known() {
    let (status, outcome) = folded(|_| {}, "Pending", None, true);
    assert_eq!((outcome.reason, outcome.state), ("PodMissing", State::Progressing));
    assert_eq!(status.listeners[1].bootstrap_servers, None);
}

#[test]
fn a_class_that_does_not_exist_is_named() {
    let change = |s: &mut Value| s["nodePools"][0]["storage"]["volumes"][0]["class"] = json!("fast");
    let (_, outcome) = folded(change, "Pending", None, true);
    assert_eq!((outcome.reason, outcome.state), ("StorageClassNotFound", State::Degraded));
    assert!(
        outcome.message.starts_with("spec.nodePools[main].storage.volumes[0].class:"),
        "{}",
        outcome.message
    );
    assert!(outcome.message.contains("fast"));
    // A volume that was made by hand needs no StorageClass.
    assert_eq!(folded(change, "Bound", Some(ready()), true).1.state, State::Ready);
}

#[test]
fn no_default_class_is_said() {
    let cluster = validated(&cluster(|_| {}), &Observed::default()).unwrap();
    let (mut observed, sets) = observed(&cluster, "Pending", None, true);
    observed.storage_classes = Some(StorageClasses::default());
    assert_eq!(fold(&cluster, &observed, &sets, &ports(), &[]).1.reason, "NoDefaultStorageClass");
}

#[test]
fn a_broker_that_does_not_start_says_why() {
    let status = json!({"containerStatuses": [{
        "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 1, "message": "error: num.partitions: 0 is below 1\n"}},
    }]});
    let (_, outcome) = folded(|_| {}, "Bound", Some(status), true);
    assert_eq!((outcome.reason, outcome.state), ("PodFailing", State::Degraded));
    assert_eq!(
        outcome.message,
        "pod demo-main-0-0, container broker: CrashLoopBackOff: error: num.partitions: 0 is below 1"
    );
}

#[test]
fn an_image_that_cannot_be_pulled_is_said() {
    let status = json!({"containerStatuses": [{
        "name": "broker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}},
    }]});
    let (_, outcome) = folded(|_| {}, "Bound", Some(status), true);
    assert!(outcome.message.ends_with("ImagePullBackOff: no such host"), "{}", outcome.message);
}

#[test]
fn the_scheduler_is_quoted() {
    let status = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]});
    let (_, outcome) = folded(|_| {}, "Bound", Some(status), true);
    assert_eq!(outcome.reason, "PodUnschedulable");
    assert!(outcome.message.contains("0/3 nodes"));
}

#[test]
fn a_pod_with_an_old_template_serves_until_it_restarts() {
    let (_, outcome) = folded(|_| {}, "Bound", Some(ready()), false);
    assert_eq!((outcome.reason, outcome.state), ("Restarting", State::ReadyProgressing));
}

#[test]
fn long_last_words_are_cut_at_their_beginning() {
    let text = format!("{}the end", "é".repeat(2000));
    let cut = last_lines(&text);
    assert!(cut.len() <= 1000 && cut.ends_with("the end"));
}
