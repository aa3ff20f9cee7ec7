//! Nodes that the spec does not ask for any more: a function of what is there and what was answered, at most one step at a time.
//!
//! A broker goes once no partition has a replica on it (the operator moves none), a controller once it votes no more (which [`super::quorum`] sees to).
//! Then its StatefulSet is deleted; when its process is gone the controller is told to forget the broker, and what remains of the node is
//! dropped, but for its claims: if the pool grows again, the same node comes back with them.

use super::{
    answers::Answers,
    identity::{NodeId, labelled},
    names,
    observe::Observed,
    validate::ValidatedCluster,
};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// A node on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its id.
    pub id: NodeId,
    /// Its pool.
    pub pool: String,
    /// Name of its objects.
    pub name: String,
    /// Holds partitions.
    pub is_broker: bool,
    /// Uid of its StatefulSet, while it has one.
    pub set: Option<String>,
    /// Its process may still run.
    pub has_pod: bool,
}

/// What this pass does about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Who stays for now, and why.
    pub held: BTreeMap<NodeId, String>,
    /// Those that cannot go as things are: they keep their partitions and their votes.
    pub blocked: BTreeSet<NodeId>,
    /// One step.
    pub step: Option<Step>,
}

/// A step on the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Delete the StatefulSet with this name and uid.
    Stop {
        /// The node.
        id: NodeId,
        /// Name of the set.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// The process is gone: have the broker forgotten, if it is one, then drop what remains.
    Forget {
        /// The node.
        id: NodeId,
        /// It was registered as a broker.
        is_broker: bool,
    },
}

/// The nodes that are there and not asked for, by id.
pub fn leaving(cluster: &ValidatedCluster, observed: &Observed) -> Vec<Leaving> {
    let wanted: BTreeSet<NodeId> = cluster.nodes.iter().map(|n| n.id).collect();
    let sets = observed.stateful_sets.iter().filter_map(labelled);
    let maps = observed.config_maps.iter().filter_map(labelled);
    let found: BTreeMap<NodeId, String> = sets.chain(maps).map(|(pool, id)| (id, pool)).collect();
    let gone = found.into_iter().filter(|(id, _)| !wanted.contains(id));
    gone.map(|(id, pool)| node(cluster, observed, id, pool)).collect()
}

fn node(cluster: &ValidatedCluster, observed: &Observed, id: NodeId, pool: String) -> Leaving {
    let name = names::node(&cluster.name, &pool, id);
    let set = observed.stateful_sets.iter().find(|s| s.name_any() == name);
    let map = observed.config_maps.iter().find(|m| m.name_any() == name);
    let roles = map.and_then(|m| m.data.as_ref()?.get(names::CONFIG_FILE)).and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("process.roles="))?;
        Some(line.split(',').any(|role| role == "broker"))
    });
    let pod = names::pod(&name);
    Leaving {
        id,
        pool,
        is_broker: roles.unwrap_or(true),
        set: set.and_then(ResourceExt::uid),
        has_pod: observed.pods.iter().any(|p| p.name_any() == pod),
        name,
    }
}

/// Plans the pass.
pub fn plan(leaving: &[Leaving], answers: &Answers) -> Plan {
    let mut plan = Plan::default();
    for node in leaving.iter().rev() {
        match judge(node, answers) {
            Verdict::Step(step) if plan.step.is_none() => {
                plan.held.insert(node.id, "leaves".to_owned());
                plan.step = Some(step);
            }
            Verdict::Step(_) => {
                plan.held.insert(node.id, "leaves when its turn comes".to_owned());
            }
            Verdict::Waits(why) => {
                plan.held.insert(node.id, format!("leaves; {why}"));
            }
            Verdict::Blocked(why) => {
                plan.blocked.insert(node.id);
                plan.held.insert(node.id, format!("cannot leave: {why}"));
            }
        }
    }
    plan
}

enum Verdict {
    Step(Step),
    Waits(String),
    Blocked(String),
}

