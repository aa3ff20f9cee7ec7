//! Who leads when brokers come and go: the changes of all partitions that are concerned, as records.
//!
//! In each list of records a partition is at most once, so that the records fit the image that they were made on.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{NO_LEADER, PartitionImage};
use ottla_wire::Uuid;
use ottla_wire::records::metadata::PartitionChangeRecord;

use super::partition_change::{Election, PartitionChange};
use super::view::View;

/// The broker is no longer to lead or be in sync: it is fenced, shuts down, or came back as a new incarnation.
pub(crate) fn leave(view: &View<'_>, broker: i32) -> Vec<MetadataRecord> {
    changes(view, |partition| partition.isr.contains(&broker), |change| change.leaving(broker))
}

/// As [`leave`], for what the broker keeps in these directories.
pub(crate) fn leave_directories(view: &View<'_>, broker: i32, lost: &[Uuid]) -> Vec<MetadataRecord> {
    let there = |partition: &PartitionImage| {
        partition.directory_of(broker).is_some_and(|directory| lost.contains(&directory))
    };
    changes(view, there, |change| change.leaving(broker))
}

/// As [`leave`], and the broker is not eligible either: it came back without having been stopped (KIP-966).
pub(crate) fn leave_uncleanly(view: &View<'_>, broker: i32) -> Vec<MetadataRecord> {
    let concerned =
        |partition: &PartitionImage| partition.isr.contains(&broker) || partition.elr.contains(&broker);
    changes(view, concerned, |change| change.unclean_shutdown(broker))
}

/// The broker goes for good.
pub(crate) fn leave_for_good(view: &View<'_>, broker: i32) -> Vec<MetadataRecord> {
    let concerned =
        |partition: &PartitionImage| partition.isr.contains(&broker) || partition.elr.contains(&broker);
    changes(view, concerned, |change| change.leaving(broker))
}

/// The broker may lead again: what nobody leads may have found its leader.
pub(crate) fn join(view: &View<'_>, broker: i32) -> Vec<MetadataRecord> {
    changes(view, |partition| partition.leader == NO_LEADER, |change| change.joining(broker))
}

/// Whether the broker leads anything.
pub(crate) fn leads(view: &View<'_>, broker: i32) -> bool {
    let partitions = view.image.topics.iter().flat_map(|topic| topic.partitions.values());
    partitions.into_iter().any(|partition| partition.leader == broker)
}

/// The change of each partition that is concerned. Where configured, anybody leads before nobody does.
fn changes(
    view: &View<'_>,
    concerned: impl Fn(&PartitionImage) -> bool,
    change: impl for<'c> Fn(PartitionChange<'c>) -> PartitionChange<'c>,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in view.image.topics.iter() {
        let mut rules = None;
        for (index, partition) in &topic.partitions {
            if !concerned(partition) {
                continue;
            }
            let rules = *rules.get_or_insert_with(|| view.rules(topic));
            let begun = PartitionChange::of(view, topic, *index, partition, rules);
            let record: Option<PartitionChangeRecord> =
                change(begun.election(Election::allowed(rules))).record();
            records.extend(record.map(MetadataRecord::PartitionChange));
        }
    }
    records
}
