//! Which topics to delete in Kafka: a function of the record, of the resources and of their definition's state.
//!
//! A topic is deleted because its resource was deleted, and for no other reason. Resources vanish in other ways too: with their definition,
//! with their namespace, or all at once by a mistake. Then the topics stay; where all vanish at once, until somebody confirms it or their
//! resources are back, and neither other resources nor a restart of the operator changes that.

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
    /// All gone at once, now or earlier: they stay until [`Self::confirmation`].
    pub hold: BTreeSet<String>,
    /// The value of [`CONFIRM`] that lets go of what is held.
    pub confirmation: Option<String>,
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
        return Decision { hold: record.held.clone(), ..Decision::default() };
    };
    if record.definition.as_ref() != Some(definition) {
        let forget = missing.into_keys().cloned().collect();
        return Decision { forget, ..Decision::default() };
    }
    let (held, fresh): (BTreeMap<_, _>, BTreeMap<_, _>) = missing
        .into_iter()
        .map(|(name, id)| (name.clone(), *id))
        .partition(|(name, _)| record.held.contains(name));
    // Held at once: until the resources have settled, some may be back and make the rest look like less than all.
    if fresh.len() > 1 && fresh.len() + held.len() == record.topics.len() {
        return release(held.into_iter().chain(fresh).collect(), BTreeMap::new(), surroundings);
    }
    let last = gone.iter().filter(|(name, _)| fresh.contains_key(*name)).map(|(_, since)| *since).max();
    if last.is_some_and(|last| now.saturating_sub(last) < SETTLE) {
        return Decision { hold: held.into_keys().collect(), look_again: true, ..Decision::default() };
    }
    release(held, fresh, surroundings)
}

/// Deletes what is `fresh`, and what is `held` if just that is confirmed.
fn release(
    held: BTreeMap<String, Uuid>,
    mut fresh: BTreeMap<String, Uuid>,
    surroundings: &Surroundings,
) -> Decision {
    let confirmation = (!held.is_empty()).then(|| confirmation(&held));
    if confirmation.is_some() && surroundings.confirmed == confirmation {
        fresh.extend(held);
        return Decision { delete: fresh, ..Decision::default() };
    }
    Decision { delete: fresh, hold: held.into_keys().collect(), confirmation, ..Decision::default() }
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
        Record { definition: Some(DEFINITION.into()), topics, held: BTreeSet::new() }
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
        let confirmed = Surroundings { confirmed: held.confirmation, ..calm() };
        assert_eq!(settled(&record, &live(&[]), &confirmed).delete.len(), 3);
        let fewer = Record { topics: record.topics.clone().into_iter().take(2).collect(), ..record };
        assert!(settled(&fewer, &live(&[]), &confirmed).confirmation.is_some());
    }

    #[test]
    fn what_is_held_stays_so_whatever_comes_and_goes_beside_it() {
        let mut record = record(&["a", "b", "c"]);
        record.held = settled(&record, &live(&[]), &calm()).hold;
        assert_eq!(record.held, live(&["a", "b", "c"]));

        let back = settled(&record, &live(&["a"]), &calm());
        assert_eq!((back.delete.len(), back.hold), (0, live(&["b", "c"])), "one comes back");

        record.topics.insert("new".into(), Uuid::from_bytes([9; 16]));
        let beside = settled(&record, &live(&["new"]), &calm());
        assert_eq!((beside.delete.len(), beside.hold), (0, live(&["a", "b", "c"])), "one more is made");

        let decision = settled(&record, &live(&[]), &calm());
        assert_eq!(decision.delete.keys().collect::<Vec<_>>(), ["new"], "its own resource was deleted");
        assert_eq!(decision.hold, live(&["a", "b", "c"]));

        let confirmed = Surroundings { confirmed: decision.confirmation, ..calm() };
        assert_eq!(settled(&record, &live(&["new"]), &confirmed).delete.len(), 3);
    }

    #[test]
    fn two_more_that_vanish_together_are_held_as_well() {
        let mut record = record(&["a", "b", "c", "d"]);
        record.held = live(&["a", "b"]);
        assert_eq!(settled(&record, &live(&[]), &calm()).hold, live(&["a", "b", "c", "d"]));
    }

    #[test]
    fn one_after_the_other_within_the_time_is_at_once() {
        let record = record(&["a", "b"]);
        let mut gone = GoneSince::new();
        assert!(decide(&record, &live(&["b"]), &calm(), &mut gone, Duration::ZERO).look_again);
        let both = decide(&record, &live(&[]), &calm(), &mut gone, Duration::from_secs(2));
        assert_eq!(both.hold, live(&["a", "b"]));
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
