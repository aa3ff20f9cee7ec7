"""What is done to a cluster under load, one step after the other, and the judgement at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import replicas
import verify
from cluster import Cluster

# Records a second of the load, and their size: 2 MB/s leave two cores enough for three nodes of Java.
RATE, SIZE = 2000, 1000


@contextmanager
def load(
    cluster: Cluster,
    home: Path,
    report: Callable[[str], None],
    name: str,
    seed: int = 7,
    rate: float = RATE,
    size: int = SIZE,
    more=(),
):
    """Idempotent producers with acks=all and two groups beside what is done. Afterwards: nothing acknowledged is lost or out of order, the
    replicas are equal on disk, and no producer's number is there twice. Nothing is doubled, either, unless a producer began its numbers anew:
    librdkafka does so when a leader gets a later batch before an earlier one, of which it may not know whether it was written. (Three of
    Apache's nodes have such doubles, too.)"""
    settings = ["--keep", "--replication-factor", str(cluster.replication), "--partitions", "6", "--size", str(size)]
    settings += ["--topic-config", "min.insync.replicas=2", *more]
    began = time.monotonic()
    load = verify.Load(cluster.bootstrap, seed, 900, home / f"verify-{seed}.log", rate=rate, more=settings, on=True)
    try:
        cluster.until("the load's topic", lambda: len(cluster.describe(load.topic)) == 6)
        # A leader that knows nothing of a producer takes any number of it, as Kafka's does, and librdkafka then takes for acknowledged
        # whatever it had sent before that and does not know of.
        cluster.until("every replica knows every producer", lambda: replicas.know_all(cluster, load.topic, verify.PRODUCERS))
        yield load
        time.sleep(1)
        summary = load.judged(fine=verify.RENUMBERED)
        cluster.until_whole(load.topic)
        equal = replicas.assert_equal(cluster, load.topic)
        anew = replicas.assert_numbered(cluster, load.topic)
        doubled = summary["duplicated"]
        assert not doubled or anew, f"{doubled} duplicated"
    except AssertionError as failed:
        raise AssertionError(f"{failed}\n{cluster.tails()}") from None
    finally:
        load.end()
    report(
        f"{name}, {cluster.replication} replicas, ELR {cluster.elr}: {summary['acked']} acked in {time.monotonic() - began:.0f} s, 0 lost, 0 reordered, {doubled} duplicated ({anew} times "
        f"numbers begun anew), {equal} batches equal on "
        f"all replicas, longest gap {verify.longest_gap(summary):.1f} s"
    )


@contextmanager
def at_its_own_cost(cluster: Cluster, topic: str, id: int):
    """Whatever is done to that node: what others lead, partitions or the quorum, they lead without a break."""
    before, quorum = cluster.describe(topic), cluster.quorum()
    yield
    cluster.until_registered([id] if id in cluster.brokers else [])
    cluster.until_whole(topic)
    after = cluster.describe(topic)
    for partition, state in before.items():
        if state.leader != id:
            found = after[partition]
            assert (found.leader, found.epoch) == (state.leader, state.epoch), f"{topic}-{partition}: {state}, then {found}"
    if quorum and quorum["leader_id"] != id:
        found = cluster.quorum()
        assert found and found["leader_epoch"] == quorum["leader_epoch"], f"the quorum: {quorum}, then {found}"


def active_last(cluster: Cluster, ids: list[int]) -> Iterator[int]:
    """The nodes in turn, the active controller of the moment last, so that it is among them."""
    left = list(ids)
    while left:
        active = cluster.active_controller()
        yield left.pop(next((at for at, id in enumerate(left) if id != active), 0))


def kill_each(cluster: Cluster, topic: str, ids: list[int] | None = None) -> None:
    """kill -9 and a start, one node after the other; each time the cluster is whole again before the next."""
    for id in active_last(cluster, ids or list(cluster.nodes)):
        cluster.kill(id)
        if id in cluster.brokers:
            cluster.until(f"others lead what node {id} led", lambda: id not in cluster.leaders(topic).values())
        if cluster.controllers != [id]:
            cluster.until_active()
        time.sleep(1)
        cluster.restart(id)
        cluster.until_whole(topic)


def restart_each(cluster: Cluster, topic: str, ids: list[int] | None = None) -> None:
    """SIGTERM and a start, one node after the other."""
    for id in active_last(cluster, ids or list(cluster.nodes)):
        cluster.stop(id)
        cluster.restart(id)
        cluster.until_whole(topic)


def move_leaders(cluster: Cluster, topic: str, rounds: int = 1) -> None:
    """Every broker leads every partition once, by new preferred replicas and elections."""
    for _ in range(rounds * len(cluster.brokers)):
        for partition, state in cluster.describe(topic).items():
            order = sorted(state.replicas)
            cluster.lead(topic, {partition: order[(order.index(state.leader) + 1) % len(order)]})


def move_replicas(cluster: Cluster, topic: str) -> None:
    """Where there are more brokers than replicas: each partition goes on to the next broker."""
    ring = sorted(cluster.brokers)
    moved = {}
    for partition, state in cluster.describe(topic).items():
        free = [id for id in ring if id not in state.replicas]
        if free:
            moved[partition] = [*state.replicas[1:], free[0]]
    if moved:
        cluster.reassign(topic, moved)
        cluster.until_whole(topic)
