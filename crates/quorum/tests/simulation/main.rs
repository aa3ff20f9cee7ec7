//! Whole quorums of the shipped code in one thread, from a seed: one to five nodes over disks that lose what was not
//! synced and a network that loses, delays, doubles and reorders. See `world` for what happens and `model` for what must
//! be true after every event.
//!
//! `OTTLA_QUORUM_SEEDS=n` runs that many seeds, `OTTLA_QUORUM_SEED=n` that one alone.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod model;
mod world;

use ottla_quorum::testing::{Rule, breaking};
use ottla_testkit::seeds::from_environment;
use world::{Counters, run};

/// Seeds of an ordinary run.
const SEEDS: u64 = 150;
/// Within so many seeds a broken rule must be found.
const FOUND_WITHIN: u64 = 1_000;

#[test]
fn nothing_committed_is_lost_and_no_epoch_has_two_leaders() {
    let mut total = Counters::default();
    let seeds = from_environment("OTTLA_QUORUM", 0, SEEDS);
    let is_one = seeds.len() == 1;
    for seed in seeds {
        match run(seed) {
            Ok(counters) => total.add(&counters),
            Err(violation) => panic!("OTTLA_QUORUM_SEED={seed}: {violation}"),
        }
    }
    println!("{total:?}");
    assert!(is_one || total.all_happened(), "something never happens: {total:?}");
}

#[test]
fn broken_rules_are_noticed() {
    for rule in [Rule::RememberVotes, Rule::CountFlushed, Rule::Truncate, Rule::AskMajority, Rule::NewEpoch] {
        let found = breaking(rule, || (0..FOUND_WITHIN).find_map(|seed| Some((seed, run(seed).err()?))));
        let Some((seed, violation)) = found else { panic!("{rule:?} can be broken and nobody notices") };
        println!("{rule:?}: seed {seed}: {violation}");
    }
}
