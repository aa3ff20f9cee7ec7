//! Sessions, registration, heartbeats and fencing, with time given.

use ottla_quorum::MetadataRecord;
use ottla_quorum::features::ELIGIBLE_LEADER_REPLICAS;
use ottla_quorum::image::{MetadataImage, NO_LEADER};
use ottla_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest};
use ottla_wire::records::metadata::FeatureLevelRecord;
use ottla_wire::{ErrorCode, Uuid};

use super::brokers::Brokers;
use super::tests::{apply, cluster, directory, registration, topic, uuid};
use super::upkeep::Upkeep;
use super::view::View;
use super::{ControllerError, heartbeat, registration as decisions};
use crate::config::Config;

/// A controller without a log: an image, what it knows of brokers, and the time.
pub(super) struct Controller {
    pub(super) image: MetadataImage,
    pub(super) brokers: Brokers,
    pub(super) upkeep: Upkeep,
    pub(super) config: Config,
    pub(super) now: i64,
    pub(super) next_offset: i64,
    /// What is broken on purpose: says whether a record of a decision is written.
    pub(super) keeps: fn(&MetadataRecord, &[MetadataRecord]) -> bool,
}

impl Controller {
    /// Active brokers with epochs from 11 on, none of whom was heard of.
    pub(super) fn new(ids: &[i32], overrides: &[(&str, &str)]) -> Self {
        let config = Config::from_overrides(overrides).expect("valid");
        let image = cluster(ids);
        let session = i64::try_from(config.quorum.session_timeout.as_millis()).expect("short");
        let mut brokers = Brokers::new(session);
        brokers.activate(&image, 0);
        let upkeep = Upkeep::new(&config.elections, 0);
        Self { image, brokers, upkeep, config, now: 0, next_offset: 1000, keeps: |_, _| true }
    }

    /// Finalises eligible leader replicas.
    pub(super) fn with_elr(mut self) -> Self {
        let name = ELIGIBLE_LEADER_REPLICAS.into();
        self.write(&[FeatureLevelRecord { name, feature_level: 1, ..Default::default() }.into()]);
        self
    }

    pub(super) fn write(&mut self, records: &[MetadataRecord]) {
        let kept: Vec<_> = records.iter().filter(|it| (self.keeps)(it, records)).cloned().collect();
        apply(&mut self.image, &kept);
        self.next_offset += i64::try_from(records.len()).expect("few");
    }

    /// Topic `n` with one partition of these replicas, all in sync.
    pub(super) fn topic(&mut self, n: u8, replicas: &[i32]) {
        self.write(&topic(&format!("t{n}"), n, replicas));
    }

    pub(super) fn decide<R>(
        &mut self,
        decide: impl FnOnce(&View<'_>, &mut Brokers, i64) -> Result<super::Decision<R>, ControllerError>,
    ) -> Result<R, ErrorCode> {
        let view = View::new(&self.image, &self.config);
        match decide(&view, &mut self.brokers, self.next_offset) {
            Ok(decision) => {
                self.write(&decision.records);
                Ok(decision.response)
            }
            Err(error) => Err(error.code()),
        }
    }

    pub(super) fn register(&mut self, request: &BrokerRegistrationRequest) -> Result<i64, ErrorCode> {
        let now = self.now;
        self.decide(|view, brokers, next| decisions::register_broker(view, brokers, request, 4, next, now))
    }

    /// The broker starts again: another run, after which it has nothing but this epoch to show for the last one.
    pub(super) fn restart(
        &mut self,
        id: i32,
        incarnation: u8,
        previous_epoch: i64,
    ) -> Result<i64, ErrorCode> {
        let mut broker = registration(id, incarnation);
        broker.previous_epoch = previous_epoch;
        let request = broker.request(self.image.cluster_id.clone());
        self.register(&request)
    }

    pub(super) fn heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
    ) -> Result<BrokerHeartbeatResponse, ErrorCode> {
        let now = self.now;
        self.decide(|view, brokers, next| heartbeat::heartbeat(view, brokers, request, next, now))
    }

    /// An ordinary heartbeat of a broker that has all metadata.
    pub(super) fn beat(&mut self, id: i32) -> BrokerHeartbeatResponse {
        let request = self.beat_of(id);
        self.heartbeat(&request).expect("registered")
    }

