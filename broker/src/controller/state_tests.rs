//! The controller over a real log on a faulty disk, with time given.

use std::path::Path;
use std::sync::Arc;

use ottla_log::testing::FaultyDisk;
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::voters::VoterEndpoint;
use ottla_quorum::{Now, Outbound, Quorum, QuorumRequest, Voter, VoterSet};
use ottla_wire::Uuid;
use ottla_wire::messages::BrokerHeartbeatRequest;

use super::state::{Controller, Job};
use super::tests::registration;
use super::{ControllerIdentity, ControllerSettings, heartbeat};
use crate::config::Config;

const DIRECTORY: Uuid = Uuid::from_bytes([5; 16]);

fn controller(root: &Path) -> (FaultyDisk, Controller) {
    controller_among(root, &VoterSet::of_one(Voter::standalone(1, DIRECTORY, Vec::new())))
}

fn controller_among(root: &Path, voters: &VoterSet) -> (FaultyDisk, Controller) {
    let disk = FaultyDisk::new(root).expect("a disk");
    bootstrap::write(&disk, root, &Bootstrap::default(), 0).expect("written");
    bootstrap::write_first_voters(&disk, root, voters, 0).expect("written");
    let log_dir = root.to_str().expect("a plain path");
    let config = Arc::new(Config::from_overrides(&[("log.dirs", log_dir)]).expect("valid"));
    let incarnation_id = Uuid::from_bytes([1; 16]);
    let identity = ControllerIdentity { cluster_id: "c".into(), directory_id: DIRECTORY, incarnation_id };
    let settings = ControllerSettings { config, identity };
    let quorum = Quorum::open(settings.quorum(), Arc::new(disk.clone()), Now::at(0)).expect("opened");
    (disk, Controller::new(quorum, settings, Now::at(0)).expect("it leads"))
}

fn run(controller: &mut Controller, now: i64, job: impl FnOnce(&mut Controller) + Send + 'static) {
    let job: Job = Box::new(|controller| {
        job(controller);
        None
    });
    controller.run(job, Now::at(now));
    controller.turn(Now::at(now)).expect("it goes on");
}

#[test]
fn who_could_not_be_fenced_on_a_full_disk_is_fenced_when_there_is_space() {
    let root = tempfile::tempdir().expect("a directory");
    let (disk, mut controller) = controller(root.path());
    run(&mut controller, 1, |controller| {
        let request = registration(2, 2).request("c".into());
        let epoch = controller.register(&request, 4).expect("registered");
        let request = BrokerHeartbeatRequest {
            broker_id: 2,
            broker_epoch: epoch,
            current_metadata_offset: i64::MAX,
            ..Default::default()
        };
        let decision = controller
            .decide(|view, brokers, next| heartbeat::heartbeat(view, brokers, &request, next, 1))
            .expect("it is registered");
        controller.write_all(decision).expect("there is space");
    });
    let is_active = |controller: &Controller| controller.image().active_broker(2).is_some();
    assert!(is_active(&controller));
    disk.set_space_left(Some(0));
    let mut now = 1;
    while now < 20_000 {
        now += 250;
        run(&mut controller, now, |_| ());
    }
    assert!(is_active(&controller), "nothing can be written");
    disk.set_space_left(None);
    run(&mut controller, now + 250, |_| ());
    assert!(!is_active(&controller));
}

/// A disk that stalls for seconds, or a machine that does not let the thread run: nobody could be heard meanwhile.
#[test]
fn a_node_that_stood_still_takes_nobody_for_silent() {
    let endpoints = || vec![VoterEndpoint { name: "CONTROLLER".into(), host: "h".into(), port: 9093 }];
    let other = Voter::standalone(2, Uuid::from_bytes([6; 16]), endpoints());
    let voters = VoterSet::of_one(Voter::standalone(1, DIRECTORY, endpoints())).with(other);
    let stands_for_election = |still: i64, turns: &[i64]| {
        let root = tempfile::tempdir().expect("a directory");
        let (_disk, mut controller) = controller_among(root.path(), &voters);
        controller.stood_still(still);
        for now in turns {
            controller.turn(Now::at(*now)).expect("it goes on");
        }
        assert!(controller.next_deadline() > turns.last().copied().unwrap_or_default());
        controller
            .take_outbound()
            .iter()
            .any(|outbound| matches!(outbound, Outbound::Request { request: QuorumRequest::Vote(_), .. }))
    };
    assert!(stands_for_election(0, &[10_000]), "the time for hearing of a leader is over");
    assert!(!stands_for_election(10_000, &[10_000]), "it has not begun");
    assert!(stands_for_election(10_000, &[15_000]), "what comes after it counts");
}
