"""All disks lose at once what was not synced: with `flush.messages=1` nothing acknowledged is gone.

`OTTLA_POWER_SEEDS` (2) runs; `OTTLA_POWER_SEED` repeats one.
"""

import contextlib
import os
import random
import time

import disks
import faults
import pytest
from cluster import Cluster
from conftest import CLUSTERS

pytestmark = pytest.mark.long

SEEDS = (
    [int(os.environ["OTTLA_POWER_SEED"])]
    if "OTTLA_POWER_SEED" in os.environ
    else range(int(os.environ.get("OTTLA_POWER_SEEDS", "2")))
)
CUTS = 4


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acked_from_disk_is_there(tmp_path, report, kind, seed):
    if kind.startswith("apache"):
        pytest.skip("Apache acknowledges what its followers have not synced")
    chance = random.Random(seed)
    members = CLUSTERS[kind]()
    with contextlib.ExitStack() as mounted:
        mounts = {member.id: mounted.enter_context(disks.mounted(tmp_path, f"disk-{member.id}", 2048)) for member in members}
        cluster = Cluster(tmp_path, members, disks={id: disk.path / "data" for id, disk in mounts.items()}).start()
        durable = ["--topic-config", "flush.messages=1"]
        name = f"{kind}, seed {seed}: {CUTS} power cuts of all nodes"
        try:
            with faults.load(cluster, tmp_path, report, name, seed=seed + 100, rate=500, more=durable) as load:
                for _ in range(CUTS):
                    time.sleep(chance.uniform(2, 6))
                    cut_power(cluster, mounts)
                    cluster.start()
                    cluster.until_whole(load.topic)
        except AssertionError as failed:
            raise AssertionError(f"OTTLA_POWER_SEED={seed}: {failed}") from None
        finally:
            for node in cluster.nodes.values():
                if node.is_running():
                    node.kill()


def cut_power(cluster: Cluster, mounts: dict[int, disks.Disk]) -> None:
    for disk in mounts.values():
        disk.die()
    for node in cluster.nodes.values():
        # It may have seen that its disk is gone, and ended.
        if node.is_running():
            node.kill()
    for disk in mounts.values():
        disk.unmount()
        disk.mount()