    pub(super) fn beat_of(&self, id: i32) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: self.epoch(id),
            current_metadata_offset: self.next_offset - 1,
            ..Default::default()
        }
    }

    pub(super) fn epoch(&self, id: i32) -> i64 {
        self.image.broker(id).map_or(-1, |broker| broker.epoch)
    }

    pub(super) fn fence(&mut self, id: i32) {
        let epoch = self.epoch(id);
        self.decide(|view, _, _| decisions::fence_broker(view, id, epoch)).expect("registered");
    }

    pub(super) fn unfence(&mut self, id: i32) {
        let epoch = self.epoch(id);
        self.decide(|view, _, _| decisions::unfence_broker(view, id, epoch)).expect("registered");
    }

    pub(super) fn run_upkeep(&mut self) {
        let view = View::new(&self.image, &self.config);
        let records = self.upkeep.run(&view, &mut self.brokers, self.now);
        self.write(&records);
    }

    /// Time passes as the controller's thread sees it.
    pub(super) fn pass(&mut self, millis: i64) {
        let until = self.now + millis;
        while self.now < until {
            self.now = (self.now + 250).min(until);
            self.run_upkeep();
        }
    }

    /// Time passes, with heartbeats of these brokers, which stay what they are.
    pub(super) fn live(&mut self, millis: i64, ids: &[i32]) {
        self.beat_every(1000, millis, ids);
    }

    pub(super) fn beat_every(&mut self, every: i64, millis: i64, ids: &[i32]) {
        for _ in 0..millis / every {
            for id in ids {
                let want_fence = !self.is_active(*id);
                let request = BrokerHeartbeatRequest { want_fence, ..self.beat_of(*id) };
                self.heartbeat(&request).expect("registered");
            }
            self.pass(every);
        }
    }

    pub(super) fn is_active(&self, id: i32) -> bool {
        self.image.active_broker(id).is_some()
    }

    /// Leader, ISR and ELR of the topic's partition.
    pub(super) fn state(&self, n: u8) -> (i32, Vec<i32>, Vec<i32>) {
        let partition = self.image.partition(&format!("t{n}"), 0).expect("made");
        (partition.leader, partition.isr.clone(), partition.elr.clone())
    }
}

#[test]
fn a_broker_is_fenced_when_it_was_silent_for_longer_than_its_session() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2, 3]);
    controller.brokers.fetches(1);
    for _ in 0..9 {
        controller.pass(1000);
        controller.beat(2);
        controller.beat(3);
    }
    assert!(controller.is_active(1), "the session has just ended and is not over");
    controller.pass(1);
    assert!(!controller.is_active(1));
    assert_eq!(controller.state(1), (2, vec![2, 3], vec![]));
    assert!(controller.is_active(2) && controller.is_active(3));
    controller.pass(20_000);
    assert_eq!(controller.state(1).0, NO_LEADER, "in the end nobody is left");
}

#[test]
fn while_the_controller_stands_still_nobody_loses_a_session() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.pass(5000);
    controller.now += 60_000;
    controller.run_upkeep();
    assert!(controller.is_active(1) && controller.is_active(2));
    controller.pass(5000);
    assert!(!controller.is_active(1), "what was silent before stays counted");
}

#[test]
fn a_session_is_as_long_as_configured() {
    for (configured, ms) in [("5000", 5000), ("20000", 20_000)] {
        let mut controller = Controller::new(&[1], &[("broker.session.timeout.ms", configured)]);
        controller.beat(1);
        controller.pass(ms);
        assert!(controller.is_active(1));
        controller.pass(250);
        assert!(!controller.is_active(1));
    }
}

/// Three brokers, each heard of every so many milliseconds.
fn with_habits(every: i64) -> Controller {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.beat_every(every, 10_000, &[1, 2, 3]);
    controller
}

#[test]
fn silence_is_judged_by_a_brokers_own_habits() {
    for (every, strange) in [(500, 2500), (1000, 4000), (2000, 8000)] {
        let mut controller = with_habits(every);
        let heard = controller.now;
        while controller.is_active(3) {
            controller.beat_every(every, every, &[1, 2]);
        }
        let silent = controller.now - heard;
        assert!(
            (strange..=strange + every + 250).contains(&silent),
            "every {every} ms: fenced after {silent}"
        );
        assert!(controller.is_active(1) && controller.is_active(2));
    }
}

