use super::*;
use crate::{
    cluster::build::{address::Addresses, workload},
    fixtures::{cluster, validated},
    kafka::{Partition, Placement, Quorum, quorum::Replica},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// A cluster of nodes, what is rendered for it, what is there, and what the brokers say.
struct World {
    cluster: ValidatedCluster,
    workload: Workload,
    observed: Observed,
    answers: Answers,
}

fn three(s: &mut Value) {
    s["nodePools"][0]["replicas"] = json!(3);
}

/// Brokers 0 and 1, controllers 2, 3 and 4.
fn apart(s: &mut Value) {
    let mut controllers = s["nodePools"][0].clone();
    s["nodePools"][0]["roles"] = json!(["broker"]);
    s["nodePools"][0]["replicas"] = json!(2);
    controllers["name"] = json!("quorum");
    controllers["roles"] = json!(["controller"]);
    controllers["replicas"] = json!(3);
    s["nodePools"].as_array_mut().unwrap().push(controllers);
}

/// All serve with what `before` says, all is in sync, the first controller leads; then `after` is asked for.
fn world(before: impl Fn(&mut Value), after: impl Fn(&mut Value)) -> World {
    let old = validated(&cluster(&before), &Observed::default()).unwrap();
    let made = workload(&old, &Observed::default(), &Addresses::default());
    let mut observed = Observed::default();
    for node in made.nodes {
        let mut set = node.stateful_set;
        set.metadata.generation = Some(1);
        set.status = Some(serde_json::from_value(json!({"observedGeneration": 1, "replicas": 1})).unwrap());
        observed.pods.push(pod(&set, true));
        observed.stateful_sets.push(set);
    }
    let new = cluster(|s| {
        before(s);
        after(s);
    });
    let cluster = validated(&new, &observed).unwrap();
    let workload = workload(&cluster, &observed, &Addresses::default());
    let voters: Vec<_> = cluster.controllers().map(|n| replica(n.id.0)).collect();
    let quorum = Quorum { leader: voters.first().map(|v| v.id), voters, observers: Vec::new() };
    let brokers: Vec<_> = cluster.brokers().map(|n| n.id.0).collect();
    let partition = Partition { name: "orders-0".into(), replicas: brokers.clone(), isr: brokers };
    let answers = Answers { quorum: Some(quorum), placement: Some(Placement(vec![partition])) };
    World { cluster, workload, observed, answers }
}

fn replica(id: i32) -> Replica {
    Replica { id, directory: crate::ids::Uuid::from_bytes([1; 16]), caught_up_ms: 0, fetched_ms: 0 }
}

fn pod(set: &StatefulSet, ready: bool) -> Pod {
    let name = names::pod(&set.name_any());
    let template = set.annotations()[names::TEMPLATE].clone();
    let ready = if ready { "True" } else { "False" };
    serde_json::from_value(json!({
        "metadata": {"uid": format!("uid-{name}"), "name": name, "annotations": {names::TEMPLATE: template}},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{
                "name": names::BROKER_CONTAINER, "image": "", "imageID": "", "ready": ready == "True", "restartCount": 0,
                "state": {"running": {}}
            }],
        }
    }))
    .unwrap()
}

fn more_partitions(s: &mut Value) {
    s["config"]["num.partitions"] = json!(7);
}

impl World {
    fn plan(&self) -> Plan {
        plan(&self.cluster, &self.workload, &self.observed, &self.answers)
    }

    /// What a pass writes is there afterwards, and the StatefulSet controller knows it.
    fn written(&mut self, plan: &Plan) {
        for node in self.workload.nodes.iter().filter(|n| plan.write.contains(&n.id)) {
            let name = node.stateful_set.name_any();
            let set = self.observed.stateful_sets.iter_mut().find(|s| s.name_any() == name).unwrap();
            set.metadata.annotations.clone_from(&node.stateful_set.metadata.annotations);
        }
    }

    fn unready(&mut self, index: usize) {
        let set = self.observed.stateful_sets[index].clone();
        self.observed.pods[index] = pod(&set, false);
    }

