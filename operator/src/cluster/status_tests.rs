use super::*;
use crate::{
    cluster::{
        build::{foundation, workload},
        leave,
    },
    fixtures::{cluster, validated},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn ports() -> Addresses {
    Addresses::node_ports([("demo-main-0-external", 31001), ("demo-external-bootstrap", 31000)])
}

/// What is there: the claim in `phase`, and a pod with `status` that has the set's template, or another one.
fn observed(cluster: &ValidatedCluster, phase: &str, status: Option<Value>, current: bool) -> Observed {
    let workload = workload(cluster, &Observed::default(), &ports());
    let sets: Vec<_> = workload.nodes.into_iter().map(|n| n.stateful_set).collect();
    let mut claims = foundation(cluster).claims;
    claims[0].status = Some(serde_json::from_value(json!({"phase": phase})).unwrap());
    let template = if current { sets[0].annotations()[names::TEMPLATE].clone() } else { "before".to_owned() };
    let pods = status.map(|status| {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-main-0-0", "labels": {names::BROKER: "true"}, "annotations": {names::TEMPLATE: template}}, "status": status
        }))
        .unwrap()
    });
    let classes = StorageClasses { names: BTreeSet::from(["standard".to_owned()]), has_default: true };
    Observed {
        claims,
        pods: pods.into_iter().collect(),
        storage_classes: Some(classes),
        stateful_sets: sets,
        ..Observed::default()
    }
}

