//! Whole clusters of the shipped code in one thread, from a seed: quorum, controller, membership, partitions, their moves
//! between directories, fetchers and groups of three or four nodes. Only the clocks, the disks and the network are simulated (`ottla_testkit`). See `faults`
//! for what goes wrong and `books` for what must be true after every event; when the faults are over, everything has to
//! come together.
//!
//! `OTTLA_SIMULATION_SEED=n` replays one seed and prints what happens, `OTTLA_SIMULATION_SEEDS=n` tries that many from
//! `OTTLA_SIMULATION_FIRST` on, which else is a number that nobody has tried: in CI, one that the commit decides
//! (`OTTLA_FRESH_SEED`).

mod books;
mod broker;
mod client;
mod faults;
mod members;
mod node;
mod parcel;
mod world;

use std::time::Instant;

use ottla_quorum::testing::{Rule, breaking};
use ottla_testkit::seeds::{Told, asked, fresh, from_environment};

use crate::partition::{MoveRule, breaking_moves};
use world::World;

const SEED: &str = "OTTLA_SIMULATION_SEED";
/// Fewer are no schedule.
const EVENTS: u64 = 5_000;
/// Schedules of an ordinary run. All of them, however long that takes: the same ones fail on a slow machine.
const SCHEDULES: u64 = 300;
/// Within so many a broken rule must be found.
const FOUND_WITHIN: u64 = 1_000;

/// A rule that is broken on purpose. Those of the quorum are broken in `ottla_quorum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// What the leader has is acknowledged.
    AckAtOwnEnd,
    /// A follower goes on where its log ends, whatever its history.
    NoTruncation,
    /// What is not on disk counts although disks may forget it.
    CountUnsynced,
}

/// What a cluster is like.
#[derive(Debug, Clone, Copy)]
struct Settings {
    voters: i32,
    durable: bool,
    elr: bool,
    /// Old records are deleted.
    retains: bool,
    /// Log directories of a node, each on a disk of its own.
    directories: usize,
    broken: Broken,
}

ottla_testkit::counters! {
    /// What happened.
    struct Counters {
        schedules,
        events,
        elections,
        moved_leaders,
        truncations,
        snapshots,
        shrinks,
        growths,
        permits,
        planned_stops,
        acked,
        deletions,
        commits,
        loads,
        generations,
        member_commits,
        member_deaths,
        departures,
        kills,
        power_cuts,
        pauses,
        cuts,
        full_disks,
        new_disks,
        voter_changes,
        moves,
        ended_moves,
        resumed_moves,
        broken_disks,
        stops,
        lost,
        doubled,
        voids,
    }
}

impl Counters {
    /// Whether everything happened that is to happen often.
    fn all_happened(&self) -> bool {
        let never = |(_, value): &(_, u64)| *value == 0;
        let rare = ["doubled", "lost", "voids"];
        !self.values().into_iter().filter(|(name, _)| !rare.contains(name)).any(|value| never(&value))
    }
}

fn run(seed: u64, broken: Broken) -> Result<Counters, String> {
    let printed = asked(SEED).is_some();
    World::new(seed, broken, printed)?.run().map(|(counters, _)| counters)
}

#[test]
fn a_cluster_loses_nothing_and_comes_together_again() {
    if std::env::var("OTTLA_SIMULATION_LOG").is_ok() {
        drop(tracing_subscriber::fmt().with_writer(std::io::stdout).without_time().try_init());
    }
    let first = asked("OTTLA_SIMULATION_FIRST").unwrap_or_else(fresh);
    let seeds = from_environment("OTTLA_SIMULATION", first, SCHEDULES);
    println!("seeds from {first} on");
    let (began, mut total) = (Instant::now(), Counters::default());
    for seed in seeds.iter().copied() {
        let _told = Told(SEED, seed);
        match run(seed, Broken::Nothing) {
            Ok(counters) => total.add(&counters),
            Err(violation) => panic!("{SEED}={seed}: {violation}"),
        }
        if total.schedules % 500 == 0 {
            println!("{:?} {total:?}", began.elapsed());
        }
    }
    println!("{:?} {total:?}", began.elapsed());
    assert!(total.schedules < 50 || total.all_happened(), "something never happens: {total:?}");
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..3 {
        let digest = || World::new(seed, Broken::Nothing, false)?.run().map(|(_, digest)| digest);
        let _told = Told(SEED, seed);
        assert_eq!(digest(), digest());
    }
}

/// Of the worlds that are as they have to be, the first that is not any more with the rule broken.
fn found(what: &str, broken: impl Fn(u64) -> Result<Counters, String>) {
    let first = asked("OTTLA_SIMULATION_FIRST").unwrap_or(0);
    let fails = |seed: u64| Some((seed, broken(seed).err()?)).filter(|_| run(seed, Broken::Nothing).is_ok());
    let Some((seed, violation)) = (first..first + FOUND_WITHIN).find_map(fails) else {
        panic!("{what} can be broken and nobody notices")
    };
    println!("{what}: seed {seed}: {violation}");
}

#[test]
fn broken_rules_of_partitions_are_noticed() {
    for broken in [Broken::AckAtOwnEnd, Broken::NoTruncation, Broken::CountUnsynced] {
        found(&format!("{broken:?}"), |seed| run(seed, broken));
    }
}

#[test]
fn broken_rules_of_moves_between_directories_are_noticed() {
    for rule in [MoveRule::Fit, MoveRule::CatchUp, MoveRule::TellController] {
        found(&format!("{rule:?}"), |seed| breaking_moves(rule, || run(seed, Broken::Nothing)));
    }
}

#[test]
fn broken_rules_of_the_quorum_are_noticed() {
    for rule in [Rule::RememberVotes, Rule::NewEpoch, Rule::CountFlushed, Rule::Truncate, Rule::AskMajority] {
        found(&format!("{rule:?}"), |seed| breaking(rule, || run(seed, Broken::Nothing)));
    }
}
