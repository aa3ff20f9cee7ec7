//! Nothing that runs is stopped without the active controller's word: who is asked is a function of what was observed and answered, asking is not.
//!
//! One answer holds for half a minute and for one node of the cluster; the controller keeps to that, whoever asks and whoever leads after it.

use super::{answers::Answers, identity::NodeId, names, observe::Observed, validate::ValidatedCluster};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ottla_client::admin::{AdminClient, AdminError, Identity, Permit};
use std::time::Duration;

/// For the question with its answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who has to be asked before a node stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Nobody: what is known of pods, partitions and voters decides.
    Nobody,
    /// The active controller: this node, by name.
    Controller(String),
    /// It cannot stop now, for this reason.
    Wait(String),
}

/// Whom to ask about `node`, which runs.
///
/// A node alone takes nothing from others. Without an active controller a broker may go by what was seen of its partitions, as the plan has
/// judged it already, a voter never. An active controller that an earlier release of the operator has started has no port to be asked on.
pub fn whom(cluster: &ValidatedCluster, observed: &Observed, answers: &Answers, node: NodeId) -> Whom {
    let others = observed.stateful_sets.iter().filter(|set| number(set.labels()) != Some(node.0));
    if others.count() == 0 {
        return Whom::Nobody;
    }
    let leader = answers.quorum.as_ref().and_then(|quorum| quorum.leader);
    let Some(leader) = leader else {
        let votes = |quorum: &crate::kafka::Quorum| quorum.voters.iter().any(|voter| voter.id == node.0);
        let is_controller = cluster.controllers().any(|it| it.id == node);
        return match is_controller || answers.quorum.as_ref().is_some_and(votes) {
            true => Whom::Wait("no controller is active, and voters stay until one is".to_owned()),
            false => Whom::Nobody,
        };
    };
    let pod = observed.pods.iter().find(|pod| number(pod.labels()) == Some(leader));
    match pod {
        Some(pod) if has_port(pod) => {
            let name = pod.name_any();
            Whom::Controller(name.strip_suffix("-0").unwrap_or(&name).to_owned())
        }
        Some(_) => Whom::Nobody,
        None => Whom::Wait(format!("node {leader}, the active controller, has no pod")),
    }
}

fn number(labels: &std::collections::BTreeMap<String, String>) -> Option<i32> {
    labels.get(names::NODE)?.parse().ok()
}

/// Whether a pod has the port that a node is asked on: those that an earlier release of the operator has started have none.
pub(super) fn has_port(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.any(|port| port.name.as_deref() == Some(names::ADMIN))
}

/// The word that a node may stop.
#[derive(Debug, Default)]
pub struct Word(Option<(AdminClient, i32)>);

impl Word {
    /// It does not stop after all. That this could not be said costs others half a minute.
    pub async fn give_back(self) {
        let Self(Some((controller, node))) = self else { return };
        if let Err(error) = controller.return_permit(node).await {
            tracing::warn!(node, %error, "a permit cannot be given back");
        }
    }
}

/// Asks whether `node` may stop now.
///
/// # Errors
/// It may not, or nobody said so; for people, and the same as long as the reason is.
pub async fn ask(
    cluster: &ValidatedCluster,
    observed: &Observed,
    answers: &Answers,
    own: Option<&Identity>,
    node: NodeId,
) -> Result<Word, String> {
    let controller = match whom(cluster, observed, answers, node) {
        Whom::Nobody => return Ok(Word::default()),
        Whom::Wait(why) => return Err(why),
        Whom::Controller(name) => name,
    };
    let own = own.ok_or("the operator has no certificate to ask with")?;
    let (host, address) = (
        names::service_host(&controller, &cluster.namespace),
        names::admin_address(&controller, &cluster.namespace),
    );
    let silent = |error: AdminError| {
        tracing::warn!(cluster = cluster.name, controller, %error, "the active controller does not say whether a node may stop");
        match error {
            AdminError::NotActive(_) => "another controller has just become active".to_owned(),
            error => format!("the active controller cannot be asked: {error}"),
        }
    };
    let client = AdminClient::new(own, address, &host, DEADLINE).map_err(silent)?;
    let answer = client.ask_permit(node.0).await.map_err(silent)?;
    tracing::info!(
        cluster = cluster.name,
        node = node.0,
        controller,
        ?answer,
        "asked whether a node may stop"
    );
    judge(&answer)?;
    Ok(Word(Some((client, node.0))))
}

