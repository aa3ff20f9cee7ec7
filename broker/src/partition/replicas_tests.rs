//! A leader and its followers.

use std::sync::Arc;

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::MetadataImage;
use ottla_wire::Uuid;
use ottla_wire::records::metadata::{BrokerRegistrationChangeRecord, RegisterBrokerRecord};

use super::*;

const LAG: i64 = 30_000;

fn leadership(isr: &[i32], min_isr: usize, partition_epoch: i32) -> Leadership {
    Leadership {
        leader: 1,
        here: true,
        epoch: 5,
        partition_epoch,
        isr: isr.to_vec(),
        replicas: vec![1, 2, 3],
        min_isr,
        flushed: false,
        throttled: crate::partition::Throttled::default(),
    }
}

/// Brokers 1 to 4, each registered under its hundredfold.
fn cluster() -> MetadataImage {
    let mut image = MetadataImage::empty("cluster".into());
    for id in 1..=4 {
        let broker_epoch = i64::from(id) * 100;
        let incarnation_id = Uuid::from_bytes([1; 16]);
        let record = RegisterBrokerRecord {
            broker_id: id,
            broker_epoch,
            incarnation_id,
            fenced: false,
            ..Default::default()
        };
        image.apply(&MetadataRecord::from(record)).unwrap();
    }
    image
}

fn fence(image: &mut MetadataImage, id: i32) {
    let record = BrokerRegistrationChangeRecord {
        broker_id: id,
        broker_epoch: i64::from(id) * 100,
        fenced: 1,
        ..Default::default()
    };
    image.apply(&MetadataRecord::from(record)).unwrap();
}

/// A leader whose log went from 100, where it was elected, to 110.
struct World {
    image: MetadataImage,
    replicas: Replicas,
    high_watermark: Offset,
    now: Millis,
    end: Offset,
}

impl World {
    fn new(isr: &[i32], min_isr: usize) -> Self {
        let replicas = Replicas::new(1, &leadership(isr, min_isr, 7), Offset(100), Millis(0));
        Self { image: cluster(), replicas, high_watermark: Offset(95), now: Millis(0), end: Offset(110) }
    }

    fn fetch(&mut self, replica: i32, offset: i64) -> Result<Option<Proposal>, FollowerError> {
        self.fetch_as(replica, i64::from(replica) * 100, offset)
    }

    fn fetch_as(
        &mut self,
        replica: i32,
        broker_epoch: i64,
        offset: i64,
    ) -> Result<Option<Proposal>, FollowerError> {
        let (offset, log_start) = (Offset(offset), Offset(i64::from(replica)));
        let fetch = FollowerFetch { replica, broker_epoch, offset, log_start, at: self.now };
        self.replicas.fetched(&fetch, self.end, self.high_watermark, &self.image.cluster)
    }

    /// The high watermark, moved as far as it may.
    fn high_watermark(&mut self) -> i64 {
        let own = LeaderEnd { log: self.end, safe: self.end };
        let at = self.replicas.high_watermark(own, self.now, LAG, &self.image.cluster);
        self.high_watermark = self.high_watermark.max(at.unwrap_or(Offset::ZERO));
        self.high_watermark.0
    }

    fn shrink(&mut self) -> Option<Proposal> {
        self.replicas.shrink(self.end, self.now, LAG)
    }
}

fn members(proposal: &Proposal) -> Vec<i32> {
    proposal.isr.iter().map(|(id, _)| *id).collect()
}

#[test]
fn the_high_watermark_is_where_the_slowest_in_sync_is() {
    let mut world = World::new(&[1, 2, 3], 2);
    assert_eq!(world.high_watermark(), 95, "nobody has told yet");
    world.fetch(2, 110).unwrap();
    assert_eq!(world.high_watermark(), 95);
    world.fetch(3, 104).unwrap();
    assert_eq!(world.high_watermark(), 104);
    world.fetch(3, 110).unwrap();
    assert_eq!(world.high_watermark(), 110);
}

#[test]
fn a_replica_that_takes_nothing_of_what_it_is_sent_is_not_waited_for() {
    for (sent, progress, leaves) in [(true, 0, true), (false, 0, false), (true, 1, false)] {
        let mut world = World::new(&[1, 2, 3], 2);
        for replica in [2, 3] {
            world.fetch(replica, 110).unwrap();
        }
        assert_eq!(world.high_watermark(), 110);
        world.end = Offset(120);
        world.fetch(3, 120).unwrap();
        assert_eq!(world.fetch(2, 110).unwrap(), None);
        let mut proposal = None;
        for round in 1..=3 {
            world.now = world.now.plus(600);
            assert_eq!(proposal, None);
            proposal = world.fetch(2, 110 + round * progress).unwrap();
            assert_eq!(world.replicas.asks_again(2), progress == 0);
            if sent {
                world.replicas.sent_again(2);
            }
        }
        assert_eq!(proposal.as_ref().map(members), leaves.then(|| vec![1, 3]));
        assert_eq!(world.high_watermark(), 110 + 3 * progress, "it still counts");
        let Some(proposal) = proposal else { continue };
        let accepted = Answer::Accepted { leader_epoch: 5, partition_epoch: 8, isr: vec![1, 3] };
        assert_eq!(world.replicas.answered(proposal.version, accepted), None);
        assert_eq!(world.high_watermark(), 120);
        assert_eq!(world.fetch(2, 110).unwrap(), None);
        let back = world.fetch(2, 120).unwrap().expect("it takes again what it is sent");
        assert_eq!(members(&back), [1, 3, 2]);
    }
}

