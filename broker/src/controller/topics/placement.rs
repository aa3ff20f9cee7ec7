//! Where the replicas of new partitions go: striped over racks and brokers, active brokers first.

use std::collections::BTreeMap;

use ottla_quorum::MetadataImage;

/// Why partitions cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlacementError {
    /// Fewer brokers than replicas.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {registered} broker(s) are \
         registered or some brokers have all their log directories cordoned."
    )]
    TooFew {
        /// Replication factor asked for.
        wanted: usize,
        /// Brokers that are registered.
        registered: usize,
    },
    /// Nobody could lead.
    #[error("All brokers are currently fenced.")]
    AllFenced,
}

/// Replicas of `count` partitions, the preferred leader first. `start` spreads the first partitions of many topics.
pub(crate) fn place(
    image: &MetadataImage,
    count: usize,
    replication_factor: usize,
    start: usize,
) -> Result<Vec<Vec<i32>>, PlacementError> {
    let registered = image.cluster.brokers.len();
    if registered < replication_factor {
        return Err(PlacementError::TooFew { wanted: replication_factor, registered });
    }
    let active = racks(image, |id| image.active_broker(id).is_some());
    if active.is_empty() {
        return Err(PlacementError::AllFenced);
    }
    let rest = racks(image, |id| image.active_broker(id).is_none());
    let partition = |index: usize| {
        let turn = start.wrapping_add(index);
        let mut replicas = striped(&active, turn, replication_factor);
        let missing = replication_factor - replicas.len();
        replicas.extend(striped(&rest, turn, missing));
        replicas
    };
    Ok((0..count).map(partition).collect())
}

/// Brokers by rack; those without one share a rack.
fn racks(image: &MetadataImage, included: impl Fn(i32) -> bool) -> Vec<Vec<i32>> {
    let mut racks: BTreeMap<Option<&str>, Vec<i32>> = BTreeMap::new();
    for broker in image.cluster.brokers.values().filter(|broker| included(broker.id)) {
        racks.entry(broker.rack.as_deref()).or_default().push(broker.id);
    }
    racks.into_values().collect()
}

/// One broker from each rack in turn, beginning with another rack and broker each turn.
fn striped(racks: &[Vec<i32>], turn: usize, count: usize) -> Vec<i32> {
    let mut chosen = Vec::with_capacity(count);
    let brokers: usize = racks.iter().map(Vec::len).sum();
    let deepest = racks.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..deepest {
        for step in 0..racks.len() {
            if chosen.len() == count.min(brokers) {
                return chosen;
            }
            let Some(rack) = racks.get((turn + step) % racks.len()) else { continue };
            let shift = turn / racks.len() + round;
            if round < rack.len()
                && let Some(broker) = rack.get(shift % rack.len())
            {
                chosen.push(*broker);
            }
        }
    }
    chosen
}