    /// The broker of the pod waits to be started again.
    fn crash(&mut self, index: usize) {
        self.unready(index);
        let statuses =
            self.observed.pods[index].status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        statuses[0].state =
            Some(serde_json::from_value(json!({"waiting": {"reason": "CrashLoopBackOff"}})).unwrap());
    }
}

fn ids(plan: &Plan) -> Vec<i32> {
    plan.write.iter().map(|id| id.0).collect()
}

#[test]
fn an_unchanged_cluster_is_left_alone() {
    let plan = world(three, |_| {}).plan();
    assert_eq!((ids(&plan), plan.restart, plan.pending.len()), (vec![0, 1, 2], None, 0));
}

#[test]
fn a_changed_spec_is_taken_by_one_node_after_the_other_the_active_controller_last() {
    for (shape, order) in [(three as fn(&mut Value), vec![1, 2, 0]), (apart, vec![0, 1, 3, 4, 2])] {
        let mut world = world(shape, more_partitions);
        let mut taken = Vec::new();
        for _ in 0..order.len() {
            let release = world.plan();
            assert_eq!(release.restart, None, "first the template, then the pod");
            world.written(&release);
            let restart = world.plan().restart.expect("a released node restarts");
            let index = world.observed.pods.iter().position(|p| p.name_any() == restart.pod).unwrap();
            assert_eq!(restart.uid, format!("uid-{}", restart.pod));
            taken.push(world.cluster.nodes[index].id.0);
            // While it is away, and while it starts, nobody else goes.
            let set = world.observed.stateful_sets[index].clone();
            world.observed.pods[index] = pod(&set, false);
            let meanwhile = world.plan();
            assert_eq!(meanwhile.restart, None);
            assert!(meanwhile.write.len() <= taken.len(), "{:?}", meanwhile.write);
            world.observed.pods[index] = pod(&set, true);
        }
        assert_eq!(taken, order);
        assert_eq!(world.plan().pending.len(), 0);
    }
}

#[test]
fn who_waits_is_named_with_the_reason() {
    let mut world = world(three, more_partitions);
    world.unready(2);
    let plan = world.plan();
    assert!(plan.is_asked && plan.restart.is_none() && plan.write.is_empty());
    assert_eq!(plan.pending.len(), 3);
    assert!(plan.pending[&NodeId(1)].contains("pod demo-main-2-0 is not ready"), "{plan:?}");
}

#[test]
fn nobody_goes_until_the_last_one_has_been_ready_for_a_while() {
    let mut world = world(three, more_partitions);
    let readied: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let status = world.observed.pods[2].status.as_mut().unwrap();
    status.conditions.as_mut().unwrap()[0].last_transition_time = Some(Time(readied));
    let at = |world: &mut World, seconds: i64| {
        world.observed.at = readied + SignedDuration::from_secs(seconds);
        world.plan()
    };
    for settling in [-1, 0, 3] {
        let plan = at(&mut world, settling);
        assert!(plan.write.is_empty() && plan.restart.is_none());
        assert!(plan.pending[&NodeId(1)].contains("demo-main-2-0 has been ready for less than"), "{plan:?}");
    }
    for settled in [4, 3600, -3600] {
        assert_eq!(ids(&at(&mut world, settled)), vec![1], "a clock that is far off does not block");
    }
}

#[test]
fn nobody_goes_while_a_replica_elsewhere_is_not_in_sync() {
    let mut world = world(three, more_partitions);
    world.answers.placement.as_mut().unwrap().0[0].isr = vec![0, 1];
    let plan = world.plan();
    assert!(plan.write.is_empty());
    assert!(plan.pending[&NodeId(1)].contains("orders-0"), "{plan:?}");
}

#[test]
fn nobody_goes_unless_the_brokers_and_the_controllers_answer() {
    for forget in [|a: &mut Answers| a.placement = None, |a: &mut Answers| a.quorum = None] {
        let mut world = world(three, more_partitions);
        forget(&mut world.answers);
        assert!(world.plan().write.is_empty());
    }
}

