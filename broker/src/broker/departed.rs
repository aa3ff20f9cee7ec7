//! Brokers that were fenced a moment ago. Metadata still names them, see `docs/decisions/0008`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_quorum::MetadataImage;
use parking_lot::Mutex;

/// How long they are named.
const NAMED: Duration = Duration::from_secs(30);

/// Who left, and when this broker was told.
#[derive(Debug)]
pub struct Departed(Mutex<BTreeMap<i32, Instant>>);

impl Departed {
    /// This broker begins. Who is fenced now may have left a moment ago, or starts as this one does: nobody here can tell.
    pub(super) fn at_start(image: &MetadataImage, now: Instant) -> Self {
        let fenced = image.cluster.brokers.values().filter(|broker| !broker.is_active());
        Self(Mutex::new(fenced.map(|broker| (broker.id, now)).collect()))
    }

    /// Takes note of who has left and who is back.
    pub(super) fn apply(&self, old: &MetadataImage, new: &MetadataImage, now: Instant) {
        let mut departed = self.0.lock();
        departed.retain(|id, left| new.active_broker(*id).is_none() && now.duration_since(*left) < NAMED);
        for broker in old.cluster.brokers.values().filter(|broker| broker.is_active()) {
            if new.active_broker(broker.id).is_none() {
                departed.insert(broker.id, now);
            }
        }
    }

    /// Whether the broker left a moment ago.
    pub fn has(&self, id: i32, now: Instant) -> bool {
        self.0.lock().get(&id).is_some_and(|left| now.duration_since(*left) < NAMED)
    }
}

#[cfg(test)]
mod tests {
    use ottla_quorum::MetadataRecord;
    use ottla_wire::records::metadata::RegisterBrokerRecord;

    use super::*;

    fn image(fenced: bool) -> MetadataImage {
        let mut image = MetadataImage::empty("c".into());
        let broker = RegisterBrokerRecord { broker_id: 1, fenced, ..Default::default() };
        image.apply(&MetadataRecord::RegisterBroker(broker)).expect("it fits");
        image
    }

    #[test]
    fn who_left_is_named_for_a_while_or_until_it_is_back() {
        let began = Instant::now();
        let departed = Departed::at_start(&image(false), began);
        assert!(!departed.has(1, began), "it is there");
        departed.apply(&image(false), &image(true), began);
        departed.apply(&image(true), &image(true), began + NAMED / 2);
        assert!(departed.has(1, began + NAMED / 2) && !departed.has(1, began + NAMED));
        departed.apply(&image(true), &image(false), began + NAMED / 2);
        assert!(!departed.has(1, began + NAMED / 2));
    }

    #[test]
    fn where_all_start_at_once_the_others_are_named_for_as_long() {
        let began = Instant::now();
        let departed = Departed::at_start(&image(true), began);
        departed.apply(&image(true), &image(true), began);
        assert!(departed.has(1, began) && !departed.has(1, began + NAMED));
    }
}