#[test]
fn heartbeats_in_a_hurry_are_no_habit() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.beat_every(2000, 10_000, &[1, 2, 3]);
    controller.beat_every(20, 2000, &[3]);
    controller.beat_every(2000, 6000, &[1, 2]);
    assert!(controller.is_active(3));
}

#[test]
fn when_most_fall_silent_at_once_it_is_the_controller_that_cannot_hear() {
    let mut controller = with_habits(500);
    controller.beat_every(500, 8500, &[1]);
    assert!(controller.is_active(2) && controller.is_active(3));
    controller.beat_every(500, 1000, &[1]);
    assert!(!controller.is_active(2) && !controller.is_active(3), "a session ends all the same");
}

#[test]
fn a_short_standstill_of_the_controller_makes_nobody_strange() {
    let mut controller = with_habits(500);
    for _ in 0..10 {
        controller.now += 2400;
        controller.run_upkeep();
        controller.beat_every(500, 500, &[1, 2, 3]);
    }
    assert!((1..=3).all(|id| controller.is_active(id)));
}

#[test]
fn who_does_not_even_fetch_from_a_new_active_controller_is_silent() {
    for (fetches, silent) in [(false, 3000), (true, 9500)] {
        let mut controller = with_habits(500);
        controller.brokers.activate(&controller.image, controller.now);
        if fetches {
            controller.brokers.fetches(3);
        }
        controller.beat_every(500, silent - 1000, &[1, 2]);
        assert!(controller.is_active(3));
        controller.beat_every(500, 1000, &[1, 2]);
        assert!(!controller.is_active(3), "fetches: {fetches}");
    }
}

#[test]
fn a_new_active_controller_gives_everybody_a_whole_session() {
    let mut controller = Controller::new(&[1], &[]);
    controller.pass(8000);
    controller.brokers.activate(&controller.image, controller.now);
    controller.pass(8000);
    assert!(controller.is_active(1));
    controller.pass(2000);
    assert!(!controller.is_active(1));
}

#[test]
fn a_registered_broker_is_unfenced_once_it_knows_its_registration() {
    let mut controller = Controller::new(&[1], &[]);
    let epoch = controller.restart(4, 1, -1).expect("new");
    assert_eq!(epoch, 1000, "the epoch is the offset at which its records begin");
    let mut request = controller.beat_of(4);
    request.current_metadata_offset = epoch - 1;
    let behind = controller.heartbeat(&request).expect("registered");
    assert_eq!((behind.is_caught_up, behind.is_fenced), (false, true));
    request.current_metadata_offset = epoch;
    request.want_fence = true;
    let waiting = controller.heartbeat(&request).expect("registered");
    assert_eq!((waiting.is_caught_up, waiting.is_fenced), (true, true), "it does not want to yet");
    request.want_fence = false;
    let ready = controller.heartbeat(&request).expect("registered");
    assert_eq!((ready.is_caught_up, ready.is_fenced), (true, false));
    assert!(controller.is_active(4));
}

#[test]
fn an_old_incarnations_heartbeat_is_refused() {
    let mut controller = Controller::new(&[1], &[]);
    let mut request = controller.beat_of(1);
    request.broker_epoch -= 1;
    assert_eq!(controller.heartbeat(&request), Err(ErrorCode::StaleBrokerEpoch));
    request.broker_id = 9;
    assert_eq!(controller.heartbeat(&request), Err(ErrorCode::StaleBrokerEpoch));
}

#[test]
fn a_second_process_under_a_live_brokers_id_is_refused_until_the_session_is_over() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.beat(1);
    controller.pass(2000);
    assert_eq!(controller.restart(1, 2, -1), Err(ErrorCode::DuplicateBrokerRegistration));
    controller.pass(8000);
    assert!(controller.restart(1, 2, -1).is_ok());
    assert!(controller.restart(2, 2, -1).is_ok(), "this controller has never heard of the first one");
}

#[test]
fn a_broker_that_is_known_to_be_gone_can_register_at_once() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.beat(1);
    controller.brokers.end(1);
    let epoch = controller.restart(1, 2, -1).expect("nobody else has the id");
    assert_eq!(controller.state(1), (2, vec![2], vec![]), "what it led it leads no more");
    assert_eq!(controller.epoch(1), epoch);
    assert!(!controller.is_active(1));
}