#[test]
fn a_leaders_own_end_counts_as_far_as_it_is_on_disk() {
    let mut world = World::new(&[1, 2], 1);
    world.fetch(2, 110).unwrap();
    let own = LeaderEnd { log: Offset(110), safe: Offset(101) };
    let at = world.replicas.high_watermark(own, world.now, LAG, &world.image.cluster);
    assert_eq!(at, Some(Offset(101)));
}

#[test]
fn below_the_minimum_in_sync_nothing_moves() {
    let mut world = World::new(&[1], 2);
    assert_eq!(world.high_watermark(), 95);
    let proposal = world.fetch(2, 110).unwrap().expect("it has caught up");
    assert_eq!(world.high_watermark(), 95, "asked for is not in sync yet");
    let accepted = Answer::Accepted { leader_epoch: 5, partition_epoch: 8, isr: vec![1, 2] };
    assert_eq!(world.replicas.answered(proposal.version, accepted), None);
    assert_eq!(world.high_watermark(), 110);
}

#[test]
fn who_has_caught_up_to_the_leaders_beginning_is_proposed_once() {
    let mut world = World::new(&[1, 2], 1);
    assert_eq!(world.fetch(3, 98).unwrap(), None, "below where this leader began");
    let proposal = world.fetch(3, 100).unwrap().expect("caught up to the high watermark and the beginning");
    assert_eq!(proposal.isr, [(1, -1), (2, -1), (3, 300)]);
    assert_eq!((proposal.leader_epoch, proposal.partition_epoch), (5, 7));
    assert_eq!(world.fetch(3, 110).unwrap(), None, "one at a time");
}

#[test]
fn who_is_asked_for_holds_the_high_watermark_back_at_once() {
    let mut world = World::new(&[1, 2], 1);
    world.fetch(2, 110).unwrap();
    world.fetch(3, 100).unwrap().expect("a proposal");
    assert_eq!(world.high_watermark(), 100, "the controller may have added it already");
}

#[test]
fn a_refused_replica_is_taken_back_and_proposed_again() {
    let mut world = World::new(&[1, 2], 1);
    let first = world.fetch(3, 110).unwrap().expect("a proposal");
    assert_eq!(world.replicas.answered(first.version, Answer::Refused), None);
    assert_eq!(world.replicas.maximal_isr_len(), 2);
    let second = world.fetch(3, 110).unwrap().expect("again");
    assert!(second.version > first.version);
    assert_eq!(world.replicas.answered(first.version, Answer::Refused), None);
    assert_eq!(world.replicas.maximal_isr_len(), 3, "an answer to an older one tells nothing");
}

#[test]
fn an_answer_to_an_earlier_leadership_tells_nothing() {
    let mut world = World::new(&[1, 2], 1);
    let earlier = world.fetch(3, 110).unwrap().expect("a proposal");
    let again = Leadership { epoch: 6, ..leadership(&[1, 2], 1, 9) };
    world.replicas = Replicas::new(1, &again, Offset(110), world.now);
    let now = world.fetch(3, 110).unwrap().expect("a proposal");
    assert_ne!(earlier.version, now.version);
    assert_eq!(world.replicas.answered(earlier.version, Answer::Refused), None);
    assert_eq!(world.replicas.maximal_isr_len(), 3, "it may be accepted yet");
}

#[test]
fn an_answer_that_may_come_again_is_asked_again_and_one_overtaken_waits_for_the_metadata() {
    let mut world = World::new(&[1, 2], 1);
    let proposal = world.fetch(3, 110).unwrap().expect("a proposal");
    assert_eq!(world.replicas.answered(proposal.version, Answer::Again), Some(proposal.clone()));
    assert_eq!(world.replicas.answered(proposal.version, Answer::Overtaken), None);
    assert_eq!(world.fetch(3, 110).unwrap(), None, "still pending");
    assert_eq!(world.replicas.maximal_isr_len(), 3);
    world.replicas.update(&leadership(&[1, 2], 1, 7), world.now);
    assert_eq!(world.replicas.maximal_isr_len(), 3, "the metadata says nothing newer");
    world.replicas.update(&leadership(&[1, 2], 1, 8), world.now);
    assert_eq!(world.replicas.maximal_isr_len(), 2);
    assert!(world.fetch(3, 110).unwrap().is_some());
}

