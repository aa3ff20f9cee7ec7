//! Power cuts at any time: what was committed is there, in order, and no epoch is led twice.

use std::path::Path;

use ottla_log::testing::{FaultyDisk, Rng};
use ottla_wire::messages::{VoteRequest, vote_request};

use super::tests::{NOW, config, format, topic};
use super::*;
use crate::bootstrap::Bootstrap;
use crate::features::KRaftVersion;

/// Scenarios; `OTTLA_CRASH_SEEDS` asks for more.
const SEEDS: u64 = 80;
const LIVES: usize = 4;

/// What must be true of the next life.
#[derive(Default)]
struct Model {
    committed: u8,
    appended: u8,
    epoch: i32,
}

impl Model {
    fn check(&self, quorum: &Quorum, seed: u64) {
        let epoch = quorum.status().leader_epoch;
        assert!(epoch > self.epoch, "seed {seed}: epoch {epoch} after {}", self.epoch);
        let there: Vec<&str> = quorum.image().topics.iter().map(|topic| &*topic.name).collect();
        let count = there.len();
        assert!(
            (usize::from(self.committed)..=usize::from(self.appended)).contains(&count),
            "seed {seed}: {count} topics, {} committed, {} appended",
            self.committed,
            self.appended
        );
        for n in 1..=count {
            let name = format!("topic-{n}");
            let topic = quorum.image().topics.by_name(&name).expect("a prefix");
            assert_eq!(topic.partitions.len(), 1, "seed {seed}: {name} is whole");
            assert_eq!(quorum.image().configs.topic(&name).len(), 1, "seed {seed}: {name} is whole");
        }
    }
}

fn open_on(disk: &FaultyDisk, dir: &Path, kind: KRaftVersion) -> Result<Quorum, QuorumError> {
    let mut config = config(dir, kind);
    config.segment_bytes = 2048;
    config.snapshot_bytes = 1500;
    config.retention_bytes = 6000;
    Quorum::open_alone(config, Arc::new(disk.clone()), Now::at(NOW))
}

fn live(quorum: &mut Quorum, model: &mut Model, rng: &mut Rng) {
    for _ in 0..rng.below(12) {
        match rng.below(8) {
            0..4 => {
                model.appended += 1;
                quorum.append(&topic(model.appended), NOW).expect("appended");
            }
            4 | 5 => {
                quorum.commit(NOW).expect("committed");
                model.committed = model.appended;
            }
            6 => {
                // As the controller does: never of what is not committed.
                quorum.commit(NOW).expect("committed");
                model.committed = model.appended;
                quorum.maybe_snapshot(NOW).expect("written");
            }
            _ => {
                quorum.clean(NOW).expect("cleaned");
            }
        }
    }
}

#[test]
fn power_cuts_lose_nothing_that_was_committed() {
    let asked = std::env::var("OTTLA_CRASH_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..asked.unwrap_or(SEEDS) {
        let kind = if seed % 2 == 0 { KRaftVersion::Dynamic } else { KRaftVersion::Static };
        let dir = tempfile::tempdir().expect("temporary directory");
        format(dir.path(), kind, &Bootstrap::default());
        let mut rng = Rng::new(seed);
        let mut model = Model::default();
        for _ in 0..LIVES {
            let disk = FaultyDisk::new(dir.path()).expect("readable");
            let mut quorum = open_on(&disk, dir.path(), kind)
                .unwrap_or_else(|error| panic!("seed {seed}: does not open: {error}"));
            model.check(&quorum, seed);
            let count = quorum.image().topics.len();
            model.appended = u8::try_from(count).expect("few topics");
            model.committed = model.appended;
            model.epoch = quorum.status().leader_epoch;
            live(&mut quorum, &mut model, &mut rng);
            drop(quorum);
            disk.cut_power(rng.next_u64()).expect("cut");
        }
    }
}

#[test]
fn a_failed_sync_ends_it_for_good() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path(), KRaftVersion::Dynamic, &Bootstrap::default());
    let disk = FaultyDisk::new(dir.path()).expect("readable");
    let mut quorum = open_on(&disk, dir.path(), KRaftVersion::Dynamic).expect("opened");
    quorum.append(&topic(1), NOW).expect("appended");
    disk.set_sync_fails(true);
    assert!(quorum.commit(NOW).is_err());
    disk.set_sync_fails(false);
    assert!(matches!(quorum.append(&topic(2), NOW), Err(QuorumError::Failed(_))));
    assert!(matches!(quorum.commit(NOW), Err(QuorumError::Failed(_))), "a sync is never retried");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path(), KRaftVersion::Dynamic, &Bootstrap::default());
    let disk = FaultyDisk::new(dir.path()).expect("readable");
    let mut quorum = open_on(&disk, dir.path(), KRaftVersion::Dynamic).expect("opened");
    disk.set_space_left(Some(40));
    assert!(quorum.append(&topic(1), NOW).is_err());
    assert!(quorum.image().topics.is_empty(), "nothing of it is in the image");
    disk.set_space_left(None);
    quorum.append(&topic(1), NOW).expect("there is space again");
    quorum.commit(NOW).expect("committed");
    drop(quorum);
    let quorum = open_on(&disk, dir.path(), KRaftVersion::Dynamic).expect("opened again");
    assert_eq!(quorum.image().topics.len(), 1);
}