#[test]
fn registering_again_in_the_same_run_amends_the_registration() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.beat(1);
    let mut broker = registration(1, 1);
    broker.endpoints[0].port = 19092;
    let request = broker.request(controller.image.cluster_id.clone());
    assert_eq!(controller.register(&request), Ok(11), "the epoch stays");
    let amended = controller.image.broker(1).expect("registered");
    assert_eq!((amended.endpoints[0].port, amended.fenced), (19092, false));
    assert_eq!(controller.state(1), (1, vec![1, 2], vec![]));
}

#[test]
fn registrations_that_do_not_fit_are_refused_with_kafkas_codes() {
    use ErrorCode as E;
    let mut controller = Controller::new(&[1, 2], &[]);
    let good = || registration(5, 1).request("cluster".into());
    let changed = |change: fn(&mut BrokerRegistrationRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let before = controller.image.clone();
    for (request, code) in [
        (changed(|it| it.cluster_id = "another".into()), E::InconsistentClusterId),
        (changed(|it| it.is_migrating_zk_broker = true), E::BrokerIdNotRegistered),
        (changed(|it| it.log_dirs.clear()), E::InvalidRegistration),
        (changed(|it| it.log_dirs = vec![uuid(50), uuid(50)]), E::InvalidRegistration),
        (changed(|it| it.log_dirs = vec![Uuid::ZERO]), E::InvalidRegistration),
        (changed(|it| it.log_dirs = vec![directory(2)]), E::InvalidRegistration),
        (changed(|it| it.features.clear()), E::InvalidRegistration),
        (
            changed(|it| it.features.iter_mut().for_each(|f| f.max_supported_version = 3)),
            E::UnsupportedVersion,
        ),
    ] {
        assert_eq!(controller.register(&request), Err(code), "{request:?}");
        assert_eq!(controller.image, before);
    }
    assert!(controller.register(&good()).is_ok());
    let mut controller = Controller::new(&[1], &[]).with_elr();
    let older = changed(|it| it.features.retain(|feature| &*feature.name != ELIGIBLE_LEADER_REPLICAS));
    assert_eq!(
        controller.register(&older),
        Err(E::UnsupportedVersion),
        "it does not serve what is finalised"
    );
    assert!(controller.register(&good()).is_ok());
}

#[test]
fn a_stopping_broker_gives_its_leadership_away_before_it_may_go() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2, 3]);
    for id in [1, 2, 3] {
        controller.beat(id);
    }
    let mut wish = controller.beat_of(1);
    wish.want_shut_down = true;
    let first = controller.heartbeat(&wish).expect("registered");
    assert_eq!((first.should_shut_down, first.is_fenced), (false, false));
    assert_eq!(controller.state(1), (2, vec![2, 3], vec![]));
    let moved = controller.next_offset - 1;
    assert!(!controller.heartbeat(&wish).expect("registered").should_shut_down, "nobody knows yet");
    controller.beat(2);
    let mut behind = controller.beat_of(3);
    behind.current_metadata_offset = moved - 1;
    controller.heartbeat(&behind).expect("registered");
    assert!(!controller.heartbeat(&wish).expect("registered").should_shut_down, "3 does not know");
    controller.beat(3);
    let last = controller.heartbeat(&wish).expect("registered");
    assert_eq!((last.should_shut_down, last.is_fenced), (true, true));
    assert!(!controller.is_active(1));
    assert!(controller.restart(1, 2, 11).is_ok(), "its session ended when it was told to go");
}

#[test]
fn a_broker_that_leads_nothing_may_stop_at_once() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[2, 1]);
    let mut wish = controller.beat_of(1);
    wish.want_shut_down = true;
    assert!(controller.heartbeat(&wish).expect("registered").should_shut_down);
    assert_eq!(controller.state(1), (2, vec![2], vec![]));
}

#[test]
fn a_shutdown_that_another_controller_began_goes_on() {
    let mut controller = Controller::new(&[1, 2], &[]);
    controller.topic(1, &[1, 2]);
    controller.beat(1);
    controller.beat(2);
    let mut wish = controller.beat_of(1);
    wish.want_shut_down = true;
    controller.heartbeat(&wish).expect("registered");
    controller.brokers.activate(&controller.image, 0);
    assert!(controller.heartbeat(&wish).expect("registered").should_shut_down, "it leads nothing");
}

