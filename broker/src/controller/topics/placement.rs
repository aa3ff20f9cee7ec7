//! Where the replicas of new partitions go: striped over racks and, within each, over brokers, as Kafka does it.
//!
//! Each partition begins one rack further, and each rack at its next broker. The leader is a broker that is not fenced;
//! the other replicas go to one rack after the other, in each to the brokers that are not fenced before those that are.
//! When every unfenced broker has had its turn as the leader, racks and brokers are shuffled, so that not the same ones are
//! together for ever.

use std::collections::BTreeMap;

use ottla_quorum::MetadataImage;
use ottla_quorum::image::BrokerImage;

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
        /// Brokers that take partitions.
        registered: usize,
    },
    /// Nobody could lead.
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    AllFenced,
}

/// Replicas of `count` partitions, the preferred leader first. What is chosen by lot depends on `seed` alone.
pub(crate) fn place(
    image: &MetadataImage,
    count: usize,
    replication_factor: usize,
    seed: usize,
) -> Result<Vec<Vec<i32>>, PlacementError> {
    let mut racks = Racks::of(image, Lots(seed as u64));
    if racks.unfenced == 0 {
        return Err(PlacementError::AllFenced);
    }
    if racks.brokers < replication_factor {
        return Err(PlacementError::TooFew { wanted: replication_factor, registered: racks.brokers });
    }
    Ok((0..count).map(|_| racks.place(replication_factor)).collect())
}

/// Whether new partitions may go to the broker: one that is about to stop takes none.
fn is_usable(broker: &BrokerImage) -> bool {
    broker.takes_partitions() && (broker.fenced || !broker.in_controlled_shutdown)
}

/// All racks; brokers without one share a rack.
struct Racks {
    racks: Vec<Rack>,
    /// Rack that the next partition begins with.
    offset: usize,
    /// Partitions since the last shuffle.
    round: usize,
    brokers: usize,
    unfenced: usize,
    lots: Lots,
}

impl Racks {
    fn of(image: &MetadataImage, mut lots: Lots) -> Self {
        let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        let (mut brokers, mut unfenced) = (0, 0);
        for broker in image.cluster.brokers.values().filter(|broker| is_usable(broker)) {
            let rack = racks.entry(broker.rack.as_deref()).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.id);
            brokers += 1;
            unfenced += usize::from(!broker.fenced);
        }
        let mut racks: Vec<Rack> = racks.into_values().collect();
        for rack in &mut racks {
            rack.unfenced.offset = lots.below(rack.unfenced.brokers.len());
            rack.fenced.offset = lots.below(rack.fenced.brokers.len());
        }
        let offset = lots.below(racks.len());
        Self { racks, offset, round: 0, brokers, unfenced, lots }
    }

    /// No more replicas than there are brokers, of which one at least is not fenced.
    fn place(&mut self, replication_factor: usize) -> Vec<i32> {
        if self.round == self.unfenced && self.unfenced > 1 {
            self.shuffle();
        }
        let mut replicas = Vec::with_capacity(replication_factor);
        let mut leaders_rack = None;
        for step in 0..self.racks.len() {
            let at = self.offset.wrapping_add(step) % self.racks.len();
            let leader = self.racks.get_mut(at).and_then(|rack| rack.unfenced.next(self.round));
            if let Some(leader) = leader {
                replicas.push(leader);
                leaders_rack = Some(at);
                break;
            }
        }
        // The leader's rack has had its turn in the first lap.
        let mut at = self.offset;
        while replicas.len() < replication_factor.min(self.brokers) {
            if leaders_rack == Some(at) {
                leaders_rack = None;
            } else {
                let next = self.racks.get_mut(at).and_then(|rack| rack.next(self.round));
                replicas.extend(next);
            }
            at = (at + 1) % self.racks.len();
        }
        self.round += 1;
        self.offset = (self.offset + 1) % self.racks.len();
        replicas
    }

    fn shuffle(&mut self) {
        self.lots.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            self.lots.shuffle(&mut rack.unfenced.brokers);
            self.lots.shuffle(&mut rack.fenced.brokers);
        }
        self.round = 0;
    }
}

#[derive(Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

impl Rack {
    fn next(&mut self, round: usize) -> Option<i32> {
        self.unfenced.next(round).or_else(|| self.fenced.next(round))
    }
}

/// Brokers in turn; each round begins with another and has each once.
#[derive(Default)]
struct Ring {
    brokers: Vec<i32>,
    round: usize,
    taken: usize,
    offset: usize,
}

impl Ring {
    fn next(&mut self, round: usize) -> Option<i32> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            (self.round, self.taken) = (round, 0);
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.taken >= self.brokers.len() {
            return None;
        }
        let next = self.brokers.get((self.taken + self.offset) % self.brokers.len()).copied();
        self.taken += 1;
        next
    }
}

/// Numbers that depend on the one before (SplitMix64): the same seed gives the same lots.
struct Lots(u64);

impl Lots {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let bound = (bound as u64).max(1);
        usize::try_from(mixed % bound).unwrap_or_default()
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