fn judge(answer: &Permit) -> Result<(), String> {
    let Permit::Refused { blockers, count } = answer else { return Ok(()) };
    let first =
        blockers.first().map_or_else(|| "the active controller says no".to_owned(), ToString::to_string);
    Err(match count.saturating_sub(1) {
        0 => first,
        more => format!("{first}; {more} more reasons"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::build::{address::Addresses, workload},
        fixtures::{cluster, validated},
        kafka::{Quorum, quorum::Replica},
    };
    use ottla_client::admin::{Blocker, Cost};
    use serde_json::json;

    /// So many combined nodes that run, of which one leads the quorum.
    fn world(nodes: i32, leader: Option<i32>) -> (ValidatedCluster, Observed, Answers) {
        let cluster =
            validated(&cluster(|s| s["nodePools"][0]["replicas"] = json!(nodes)), &Observed::default())
                .unwrap();
        let mut observed = Observed::default();
        for node in workload(&cluster, &observed.clone(), &Addresses::default()).nodes {
            let template = node.stateful_set.spec.as_ref().unwrap().template.clone();
            let mut pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, status: None };
            pod.metadata.name = Some(names::pod(&node.stateful_set.name_any()));
            observed.pods.push(pod);
            observed.stateful_sets.push(node.stateful_set);
        }
        let directory = crate::ids::Uuid::from_bytes([1; 16]);
        let voters = (0..nodes).map(|id| Replica { id, directory, caught_up_ms: 0, fetched_ms: 0 }).collect();
        let quorum = Some(Quorum { leader, voters, observers: Vec::new() });
        (cluster, observed, Answers { quorum, placement: None })
    }

    #[test]
    fn the_active_controller_is_asked_about_any_node_itself_among_them() {
        let (cluster, observed, answers) = world(3, Some(1));
        for id in 0..3 {
            let whom = whom(&cluster, &observed, &answers, NodeId(id));
            assert_eq!(whom, Whom::Controller("demo-main-1".to_owned()));
        }
    }

    #[test]
    fn a_node_alone_asks_nobody() {
        let (cluster, observed, _) = world(1, Some(0));
        assert_eq!(whom(&cluster, &observed, &Answers::default(), NodeId(0)), Whom::Nobody);
    }

    #[test]
    fn without_an_active_controller_no_voter_stops() {
        let (cluster, observed, answers) = world(3, None);
        for answers in [answers, Answers::default()] {
            assert!(matches!(whom(&cluster, &observed, &answers, NodeId(0)), Whom::Wait(_)));
            // It is a broker that is no controller.
            assert_eq!(whom(&cluster, &observed, &answers, NodeId(7)), Whom::Nobody);
        }
    }

    #[test]
    fn a_controller_of_an_earlier_release_has_no_port_to_be_asked_on() {
        let (cluster, mut observed, answers) = world(3, Some(1));
        observed.pods[1].spec.as_mut().unwrap().containers[0].ports = None;
        assert_eq!(whom(&cluster, &observed, &answers, NodeId(0)), Whom::Nobody);
        observed.pods.remove(1);
        assert!(matches!(whom(&cluster, &observed, &answers, NodeId(0)), Whom::Wait(_)));
    }

    #[test]
    fn a_refusal_names_its_first_reason() {
        assert_eq!(judge(&Permit::NotNeeded), Ok(()));
        assert_eq!(judge(&Permit::Granted { for_ms: 1, cost: Cost::default() }), Ok(()));
        let blockers = vec![Blocker::Away { node: 2 }, Blocker::Majority { voters: vec![1] }];
        let refused = judge(&Permit::Refused { blockers, count: 2 });
        assert_eq!(refused, Err("node 2 is away, or may go; 1 more reasons".to_owned()));
    }
}
