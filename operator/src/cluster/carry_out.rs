//! The writing half of a pass: applies what the cluster asks for, drops what it does not, and takes the one step that each plan allows.

use super::{
    addresses::{self, Told},
    answers::{self, Answers},
    apply::WriteError,
    build::{self, Workload, address::Addresses},
    certificates,
    identity::{NodeId, labelled},
    leave::{self, Leaving},
    names,
    observe::Observed,
    permit::{self, Word},
    quorum, restart,
    validate::ValidatedCluster,
};
use crate::{context::Context, kafka::KafkaError, kafka::quorum::Endpoint};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod},
};
use kube::{Resource, ResourceExt, core::NamespaceResourceScope};
use ottla_client::{CallError, admin::Identity};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// What came of a pass.
pub struct Outcome {
    /// What Kubernetes assigned to the applied Services.
    pub addresses: Addresses,
    /// What brokers were told of theirs.
    pub told: Told,
    /// Nodes that are to change.
    pub restart: restart::Plan,
    /// Nodes on their way out.
    pub leaving: Vec<Leaving>,
    /// What is done about those.
    pub leave: leave::Plan,
    /// What is done about the voters; none where there is nobody to ask.
    pub quorum: Option<quorum::Plan>,
    /// Ids of the voters, where they were told.
    pub voters: Option<Vec<i32>>,
    /// What happened to the authority of the admin ports, if users should know.
    pub authority: Option<String>,
}

/// Does it.
///
/// # Errors
/// The first write that fails. What the brokers refuse is part of the outcome.
pub async fn carry_out(
    cluster: &ValidatedCluster,
    observed: &Observed,
    context: &Context,
) -> Result<Outcome, WriteError> {
    let (writer, namespace) = (&context.writer, cluster.namespace.as_str());
    let foundation = build::foundation(cluster);
    writer.apply(namespace, &foundation.claims, &observed.claims).await?;
    let services = writer.apply(namespace, &foundation.services, &observed.services).await?;
    let addresses = Addresses::of(&services, observed.machines.clone());
    // Early: they may be what keeps the operator from its brokers.
    let policies = build::network_policy::build(cluster, context.namespace.as_deref());
    writer.apply(namespace, &policies, &observed.policies).await?;

    let certificates = certificates::carry_out(cluster, context).await?;
    let workload = build::workload(cluster, observed, &addresses);
    let leaving = leave::leaving(cluster, observed);
    let is_due = restart::is_due(cluster, &workload, observed);
    let wanted = addresses::wanted(cluster, observed, &addresses);
    let (told, answers) = futures::join!(
        addresses::tell(cluster, &wanted, certificates.operator.as_ref()),
        answers::ask(cluster, observed, &leaving, is_due, &context.kafka),
    );
    let mut restart = restart::plan(cluster, &workload, observed, &answers);
    write(cluster, observed, &workload, &restart.write, context).await?;
    let asking = Asking { cluster, observed, answers: &answers, own: certificates.operator.as_ref() };
    take_restart(&asking, &mut restart, context).await?;

    let mut leave = leave::plan(&leaving, &answers);
    let quorum = change_voters(cluster, &leave, &answers, context).await;
    take_leave(&asking, &mut leave, context).await?;
    prune(cluster, observed, &services, &leave, context).await?;
    let wanted: Vec<_> = policies.iter().map(ResourceExt::name_any).collect();
    writer.prune(namespace, &cluster.owner.uid, &observed.policies, &wanted).await?;
    let voters = answers.quorum.map(|q| q.voters.iter().map(|v| v.id).collect());
    Ok(Outcome { addresses, told, restart, leaving, leave, quorum, voters, authority: certificates.news })
}

/// What it takes to ask whether a node may stop.
struct Asking<'a> {
    cluster: &'a ValidatedCluster,
    observed: &'a Observed,
    answers: &'a Answers,
    own: Option<&'a Identity>,
}

impl Asking<'_> {
    async fn permit(&self, node: NodeId) -> Result<Word, String> {
        permit::ask(self.cluster, self.observed, self.answers, self.own, node).await
    }
}

/// At most one pod is deleted, if it may.
async fn take_restart(
    asking: &Asking<'_>,
    restart: &mut restart::Plan,
    context: &Context,
) -> Result<(), WriteError> {
    let Some(next) = &restart.restart else { return Ok(()) };
    let word = match next.is_running {
        true => asking.permit(next.node).await,
        false => Ok(Word::default()),
    };
    match word {
        Ok(word) => {
            let (cluster, pod) = (asking.cluster, next.pod.as_str());
            tracing::info!(cluster = cluster.name, pod, "restarting a pod to take its new template");
            stop::<Pod>(asking, pod, next.uid.clone(), word, context).await
        }
        Err(why) => {
            let why = format!("is the next to restart, to take the changed spec; waits: {why}");
            restart.pending.insert(next.node, why);
            restart.restart = None;
            Ok(())
        }
    }
}

/// Deletes what was permitted to stop.
async fn stop<K>(
    asking: &Asking<'_>,
    name: &str,
    uid: String,
    word: Word,
    context: &Context,
) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let result = context.writer.delete::<K>(&asking.cluster.namespace, name, uid).await;
    if result.is_err() {
        word.give_back().await;
    }
    result
}

