//! Random lives of clusters, decided about by the controller: after every step what must hold is looked at, among it that
//! no replica leads that may lack an acked record, unless the topic is configured for it.
//!
//! `OTTLA_CONTROLLER_SEED` replays one seed, `OTTLA_CONTROLLER_SEEDS` says how many to try.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{LeaderRecoveryState, MetadataImage, NO_LEADER, PartitionImage, TopicImage};
use ottla_wire::Uuid;
use ottla_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use ottla_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest,
    incremental_alter_configs_request,
};

use super::brokers_tests::Controller;
use super::permits::{Permits, Verdict};
use super::tests::{apply, registration, uuid};
use super::topics::{self, Context};
use super::view::View;
use super::{alter_partition, configs, elections, reassignment, registration as decisions};

const STEPS: usize = 400;
const BROKERS: i32 = 6;

/// Numbers by lot (SplitMix64).
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("small")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len())).copied()
    }

    /// Some of the items in any order.
    fn some(&mut self, items: &[i32]) -> Vec<i32> {
        let mut chosen: Vec<i32> = items.iter().copied().filter(|_| !self.one_in(3)).collect();
        for last in (1..chosen.len()).rev() {
            chosen.swap(last, self.below(last + 1));
        }
        chosen
    }
}

/// What is true of a partition, whatever the controller knows of it.
#[derive(Default)]
struct Truth {
    /// Replicas that have every acked record.
    complete: BTreeSet<i32>,
    /// Nobody has every acked record any more, or it is configured that this may be.
    excused: bool,
}

type Id = (Uuid, i32);

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// A broker that was not stopped in order is taken for one that was.
    UncleanStops,
    /// Another `min.insync.replicas` leaves the ELR as it is.
    ClearedElr,
    /// Who is fenced goes on leading.
    Fencing,
}

#[derive(Default)]
struct Counts {
    elections: usize,
    from_elr: usize,
    unclean: usize,
    leaderless: usize,
    moved: usize,
    shrinks: usize,
    sessions: usize,
    shutdowns: usize,
}

struct World {
    lots: Lots,
    controller: Controller,
    keeps_elr: bool,
    broken: Option<Break>,
    incarnation: u8,
    topics: u8,
    truth: BTreeMap<Id, Truth>,
    counts: Counts,
}

impl World {
    fn new(seed: u64, broken: Option<Break>) -> Self {
        let mut lots = Lots(seed);
        let keeps_elr = !lots.one_in(3);
        let min_isr = ["1", "2", "2", "3"][lots.below(4)];
        let unclean = if lots.one_in(5) { "true" } else { "false" };
        let settings = [
            ("min.insync.replicas", min_isr),
            ("unclean.leader.election.enable", unclean),
            ("leader.imbalance.check.interval.seconds", "30"),
            ("unclean.leader.election.interval.ms", "30000"),
        ];
        let mut controller = Controller::new(&[1, 2, 3], &settings);
        if keeps_elr {
            controller = controller.with_elr();
        }
        match broken {
            Some(Break::ClearedElr) => {
                controller.keeps = |record, _| !matches!(record, MetadataRecord::ClearElr(_));
            }
            Some(Break::Fencing) => {
                controller.keeps = |record, all| {
                    let change = matches!(record, MetadataRecord::PartitionChange(_));
                    !change || !all.iter().any(is_fence_record)
                };
            }
            Some(Break::UncleanStops) | None => {}
        }
        let (truth, counts) = Default::default();
        Self { lots, controller, keeps_elr, broken, incarnation: 1, topics: 0, truth, counts }
    }

    fn step(&mut self) {
        let before = self.controller.image.clone();
        let kind = self.lots.below(20);
        match kind {
            0..=5 => self.heartbeats(),
            6 => self.time(),
            7..=8 => self.restart(),
            9..=12 => self.alter_isr(),
            13 => self.reassign(),
            14 => self.elect(),
            15 => self.make_topic(),
            16 => self.change_config(),
            17 => self.failover_or_removal(),
            18 => self.grow_or_delete(),
            _ => self.fail_directory(),
        }
        self.look(&before, (9..=12).contains(&kind));
        if self.lots.one_in(2) {
            self.write_records();
        }
    }

