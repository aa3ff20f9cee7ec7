//! Who may stop when.

use super::brokers_tests::Controller;
use super::partitions_tests::set_isr;
use super::permits::{Blocker, Cost, Permits, Verdict, VoterState};
use super::view::View;
use ottla_quorum::image::ControllerImage;
use ottla_wire::{ErrorCode, Uuid};
use std::sync::Arc;

const LEASE: i64 = 30_000;

struct World {
    controller: Controller,
    permits: Permits,
    voters: Vec<VoterState>,
}

impl World {
    /// Three nodes, brokers and voters, and a topic that needs two of its three replicas.
    fn new() -> Self {
        let mut controller = Controller::new(&[1, 2, 3], &[("min.insync.replicas", "2")]);
        controller.topic(1, &[1, 2, 3]);
        controller.now = 100_000;
        let voters = [1, 2, 3].map(|id| VoterState { id, caught_up: true });
        Self { controller, permits: Permits::new(LEASE, 1, 0), voters: voters.into() }
    }

    fn ask(&mut self, node: i32) -> Verdict {
        let view = View::new(&self.controller.image, &self.controller.config);
        self.permits.ask(&view, &self.voters, node, self.controller.now)
    }

    fn granted(&mut self, node: i32) -> Verdict {
        let cost = Cost::default();
        assert_eq!(self.ask(node), Verdict::Granted { until_ms: self.controller.now + LEASE, cost });
        self.ask(node)
    }

    /// All brokers but one say that they know everything.
    fn beat_all_but(&mut self, silent: i32) {
        for id in [1, 2, 3] {
            if id != silent && self.controller.is_active(id) {
                self.controller.beat(id);
            }
        }
    }

    /// The broker goes, as it does in order.
    fn stop(&mut self, node: i32) {
        self.beat_all_but(-1);
        let mut wish = self.controller.beat_of(node);
        wish.want_shut_down = true;
        while !self.controller.heartbeat(&wish).expect("registered").should_shut_down {
            self.beat_all_but(node);
        }
        self.voters[usize::try_from(node - 1).expect("an id")].caught_up = false;
    }

    /// This run of a node that is a controller and no broker is registered.
    fn register_controller(&mut self, id: i32, incarnation: u8) {
        let incarnation_id = Uuid::from_bytes([incarnation; 16]);
        let (endpoints, features) = (Vec::new(), Vec::new());
        let registered =
            ControllerImage { id, incarnation_id, zk_migration_ready: false, endpoints, features };
        Arc::make_mut(&mut self.controller.image.cluster).controllers.insert(id, Arc::new(registered));
    }

    fn start(&mut self, node: i32, incarnation: u8) {
        self.controller.restart(node, incarnation, -1).expect("its session is over");
        self.controller.beat(node);
        self.voters[usize::try_from(node - 1).expect("an id")].caught_up = true;
    }
}

#[test]
fn one_node_may_stop_and_the_next_when_it_is_back_and_in_sync() {
    let mut world = World::new();
    world.granted(1);
    let away = Verdict::Refused(vec![
        Blocker::Away { node: 1 },
        Blocker::BelowMinIsr { topic: "t1".into(), partition: 0, in_sync: vec![3], min_isr: 2 },
        Blocker::Majority { voters: vec![3] },
    ]);
    assert_eq!(world.ask(2), away, "1 may go at any moment");
    world.stop(1);
    assert_eq!(world.ask(2), away, "1 has gone");
    world.controller.now += 10 * LEASE;
    assert_eq!(world.ask(2), away, "its permit has lapsed, and it is still away");
    assert_eq!(world.ask(1), Verdict::NotNeeded);
    world.start(1, 2);
    assert!(matches!(world.ask(2), Verdict::Refused(_)), "it is not in sync yet");
    assert_eq!(set_isr(&mut world.controller, 1, &[2, 3, 1]), ErrorCode::None);
    world.granted(2);
}