async fn write(
    cluster: &ValidatedCluster,
    observed: &Observed,
    workload: &Workload,
    nodes: &BTreeSet<NodeId>,
    context: &Context,
) -> Result<(), WriteError> {
    let (writer, namespace) = (&context.writer, cluster.namespace.as_str());
    let chosen = || workload.nodes.iter().filter(|n| nodes.contains(&n.id));
    let config_maps = workload.config_maps(nodes, observed);
    let sets: Vec<_> = chosen().map(|n| n.stateful_set.clone()).collect();
    writer.apply(namespace, &config_maps, &observed.config_maps).await?;
    writer.apply(namespace, &sets, &observed.stateful_sets).await?;
    writer.apply(namespace, std::slice::from_ref(&workload.budget), &observed.budgets).await?;
    Ok(())
}

/// At most one voter is added or removed.
async fn change_voters(
    cluster: &ValidatedCluster,
    leave: &leave::Plan,
    answers: &Answers,
    context: &Context,
) -> Option<quorum::Plan> {
    let wanted = cluster.controllers().map(|n| n.id.0);
    let state = answers.quorum.as_ref()?;
    // Who cannot leave keeps its vote: a node stays as a whole or goes as a whole.
    let is_voter = |id: &i32| state.voters.iter().any(|v| v.id == *id);
    let wanted = wanted.chain(leave.blocked.iter().map(|id| id.0).filter(is_voter)).collect();
    let plan = quorum::plan(&wanted, state);
    let quorum::Plan::Step(step) = plan else { return Some(plan) };
    tracing::info!(cluster = cluster.name, ?step, "changing the voters");
    match take_step(cluster, step, context).await {
        Ok(()) => Some(plan),
        Err(error) => {
            tracing::warn!(cluster = cluster.name, ?step, %error, "the voters cannot be changed");
            Some(quorum::Plan::Waits(error.to_string()))
        }
    }
}

async fn take_step(
    cluster: &ValidatedCluster,
    step: quorum::Step,
    context: &Context,
) -> Result<(), KafkaError> {
    let admin = answers::admin(cluster, &context.kafka);
    match step {
        quorum::Step::Remove { id, directory } => admin.remove_voter(cluster.cluster_id, id, directory).await,
        quorum::Step::Add { id, directory } => {
            let Some(node) = cluster.nodes.iter().find(|n| n.id.0 == id) else { return Ok(()) };
            let endpoint = Endpoint {
                listener: build::properties::CONTROLLER.to_owned(),
                host: names::service_host(&node.name, &cluster.namespace),
                port: u16::try_from(names::CONTROLLER_PORT).unwrap_or_default(),
            };
            admin.add_voter(cluster.cluster_id, id, directory, &endpoint).await
        }
    }
}

/// At most one node goes a step.
async fn take_leave(
    asking: &Asking<'_>,
    leave: &mut leave::Plan,
    context: &Context,
) -> Result<(), WriteError> {
    let cluster = asking.cluster;
    match leave.step.clone() {
        None => {}
        Some(leave::Step::Stop { name, uid, id }) => match asking.permit(id).await {
            Ok(word) => {
                tracing::info!(
                    cluster = cluster.name,
                    node = name,
                    "a node that is not asked for any more stops"
                );
                stop::<StatefulSet>(asking, &name, uid, word, context).await?;
            }
            Err(why) => {
                leave.held.insert(id, format!("leaves; waits: {why}"));
            }
        },
        Some(leave::Step::Forget { id, is_broker }) => {
            let forgotten = match is_broker {
                true => answers::admin(cluster, &context.kafka).unregister(id.0).await,
                false => Ok(()),
            };
            match forgotten {
                Ok(()) => drop(leave.held.remove(&id)),
                // Older brokers have no such request: the registration stays, fenced.
                Err(KafkaError::Call(CallError::Unsupported(_))) => drop(leave.held.remove(&id)),
                Err(error) => {
                    tracing::warn!(cluster = cluster.name, node = id.0, %error, "a broker cannot be unregistered");
                    leave.held.insert(id, format!("leaves; cannot be unregistered: {error}"));
                }
            }
        }
    }
    Ok(())
}

/// StatefulSets are not pruned: a node's end is a decision of its own, not the absence of a line.
async fn prune(
    cluster: &ValidatedCluster,
    observed: &Observed,
    services: &[k8s_openapi::api::core::v1::Service],
    leave: &leave::Plan,
    context: &Context,
) -> Result<(), WriteError> {
    let (writer, namespace, owner) =
        (&context.writer, cluster.namespace.as_str(), cluster.owner.uid.as_str());
    let mut wanted: Vec<_> = services.iter().map(ResourceExt::name_any).collect();
    wanted.extend(held(&observed.services, leave));
    writer.prune(namespace, owner, &observed.services, &wanted).await?;

    let mut wanted: Vec<_> = cluster.nodes.iter().map(|n| n.name.clone()).collect();
    wanted.extend(held(&observed.config_maps, leave));
    let gone = observed.config_maps.iter().filter(|map| labelled(*map).is_some()).map(ResourceExt::name_any);
    for node in gone.filter(|name| !wanted.contains(name)) {
        certificates::forget(cluster, &node, context).await?;
    }
    writer.prune::<ConfigMap>(namespace, owner, &observed.config_maps, &wanted).await?;
    writer.prune(namespace, owner, &observed.budgets, std::slice::from_ref(&cluster.name)).await
}

/// Names of the objects of nodes that have not left yet.
fn held<K: Resource>(objects: &[K], leave: &leave::Plan) -> Vec<String> {
    let is_held = |object: &&K| labelled(*object).is_some_and(|(_, id)| leave.held.contains_key(&id));
    objects.iter().filter(is_held).map(ResourceExt::name_any).collect()
}
