//! Who leads when brokers come and go: changes of leader and ISR as records.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, NO_LEADER, PartitionImage, directory_id};
use ottla_wire::Uuid;
use ottla_wire::records::metadata::PartitionChangeRecord;

/// The broker is no longer to lead or be in sync: it is fenced, shuts down, or came back as a new incarnation. The
/// last member of an ISR stays in it, leaderless: only it is known to have everything.
pub(crate) fn leave(image: &MetadataImage, broker: i32) -> Vec<MetadataRecord> {
    changes(image, |topic, index, partition| left(image, broker, topic, index, partition))
}

/// As [`leave`], for what the broker keeps in these directories.
pub(crate) fn leave_directories(image: &MetadataImage, broker: i32, lost: &[Uuid]) -> Vec<MetadataRecord> {
    changes(image, |topic, index, partition| {
        let there = partition.directory_of(broker).is_some_and(|directory| lost.contains(&directory));
        there.then(|| left(image, broker, topic, index, partition)).flatten()
    })
}

fn left(
    image: &MetadataImage,
    broker: i32,
    topic: Uuid,
    index: i32,
    partition: &PartitionImage,
) -> Option<PartitionChangeRecord> {
    if !partition.isr.contains(&broker) {
        return None;
    }
    let others: Vec<i32> = partition.isr.iter().copied().filter(|id| *id != broker).collect();
    let isr = if others.is_empty() { &partition.isr } else { &others };
    let leader = if partition.leader == broker {
        electable(image, partition, |id| id != broker && isr.contains(&id))
    } else {
        partition.leader
    };
    change(topic, index, partition, leader, isr)
}

/// The broker may lead again: it takes what nobody leads and it is in sync for, unless that lies in a directory that it
/// has no more.
pub(crate) fn join(image: &MetadataImage, broker: i32) -> Vec<MetadataRecord> {
    changes(image, |topic, index, partition| {
        let takes = partition.leader == NO_LEADER
            && partition.isr.contains(&broker)
            && has_directory_of(image, broker, partition);
        takes.then(|| change(topic, index, partition, broker, &partition.isr)).flatten()
    })
}

fn has_directory_of(image: &MetadataImage, broker: i32, partition: &PartitionImage) -> bool {
    let Some(directory) = partition.directory_of(broker) else { return true };
    let any = [directory_id::UNASSIGNED, directory_id::MIGRATING].contains(&directory);
    let registered = image.broker(broker).map(|broker| broker.log_dirs.as_slice()).unwrap_or_default();
    any || registered.is_empty() || registered.contains(&directory)
}

fn changes(
    image: &MetadataImage,
    change: impl Fn(Uuid, i32, &PartitionImage) -> Option<PartitionChangeRecord>,
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics.iter() {
        for (index, partition) in &topic.partitions {
            records.extend(change(topic.id, *index, partition).map(MetadataRecord::PartitionChange));
        }
    }
    records
}

/// The first replica in the order of preference that is active and acceptable.
fn electable(image: &MetadataImage, partition: &PartitionImage, acceptable: impl Fn(i32) -> bool) -> i32 {
    partition
        .replicas
        .iter()
        .copied()
        .find(|id| acceptable(*id) && image.active_broker(*id).is_some())
        .unwrap_or(NO_LEADER)
}

fn change(
    topic_id: Uuid,
    partition_id: i32,
    partition: &PartitionImage,
    leader: i32,
    isr: &[i32],
) -> Option<PartitionChangeRecord> {
    let new_isr = (partition.isr != isr).then(|| isr.to_vec());
    if leader == partition.leader && new_isr.is_none() {
        return None;
    }
    // To name the leader, even the same one, would bump the leader epoch.
    let unchanged = PartitionChangeRecord::default().leader;
    let leader = if leader == partition.leader { unchanged } else { leader };
    Some(PartitionChangeRecord { partition_id, topic_id, isr: new_isr, leader, ..Default::default() })
}
