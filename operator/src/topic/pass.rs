//! One pass over the topics of one cluster: read, plan, change, record, delete, report.

use super::{
    deletion::{self, Decision, GoneSince, Surroundings},
    plan::{self, Claimants, Plan, Step},
    queue::ClusterKey,
    record::Record,
};
use crate::{
    cluster::{apply::WriteError, names, observe::permitted},
    context::Context,
    crd::{
        DeletionPolicy, KafkaCluster, KafkaTopic, KafkaTopicStatus,
        conditions::{self, Outcome},
    },
    kafka::{Admin, KafkaError, TopicDescription},
    report,
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::events::EventType,
};
use ottla_wire::ErrorCode;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Kafka did not answer.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The API server did not answer.
    #[error(transparent)]
    Read(#[from] kube::Error),
    /// The API server did not take something.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Too slow.
    #[error("the pass took too long")]
    Deadline,
}

/// What a pass works on.
pub struct Input {
    /// The cluster's name.
    pub key: ClusterKey,
    /// The cluster, if there is one that can be read.
    pub cluster: Option<KafkaCluster>,
    /// All resources that name it.
    pub topics: Vec<Arc<KafkaTopic>>,
    /// Time since any fixed point.
    pub now: Duration,
}

/// What one pass over a cluster leaves to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Topics whose resources are gone.
    pub gone: GoneSince,
    /// Steps that the cluster refused, by topic.
    pub refused: BTreeMap<String, Refused>,
}

/// A refusal that would be met again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    steps: Vec<Step>,
    outcome: Outcome,
    at: Duration,
}

/// A refused step is not tried again before this time, unless it changes: another cluster's news is no reason to ask again.
const REFUSED_FOR: Duration = Duration::from_secs(55);

impl Memory {
    fn recall(&self, name: &str, steps: &[Step], now: Duration) -> Option<Outcome> {
        let refused = self.refused.get(name)?;
        (refused.steps == steps && now.saturating_sub(refused.at) < REFUSED_FOR)
            .then(|| refused.outcome.clone())
    }
}

