//! Where replicas lie (KIP-858): what a broker with several log directories chose, and directories that failed.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::MetadataImage;
use ottla_wire::Uuid;
use ottla_wire::records::metadata::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use super::{Decision, leadership};

/// A replica's place: topic, partition, and `directory.id`.
pub type Placement = (Uuid, i32, Uuid);

/// Notes where the broker keeps its replicas. What it does not host, or what is noted already, is passed over.
pub(crate) fn assign(image: &MetadataImage, broker: i32, placements: &[Placement]) -> Decision<()> {
    if !knows_directories(image) {
        return Decision::answer(());
    }
    let record = |(topic_id, partition_id, directory): &Placement| {
        let partition = image.topics.by_id(topic_id)?.partitions.get(partition_id)?;
        let at = partition.replicas.iter().position(|replica| *replica == broker)?;
        let mut directories = partition.directories.clone();
        let noted = directories.get_mut(at).filter(|noted| *noted != directory)?;
        *noted = *directory;
        let (topic_id, partition_id, directories) = (*topic_id, *partition_id, Some(directories));
        let record = PartitionChangeRecord { partition_id, topic_id, directories, ..Default::default() };
        Some(MetadataRecord::PartitionChange(record))
    };
    Decision { records: placements.iter().filter_map(record).collect(), response: () }
}

/// Only `online` of the broker's directories are left: it leads nothing that lies in the others.
pub(crate) fn fail(image: &MetadataImage, id: i32, online: &[Uuid]) -> Decision<()> {
    let Some(broker) = image.broker(id).filter(|_| knows_directories(image) && !online.is_empty()) else {
        return Decision::answer(());
    };
    let lost: Vec<Uuid> = broker.log_dirs.iter().copied().filter(|known| !online.contains(known)).collect();
    if lost.is_empty() {
        return Decision::answer(());
    }
    let change = BrokerRegistrationChangeRecord {
        broker_id: id,
        broker_epoch: broker.epoch,
        log_dirs: online.to_vec(),
        ..Default::default()
    };
    let mut records = vec![MetadataRecord::BrokerRegistrationChange(change)];
    records.extend(leadership::leave_directories(image, id, &lost));
    Decision { records, response: () }
}

fn knows_directories(image: &MetadataImage) -> bool {
    image.metadata_version().is_some_and(|level| level.has_directory_assignment())
}
