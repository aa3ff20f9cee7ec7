"""Nodes that are stopped for a while and go on (SIGSTOP, SIGCONT) under load: shorter and longer than a session."""

import time

import faults
import pytest

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seconds", [4, 15])
def test_nothing_acked_is_lost_and_replicas_are_equal(cluster, tmp_path, report, kind, seconds):
    with faults.load(cluster, tmp_path, report, f"{kind}: each broker stopped for {seconds} s") as load:
        for id in faults.active_last(cluster, cluster.brokers):
            cluster.nodes[id].pause()
            time.sleep(seconds)
            cluster.nodes[id].resume()
            cluster.until_registered([id])
            cluster.until_whole(load.topic)
