//! The reconcile of a `KafkaCluster`, and the watches that call it.

use super::{
    acceptance,
    apply::WriteError,
    build::{self, address::Addresses},
    carry_out, names, observe, references, status,
    validate::{self, Invalid},
};
use crate::{
    context::{Context, RECONCILE_DEADLINE},
    crd::{
        KafkaCluster, KafkaClusterStatus,
        conditions::{self, Outcome},
    },
    ids,
    kafka::KafkaError,
    report::{self, ReportError},
    topic::queue::ClusterKey,
};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        Controller,
        controller::{Action, Config},
        events::EventType,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Looked at again without a change, to mend what no watch tells.
const RESYNC: Duration = Duration::from_secs(300);
/// Looked at again while something is under way.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// Looked at again while a changed spec waits for its turn, as what it waits for is not all in the API server.
const ROLLING: Duration = Duration::from_secs(2);

/// The topics' turn, once the watch has shown them the status just written.
const TOPICS_AFTER: Duration = Duration::from_millis(500);

/// A cluster as it was read: parsed, or why not.
pub type Guarded = DeserializeGuard<KafkaCluster>;

#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("cannot read the cluster's objects: {0}")]
    Observe(#[from] Box<kube::Error>),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("cannot ask the brokers about a changed configuration: {0}")]
    Ask(#[from] KafkaError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("took longer than {} s", RECONCILE_DEADLINE.as_secs())]
    Deadline,
}

impl ReconcileError {
    fn label(&self) -> &'static str {
        match self {
            Self::Observe(_) => "observe_failed",
            Self::Write(WriteError::NotLeader) => "not_leader",
            Self::Write(_) | Self::Report(_) => "write_failed",
            Self::Ask(_) => "brokers_silent",
            Self::Deadline => "deadline",
        }
    }
}

/// Watches clusters in `namespace` (all without one) until `stop`. The store is for whoever else needs to know the clusters.
pub fn run(
    context: Arc<Context>,
    namespace: Option<&str>,
    again: impl Stream<Item = ()> + Send + 'static,
    stop: CancellationToken,
) -> (Store<Guarded>, impl Future<Output = ()>) {
    let client = context.writer.client().clone();
    let ours = watcher::Config::default().labels(&names::any_cluster_selector()).page_size(100);
    let controller =
        Controller::new(api::<Guarded>(&client, namespace), watcher::Config::default().page_size(100));
    let store = controller.store();
    let children = controller
        .with_config(Config::default().debounce(Duration::from_millis(50)).concurrency(8))
        .watches(api::<PartialObjectMeta<StatefulSet>>(&client, namespace), ours.clone(), parent)
        .watches(api::<PartialObjectMeta<Service>>(&client, namespace), ours.clone(), parent)
        .watches(api::<PartialObjectMeta<ConfigMap>>(&client, namespace), ours.clone(), parent)
        .watches(api::<PartialObjectMeta<PersistentVolumeClaim>>(&client, namespace), ours.clone(), parent)
        .watches(api::<PartialObjectMeta<PodDisruptionBudget>>(&client, namespace), ours.clone(), parent)
        .watches(api::<PartialObjectMeta<NetworkPolicy>>(&client, namespace), ours.clone(), parent)
        .watches(api::<PartialObjectMeta<Pod>>(&client, namespace), ours, parent)
        .reconcile_all_on(again)
        .graceful_shutdown_on(stop.cancelled_owned());
    let run = children.run(reconcile, on_error, context).for_each(async |result| {
        if let Err(error) = result {
            tracing::debug!(%error, "controller");
        }
    });
    (store, run)
}

/// Everything of a kind in `namespace`, or everywhere.
pub(crate) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The cluster that a child belongs to, by its label: kept claims have no owner.
fn parent<K: Resource>(child: K) -> Option<ObjectRef<Guarded>> {
    let cluster = child.labels().get(names::CLUSTER)?;
    Some(ObjectRef::new(cluster).within(&child.namespace()?))
}

async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if context.writer.is_leading().is_err() || object.meta().deletion_timestamp.is_some() {
        // On taking over, everything is reconciled. What is deleted is collected by owner reference.
        return Ok(Action::await_change());
    }
    let start = Instant::now();
    let result = tokio::time::timeout(RECONCILE_DEADLINE, async {
        match &object.0 {
            Ok(cluster) => pass(cluster, &context).await,
            Err(invalid) => {
                report::invalid::<KafkaCluster>(invalid, &context).await?;
                Ok(Action::await_change())
            }
        }
    });
    let result = result.await.unwrap_or(Err(ReconcileError::Deadline));
    let label = result.as_ref().map_or_else(ReconcileError::label, |_| "ok");
    context.metrics.reconciled("KafkaCluster", label, start.elapsed());
    if result.is_ok() {
        context.backoff.succeeded(&key(&object));
    }
    result
}

fn on_error(object: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let delay = context.backoff.failed(&key(&object));
    tracing::warn!(cluster = key(&object), %error, ?delay, "reconcile failed");
    Action::requeue(delay)
}