#[test]
fn what_lies_in_a_failed_directory_is_led_by_others() {
    let mut controller = Controller::new(&[1, 2], &[]);
    let mut broker = registration(4, 1);
    broker.log_dirs.push(uuid(77));
    let request = broker.request(controller.image.cluster_id.clone());
    controller.register(&request).expect("new");
    controller.beat(4);
    controller.topic(1, &[4, 1]);
    controller.topic(2, &[4, 2]);
    let mut report = controller.beat_of(4);
    report.offline_log_dirs = vec![uuid(77)];
    controller.heartbeat(&report).expect("registered");
    assert_eq!(controller.state(1).0, 4, "it lies elsewhere");
    report.offline_log_dirs = vec![directory(4), uuid(77)];
    controller.heartbeat(&report).expect("registered");
    assert_eq!(controller.state(1).0, 4, "a broker without any directory says nothing more");
    let kept = controller.image.broker(4).expect("registered").log_dirs.clone();
    assert_eq!(kept, [directory(4)]);
}

#[test]
fn cordoned_directories_are_noted_once() {
    let mut controller = Controller::new(&[1], &[]);
    let mut report = controller.beat_of(1);
    report.cordoned_log_dirs = Some(vec![directory(1)]);
    controller.heartbeat(&report).expect("registered");
    let broker = controller.image.broker(1).expect("registered").clone();
    assert!(!broker.takes_partitions());
    let offset = controller.next_offset;
    controller.heartbeat(&report).expect("registered");
    assert_eq!(controller.next_offset, offset, "nothing new");
}

#[test]
fn an_unregistered_broker_is_gone_and_in_no_isr() {
    let mut controller = Controller::new(&[1, 2, 3], &[]);
    controller.topic(1, &[1, 2, 3]);
    let unregister = |controller: &mut Controller, id| {
        controller.decide(|view, brokers, _| decisions::unregister_broker(view, brokers, id))
    };
    assert_eq!(unregister(&mut controller, 1), Ok(()));
    assert!(controller.image.broker(1).is_none());
    assert_eq!(controller.state(1), (2, vec![2, 3], vec![]));
    assert_eq!(unregister(&mut controller, 1), Err(ErrorCode::BrokerIdNotRegistered));
}

#[test]
fn replicas_below_min_isr_stay_eligible_until_they_stop_uncleanly() {
    let mut controller = Controller::new(&[1, 2, 3], &[("min.insync.replicas", "2")]).with_elr();
    controller.topic(1, &[1, 2, 3]);
    controller.fence(3);
    assert_eq!(controller.state(1), (1, vec![1, 2], vec![]), "enough are in sync");
    controller.fence(2);
    assert_eq!(controller.state(1), (1, vec![1], vec![2]));
    controller.fence(1);
    assert_eq!(controller.state(1), (NO_LEADER, vec![], vec![1, 2]));
    controller.unfence(3);
    assert_eq!(controller.state(1).0, NO_LEADER, "3 may lack acked records");
    controller.unfence(2);
    assert_eq!(controller.state(1), (2, vec![2], vec![1]));
    let mut one = registration(1, 2);
    one.previous_epoch = -1;
    controller.brokers.end(1);
    let request = one.request(controller.image.cluster_id.clone());
    controller.register(&request).expect("gone before");
    assert_eq!(controller.state(1), (2, vec![2], vec![]), "what it wrote last may be gone");
}

#[test]
fn the_last_known_leader_comes_back_with_what_it_has() {
    let mut controller = Controller::new(&[1, 2], &[("min.insync.replicas", "2")]).with_elr();
    controller.topic(1, &[1, 2]);
    controller.fence(2);
    controller.fence(1);
    for id in [1, 2] {
        let request = registration(id, 2).request(controller.image.cluster_id.clone());
        controller.register(&request).expect("gone before");
    }
    assert_eq!(controller.state(1), (NO_LEADER, vec![], vec![]));
    controller.unfence(2);
    assert_eq!(controller.state(1).0, NO_LEADER);
    controller.unfence(1);
    let partition = controller.image.partition("t1", 0).expect("made").clone();
    assert_eq!((partition.leader, &*partition.isr), (1, &[1][..]));
    assert_eq!(partition.leader_recovery_state.value(), 1, "it recovers first");
    assert!(partition.last_known_elr.is_empty());
}

