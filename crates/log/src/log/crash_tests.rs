//! Seeded power cuts, and random operations against a model. `OTTLA_SEED` replays one.

use super::world::{Op, World};
use crate::config::LogConfig;
use crate::testing::{Rng, without_truncation};
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SEEDS: u64 = 1000;

fn small(compact: bool, segment_bytes: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        index_interval_bytes: 300,
        retention_ms: -1,
        retention_bytes: 12_000,
        compact,
        ..LogConfig::default()
    }
}

/// Some operations, a power cut, and the same once more on what is left.
fn power_cut(seed: u64) {
    let mut rng = Rng::new(seed);
    let segment_bytes = 5_000 + u32::try_from(rng.below(5_000)).unwrap();
    let mut world = World::new(small(false, segment_bytes));
    for _ in 0..2 {
        for _ in 0..10 + rng.below(50) {
            world.apply(&Op::random(&mut rng));
        }
        world.lose_power(rng.next_u64());
        world.check_after_crash();
    }
    world.apply(&Op::CloseAndOpen);
    world.check();
}

#[test]
fn power_cuts_leave_a_prefix_with_everything_flushed() {
    if let Ok(seed) = std::env::var("OTTLA_SEED") {
        return power_cut(seed.parse().expect("OTTLA_SEED is a number"));
    }
    let threads = 4;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || (first..SEEDS).step_by(4).for_each(replayable));
        }
    });
}

fn replayable(seed: u64) {
    if let Err(panic) = catch_unwind(|| power_cut(seed)) {
        eprintln!("failed with OTTLA_SEED={seed}");
        std::panic::resume_unwind(panic);
    }
}

/// The test above is worth something only if it fails for a recovery that does not truncate.
#[test]
fn without_truncation_power_cuts_are_noticed() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = (0..100)
        .filter(|seed| without_truncation(|| catch_unwind(AssertUnwindSafe(|| power_cut(*seed))).is_err()))
        .count();
    std::panic::set_hook(hook);
    assert!(noticed >= 25, "only {noticed} of 100 power cuts were noticed");
}

fn op() -> impl Strategy<Value = Op> {
    any::<u64>().prop_map(|seed| Op::random(&mut Rng::new(seed)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_leave_the_log_equal_to_the_model(ops in prop::collection::vec(op(), 1..80), size in 5_000u32..9_000) {
        let mut world = World::new(small(false, size));
        for op in &ops {
            world.apply(op);
        }
        world.check();
        world.apply(&Op::KillAndOpen);
        world.check();
        world.apply(&Op::CloseAndOpen);
        world.check();
    }
}