    /// Most brokers say that they live; some want something.
    fn heartbeats(&mut self) {
        let ids: Vec<i32> = self.controller.image.cluster.brokers.keys().copied().collect();
        for id in self.lots.some(&ids) {
            let mut request = self.controller.beat_of(id);
            request.want_fence = self.lots.one_in(40);
            request.want_shut_down = self.lots.one_in(25);
            if self.lots.one_in(6) {
                request.current_metadata_offset -= 5;
            }
            let answer = self.controller.heartbeat(&request).expect("registered");
            self.counts.shutdowns += usize::from(answer.should_shut_down);
        }
    }

    fn time(&mut self) {
        let active = |it: &Self| (1..=BROKERS).filter(|id| it.controller.is_active(*id)).count();
        let before = active(self);
        let millis = i64::try_from(self.lots.below(6000)).expect("small");
        self.controller.pass(millis);
        self.counts.sessions += before.saturating_sub(active(self));
    }

    /// A broker starts, again or for the first time; without an orderly stop what it wrote last is gone.
    fn restart(&mut self) {
        let id = 1 + i32::try_from(self.lots.below(6)).expect("small");
        let clean = self.lots.one_in(2);
        self.incarnation = self.incarnation.wrapping_add(1);
        let mut broker = registration(id, self.incarnation);
        let taken_for_clean = clean || self.broken == Some(Break::UncleanStops);
        broker.previous_epoch = if taken_for_clean { self.controller.epoch(id) } else { -1 };
        broker.log_dirs.push(second_directory(id));
        let request = broker.request(self.controller.image.cluster_id.clone());
        if self.lots.one_in(2) {
            self.controller.brokers.end(id);
        }
        if self.controller.register(&request).is_ok() && !clean && self.keeps_elr {
            for truth in self.truth.values_mut() {
                truth.complete.remove(&id);
            }
        }
    }

    fn partition(&mut self) -> Option<(Id, PartitionImage)> {
        let all: Vec<Id> = self.truth.keys().copied().collect();
        let id = self.lots.pick(&all)?;
        let topic = self.controller.image.topics.by_id(&id.0)?;
        Some((id, (**topic.partitions.get(&id.1)?).clone()))
    }

    /// A leader asks for another ISR, now and then with epochs or members that are wrong.
    fn alter_isr(&mut self) {
        let Some(((topic_id, index), partition)) = self.partition() else { return };
        let mut isr = self.lots.some(&partition.replicas);
        if !isr.contains(&partition.leader) && !self.lots.one_in(10) {
            isr.push(partition.leader);
        }
        let lie = i64::from(self.lots.one_in(15));
        let member = |id: &i32| BrokerState {
            broker_id: *id,
            broker_epoch: self.controller.epoch(*id) + lie,
            ..Default::default()
        };
        let asked = PartitionData {
            partition_index: index,
            leader_epoch: partition.leader_epoch - i32::from(self.lots.one_in(15)),
            partition_epoch: partition.partition_epoch - i32::from(self.lots.one_in(15)),
            new_isr_with_epochs: isr.iter().map(member).collect(),
            ..Default::default()
        };
        let topic = TopicData { topic_id, partitions: vec![asked], ..Default::default() };
        let request = AlterPartitionRequest {
            broker_id: partition.leader,
            broker_epoch: self.controller.epoch(partition.leader),
            topics: vec![topic],
            ..Default::default()
        };
        // Without a leader nobody is registered under its id.
        let _ = self.controller.decide(|view, _, _| alter_partition::alter_partition(view, &request, 3));
    }