#[test]
fn an_orderly_stopped_member_of_the_elr_stays_eligible() {
    let mut controller = Controller::new(&[1, 2], &[("min.insync.replicas", "2")]).with_elr();
    controller.topic(1, &[1, 2]);
    controller.fence(2);
    let mut request = registration(2, 2).request(controller.image.cluster_id.clone());
    request.previous_broker_epoch = controller.epoch(2);
    controller.register(&request).expect("gone before");
    assert_eq!(controller.state(1), (1, vec![1], vec![2]));
}

#[test]
fn leadership_goes_back_to_the_preferred_replica_now_and_then() {
    for (enabled, leader) in [("true", 1), ("false", 2)] {
        let settings =
            [("auto.leader.rebalance.enable", enabled), ("leader.imbalance.check.interval.seconds", "60")];
        let mut controller = Controller::new(&[1, 2], &settings);
        controller.topic(1, &[1, 2]);
        controller.fence(1);
        controller.unfence(1);
        let grown = ottla_wire::records::metadata::PartitionChangeRecord {
            topic_id: uuid(1),
            partition_id: 0,
            isr: Some(vec![1, 2]),
            ..Default::default()
        };
        controller.write(&[grown.into()]);
        controller.live(59_000, &[1, 2]);
        assert_eq!(controller.state(1).0, 2);
        controller.live(2000, &[1, 2]);
        assert_eq!(controller.state(1).0, leader, "{enabled}");
    }
}

#[test]
fn a_partition_without_leader_gets_any_now_and_then_where_configured() {
    for (enabled, leader) in [("true", 2), ("false", NO_LEADER)] {
        let mut controller = Controller::new(&[1, 2], &[("unclean.leader.election.interval.ms", "60000")]);
        controller.topic(1, &[1, 2]);
        controller.fence(2);
        controller.fence(1);
        controller.unfence(2);
        let config = ottla_wire::records::metadata::ConfigRecord {
            resource_type: 2,
            resource_name: "t1".into(),
            name: "unclean.leader.election.enable".into(),
            value: Some(enabled.into()),
            ..Default::default()
        };
        controller.write(&[config.into()]);
        controller.live(59_000, &[1, 2]);
        assert_eq!(controller.state(1).0, NO_LEADER);
        controller.live(2000, &[1, 2]);
        assert_eq!(controller.state(1).0, leader, "{enabled}");
    }
}

#[test]
fn where_configured_for_all_any_replica_leads_before_nobody_does() {
    for (enabled, leader) in [("true", 2), ("false", NO_LEADER)] {
        let mut controller = Controller::new(&[1, 2], &[("unclean.leader.election.enable", enabled)]);
        controller.topic(1, &[1, 2]);
        controller.fence(2);
        controller.unfence(2);
        assert_eq!(controller.state(1), (1, vec![1], vec![]));
        controller.fence(1);
        assert_eq!(controller.state(1).0, leader);
    }
}

#[test]
fn a_feature_is_raised_when_all_nodes_serve_the_level() {
    use ottla_wire::messages::UpdateFeaturesRequest;
    use ottla_wire::messages::update_features_request::FeatureUpdateKey;
    let mut controller = Controller::new(&[1], &[]);
    let level: FeatureLevelRecord =
        FeatureLevelRecord { name: "metadata.version".into(), feature_level: 25, ..Default::default() };
    controller.write(&[level.into()]);
    let mut old = registration(2, 1).request("cluster".into());
    old.features.iter_mut().for_each(|feature| feature.max_supported_version = 28);
    controller.register(&old).expect("serves what is finalised");
    let raise = |controller: &Controller, level: i16| {
        let update = FeatureUpdateKey {
            feature: "metadata.version".into(),
            max_version_level: level,
            upgrade_type: 1,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
        let decision = super::features::update_features(&controller.image, &request, 1, &controller.config);
        let code = ErrorCode::try_from(decision.response.error_code).expect("a code");
        (code, decision.response.error_message.unwrap_or_default().to_string())
    };
    assert_eq!(raise(&controller, 28).0, ErrorCode::None);
    let (code, message) = raise(&controller, 29);
    assert_eq!(code, ErrorCode::InvalidUpdateVersion);
    assert!(message.contains("Broker 2 only supports levels 7 to 28."), "{message}");
}