/// Makes a pass; true if another one is due soon.
///
/// # Errors
/// When something did not answer; what was done until then is done.
pub async fn pass(input: &Input, memory: &mut Memory, context: &Context) -> Result<bool, PassError> {
    let Some(cluster) = &input.cluster else {
        let message = format!(
            "spec.cluster: there is no KafkaCluster {} in namespace {}",
            input.key.name, input.key.namespace
        );
        return report_all(input, &Outcome::degraded("ClusterNotFound", message, false), |_| true, context)
            .await;
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let status = cluster.status.as_ref();
    if !status.is_some_and(|s| conditions::is_ready(&s.conditions)) {
        // A topic that was ready stays so in its status: a restarting broker is the cluster's news, not each topic's.
        let outcome = Outcome::progressing(
            "ClusterNotReady",
            format!("KafkaCluster {} is not ready yet", input.key.name),
        );
        let unknown =
            |topic: &KafkaTopic| !topic.status.as_ref().is_some_and(|s| conditions::is_ready(&s.conditions));
        return report_all(input, &outcome, unknown, context).await;
    }
    reconcile(input, cluster, memory, context).await
}

async fn report_all(
    input: &Input,
    outcome: &Outcome,
    whom: impl Fn(&KafkaTopic) -> bool,
    context: &Context,
) -> Result<bool, PassError> {
    for topic in input.topics.iter().filter(|t| whom(t)) {
        report(topic, topic.status.clone().unwrap_or_default(), outcome, context).await?;
    }
    Ok(false)
}

async fn reconcile(
    input: &Input,
    cluster: &KafkaCluster,
    memory: &mut Memory,
    context: &Context,
) -> Result<bool, PassError> {
    let service = names::bootstrap(&input.key.name, "replication");
    let admin = context.kafka.admin(&names::replication_address(&service, &input.key.namespace));
    let claimants = plan::claimants(input.topics.iter().map(AsRef::as_ref));

    let names: Vec<_> = claimants.keys().cloned().collect();
    let mut present = admin.describe(&names).await?;
    let outcomes = change(&admin, &claimants, &mut present, memory, input.now).await?;
    let look_again =
        keep_record(input, cluster, &claimants, &present, &mut memory.gone, &admin, context).await?;
    for (name, claim) in &claimants {
        let outcome =
            outcomes.get(name).cloned().unwrap_or_else(|| Outcome::ready("the topic is as specified"));
        report(claim.owner, status_of(name, present.get(name)), &outcome, context).await?;
        for other in &claim.others {
            report(other, KafkaTopicStatus::default(), &plan::conflict(claim.owner), context).await?;
        }
    }
    Ok(look_again)
}

/// Carries out what is planned for every topic; afterwards `present` is what there is. Returns what is wrong, by topic.
async fn change(
    admin: &Admin,
    claimants: &BTreeMap<String, Claimants<'_>>,
    present: &mut BTreeMap<String, TopicDescription>,
    memory: &mut Memory,
    now: Duration,
) -> Result<BTreeMap<String, Outcome>, PassError> {
    memory.refused.retain(|name, _| claimants.contains_key(name));
    let mut wrong = BTreeMap::new();
    let mut changed = Vec::new();
    for (name, claim) in claimants {
        let Plan { steps, refused } = plan::plan(claim.owner, present.get(name));
        if let Some(refusal) = refused {
            wrong.insert(name.clone(), Outcome::degraded(refusal.reason, refusal.message, false));
        }
        if let Some(outcome) = memory.recall(name, &steps, now) {
            wrong.insert(name.clone(), outcome);
            continue;
        }
        memory.refused.remove(name);
        for step in &steps {
            match carry_out(admin, name, step).await {
                Ok(()) => changed.push(name.clone()),
                Err(error) => {
                    let outcome = judge(step, error)?;
                    tracing::warn!(topic = name, ?step, reason = outcome.message, "refused by the cluster");
                    let refused = Refused { steps: steps.clone(), outcome: outcome.clone(), at: now };
                    memory.refused.insert(name.clone(), refused);
                    wrong.insert(name.clone(), outcome);
                }
            }
        }
    }
    if !changed.is_empty() {
        present.extend(admin.describe(&changed).await?);
    }
    // Created a moment ago, and the broker that answers does not know it yet.
    for name in changed.iter().filter(|n| !present.contains_key(*n)) {
        wrong
            .entry(name.clone())
            .or_insert_with(|| Outcome::progressing("Creating", "the topic is being created"));
    }
    Ok(wrong)
}

async fn carry_out(admin: &Admin, name: &str, step: &Step) -> Result<(), KafkaError> {
    let result = match step {
        Step::Create { partitions, replicas, config } => {
            admin.create(name, *partitions, *replicas, config).await
        }
        Step::AddPartitions(count) => admin.add_partitions(name, *count).await,
        Step::AlterConfig(changes) => admin.alter_config(name, changes).await,
    };
    match result {
        // Somebody was faster, or an answer was lost. The next description shows it.
        Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        Ok(()) => {
            tracing::info!(topic = name, ?step, "changed a topic");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A refusal that the same request would meet again becomes a condition; anything else ends the pass.
fn judge(step: &Step, error: KafkaError) -> Result<Outcome, KafkaError> {
    match &error {
        KafkaError::Broker { code, message } if !code.is_retriable() && *code != ErrorCode::NotController => {
            let field = plan::field(step, *code, message);
            let reason = match code {
                ErrorCode::InvalidConfig => "InvalidConfig",
                ErrorCode::InvalidPartitions => "InvalidPartitions",
                ErrorCode::InvalidReplicationFactor => "InvalidReplicationFactor",
                ErrorCode::InvalidTopicException => "InvalidTopicName",
                ErrorCode::PolicyViolation => "PolicyViolation",
                _ => "Refused",
            };
            Ok(Outcome::degraded(reason, format!("{field}: {message}"), false))
        }
        _ => Err(error),
    }
}

fn status_of(name: &str, present: Option<&TopicDescription>) -> KafkaTopicStatus {
    KafkaTopicStatus {
        topic_name: Some(name.to_owned()),
        topic_id: present.map(|t| t.id.to_string()),
        partitions: present.map(|t| t.partitions),
        ..KafkaTopicStatus::default()
    }
}

async fn report(
    topic: &KafkaTopic,
    mut status: KafkaTopicStatus,
    outcome: &Outcome,
    context: &Context,
) -> Result<(), WriteError> {
    let previous = topic.status.clone().unwrap_or_default();
    status.observed_generation = topic.metadata.generation;
    status.conditions =
        outcome.conditions(&previous.conditions, topic.metadata.generation, jiff::Timestamp::now());
    if status == previous {
        return Ok(());
    }
    let namespace = topic.namespace().unwrap_or_default();
    context.writer.status::<KafkaTopic>(&namespace, &topic.name_any(), &status).await?;
    context.tell(&topic.object_ref(&()), &previous.conditions, outcome).await;
    Ok(())
}

/// Brings the record up to date and deletes the topics whose resources were deleted. True if that is not settled yet.
async fn keep_record(
    input: &Input,
    cluster: &KafkaCluster,
    claimants: &BTreeMap<String, Claimants<'_>>,
    present: &BTreeMap<String, TopicDescription>,
    gone: &mut GoneSince,
    admin: &Admin,
    context: &Context,
) -> Result<bool, PassError> {
    let api: Api<ConfigMap> = Api::namespaced(context.writer.client().clone(), &input.key.namespace);
    let map = api.get_opt(&names::topic_record(&input.key.name)).await?;
    let before = Record::read(map.as_ref());
    let surroundings = surroundings(input, cluster, context).await?;
    let live: BTreeSet<_> = claimants.keys().cloned().collect();
    let decision = deletion::decide(&before, &live, &surroundings, gone, input.now);

    let mut record = updated(&before, claimants, present, &surroundings, &decision);
    let mut map = map;
    if record != before {
        map = Some(save(cluster, &record, map, context).await?);
    }
    if let Some(value) = &decision.confirmation {
        tell_held(cluster, decision.hold.len(), value, context).await;
    }
    if !decision.delete.is_empty() && !confirmed_gone(input, &decision, context).await? {
        return Ok(true);
    }
    for (name, id) in &decision.delete {
        tracing::info!(topic = name, %id, "deleting a topic, its resource was deleted");
        match admin.delete(*id).await {
            Ok(()) => tell_deleted(cluster, name, context).await,
            Err(error) if is_final(&error) => tell_kept(cluster, name, &error, context).await,
            Err(error) => return Err(error.into()),
        }
        record.topics.remove(name);
        record.held.remove(name);
        gone.remove(name);
    }
    if !decision.delete.is_empty() {
        save(cluster, &record, map, context).await?;
    }
    Ok(decision.look_again)
}

fn is_final(error: &KafkaError) -> bool {
    error.code().is_some_and(|code| !code.is_retriable() && code != ErrorCode::NotController)
}

/// The record with what is there now. A topic is taken up once its id is known.
fn updated(
    before: &Record,
    claimants: &BTreeMap<String, Claimants<'_>>,
    present: &BTreeMap<String, TopicDescription>,
    surroundings: &Surroundings,
    decision: &Decision,
) -> Record {
    let Some(definition) = surroundings.definition.clone() else { return before.clone() };
    let mut topics = before.topics.clone();
    topics.retain(|name, _| !decision.forget.contains(name));
    for (name, claim) in claimants {
        match (claim.owner.spec.deletion_policy, present.get(name)) {
            (DeletionPolicy::Delete, Some(topic)) => drop(topics.insert(name.clone(), topic.id)),
            (DeletionPolicy::Retain, _) => drop(topics.remove(name)),
            (DeletionPolicy::Delete, None) => {}
        }
    }
    let held = decision.hold.iter().filter(|name| topics.contains_key(*name)).cloned().collect();
    Record { definition: Some(definition), topics, held }
}

async fn save(
    cluster: &KafkaCluster,
    record: &Record,
    present: Option<ConfigMap>,
    context: &Context,
) -> Result<ConfigMap, WriteError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::topic_record(&cluster.name_any())),
            namespace: Some(namespace.clone()),
            labels: Some(names::labels(&cluster.name_any())),
            owner_references: cluster.controller_owner_ref(&()).map(|o| vec![o]),
            ..ObjectMeta::default()
        },
        data: Some(record.data()),
        ..ConfigMap::default()
    };
    let present = present.into_iter().filter(|m| m.labels().contains_key(names::CLUSTER)).collect::<Vec<_>>();
    let applied = context.writer.apply(&namespace, std::slice::from_ref(&map), &present).await?;
    Ok(applied.into_iter().next().unwrap_or(map))
}

