//! Which topics to delete in Kafka: a function of the record, of the resources and of their definition's state.
//!
//! A topic is deleted because its resource was deleted, and for no other reason. Resources vanish in other ways too: with their definition,
//! with their namespace, or all at once by a mistake. Then the topics stay; where all vanish at once, until somebody confirms it.

use super::record::Record;
use crate::{cluster::validate::digest, ids::Uuid};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Resources that vanish within this time of each other vanish at once.
pub const SETTLE: Duration = Duration::from_secs(3);

/// Annotation of a `KafkaCluster` that confirms the deletion of the topics that an event names.
pub const CONFIRM: &str = "ottla.dev/delete-topics";

/// The surroundings of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Uid of the definition of `KafkaTopic`; none while it is missing or on its way out.
    pub definition: Option<String>,
    /// The namespace or the cluster is on its way out.
    pub leaving: bool,
    /// The cluster's annotation [`CONFIRM`].
    pub confirmed: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Delete in Kafka, then forget.
    pub delete: BTreeMap<String, Uuid>,
    /// Recorded under another definition, and without a resource: forget, the topics stay.
    pub forget: BTreeSet<String>,
    /// All gone at once: nothing is done until this value of [`CONFIRM`].
    pub held: Option<String>,
    /// Not settled yet.
    pub look_again: bool,
}

/// When each topic's resource was first seen to be gone, as a time since any fixed point.
pub type GoneSince = BTreeMap<String, Duration>;

/// Decides. `live` are the topics that a resource is about, `gone` is kept from decision to decision.
pub fn decide(
    record: &Record,
    live: &BTreeSet<String>,
    surroundings: &Surroundings,
    gone: &mut GoneSince,
    now: Duration,
) -> Decision {
    let missing: BTreeMap<_, _> = record.topics.iter().filter(|(name, _)| !live.contains(*name)).collect();
    gone.retain(|name, _| missing.contains_key(name));
    for name in missing.keys() {
        gone.entry((*name).clone()).or_insert(now);
    }
    let Some(definition) = surroundings.definition.as_ref().filter(|_| !surroundings.leaving) else {
        return Decision::default();
    };
    if record.definition.as_ref() != Some(definition) {
        let forget = missing.into_keys().cloned().collect();
        return Decision { forget, ..Decision::default() };
    }
    let Some(last) = gone.values().max() else { return Decision::default() };
    if now.saturating_sub(*last) < SETTLE {
        return Decision { look_again: true, ..Decision::default() };
    }
    let delete: BTreeMap<_, _> = missing.into_iter().map(|(name, id)| (name.clone(), *id)).collect();
    if delete.len() > 1 && delete.len() == record.topics.len() {
        let value = confirmation(&delete);
        if surroundings.confirmed.as_ref() != Some(&value) {
            return Decision { held: Some(value), ..Decision::default() };
        }
    }
    Decision { delete, ..Decision::default() }
}

/// The value that confirms the deletion of just these topics; it confirms nothing else later on.
fn confirmation(topics: &BTreeMap<String, Uuid>) -> String {
    let ids: Vec<_> = topics.iter().map(|(name, id)| format!("{name}={id}")).collect();
    digest(&serde_json::json!(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = "definition-1";

    fn record(names: &[&str]) -> Record {
        let topics =
            names.iter().zip(1_u8..).map(|(n, i)| ((*n).to_owned(), Uuid::from_bytes([i; 16]))).collect();
        Record { definition: Some(DEFINITION.into()), topics }
    }

    fn live(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn calm() -> Surroundings {
        Surroundings { definition: Some(DEFINITION.into()), ..Surroundings::default() }
    }

    /// Decides at second 0 and again long after the resources have settled.
    fn settled(record: &Record, live: &BTreeSet<String>, surroundings: &Surroundings) -> Decision {
        let mut gone = GoneSince::new();
        decide(record, live, surroundings, &mut gone, Duration::ZERO);
        decide(record, live, surroundings, &mut gone, SETTLE * 2)
    }

    #[test]
    fn a_deleted_resource_takes_its_topic_along_once_settled() {
        let (record, live) = (record(&["a", "b"]), live(&["b"]));
        let mut gone = GoneSince::new();
        let first = decide(&record, &live, &calm(), &mut gone, Duration::from_secs(100));
        assert!(first.look_again && first.delete.is_empty());
        let second = decide(&record, &live, &calm(), &mut gone, Duration::from_secs(103));
        assert_eq!(second.delete.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_resource_that_comes_back_in_time_keeps_its_topic() {
        let record = record(&["a", "b"]);
        let mut gone = GoneSince::new();
        decide(&record, &live(&["b"]), &calm(), &mut gone, Duration::ZERO);
        assert_eq!(decide(&record, &live(&["a", "b"]), &calm(), &mut gone, SETTLE * 9), Decision::default());
        assert!(gone.is_empty());
    }

    #[test]
    fn the_only_topic_can_be_deleted() {
        assert_eq!(settled(&record(&["a"]), &live(&[]), &calm()).delete.len(), 1);
    }

    #[test]
    fn a_topic_that_is_not_recorded_is_never_deleted() {
        assert_eq!(settled(&record(&[]), &live(&["x"]), &calm()), Decision::default());
    }

    #[test]
    fn all_at_once_is_held_until_just_that_is_confirmed() {
        let record = record(&["a", "b", "c"]);
        let held = settled(&record, &live(&[]), &calm());
        assert!(held.delete.is_empty());
        let confirmed = Surroundings { confirmed: held.held, ..calm() };
        assert_eq!(settled(&record, &live(&[]), &confirmed).delete.len(), 3);
        let fewer = Record { topics: record.topics.clone().into_iter().take(2).collect(), ..record };
        assert!(settled(&fewer, &live(&[]), &confirmed).held.is_some());
    }

    #[test]
    fn one_after_the_other_within_the_time_is_at_once() {
        let record = record(&["a", "b"]);
        let mut gone = GoneSince::new();
        assert!(decide(&record, &live(&["b"]), &calm(), &mut gone, Duration::ZERO).look_again);
        assert!(decide(&record, &live(&[]), &calm(), &mut gone, Duration::from_secs(2)).look_again);
        assert!(decide(&record, &live(&[]), &calm(), &mut gone, Duration::from_secs(4)).look_again);
        assert!(decide(&record, &live(&[]), &calm(), &mut gone, Duration::from_secs(5)).held.is_some());
    }

    #[test]
    fn nothing_goes_with_the_definition_the_namespace_or_the_cluster() {
        let record = record(&["a", "b"]);
        let missing = Surroundings { definition: None, ..calm() };
        let leaving = Surroundings { leaving: true, ..calm() };
        for surroundings in [missing, leaving] {
            assert_eq!(settled(&record, &live(&["b"]), &surroundings), Decision::default());
        }
    }

    #[test]
    fn a_definition_that_was_made_anew_has_deleted_nothing() {
        let anew = Surroundings { definition: Some("definition-2".into()), ..calm() };
        let decision = settled(&record(&["a", "b"]), &live(&["b"]), &anew);
        assert_eq!(decision, Decision { forget: live(&["a"]), ..Decision::default() });
    }
}
