//! Where batches were found lately, so that a read does not search again for what was looked up ahead of it, and a
//! consumer goes on from where its last read ended without a look into the index.

use super::tail::Place;
use crate::types::Offset;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// For a few consumers of a partition: a read needs the place where it begins and the one where it ends.
const PLACES: usize = 16;

/// Batches by the base offset of their segment, the latest found last. They hold until something is cut off or replaced.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<VecDeque<(Offset, Place)>>);

impl Places {
    /// Notes a batch that was found in the segment.
    pub(super) fn note(&self, segment: Offset, place: Place) {
        let mut places = self.0.lock();
        if places.contains(&(segment, place)) {
            return;
        }
        if places.len() == PLACES {
            places.pop_front();
        }
        places.push_back((segment, place));
    }

    /// The batch of the segment that holds the offset.
    pub(super) fn holding(&self, segment: Offset, offset: Offset) -> Option<Place> {
        self.find(segment, |place| place.base_offset <= offset && offset <= place.last_offset)
    }

    /// The first batch of the segment that ends after `position`.
    pub(super) fn across(&self, segment: Offset, position: u64) -> Option<Place> {
        self.find(segment, |place| place.position <= position && position < place.end)
    }

    fn find(&self, segment: Offset, wanted: impl Fn(&Place) -> bool) -> Option<Place> {
        let places = self.0.lock();
        places.iter().find(|(base, place)| *base == segment && wanted(place)).map(|(_, place)| *place)
    }
}