fn judge(node: &Leaving, answers: &Answers) -> Verdict {
    if node.is_broker {
        let Some(placement) = &answers.placement else {
            return Verdict::Waits("waits until the brokers answer".to_owned());
        };
        let partitions: Vec<_> = placement.on(node.id.0).collect();
        match partitions.as_slice() {
            [] => {}
            [only] => return Verdict::Blocked(format!("partition {} has a replica on it", only.name)),
            [first, ..] => {
                let count = partitions.len();
                return Verdict::Blocked(format!(
                    "{count} partitions have replicas on it, {} among them",
                    first.name
                ));
            }
        }
    }
    let Some(uid) = &node.set else {
        return match node.has_pod {
            true => Verdict::Waits("is stopping".to_owned()),
            false => Verdict::Step(Step::Forget { id: node.id, is_broker: node.is_broker }),
        };
    };
    let Some(quorum) = &answers.quorum else {
        return Verdict::Waits("waits until the active controller is known".to_owned());
    };
    if quorum.voters.iter().any(|v| v.id == node.id.0) {
        return Verdict::Waits("votes until the other controllers have agreed to do without it".to_owned());
    }
    Verdict::Step(Step::Stop { id: node.id, name: node.name.clone(), uid: uid.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::build::workload,
        fixtures::{cluster, validated},
        kafka::{Partition, Placement, Quorum, quorum::Replica},
    };
    use serde_json::json;

    fn replica(id: i32) -> Replica {
        Replica { id, directory: crate::ids::Uuid::from_bytes([1; 16]), caught_up_ms: 0, fetched_ms: 0 }
    }

    fn answers(voters: &[i32], replicas: &[i32]) -> Answers {
        let partition =
            Partition { name: "orders-0".into(), replicas: replicas.to_vec(), isr: replicas.to_vec() };
        Answers {
            quorum: Some(Quorum {
                leader: Some(0),
                voters: voters.iter().map(|id| replica(*id)).collect(),
                observers: Vec::new(),
            }),
            placement: Some(Placement(vec![partition])),
        }
    }

    /// Three nodes are there, one is asked for.
    fn two_leave(stopped: bool) -> Vec<Leaving> {
        let three =
            validated(&cluster(|s| s["nodePools"][0]["replicas"] = json!(3)), &Observed::default()).unwrap();
        let made =
            workload(&three, &Observed::default(), &super::super::build::address::Addresses::default());
        let mut observed = Observed::default();
        for node in made.nodes {
            let mut set = node.stateful_set;
            set.metadata.uid = Some(format!("uid-{}", set.name_any()));
            observed.stateful_sets.push(set);
            observed.config_maps.push(node.config_map);
        }
        if stopped {
            observed.stateful_sets.truncate(2);
        }
        let one = validated(&cluster(|_| {}), &observed).unwrap();
        leaving(&one, &observed)
    }

    #[test]
    fn the_highest_ids_leave() {
        let found = two_leave(false);
        assert_eq!(found.iter().map(|n| (n.id.0, n.is_broker)).collect::<Vec<_>>(), [(1, true), (2, true)]);
    }

    #[test]
    fn a_broker_with_partitions_stays_and_says_which() {
        let plan = plan(&two_leave(false), &answers(&[0, 1, 2], &[0, 2]));
        assert_eq!(plan.blocked, BTreeSet::from([NodeId(2)]));
        assert!(plan.held[&NodeId(2)].contains("partition orders-0 has a replica on it"), "{plan:?}");
        assert!(plan.held[&NodeId(1)].contains("votes until"), "{plan:?}");
        assert_eq!(plan.step, None);
    }

    #[test]
    fn one_goes_at_a_time_once_nothing_is_on_it_and_it_has_no_vote() {
        let found = plan(&two_leave(false), &answers(&[0], &[0]));
        let stop = Step::Stop { id: NodeId(2), name: "demo-main-2".into(), uid: "uid-demo-main-2".into() };
        assert_eq!(found.step, Some(stop));
        assert_eq!(found.held.len(), 2);
    }

    #[test]
    fn who_is_gone_is_forgotten_unless_partitions_came_meanwhile() {
        let forget = Step::Forget { id: NodeId(2), is_broker: true };
        assert_eq!(plan(&two_leave(true), &answers(&[0, 1], &[0])).step, Some(forget));
        assert_eq!(plan(&two_leave(true), &answers(&[0, 1], &[2])).blocked, BTreeSet::from([NodeId(2)]));
    }

    #[test]
    fn without_answers_nothing_is_done() {
        let plan = plan(&two_leave(false), &Answers::default());
        assert_eq!((plan.step, plan.held.len()), (None, 2));
    }
}
