"""Faults by chance, several at once as long as a majority is well, under load: kill -9, stop and continue, cuts, full disks, all at once.

`OTTLA_FAULT_SEEDS` (2) runs of `OTTLA_FAULT_STEPS` (12) steps; `OTTLA_FAULT_SEED` repeats one; `OTTLA_FAULT_RATE` (2500) records of 4 kB a second.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import disks
import faults
import pytest
from cluster import COMBINED, Cluster, Member, combined
from conftest import CLUSTERS
from network import Network
from nodes import Ottla

pytestmark = pytest.mark.long

SEEDS = (
    [int(os.environ["OTTLA_FAULT_SEED"])]
    if "OTTLA_FAULT_SEED" in os.environ
    else range(int(os.environ.get("OTTLA_FAULT_SEEDS", "2")))
)
STEPS = int(os.environ.get("OTTLA_FAULT_STEPS", "12"))
RATE = float(os.environ.get("OTTLA_FAULT_RATE", "2500"))
SIZE = 4000
DISK_MIB = 4096


class Troubles:
    """Which nodes are unwell, and how each is made well again."""

    def __init__(self, cluster: Cluster, lan: Network, mounts: dict[int, disks.Disk], chance: random.Random):
        self.cluster, self.lan, self.mounts, self.chance = cluster, lan, mounts, chance
        self.cures: dict[int, Callable[[], None]] = {}
        self.told: list[str] = []

    def step(self) -> None:
        well = [id for id in self.cluster.nodes if id not in self.cures]
        may_more = len(well) - 1 > len(self.cluster.nodes) // 2
        if self.cures and (not may_more or self.chance.random() < 0.5):
            self.cure(self.chance.choice(sorted(self.cures)))
        elif self.chance.random() < 0.1:
            self.all_at_once()
        else:
            id = self.chance.choice(well)
            fault = self.chance.choice([self.kill, self.pause, self.isolate, self.cut, *([self.fill] if self.mounts else [])])
            self.told.append(f"{fault.__name__} {id}")
            self.cures[id] = fault(id)

    def cure(self, id: int) -> None:
        self.told.append(f"cure {id}")
        self.cures.pop(id)()
        self.supervise()

    def kill(self, id: int) -> Callable[[], None]:
        self.cluster.kill(id)
        return lambda: self.cluster.nodes[id].start(wait=False)

    def pause(self, id: int) -> Callable[[], None]:
        self.cluster.nodes[id].pause()
        return self.cluster.nodes[id].resume

    def isolate(self, id: int) -> Callable[[], None]:
        self.lan.isolate(id)
        return lambda: self.lan.rejoin(id)

    def cut(self, id: int) -> Callable[[], None]:
        other = self.chance.choice([other for other in self.cluster.nodes if other != id])
        both_ways = self.chance.random() < 0.5
        self.lan.cut(id, other, both_ways)
        return lambda: self.lan.heal(id, other, both_ways)

    def fill(self, id: int) -> Callable[[], None]:
        """No byte is left on its disk."""
        filler = self.mounts[id].fill()

        return filler.unlink

    def supervise(self) -> None:
        """A process ends where the quorum's part cannot be written, which may take it a while: whoever runs it starts it again."""
        for id, node in self.cluster.nodes.items():
            if id not in self.cures and not node.is_running():
                node.start(wait=False)

    def all_serve(self) -> bool:
        self.supervise()
        return all(self.cluster.registered(id) >= set(self.cluster.brokers) for id in self.cluster.brokers)

    def all_at_once(self) -> None:
        """kill -9 of all; what is unwell otherwise stays so. With the page cache left nothing may be lost."""
        self.told.append("kill all")
        for node in self.cluster.nodes.values():
            if node.is_running():
                node.kill()
        for id in list(self.cluster.nodes):
            if id not in self.cures:
                self.cluster.nodes[id].start(wait=False)
            elif not self.cluster.nodes[id].is_running():
                cure = self.cures[id]
                self.cures[id] = lambda cure=cure, id=id: self._cure_and_start(cure, id)

    def _cure_and_start(self, cure: Callable[[], None], id: int) -> None:
        node = self.cluster.nodes[id]
        # A process that is gone needs no signal to go on.
        if cure != node.resume:
            cure()
        if not node.is_running():
            node.start(wait=False)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acked_is_lost_and_replicas_are_equal(lan, tmp_path, report, kind, seed):
    chance = random.Random(seed)
    members = CLUSTERS[kind]()
    if chance.random() < 0.3 and all(member.roles == COMBINED for member in members):
        members = combined(*[members[0].kind] * 5)
    with contextlib.ExitStack() as mounted:
        mounts = {} if any(member.kind is not Ottla for member in members) else mount(mounted, tmp_path, members)
        data = {id: disk.path / "data" for id, disk in mounts.items()}
        cluster = Cluster(tmp_path, members, network=lan, disks=data).start()
        troubles = Troubles(cluster, lan, mounts, chance)
        try:
            with faults.load(
                cluster, tmp_path, report, f"{kind}, {len(members)} nodes, seed {seed}", seed=seed + 100, rate=RATE, size=SIZE
            ) as load:
                for _ in range(STEPS):
                    troubles.step()
                    time.sleep(pause(chance))
                for id in list(troubles.cures):
                    troubles.cure(id)
                took = cluster.until("all nodes serve", troubles.all_serve) + cluster.until_whole(load.topic)
                report(f"seed {seed}: whole {took:.1f} s after the last cure, of {', '.join(troubles.told)}")
        except AssertionError as failed:
            raise AssertionError(f"OTTLA_FAULT_SEED={seed}: {', '.join(troubles.told)}: {failed}") from None
        finally:
            for node in cluster.nodes.values():
                if node.is_running():
                    node.kill()


def pause(chance: random.Random) -> float:
    """Mostly too short for anything to settle; sometimes so long that a silent node is given up."""
    return chance.uniform(2.5, 7) if chance.random() < 0.25 else chance.uniform(0.1, 1.5)


def mount(stack: contextlib.ExitStack, home: Path, members: list[Member]) -> dict[int, disks.Disk]:
    return {member.id: stack.enter_context(disks.mounted(home, f"disk-{member.id}", DISK_MIB)) for member in members}
