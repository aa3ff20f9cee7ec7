"""A disk without a free byte: the others go on, it says so, and it is back when there is space."""

import contextlib
import time

import disks
import faults
import pytest
from cluster import Cluster
from conftest import CLUSTERS

pytestmark = pytest.mark.long


def test_a_follower_of_the_quorum_without_space(tmp_path, report, kind):
    members = CLUSTERS[kind]()
    with contextlib.ExitStack() as mounted:
        mounts = {member.id: mounted.enter_context(disks.mounted(tmp_path, f"disk-{member.id}", 2048)) for member in members}
        cluster = Cluster(tmp_path, members, disks={id: disk.path / "data" for id, disk in mounts.items()}).start()
        with faults.load(cluster, tmp_path, report, f"{kind}: a follower of the quorum without space for 15 s", rate=500):
            id = next(voter for voter in cluster.controllers if voter != cluster.active_controller())
            others = [broker for broker in cluster.brokers if broker != id]
            for number in range(15):
                # What the node lets go of is taken, too.
                filler = mounts[id].fill()
                make(cluster, f"t{number}", others)
                time.sleep(1)
            assert behind(cluster, id), "the disk has room for metadata: this proves nothing"
            assert cluster.nodes[id].is_running()
            assert "no space" in cluster.nodes[id].log.read_text()
            filler.unlink()
            cluster.until("the follower has all metadata", lambda: not behind(cluster, id))
            cluster.until_registered(cluster.brokers)
        for node in cluster.nodes.values():
            node.kill()


def test_a_replica_without_space_leaves_the_isr_at_once(tmp_path, report, kind):
    """And not only when it has lagged for replica.lag.time.max.ms: until it has left, nothing is acknowledged."""
    members = CLUSTERS[kind]()
    with contextlib.ExitStack() as mounted:
        mounts = {member.id: mounted.enter_context(disks.mounted(tmp_path, f"disk-{member.id}", 2048)) for member in members}
        cluster = Cluster(tmp_path, members, disks={id: disk.path / "data" for id, disk in mounts.items()}).start()
        with faults.load(cluster, tmp_path, report, f"{kind}: a broker without space", rate=500) as load:
            id = next(broker for broker in cluster.brokers if broker != cluster.active_controller())
            filler = mounts[id].fill()

            def is_left_out():
                mounts[id].fill()
                return all(id not in state.isr for state in cluster.describe(load.topic).values() if state.leader != id)

            took = cluster.until("it is in no ISR of what others lead", is_left_out, 15)
            report(f"{kind}: out of the ISRs after {took:.1f} s")
            filler.unlink()
            cluster.until_whole(load.topic)
        for node in cluster.nodes.values():
            node.kill()


def make(cluster: Cluster, topic: str, brokers: list[int]) -> None:
    """Without waiting for who cannot learn of it."""
    replicas = [{"partition_index": 0, "broker_ids": brokers[:2]}]
    spec = {"name": topic, "num_partitions": -1, "replication_factor": -1, "assignments": replicas}
    (answer,) = cluster.ask("CreateTopics", 5, {"topics": [spec], "timeout_ms": 10_000}, brokers[0], 15)["topics"]
    assert answer["error_code"] == 0, answer


def behind(cluster: Cluster, id: int) -> bool:
    quorum = cluster.quorum()
    assert quorum, "nobody leads the quorum"
    (voter,) = [voter for voter in quorum["current_voters"] if voter["replica_id"] == id]
    return voter["log_end_offset"] < quorum["high_watermark"]