#[test]
fn a_permit_that_is_not_used_lapses() {
    let mut world = World::new();
    world.granted(1);
    world.controller.now += LEASE - 1;
    assert!(matches!(world.ask(2), Verdict::Refused(_)));
    world.controller.now += 1;
    world.granted(2);
    world.permits.give_back(2);
    world.granted(3);
}

#[test]
fn a_controller_that_has_been_restarted_leaves_the_turn_to_the_next() {
    let mut world = World::new();
    world.voters = [7, 8, 9].map(|id| VoterState { id, caught_up: true }).into();
    world.register_controller(7, 1);
    world.granted(7);
    assert!(matches!(world.ask(8), Verdict::Refused(_)), "7 may go at any moment");
    world.register_controller(7, 2);
    world.voters[0].caught_up = false;
    assert!(matches!(world.ask(8), Verdict::Refused(_)), "7 is back and does not keep up yet");
    world.voters[0].caught_up = true;
    world.granted(8);
}

#[test]
fn a_new_controller_waits_and_sees_who_is_away() {
    let mut world = World::new();
    world.granted(1);
    world.permits = Permits::new(LEASE, 1, world.controller.now);
    let silent = Blocker::NewController { until_ms: world.controller.now + LEASE };
    assert_eq!(world.ask(2), Verdict::Refused(vec![silent]));
    world.stop(1);
    world.controller.now += LEASE;
    let Verdict::Refused(blockers) = world.ask(2) else { panic!("1 is away") };
    assert_eq!(blockers[0], Blocker::Away { node: 1 });
}

#[test]
fn a_node_alone_need_not_wait_for_others() {
    let mut controller = Controller::new(&[1], &[]);
    controller.topic(1, &[1]);
    let voters = [VoterState { id: 1, caught_up: true }];
    let mut permits = Permits::new(LEASE, 1, 0);
    let view = View::new(&controller.image, &controller.config);
    let cost = Cost { partitions: vec![("t1".into(), 0)], majority: true };
    assert_eq!(permits.ask(&view, &voters, 1, 5), Verdict::Granted { until_ms: 5 + LEASE, cost });
}

#[test]
fn a_crashed_node_keeps_the_others_from_stopping() {
    let mut world = World::new();
    world.controller.fence(3);
    world.voters[2].caught_up = false;
    let blockers = vec![
        Blocker::BelowMinIsr { topic: "t1".into(), partition: 0, in_sync: vec![2], min_isr: 2 },
        Blocker::Majority { voters: vec![2] },
    ];
    assert_eq!(world.ask(1), Verdict::Refused(blockers));
    assert_eq!(world.ask(3), Verdict::NotNeeded);
}

#[test]
fn where_all_replicas_are_needed_a_stop_is_granted_while_all_are_there() {
    let mut world = World::new();
    world.controller.topic(2, &[1, 2]);
    let cost = Cost { partitions: vec![("t2".into(), 0)], majority: false };
    assert_eq!(world.ask(1), Verdict::Granted { until_ms: world.controller.now + LEASE, cost });
    world.permits.give_back(1);
    assert_eq!(set_isr(&mut world.controller, 2, &[1]), ErrorCode::None);
    let blocker = Blocker::BelowMinIsr { topic: "t2".into(), partition: 0, in_sync: vec![], min_isr: 2 };
    assert_eq!(world.ask(1), Verdict::Refused(vec![blocker]));
    world.granted(3);
}

#[test]
fn two_at_a_time_where_told_so_if_the_cluster_bears_it() {
    let mut world = World::new();
    world.permits = Permits::new(LEASE, 2, 0);
    world.voters = [1, 7, 8, 9, 10].map(|id| VoterState { id, caught_up: true }).into();
    world.granted(7);
    world.granted(8);
    let blockers =
        vec![Blocker::Away { node: 7 }, Blocker::Away { node: 8 }, Blocker::Majority { voters: vec![1, 10] }];
    assert_eq!(world.ask(9), Verdict::Refused(blockers));
}
