//! What to do about the topics of one cluster: a function of the resources and of what the cluster has.

use crate::{
    crd::{KafkaTopic, conditions::Outcome},
    kafka::{ConfigChange, TopicDescription},
};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Resources by the topic that they are about: one owns it, the others are in conflict.
#[derive(Clone, Debug)]
pub struct Claimants<'a> {
    /// The oldest.
    pub owner: &'a KafkaTopic,
    /// The others.
    pub others: Vec<&'a KafkaTopic>,
}

/// Groups resources by topic. The oldest owns it; of the same age, the first by name.
pub fn claimants<'a>(topics: impl Iterator<Item = &'a KafkaTopic>) -> BTreeMap<String, Claimants<'a>> {
    let mut grouped: BTreeMap<String, Vec<&KafkaTopic>> = BTreeMap::new();
    for topic in topics {
        grouped.entry(topic.topic_name()).or_default().push(topic);
    }
    let age = |t: &&KafkaTopic| (t.creation_timestamp(), t.name_any());
    let claim = |(name, mut topics): (String, Vec<&'a KafkaTopic>)| {
        topics.sort_by_key(age);
        let (owner, others) = topics.split_first()?;
        Some((name, Claimants { owner, others: others.to_vec() }))
    };
    grouped.into_iter().filter_map(claim).collect()
}

/// The condition of a resource whose topic is another's.
pub fn conflict(owner: &KafkaTopic) -> Outcome {
    let message = format!(
        "spec.topicName: the topic {} belongs to the older KafkaTopic {}",
        owner.topic_name(),
        owner.name_any()
    );
    Outcome::degraded("Conflict", message, false)
}

/// One change to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not there.
    Create {
        /// The broker's default if absent.
        partitions: Option<i32>,
        /// The broker's default if absent.
        replicas: Option<i16>,
        /// Set from the start.
        config: BTreeMap<String, String>,
    },
    /// It has fewer.
    AddPartitions(i32),
    /// It is configured differently.
    AlterConfig(Vec<ConfigChange>),
}

/// What to do about one topic, and what cannot be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes, each independent of the others.
    pub steps: Vec<Step>,
    /// What no change can bring about. The steps are taken all the same.
    pub refused: Option<Refusal>,
}

/// What cannot be done, and the field that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The condition's reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// Compares `topic` with what is there.
pub fn plan(topic: &KafkaTopic, present: Option<&TopicDescription>) -> Plan {
    let spec = &topic.spec;
    let config = match spec.config.rendered() {
        Ok(config) => config,
        Err(error) => {
            return refuse("InvalidConfig", format!("spec.config[{}]: {}", error.key, error.reason));
        }
    };
    let Some(present) = present else {
        let step = Step::Create { partitions: spec.partitions, replicas: spec.replicas, config };
        return Plan { steps: vec![step], refused: None };
    };
    let mut plan = Plan::default();
    match spec.partitions {
        Some(count) if count > present.partitions => plan.steps.push(Step::AddPartitions(count)),
        Some(count) if count < present.partitions => {
            let has = present.partitions;
            let message = format!(
                "spec.partitions: {count} is less than the {has} that the topic has; Kafka only adds partitions"
            );
            plan.refused = Some(Refusal { reason: "PartitionsCannotGoDown", message });
        }
        _ => {}
    }
    if let Some(replicas) = spec.replicas.filter(|r| *r != present.replicas) {
        let has = present.replicas;
        let message = format!(
            "spec.replicas: the topic has {has} replicas and not {replicas}; moving replicas is not there yet"
        );
        plan.refused.get_or_insert(Refusal { reason: "ReplicasCannotChange", message });
    }
    let changes = config_changes(&config, &present.config);
    if !changes.is_empty() {
        plan.steps.push(Step::AlterConfig(changes));
    }
    plan
}

fn refuse(reason: &'static str, message: String) -> Plan {
    Plan { steps: Vec::new(), refused: Some(Refusal { reason, message }) }
}

/// Sets what differs and resets what the resource does not name.
fn config_changes(
    wanted: &BTreeMap<String, String>,
    present: &BTreeMap<String, String>,
) -> Vec<ConfigChange> {
    let set = wanted
        .iter()
        .filter(|(key, value)| !present.get(*key).is_some_and(|found| same_value(found, value)))
        .map(|(key, value)| (key.clone(), Some(value.clone())));
    let reset = present.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), None));
    set.chain(reset).collect()
}

/// Whether Kafka takes both for the same: it writes lists without blanks and booleans in lower case, whatever it was given.
fn same_value(left: &str, right: &str) -> bool {
    let plain = |text: &str| text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    let (left, right) = (plain(left), plain(right));
    let boolean = |text: &str| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
    left == right || (boolean(&left) && left.eq_ignore_ascii_case(&right))
}

/// The field that a broker's refusal of a step is about.
pub fn field(step: &Step, code: ottla_wire::ErrorCode, message: &str) -> String {
    use ottla_wire::ErrorCode as E;
    let config = |keys: Vec<&String>| {
        let named = keys.into_iter().find(|key| message.contains(key.as_str()));
        named.map_or_else(|| "spec.config".to_owned(), |key| format!("spec.config[{key}]"))
    };
    match (step, code) {
        (_, E::InvalidPartitions) | (Step::AddPartitions(_), _) => "spec.partitions".to_owned(),
        (_, E::InvalidReplicationFactor) => "spec.replicas".to_owned(),
        (_, E::InvalidTopicException) => "spec.topicName".to_owned(),
        (Step::Create { config: keys, .. }, E::InvalidConfig) => config(keys.keys().collect()),
        (Step::AlterConfig(changes), _) => config(changes.iter().map(|(key, _)| key).collect()),
        (Step::Create { .. }, _) => "spec".to_owned(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