    fn reassign(&mut self) {
        let Some(((topic_id, index), _)) = self.partition() else { return };
        let ids: Vec<i32> = self.controller.image.cluster.brokers.keys().copied().collect();
        let target = self.lots.some(&ids);
        let replicas = (!self.lots.one_in(3)).then_some(target);
        let partition = ReassignablePartition { partition_index: index, replicas, ..Default::default() };
        let name = self.controller.image.topics.by_id(&topic_id).expect("there").name.clone();
        let topic = ReassignableTopic { name, partitions: vec![partition], ..Default::default() };
        let request = AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: self.lots.one_in(2),
            topics: vec![topic],
            ..Default::default()
        };
        self.controller
            .decide(|view, _, _| Ok(reassignment::alter_reassignments(view, &request)))
            .expect("decided");
    }

    fn elect(&mut self) {
        let request = ElectLeadersRequest { election_type: 0, ..Default::default() };
        self.controller.decide(|view, _, _| Ok(elections::elect_leaders(view, &request))).expect("decided");
    }

    fn make_topic(&mut self) {
        if self.topics >= 8 {
            return;
        }
        self.topics += 1;
        let topic = CreatableTopic {
            name: format!("t{}", self.topics).into(),
            num_partitions: 1 + i32::try_from(self.lots.below(3)).expect("small"),
            replication_factor: 1 + i16::try_from(self.lots.below(4)).expect("small"),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let config = self.controller.config.clone();
        let mut ids = vec![
            uuid(100 + self.topics),
            Uuid::from_bytes(self.lots.next().to_be_bytes().repeat(2).try_into().expect("16")),
        ];
        let mut fresh_id = || Ok(ids.pop().expect("two are enough"));
        let mut context = Context { config: &config, fresh_id: &mut fresh_id, charge: &mut |_| Ok(()) };
        self.controller
            .decide(|view, _, _| Ok(topics::create_topics(view.image, &request, &mut context)))
            .expect("decided");
    }

    fn grow_or_delete(&mut self) {
        let names: Vec<_> = self.controller.image.topics.iter().map(|topic| topic.name.clone()).collect();
        let Some(name) = names.get(self.lots.below(names.len())).cloned() else { return };
        if self.lots.one_in(2) {
            let wanted = CreatePartitionsTopic { name, count: 4, ..Default::default() };
            let request =
                CreatePartitionsRequest { topics: vec![wanted], timeout_ms: 1000, ..Default::default() };
            let grown = self
                .controller
                .decide(|view, _, _| Ok(topics::create_partitions(view.image, &request, &mut |_| Ok(()))));
            grown.expect("decided");
        } else {
            let state = DeleteTopicState { name: Some(name), ..Default::default() };
            let request = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
            let gone = self
                .controller
                .decide(|view, _, _| Ok(topics::delete_topics(view.image, &request, true, &mut |_| Ok(()))));
            gone.expect("decided");
        }
    }

    fn change_config(&mut self) {
        let names: Vec<_> = self.controller.image.topics.iter().map(|topic| topic.name.clone()).collect();
        let name = names.get(self.lots.below(names.len())).cloned().unwrap_or_default();
        let value = ["1", "2", "3"][self.lots.below(3)];
        let config = incremental_alter_configs_request::AlterableConfig {
            name: "min.insync.replicas".into(),
            config_operation: 0,
            value: Some(value.into()),
            ..Default::default()
        };
        let cluster = name.is_empty() || self.lots.one_in(3);
        let resource = incremental_alter_configs_request::AlterConfigsResource {
            resource_type: if cluster { 4 } else { 2 },
            resource_name: if cluster { "".into() } else { name },
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let config = self.controller.config.clone();
        self.controller
            .decide(|view, _, _| Ok(configs::incremental_alter_configs(view.image, &request, &config)))
            .expect("decided");
    }

    /// Another controller takes over, or a broker is taken out of the cluster.
    fn failover_or_removal(&mut self) {
        if !self.lots.one_in(3) {
            self.controller.brokers.activate(&self.controller.image, self.controller.now);
            return;
        }
        let ids: Vec<i32> = self.controller.image.cluster.brokers.keys().copied().collect();
        if let Some(id) = self.lots.pick(&ids).filter(|_| ids.len() > 3) {
            let gone = |view: &View<'_>, brokers: &mut _, _| decisions::unregister_broker(view, brokers, id);
            self.controller.decide(gone).expect("registered");
        }
    }

    fn fail_directory(&mut self) {
        let id = 1 + i32::try_from(self.lots.below(6)).expect("small");
        let Some(broker) = self.controller.image.broker(id).cloned() else { return };
        let mut report = self.controller.beat_of(id);
        report.offline_log_dirs = vec![second_directory(id)];
        self.controller.heartbeat(&report).expect("registered");
        let lost = broker.log_dirs.len() > 1;
        for topic in self.controller.image.topics.iter().filter(|_| lost) {
            for (index, partition) in &topic.partitions {
                let there = partition.directory_of(id) == Some(second_directory(id));
                if let Some(truth) = self.truth.get_mut(&(topic.id, *index)).filter(|_| there) {
                    truth.complete.remove(&id);
                }
            }
        }
    }

    /// Records are acked wherever enough replicas are in sync: all of these have them, and nobody else.
    fn write_records(&mut self) {
        let view = View::new(&self.controller.image, &self.controller.config);
        for topic in self.controller.image.topics.iter() {
            for (index, partition) in &topic.partitions {
                let enough = min_isr(&view, topic, partition);
                let Some(truth) = self.truth.get_mut(&(topic.id, *index)) else { continue };
                if partition.leader != NO_LEADER && partition.isr.len() >= enough {
                    truth.complete = partition.isr.iter().copied().collect();
                    truth.excused = false;
                }
            }
        }
    }

    fn look(&mut self, before: &MetadataImage, altered: bool) {
        let image = self.controller.image.clone();
        let view = View::new(&image, &self.controller.config);
        self.truth.retain(|(topic, index), _| {
            image.topics.by_id(topic).is_some_and(|topic| topic.partitions.contains_key(index))
        });
        for topic in image.topics.iter() {
            for (index, partition) in &topic.partitions {
                self.check_partition(&view, &format!("{}-{index}", topic.name), partition);
                let earlier = before.topics.by_id(&topic.id).and_then(|it| it.partitions.get(index));
                let truth = self.truth.entry((topic.id, *index)).or_insert_with(|| Truth {
                    complete: partition.isr.iter().copied().collect(),
                    excused: false,
                });
                let unclean = view.rules(topic).unclean;
                if let Some(earlier) = earlier.filter(|earlier| earlier != &partition) {
                    // Who joins by the word of a leader has what the leader has.
                    if altered && truth.complete.contains(&earlier.leader) {
                        truth.complete.extend(&partition.isr);
                    }
                    check_change(earlier, partition, truth, unclean, &mut self.counts);
                }
            }
        }
        if self.lots.one_in(20) {
            self.check_snapshot();
        }
        if self.lots.one_in(10) {
            let node = 1 + i32::try_from(self.lots.below(6)).expect("small");
            self.check_permit(node);
        }
    }

    /// Where a permit costs nothing, no partition that had enough in sync has too few when its holder is gone.
    fn check_permit(&self, node: i32) {
        let image = &self.controller.image;
        let view = View::new(image, &self.controller.config);
        let verdict = Permits::new(1000, 9, 0).ask(&view, &[], node, 5000);
        let Verdict::Granted { cost, .. } = verdict else { return };
        let gone = decisions::fence_broker(&view, node, self.controller.epoch(node)).expect("registered");
        let mut after = image.clone();
        apply(&mut after, &gone.records);
        for topic in image.topics.iter() {
            for (index, partition) in &topic.partitions {
                let enough = min_isr(&view, topic, partition);
                let later = after.partition(&topic.name, *index).expect("still there");
                let left = later.isr.iter().filter(|id| **id != node).count();
                let told = cost.partitions.contains(&(topic.name.clone(), *index));
                let had_enough = partition.isr.len() >= enough;
                assert!(!had_enough || left >= enough || told, "{node} may stop: {partition:?}");
            }
        }
    }

    fn check_partition(&self, view: &View<'_>, name: &str, partition: &PartitionImage) {
        let distinct = |ids: &[i32]| ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
        let within = |ids: &[i32], all: &[i32]| ids.iter().all(|id| all.contains(id));
        let PartitionImage { leader, replicas, isr, elr, .. } = partition;
        let told = format!("{name}: {partition:?}");
        if *leader != NO_LEADER {
            assert!(isr.contains(leader), "the leader is not in sync: {told}");
            assert!(view.image.active_broker(*leader).is_some(), "a fenced broker leads: {told}");
            assert!(view.has_log(*leader, partition), "the leader has lost the log: {told}");
        }
        assert!(distinct(isr) && distinct(elr) && distinct(replicas), "named twice: {told}");
        assert!(within(isr, replicas) && within(elr, replicas), "no replicas: {told}");
        assert!(!elr.iter().any(|id| isr.contains(id)), "in sync and eligible: {told}");
        assert!(!isr.is_empty() || (self.keeps_elr && *leader == NO_LEADER), "nobody in sync: {told}");
        assert!(self.keeps_elr || (elr.is_empty() && partition.last_known_elr.is_empty()), "ELR: {told}");
        let (adding, removing) = (&partition.adding_replicas, &partition.removing_replicas);
        assert!(within(adding, replicas) && within(removing, replicas), "reassignment: {told}");
        assert!(!adding.iter().any(|id| removing.contains(id)), "reassignment: {told}");
        assert!(partition.directories.len() == replicas.len() && !replicas.is_empty(), "{told}");
    }

    /// A snapshot gives the same image.
    fn check_snapshot(&self) {
        let image = &self.controller.image;
        let mut copy = MetadataImage::empty(image.cluster_id.clone());
        for record in image.to_records() {
            copy.apply(&record.record).expect("fits");
        }
        assert_eq!(
            (&copy.topics, &copy.cluster, &copy.configs),
            (&image.topics, &image.cluster, &image.configs)
        );
    }
}

/// As the leader counts it.
fn min_isr(view: &View<'_>, topic: &TopicImage, partition: &PartitionImage) -> usize {
    view.rules(topic).configured_min_isr.min(partition.replicas.len())
}

fn is_fence_record(record: &MetadataRecord) -> bool {
    matches!(record, MetadataRecord::BrokerRegistrationChange(change) if change.fenced == 1)
}

fn second_directory(id: i32) -> Uuid {
    uuid(u8::try_from(200 + id).expect("small"))
}

fn check_change(
    earlier: &PartitionImage,
    partition: &PartitionImage,
    truth: &mut Truth,
    unclean: bool,
    counts: &mut Counts,
) {
    let told = format!("{earlier:?} became {partition:?}, complete are {:?}", truth.complete);
    assert!(partition.partition_epoch > earlier.partition_epoch, "the partition epoch stays: {told}");
    assert!(partition.leader_epoch >= earlier.leader_epoch, "the leader epoch goes back: {told}");
    truth.complete.retain(|id| partition.replicas.contains(id));
    let recovering = partition.leader_recovery_state == LeaderRecoveryState::Recovering;
    if earlier.leader != partition.leader {
        assert!(partition.leader_epoch > earlier.leader_epoch, "a leader without an epoch: {told}");
        counts.elections += 1;
        counts.leaderless += usize::from(partition.leader == NO_LEADER);
        counts.from_elr += usize::from(earlier.elr.contains(&partition.leader));
        counts.unclean += usize::from(recovering);
    }
    truth.excused |= truth.complete.is_empty() || unclean;
    if partition.leader != NO_LEADER && (recovering || truth.excused) {
        truth.complete = BTreeSet::from([partition.leader]);
        truth.excused = true;
    }
    if partition.leader == NO_LEADER {
        return;
    }
    assert!(truth.complete.contains(&partition.leader), "the leader lacks acked records: {told}");
    counts.moved += usize::from(earlier.is_reassigning() && !partition.is_reassigning());
    counts.shrinks += usize::from(partition.isr.len() < earlier.isr.len());
}

/// One life of a cluster; panics where something does not hold.
fn live(seed: u64, broken: Option<Break>) -> Counts {
    let mut world = World::new(seed, broken);
    for _ in 0..STEPS {
        world.step();
    }
    world.counts
}

#[test]
fn a_rule_that_is_broken_is_found_out() {
    for broken in [Break::UncleanStops, Break::ClearedElr, Break::Fencing] {
        let fails = |seed: &u64| std::panic::catch_unwind(|| live(*seed, Some(broken))).is_err();
        let found = (0..1000).find(fails);
        println!("{broken:?}: found by seed {found:?}");
        assert!(found.is_some(), "nobody notices: {broken:?}");
    }
}

#[test]
fn whatever_happens_no_replica_leads_that_may_lack_acked_records() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("OTTLA_CONTROLLER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("OTTLA_CONTROLLER_SEEDS").unwrap_or(300),
    };
    let mut sum = [0; 8];
    for seed in seeds.clone() {
        let result = std::panic::catch_unwind(|| live(seed, None));
        let Ok(it) = result else { panic!("failed; replay with OTTLA_CONTROLLER_SEED={seed}") };
        let counts = [
            it.elections,
            it.from_elr,
            it.unclean,
            it.leaderless,
            it.moved,
            it.shrinks,
            it.sessions,
            it.shutdowns,
        ];
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    println!(
        "elections {}, from the ELR {}, unclean {}, leaderless {}, reassignments ended {}, ISRs shrunk {}, sessions \
         over {}, shutdowns {}",
        sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6], sum[7]
    );
    assert!(
        seeds.end - seeds.start < 100 || sum.iter().all(|count| *count > 0),
        "something never happens: {sum:?}"
    );
}
