//! What follows from a change: as Apache Kafka decides, and as sentences.

use ottla_quorum::image::{LeaderRecoveryState, MetadataImage, PartitionImage, TopicImage, directory_id};
use ottla_quorum::{MetadataRecord, features};
use ottla_wire::records::metadata::{
    FeatureLevelRecord, PartitionChangeRecord, RegisterBrokerRecord, TopicRecord,
};
use ottla_wire::{Str, Uuid};

use super::partition_change::{Election, PartitionChange};
use super::tests::apply;
use super::view::{Rules, View};
use crate::config::Config;

/// What Kafka answered, see `kafka/README.md`.
const ANSWERS: &str = include_str!("kafka/partition_changes.txt");

fn directory(id: i32) -> Uuid {
    let mut bytes = [0; 16];
    bytes[15] = u8::try_from(100 + id).expect("a small number");
    Uuid::from_bytes(bytes)
}

fn ids(text: &str) -> Vec<i32> {
    match text {
        "none" => Vec::new(),
        ids => ids.split(',').map(|id| id.parse().expect("an id")).collect(),
    }
}

fn unless_same<T>(text: &str, parse: impl Fn(&str) -> T) -> Option<T> {
    (text != "same").then(|| parse(text))
}

struct Case<'a> {
    image: MetadataImage,
    topic: TopicImage,
    partition: PartitionImage,
    rules: Rules,
    election: Election,
    change: Vec<&'a str>,
    record: Option<PartitionChangeRecord>,
}

fn case(line: &str) -> Case<'_> {
    let parts: Vec<Vec<&str>> = line.split('|').map(|part| part.split_whitespace().collect()).collect();
    let [world, was, change, becomes] = parts.as_slice() else { panic!("{line}") };
    let number = |text: &str| text.parse::<i16>().expect("a number");
    let mut image = MetadataImage::empty("cluster".into());
    let feature = |name: &str, level: i16| FeatureLevelRecord {
        name: Str::from(name),
        feature_level: level,
        ..Default::default()
    };
    apply(&mut image, &[feature("metadata.version", number(world[0])).into()]);
    apply(&mut image, &[feature(features::ELIGIBLE_LEADER_REPLICAS, number(world[1])).into()]);
    let active = ids(world[4]);
    for id in 1..=6 {
        let record = RegisterBrokerRecord {
            broker_id: id,
            broker_epoch: 1,
            fenced: !active.contains(&id),
            log_dirs: vec![directory(id)],
            ..Default::default()
        };
        apply(&mut image, &[record.into()]);
    }
    let replicas = ids(was[0]);
    let migrating = number(world[0]) < 17;
    let at = |id: &i32| if migrating { directory_id::MIGRATING } else { directory(*id) };
    let partition = PartitionImage {
        directories: replicas.iter().map(at).collect(),
        adding_replicas: ids(was[1]),
        removing_replicas: ids(was[2]),
        isr: ids(was[3]),
        elr: ids(was[4]),
        last_known_elr: ids(was[5]),
        leader: was[6].parse().expect("an id"),
        leader_recovery_state: LeaderRecoveryState::from_value(was[7].parse().expect("0 or 1")),
        leader_epoch: 5,
        partition_epoch: 9,
        replicas,
    };
    let topic_id = Uuid::from_bytes([7; 16]);
    let record = (becomes[0] != "nothing").then(|| PartitionChangeRecord {
        topic_id,
        partition_id: 3,
        leader: becomes[0].parse().expect("an id"),
        isr: unless_same(becomes[1], ids),
        replicas: unless_same(becomes[2], ids),
        removing_replicas: unless_same(becomes[3], ids),
        adding_replicas: unless_same(becomes[4], ids),
        leader_recovery_state: becomes[5].parse().expect("a state"),
        directories: unless_same(becomes[6], |text| ids(text).into_iter().map(directory).collect()),
        eligible_leader_replicas: unless_same(becomes[7], ids),
        last_known_elr: unless_same(becomes[8], ids),
        ..Default::default()
    });
    let min_isr = world[2].parse::<usize>().expect("a number").min(partition.replicas.len());
    let election = match world[3] {
        "PREFERRED" => Election::Preferred,
        "ONLINE" => Election::Online,
        _ => Election::Unclean,
    };
    let topic = TopicImage { id: topic_id, name: "t".into(), partitions: Default::default() };
    let rules = Rules { configured_min_isr: min_isr, min_isr, unclean: false };
    Case { image, topic, partition, rules, election, change: change.clone(), record }
}

impl Case<'_> {
    fn decided(&self) -> Option<PartitionChangeRecord> {
        let config = Config::default_single_node();
        let view = View::new(&self.image, &config);
        let change = PartitionChange::of(&view, &self.topic, 3, &self.partition, self.rules);
        let change = change.election(self.election);
        let one = || self.change[1].parse().expect("an id");
        let change = match self.change[0] {
            "leave" => change.leaving(one()),
            "unclean" => change.unclean_shutdown(one()),
            "join" => change.joining(one()),
            "isr" => change
                .isr(ids(self.change[1]))
                .recovery_state(LeaderRecoveryState::from_value(self.change[2].parse().expect("a state"))),
            "replicas" => change.replicas(ids(self.change[1]), ids(self.change[2]), ids(self.change[3])),
            "move" => change.directory(one(), directory(self.change[2].parse().expect("a number"))),
            _ => change,
        };
        change.record()
    }
}

#[test]
fn a_change_leads_to_what_kafka_says() {
    let mut nothing = 0;
    for line in ANSWERS.lines() {
        let case = case(line);
        assert_eq!(case.decided(), case.record, "{line}");
        nothing += usize::from(case.record.is_none());
    }
    let all = ANSWERS.lines().count();
    assert!(all >= 1000 && nothing < all / 2, "{nothing} of {all} changes are none");
}

#[test]
fn records_of_every_kind_fit_the_partition_that_they_were_made_for() {
    for line in ANSWERS.lines() {
        let Case { mut image, topic, partition, record, .. } = case(line);
        let Some(record) = record else { continue };
        let level = image.metadata_version().expect("a level");
        let made = TopicRecord { name: "t".into(), topic_id: topic.id, ..Default::default() };
        apply(&mut image, &[made.into(), partition.to_record(topic.id, 3, level).into()]);
        let record = MetadataRecord::PartitionChange(record);
        let bytes = record.encode(level).expect("the level can express it");
        assert_eq!(MetadataRecord::decode(bytes).expect("ours"), record);
        apply(&mut image, &[record]);
    }
}
