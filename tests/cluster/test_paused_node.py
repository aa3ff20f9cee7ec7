"""Nodes that are stopped for a while and go on (SIGSTOP, SIGCONT), and disks that stall, under load: shorter and longer than a session."""

import contextlib
import time

import disks
import faults
import pytest
from cluster import Cluster
from conftest import CLUSTERS

pytestmark = pytest.mark.long

STALL = 3


@pytest.mark.parametrize("seconds", [4, 15])
def test_a_stopped_process_costs_its_own_leadership(cluster, tmp_path, report, kind, seconds):
    with faults.load(cluster, tmp_path, report, f"{kind}: each broker stopped for {seconds} s") as load:
        for id in faults.active_last(cluster, cluster.brokers):
            with faults.at_its_own_cost(cluster, load.topic, id):
                cluster.nodes[id].pause()
                time.sleep(seconds)
                cluster.nodes[id].resume()


def test_a_disk_that_stalls_costs_its_nodes_leadership(tmp_path, report, kind):
    members = CLUSTERS[kind]()
    with contextlib.ExitStack() as mounted:
        mounts = {member.id: mounted.enter_context(disks.mounted(tmp_path, f"disk-{member.id}", 2048)) for member in members}
        cluster = Cluster(tmp_path, members, disks={id: disk.path / "data" for id, disk in mounts.items()}).start()
        with faults.load(cluster, tmp_path, report, f"{kind}: the disk of each node stalled for {STALL} s") as load:
            for id in faults.active_last(cluster, list(cluster.nodes)):
                with faults.at_its_own_cost(cluster, load.topic, id):
                    with mounts[id].stalled():
                        time.sleep(STALL)
                    time.sleep(1)
        for node in cluster.nodes.values():
            node.kill()