#[test]
fn nobody_goes_that_the_quorum_needs() {
    let mut world = world(three, more_partitions);
    world.answers.quorum.as_mut().unwrap().voters[2].caught_up_ms = -1;
    let plan = world.plan();
    assert!(plan.write.is_empty() && plan.pending[&NodeId(1)].contains("controllers"), "{plan:?}");
}

#[test]
fn what_does_not_run_takes_a_changed_spec_at_once() {
    let mut world = world(three, more_partitions);
    (0..3).for_each(|index| world.crash(index));
    world.answers = Answers::default();
    let release = world.plan();
    assert_eq!(ids(&release), [0, 1, 2], "a spec that kept all of them from starting is mended");
    world.written(&release);
    assert_eq!(world.plan().restart.unwrap().pod, "demo-main-0-0");
}

#[test]
fn a_lone_node_asks_nobody() {
    let mut world = world(|_| {}, more_partitions);
    world.answers = Answers::default();
    world.unready(0);
    let release = world.plan();
    assert_eq!(ids(&release), [0]);
    world.written(&release);
    assert_eq!(world.plan().restart.unwrap().pod, "demo-main-0-0");
}

#[test]
fn a_template_that_the_statefulset_controller_does_not_know_yet_is_waited_for() {
    let mut world = world(|_| {}, more_partitions);
    let release = world.plan();
    world.written(&release);
    world.observed.stateful_sets[0].metadata.generation = Some(2);
    assert_eq!(world.plan().restart, None);
    world.observed.stateful_sets[0].status.as_mut().unwrap().observed_generation = Some(2);
    assert!(world.plan().restart.is_some());
}

#[test]
fn a_pod_on_its_way_out_is_not_deleted_again() {
    let mut world = world(|_| {}, more_partitions);
    let release = world.plan();
    world.written(&release);
    world.observed.pods[0].metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    assert_eq!(world.plan().restart, None);
}

#[test]
fn more_nodes_are_made_at_once_and_the_others_stay_as_they_are() {
    let world = world(|_| {}, three);
    let plan = world.plan();
    assert_eq!(ids(&plan), [1, 2], "node 0 would be told of the new ones, which can wait");
    assert!(!plan.is_asked && plan.pending[&NodeId(0)].contains("number of nodes"), "{plan:?}");
}

#[test]
fn another_pool_restarts_nobody() {
    let world = world(three, |s| {
        let mut other = s["nodePools"][0].clone();
        other["name"] = json!("other");
        other["roles"] = json!(["broker"]);
        s["nodePools"].as_array_mut().unwrap().push(other);
    });
    assert!(!world.plan().is_asked);
}

#[test]
fn another_release_alone_restarts_nothing() {
    let mut world = world(three, |_| {});
    for set in &mut world.observed.stateful_sets {
        set.annotations_mut().insert(names::TEMPLATE.into(), "as before".into());
    }
    for pod in &mut world.observed.pods {
        pod.annotations_mut().insert(names::TEMPLATE.into(), "as before".into());
    }
    let waiting = world.plan();
    assert!(waiting.write.is_empty() && waiting.restart.is_none() && !waiting.is_asked);
    assert_eq!(waiting.pending.len(), 3);
    world.observed.stateful_sets[1].annotations_mut().insert(names::REQUEST.into(), "another".into());
    assert_eq!(ids(&world.plan()), [1]);
}

#[test]
fn an_address_that_changes_is_no_change_of_a_node() {
    for (field, value) in [
        ("advertised", json!([{"node": 1, "host": "kafka-1.example", "port": 443}])),
        ("nodePort", json!(32_000)),
        ("preferredAddressTypes", json!(["ExternalIP"])),
        ("metadata", json!({"annotations": {"a": "b"}})),
    ] {
        let world = world(three, |s| s["listeners"][1][field] = value.clone());
        let plan = plan(&world.cluster, &world.workload, &world.observed, &world.answers);
        assert_eq!((plan.restart, plan.is_asked), (None, false), "{field}");
        assert!(plan.pending.is_empty() && plan.write.len() == 3, "{field}");
    }
}
