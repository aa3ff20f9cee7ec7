//! What must be true, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::{MetadataImage, Quorum, ReplicaKey};

/// Why a run is wrong.
pub type Violation = String;

/// What was seen so far.
#[derive(Default)]
pub struct Model {
    /// Who led which epoch.
    leaders: BTreeMap<i32, ReplicaKey>,
    /// Whom a replica voted for, by epoch.
    votes: BTreeMap<(ReplicaKey, i32), ReplicaKey>,
    /// Committed images by offset.
    committed: BTreeMap<i64, MetadataImage>,
    /// Names of topics that were acknowledged, by the offset of their last record.
    acked: BTreeMap<i64, String>,
    /// Elections that were won.
    pub elections: u64,
}

impl Model {
    /// A replica says that it grants a vote.
    pub fn voted(&mut self, voter: ReplicaKey, epoch: i32, candidate: ReplicaKey) -> Result<(), Violation> {
        let known = *self.votes.entry((voter, epoch)).or_insert(candidate);
        ensure(known == candidate, || {
            format!("{voter:?} votes in epoch {epoch} for {known:?} and {candidate:?}")
        })
    }

    /// A client was told that its topic is there.
    pub fn acked(&mut self, name: String, offset: i64) {
        self.acked.insert(offset, name);
    }

    /// How many topics were acknowledged.
    pub fn acked_count(&self) -> u64 {
        self.acked.len() as u64
    }

    /// Looks at a node after something happened to it. `before` is its committed offset when it was looked at last in
    /// this life.
    pub fn check(&mut self, own: ReplicaKey, quorum: &Quorum, before: i64) -> Result<i64, Violation> {
        if quorum.is_leader() {
            let epoch = quorum.epoch();
            let known = *self.leaders.entry(epoch).or_insert_with(|| {
                self.elections += 1;
                own
            });
            ensure(known == own, || format!("epoch {epoch} is led by {known:?} and {own:?}"))?;
        }
        let image = quorum.committed_image();
        let offset = image.offset();
        ensure(offset >= before, || format!("{own:?} went back from {before} to {offset}"))?;
        if offset > before {
            self.check_image(own, image)?;
        }
        Ok(offset)
    }

    fn check_image(&mut self, own: ReplicaKey, image: &MetadataImage) -> Result<(), Violation> {
        let offset = image.offset();
        let same = self.committed.entry(offset).or_insert_with(|| image.clone());
        ensure(same == image, || format!("{own:?} has another image at {offset}"))?;
        let names: BTreeSet<&str> = image.topics.iter().map(|topic| &*topic.name).collect();
        for (acked_at, name) in self.acked.range(..=offset) {
            ensure(names.contains(&**name), || {
                format!("{own:?} lost {name}, acknowledged at {acked_at}, in its image at {offset}")
            })?;
        }
        // What a later image has, an earlier one that is a part of it has not lost.
        if let Some((_, earlier)) = self.committed.range(..offset).next_back() {
            let lost = earlier.topics.iter().find(|topic| !names.contains(&*topic.name));
            ensure(lost.is_none(), || {
                format!("{own:?} lost {:?} by {offset}", lost.map(|topic| topic.name.clone()))
            })?;
        }
        Ok(())
    }
}

/// An error unless it holds.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