/// A pass that had nothing to ask the brokers.
fn done(cluster: &ValidatedCluster, observed: &Observed) -> Done {
    let workload = workload(cluster, observed, &ports());
    Done {
        addresses: ports(),
        told: Default::default(),
        restart: restart::plan(cluster, &workload, observed, &Default::default()),
        leaving: Vec::new(),
        leave: leave::Plan::default(),
        quorum: None,
        voters: None,
        authority: None,
    }
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
    let observed = observed(&cluster, phase, status, current);
    fold(&cluster, &observed, &done(&cluster, &observed))
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
    let mut observed = observed(&cluster, "Pending", None, true);
    observed.storage_classes = Some(StorageClasses::default());
    let done = done(&cluster, &observed);
    assert_eq!(fold(&cluster, &observed, &done).1.reason, "NoDefaultStorageClass");
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

/// One node that serves, after `change` of what the pass did.
fn after(change: impl FnOnce(&mut Done)) -> (KafkaClusterStatus, Outcome) {
    let cluster = validated(&cluster(|s| s["rack"] = json!({})), &Observed::default()).unwrap();
    let observed = observed(&cluster, "Bound", Some(ready()), true);
    let mut done = done(&cluster, &observed);
    change(&mut done);
    fold(&cluster, &observed, &done)
}

fn leaving(done: &mut Done, why: &str) {
    let id = NodeId(3);
    done.leaving = vec![leave::Leaving {
        id,
        pool: "main".into(),
        name: "demo-main-3".into(),
        is_broker: true,
        set: None,
        has_pod: true,
    }];
    done.leave.held.insert(id, why.to_owned());
}

#[test]
fn a_broker_that_cannot_leave_is_told_by_the_field_and_goes_on() {
    let (status, outcome) = after(|done| {
        leaving(done, "cannot leave: 2 partitions have replicas on it, orders-0 among them");
        done.leave.blocked.insert(NodeId(3));
    });
    assert_eq!((outcome.reason, outcome.state), ("ScaleDownBlocked", State::ReadyDegraded));
    assert!(
        outcome.message.starts_with("spec.nodePools[main].replicas: node 3 cannot leave"),
        "{}",
        outcome.message
    );
    let nodes: Vec<_> = status.nodes.iter().map(|n| (n.id, n.pending.is_some())).collect();
    assert_eq!(nodes, [(0, false), (3, true)]);
    assert_eq!(status.node_ids, [0]);
}

#[test]
fn a_node_on_its_way_out_and_voters_that_change_are_progress() {
    let (_, outcome) = after(|done| leaving(done, "leaves"));
    assert_eq!((outcome.reason, outcome.state), ("ScalingDown", State::ReadyProgressing));
    let (status, outcome) = after(|done| {
        done.quorum =
            Some(quorum::Plan::Waits("controller 1 has not caught up with the metadata yet".into()));
        done.voters = Some(vec![2, 0]);
    });
    assert_eq!((outcome.reason, outcome.state), ("QuorumChanging", State::ReadyProgressing));
    assert!(outcome.message.contains("controller 1"));
    assert_eq!(status.voters, [0, 2]);
}

#[test]
fn several_that_are_not_ready_are_counted() {
    let three = |s: &mut Value| s["nodePools"][0]["replicas"] = json!(3);
    let (status, outcome) = folded(three, "Bound", Some(ready()), true);
    assert_eq!(outcome.state, State::Progressing);
    assert!(outcome.message.ends_with("; another one is not ready"), "{}", outcome.message);
    assert_eq!(status.nodes.iter().map(|n| n.ready).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn what_is_not_advisable_is_said() {
    let warnings = |change: &dyn Fn(&mut Value)| folded(change, "Bound", Some(ready()), true).0.warnings;
    let replicas = |n: i32| move |s: &mut Value| s["nodePools"][0]["replicas"] = json!(n);
    assert_eq!(warnings(&replicas(1)).len(), 0);
    assert!(warnings(&replicas(2))[0].contains("2 controllers survive the loss of 0, as 1 do"));
    assert_eq!(warnings(&replicas(3)).len(), 0);
    assert_eq!(warnings(&replicas(10)).len(), 2);
}

#[test]
fn a_pod_without_the_label_of_its_rack_is_named() {
    let cluster = validated(&cluster(|s| s["rack"] = json!({})), &Observed::default()).unwrap();
    let mut observed = observed(&cluster, "Bound", Some(ready()), true);
    observed.pods[0].spec =
        Some(serde_json::from_value(json!({"nodeName": "machine", "containers": []})).unwrap());
    let (status, _) = fold(&cluster, &observed, &done(&cluster, &observed));
    assert!(status.warnings[0].starts_with("spec.rack: pod demo-main-0-0"), "{:?}", status.warnings);
    observed.pods[0].labels_mut().insert("topology.kubernetes.io/zone".into(), "a".into());
    let (status, _) = fold(&cluster, &observed, &done(&cluster, &observed));
    assert_eq!((status.warnings.len(), status.nodes[0].rack.as_deref()), (0, Some("a")));
}

#[test]
fn long_last_words_are_cut_at_their_beginning() {
    let text = format!("{}the end", "é".repeat(2000));
    let cut = last_lines(&text);
    assert!(cut.len() <= 1000 && cut.ends_with("the end"));
}

#[test]
fn a_listener_that_waits_for_an_address_keeps_nothing_else_from_being_ready() {
    let balanced = |s: &mut Value| s["listeners"][1]["type"] = json!("loadbalancer");
    let cluster = validated(&cluster(balanced), &Observed::default()).unwrap();
    let observed = observed(&cluster, "Bound", Some(ready()), true);
    let mut done = done(&cluster, &observed);
    let (mut status, outcome) = fold(&cluster, &observed, &done);
    assert_eq!(outcome.state, State::Ready);
    assert_eq!((&status.listeners[1].bootstrap_servers, status.listeners[1].pending.len()), (&None, 2));
    let (reason, message) = unreachable(&status, &done).unwrap();
    assert_eq!(reason, "AddressPending");
    assert!(message.starts_with("listener external: Service demo-external-bootstrap: no load"), "{message}");

    status.listeners[1].pending.clear();
    assert_eq!(unreachable(&status, &done), None);
    done.told.unreached.insert(NodeId(0), "no route".to_owned());
    let (reason, message) = unreachable(&status, &done).unwrap();
    assert_eq!((reason, &*message), ("BrokerUnreached", "node 0 cannot be told its addresses: no route"));
}