fn key(object: &Guarded) -> String {
    format!("KafkaCluster/{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// One pass over one cluster.
async fn pass(cluster: &KafkaCluster, context: &Context) -> Result<Action, ReconcileError> {
    let machines = context.machines.now();
    let observed = observe::observe(context.writer.client(), cluster, machines).await.map_err(Box::new)?;
    let mut validated = match validate::validate(cluster, &observed, &context.default_image, ids::random) {
        Ok(validated) => validated,
        Err(invalid) => return refuse(cluster, &invalid, context).await,
    };
    if let Err(invalid) = acceptance::judge(&validated) {
        return refuse(cluster, &invalid, context).await;
    }
    let news = acceptance::news(&validated, &observed);
    if !news.is_empty() {
        let keys = acceptance::ask(&validated, &observed, &context.kafka).await?;
        if let Err(invalid) = acceptance::judge_by_kinds(&news, &keys) {
            return refuse(cluster, &invalid, context).await;
        }
    }
    let addresses = Addresses::of(&observed.services, observed.machines.clone());
    validated.warnings.extend(addresses.warnings(&validated, &observed));
    let rendered = build::workload(&validated, &observed, &addresses);
    let missing = references::missing(context.writer.client(), &validated.namespace, &rendered);
    match references::judge(&validated, &rendered, &observed, &missing.await.map_err(Box::new)?) {
        Ok(warnings) => validated.warnings.extend(warnings),
        Err(invalid) => return refuse(cluster, &invalid, context).await,
    }
    let done = match carry_out::carry_out(&validated, &observed, context).await {
        Ok(done) => done,
        Err(error) => return refused(cluster, error, context).await,
    };
    if let Some(news) = &done.authority {
        let (object, note) = (cluster.object_ref(&()), news.clone());
        report::event(context, &object, EventType::Warning, "AdminAuthorityReplaced", note).await;
    }
    for news in &done.told.news {
        report::event(context, &cluster.object_ref(&()), EventType::Normal, "AddressChanged", news.clone())
            .await;
    }
    let (mut status, outcome) = status::fold(&validated, &observed, &done);
    if status.voters.is_empty() {
        status.voters = cluster.status.as_ref().map(|s| s.voters.clone()).unwrap_or_default();
    }
    let soon = match outcome.state {
        _ if done.restart.is_asked || !done.told.news.is_empty() => ROLLING,
        conditions::State::Ready if done.told.unreached.is_empty() => RESYNC,
        _ => UNDER_WAY,
    };
    let listeners = tell_listeners(cluster, status::unreachable(&status, &done), context).await;
    report(cluster, status, &outcome, Some(listeners), context).await?;
    if outcome.state != conditions::State::Progressing {
        let key = ClusterKey { namespace: validated.namespace, name: validated.name };
        context.triggers.call(key, TOPICS_AFTER);
    }
    Ok(Action::requeue(soon))
}

/// The spec cannot be carried out: what runs goes on.
async fn refuse(
    cluster: &KafkaCluster,
    invalid: &Invalid,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let outcome = match invalid {
        Invalid::ClaimTerminating(_) => Outcome::progressing(invalid.reason(), invalid.to_string()),
        _ => Outcome::degraded(invalid.reason(), invalid.to_string(), serving(cluster)),
    };
    report(cluster, cluster.status.clone().unwrap_or_default(), &outcome, None, context).await?;
    Ok(Action::requeue(UNDER_WAY))
}

/// The API server did not take something. Its judgement becomes a condition; anything else is tried again.
async fn refused(
    cluster: &KafkaCluster,
    error: WriteError,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let Some(message) = error.refusal() else { return Err(error.into()) };
    let reason = match error {
        WriteError::NameTaken { .. } => "NameTaken",
        _ => "ApplyRefused",
    };
    let outcome = Outcome::degraded(reason, message, serving(cluster));
    report(cluster, cluster.status.clone().unwrap_or_default(), &outcome, None, context).await?;
    Err(error.into())
}

fn serving(cluster: &KafkaCluster) -> bool {
    cluster.status.as_ref().is_some_and(|s| conditions::is_ready(&s.conditions))
}

/// The condition of the listeners, and an event for each thing that they wait for.
async fn tell_listeners(
    cluster: &KafkaCluster,
    unreachable: Option<(&'static str, String)>,
    context: &Context,
) -> Condition {
    if let Some((reason, message)) = &unreachable {
        report::event(context, &cluster.object_ref(&()), EventType::Warning, reason, message.clone()).await;
    }
    let previous = cluster.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    conditions::listeners_ready(unreachable, previous, cluster.metadata.generation, Timestamp::now())
}

/// Writes the status where it differs. Without a word on the `listeners` the last one stays.
async fn report(
    cluster: &KafkaCluster,
    mut status: KafkaClusterStatus,
    outcome: &Outcome,
    listeners: Option<Condition>,
    context: &Context,
) -> Result<(), WriteError> {
    let previous = cluster.status.clone().unwrap_or_default();
    status.observed_generation = cluster.metadata.generation;
    status.conditions =
        outcome.conditions(&previous.conditions, cluster.metadata.generation, Timestamp::now());
    status.conditions.extend(listeners.or_else(|| conditions::last_listeners_ready(&previous.conditions)));
    if status == previous {
        return Ok(());
    }
    let namespace = cluster.namespace().unwrap_or_default();
    context.writer.status::<KafkaCluster>(&namespace, &cluster.name_any(), &status).await?;
    context.tell(&cluster.object_ref(&()), &previous.conditions, outcome).await;
    Ok(())
}
