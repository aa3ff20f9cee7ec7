//! Who leads when brokers come and go: changes of leader and ISR as records.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, NO_LEADER, PartitionImage};
use ottla_wire::Uuid;
use ottla_wire::records::metadata::PartitionChangeRecord;

/// The broker is no longer to lead or be in sync: it is fenced, shuts down, or came back as a new incarnation. The
/// last member of an ISR stays in it, leaderless: only it is known to have everything.
pub(crate) fn leave(image: &MetadataImage, broker: i32) -> Vec<MetadataRecord> {
    changes(image, |topic, index, partition| {
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
    })
}

/// The broker may lead again: it takes what nobody leads and it is in sync for.
pub(crate) fn join(image: &MetadataImage, broker: i32) -> Vec<MetadataRecord> {
    changes(image, |topic, index, partition| {
        let takes = partition.leader == NO_LEADER && partition.isr.contains(&broker);
        takes.then(|| change(topic, index, partition, broker, &partition.isr)).flatten()
    })
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
