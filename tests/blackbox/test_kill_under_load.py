"""kill -9 at random moments under a load of idempotent producers and groups: what was acknowledged is there, once and in order.

`OTTLA_KILL_SEEDS` (3) runs, each on new data, judged by `ottla-verify`; `OTTLA_KILL_SEED` repeats one of them.
"""

import os
import random
import time

import pytest
import verify
from nodes import first_node

SECONDS = 8
SEEDS = (
    [int(os.environ["OTTLA_KILL_SEED"])]
    if "OTTLA_KILL_SEED" in os.environ
    else range(int(os.environ.get("OTTLA_KILL_SEEDS", "3")))
)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acked_is_lost(tmp_path, report, seed):
    chance = random.Random(seed)
    # Small segments and indexes: rolls, producer snapshots and checkpoints come into play.
    node = first_node(
        tmp_path / "node",
        {
            "log.segment.bytes": str(chance.choice([1 << 20, 4 << 20, 1 << 30])),
            "log.index.interval.bytes": str(chance.choice([128, 4096])),
            "log.flush.offset.checkpoint.interval.ms": "500",
            "replica.high.watermark.checkpoint.interval.ms": "500",
            "log.initial.task.delay.ms": "200",
            "log.flush.scheduler.interval.ms": "300",
            "log.flush.interval.ms": str(chance.choice([200, 1 << 60])),
        },
    ).start()
    settings = ["--compression", chance.choice(["none", "lz4", "snappy"]), "--size", str(chance.choice([64, 1000]))]
    load = verify.Load(node.bootstrap, seed, SECONDS, tmp_path / "verify.log", more=settings)
    kills, end = 0, time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.05, 1.5))
            node.kill()
            kills += 1
            time.sleep(chance.choice([0, 0, 0.5]))
            node.start()
        summary = load.judged()
    except AssertionError as bad:
        raise AssertionError(f"OTTLA_KILL_SEED={seed}: {bad}") from None
    finally:
        load.end()
    report(
        f"kill -9, seed {seed}: {kills} kills, {summary['acked']} acked, {summary['lost']} lost, {summary['duplicated']} duplicated, "
        f"{summary['reordered']} reordered, longest gap {verify.longest_gap(summary):.2f} s"
    )
    assert node.stop() in (0, 143)