#[test]
fn metadata_that_is_older_than_an_answer_undoes_nothing() {
    let mut world = World::new(&[1, 2], 1);
    let proposal = world.fetch(3, 110).unwrap().expect("a proposal");
    let accepted = Answer::Accepted { leader_epoch: 5, partition_epoch: 8, isr: vec![1, 2, 3] };
    world.replicas.answered(proposal.version, accepted);
    world.replicas.update(&leadership(&[1, 2], 1, 7), world.now);
    assert_eq!(world.replicas.isr(), [1, 2, 3]);
}

#[test]
fn a_broker_that_may_not_join_is_neither_proposed_nor_waited_for() {
    let mut world = World::new(&[1, 2], 1);
    world.fetch(2, 110).unwrap();
    fence(&mut world.image, 3);
    assert_eq!(world.fetch(3, 105).unwrap(), None, "it is fenced");
    assert_eq!(world.high_watermark(), 110);

    let mut world = World::new(&[1, 2], 1);
    assert_eq!(world.fetch_as(3, 299, 110).unwrap(), None, "an earlier start of it");
}

#[test]
fn a_replica_outside_that_keeps_up_is_waited_for() {
    let mut world = World::new(&[1, 2], 1);
    world.fetch(2, 110).unwrap();
    assert_eq!(world.fetch(3, 99).unwrap(), None);
    assert_eq!(world.high_watermark(), 110, "behind for all that is known");

    let mut world = World::new(&[1, 2], 1);
    world.end = Offset(99);
    assert_eq!(world.fetch(3, 99).unwrap(), None, "not at the leader's beginning yet");
    world.end = Offset(110);
    world.fetch(2, 110).unwrap();
    assert_eq!(world.high_watermark(), 99, "it was caught up a moment ago");
}

#[test]
fn who_lags_too_long_leaves_and_who_keeps_up_stays() {
    let mut world = World::new(&[1, 2, 3], 1);
    world.fetch(2, 110).unwrap();
    world.fetch(3, 100).unwrap();
    world.now = Millis(LAG);
    assert_eq!(world.shrink(), None, "not longer than allowed");
    world.fetch(3, 105).unwrap();
    world.now = Millis(LAG + 1);
    let proposal = world.shrink().expect("3 is behind, 2 has everything");
    assert_eq!(members(&proposal), [1, 2]);
    assert_eq!(world.high_watermark(), 105, "it counts until the controller has agreed");
    let accepted = Answer::Accepted { leader_epoch: 5, partition_epoch: 8, isr: vec![1, 2] };
    world.replicas.answered(proposal.version, accepted);
    assert_eq!(world.high_watermark(), 110);
}

/// It fetches all the time, but each time something was appended meanwhile.
#[test]
fn a_follower_under_steady_load_keeps_up() {
    let mut world = World::new(&[1, 2], 1);
    let mut offset = 110;
    for round in 0..100 {
        world.now = Millis(round * 1000);
        world.end = Offset(offset + 50);
        world.fetch(2, offset).unwrap();
        offset = world.end.0;
        assert_eq!(world.shrink(), None, "second {round}");
    }
}

#[test]
fn strangers_and_earlier_starts_are_refused() {
    let mut world = World::new(&[1, 2, 3], 1);
    assert_eq!(world.fetch(4, 110), Err(FollowerError::Unknown));
    world.fetch_as(2, 200, 110).unwrap();
    assert_eq!(world.fetch_as(2, 199, 105), Err(FollowerError::StaleBrokerEpoch));
    world.fetch_as(2, NO_BROKER_EPOCH, 110).unwrap();
}

#[test]
fn the_low_watermark_is_that_of_the_living() {
    let mut world = World::new(&[1, 2, 3], 1);
    let low = |world: &World| world.replicas.low_watermark(Offset(50), &world.image.cluster);
    world.fetch(3, 110).unwrap();
    assert_eq!(low(&world), None, "2 has not told");
    fence(&mut world.image, 2);
    assert_eq!(low(&world), Some(Offset(3)));
}

#[test]
fn consumers_are_sent_to_members_that_have_the_offset() {
    let mut world = World::new(&[1, 2], 1);
    world.fetch(2, 105).unwrap();
    world.fetch(3, 99).unwrap();
    let at = |offset| world.replicas.readable_at(Offset(offset), Millis(10));
    assert_eq!(at(104), [(2, Offset(105), 10)]);
    assert_eq!(at(106), []);
    assert_eq!(at(1), [], "its log starts at 2");
}

#[test]
fn a_new_assignment_forgets_who_left_and_knows_who_came() {
    let mut world = World::new(&[1, 2], 1);
    let moved = Leadership { replicas: vec![1, 2, 4], ..leadership(&[1, 2], 1, 8) };
    world.replicas.update(&moved, world.now);
    assert_eq!(world.fetch(3, 110), Err(FollowerError::Unknown));
    assert_eq!(members(&world.fetch(4, 110).unwrap().expect("a proposal")), [1, 2, 4]);
}

#[test]
fn a_cluster_of_others_is_no_reason_to_wait() {
    let mut world = World::new(&[1, 2], 1);
    world.image.cluster = Arc::default();
    world.fetch(2, 108).unwrap();
    assert_eq!(world.high_watermark(), 108, "members of the ISR count in any case");
}