async fn surroundings(
    input: &Input,
    cluster: &KafkaCluster,
    context: &Context,
) -> Result<Surroundings, PassError> {
    let client = context.writer.client();
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    // Where it may not ask, nobody knows what the resources vanished with: what they were about is held until it is confirmed.
    let definition = permitted(definitions.get_opt("kafkatopics.ottla.dev").await)?.flatten();
    let namespace = permitted(namespaces.get_opt(&input.key.namespace).await)?.flatten();
    Ok(Surroundings {
        definition: definition
            .filter(|d| d.metadata.deletion_timestamp.is_none())
            .and_then(|d| d.metadata.uid),
        leaving: namespace.is_none_or(|n| n.metadata.deletion_timestamp.is_some()),
        confirmed: cluster.annotations().get(deletion::CONFIRM).cloned(),
    })
}

/// Asks the API server itself, and not a cache, whether no resource is about the topics that are to be deleted.
async fn confirmed_gone(input: &Input, decision: &Decision, context: &Context) -> Result<bool, PassError> {
    let api: Api<DeserializeGuard<KafkaTopic>> =
        Api::namespaced(context.writer.client().clone(), &input.key.namespace);
    let about = ListParams::default().fields(&format!("spec.cluster={}", input.key.name));
    let topics = api.list(&about).await?;
    // One that cannot be read may be about any topic.
    Ok(topics.iter().all(|t| t.0.as_ref().is_ok_and(|t| !decision.delete.contains_key(&t.topic_name()))))
}

async fn tell_held(cluster: &KafkaCluster, count: usize, value: &str, context: &Context) {
    let note = format!(
        "the resources of {count} topics, all that there were, vanished at once; the topics stay until it is confirmed: kubectl annotate kc {} --overwrite {}={value}",
        cluster.name_any(),
        deletion::CONFIRM
    );
    tracing::warn!(cluster = cluster.name_any(), "{note}");
    report::event(context, &cluster.object_ref(&()), EventType::Warning, "TopicDeletionHeld", note).await;
}

async fn tell_deleted(cluster: &KafkaCluster, topic: &str, context: &Context) {
    let note = format!("deleted the topic {topic}, its KafkaTopic was deleted");
    report::event(context, &cluster.object_ref(&()), EventType::Normal, "TopicDeleted", note).await;
}

async fn tell_kept(cluster: &KafkaCluster, topic: &str, error: &KafkaError, context: &Context) {
    let note = format!("the topic {topic} stays, although its KafkaTopic was deleted: {error}");
    tracing::warn!(topic, %error, "cannot delete a topic");
    report::event(context, &cluster.object_ref(&()), EventType::Warning, "TopicNotDeleted", note).await;
}