#[test]
fn a_leader_without_space_for_other_voters_goes_on_deciding() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path(), KRaftVersion::Dynamic, &Bootstrap::default());
    let disk = FaultyDisk::new(dir.path()).expect("readable");
    let mut quorum = open_on(&disk, dir.path(), KRaftVersion::Dynamic).expect("opened");
    quorum.append(&topic(1), NOW).expect("appended");
    disk.set_space_left(Some(10));
    let voters = quorum.raft.voters().clone();
    assert!(quorum.append_voters(voters.clone(), NOW).expect_err("the disk is full").is_no_space());
    assert_eq!(quorum.image().topics.len(), 1, "what was decided before");
    disk.set_space_left(None);
    quorum.append(&topic(2), NOW).expect("it leads, and there is space again");
    quorum.append_voters(voters, NOW).expect("there is space again");
    quorum.commit(NOW).expect("committed");
    assert_eq!(quorum.committed_image().topics.len(), 2);
}

/// A follower of three, on a disk that is full until its owner lets go of something.
fn follower_on_full_disk(dir: &Path, lets_go: bool) -> (FaultyDisk, Quorum) {
    format(dir, KRaftVersion::Static, &Bootstrap::default());
    let disk = FaultyDisk::new(dir).expect("readable");
    let voters = "1@127.0.0.1:21033,2@127.0.0.1:21034,3@127.0.0.1:21035";
    let mut config = config(dir, KRaftVersion::Static);
    config.static_voters = Some(VoterSet::parse_static(voters, "CONTROLLER").expect("valid"));
    if lets_go {
        let disk = disk.clone();
        config.last_room = LastRoom::new(move || disk.set_space_left(Some(4096)));
    }
    let quorum = Quorum::open(config, Arc::new(disk.clone()), Now::at(NOW)).expect("opened");
    disk.set_space_left(Some(0));
    (disk, quorum)
}

/// Node 2 asks for a vote in an epoch; whether it gets it.
fn votes(quorum: &mut Quorum, epoch: i32) -> Result<bool, QuorumError> {
    let partition = vote_request::PartitionData { replica_epoch: epoch, replica_id: 2, ..Default::default() };
    let topic = vote_request::TopicData {
        topic_name: crate::METADATA_TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = VoteRequest { voter_id: 1, topics: vec![topic], ..Default::default() };
    let request = QuorumRequest::Vote(request);
    quorum.receive(Inbound::Request { token: Token(1), request }, Now::at(NOW))?;
    let granted = |outbound: &Outbound| match outbound {
        Outbound::Response { response: QuorumResponse::Vote(response), .. } => {
            response.topics[0].partitions[0].vote_granted
        }
        _ => false,
    };
    Ok(quorum.take_outbound().iter().any(granted))
}

#[test]
fn a_vote_on_a_full_disk_gets_the_room_that_is_kept_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (_disk, mut quorum) = follower_on_full_disk(dir.path(), true);
    assert!(votes(&mut quorum, 5).expect("it goes on"));
    let noted = crate::quorum_state::read(&ottla_log::disk::StdDisk, &quorum.dir).expect("readable");
    assert_eq!(noted.map(|election| (election.epoch, election.voted.map(|(id, _)| id))), Some((5, Some(2))));

    let dir = tempfile::tempdir().expect("temporary directory");
    let (disk, mut quorum) = follower_on_full_disk(dir.path(), false);
    assert!(votes(&mut quorum, 5).expect_err("nothing is kept back").is_no_space());
    disk.set_space_left(None);
    assert!(matches!(votes(&mut quorum, 6), Err(QuorumError::Failed(_))), "a vote that may be lost");
}

#[test]
fn who_is_elected_on_a_full_disk_gets_the_room_that_is_kept_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    format(dir.path(), KRaftVersion::Dynamic, &Bootstrap::default());
    let disk = FaultyDisk::new(dir.path()).expect("readable");
    drop(open_on(&disk, dir.path(), KRaftVersion::Dynamic).expect("opened"));
    let room = disk.clone();
    let mut config = config(dir.path(), KRaftVersion::Dynamic);
    config.last_room = LastRoom::new(move || room.set_space_left(Some(4096)));
    for left in [0, 200] {
        disk.set_space_left(Some(left));
        let quorum = Quorum::open_alone(config.clone(), Arc::new(disk.clone()), Now::at(NOW));
        assert!(quorum.expect("opened").is_active(), "with {left} bytes left");
    }
}
