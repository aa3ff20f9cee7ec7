"""Nodes that the network loses: from everybody without a word, from one other, in one direction only."""

import time

import faults
import pytest
from cluster import Cluster
from conftest import CLUSTERS

pytestmark = pytest.mark.long


def test_a_node_that_is_cut_off_and_comes_back(lan, tmp_path, report, kind):
    cluster = Cluster(tmp_path, CLUSTERS[kind](), network=lan).start()
    with faults.load(cluster, tmp_path, report, f"{kind}: each broker cut off for 15 s") as load:
        for id in faults.active_last(cluster, cluster.brokers):
            lan.isolate(id)
            time.sleep(15)
            lan.rejoin(id)
            cluster.until_registered([id])
            cluster.until_whole(load.topic)


def test_two_nodes_that_do_not_hear_each_other(lan, tmp_path, report, kind):
    cluster = Cluster(tmp_path, CLUSTERS[kind](), network=lan).start()
    with faults.load(cluster, tmp_path, report, f"{kind}: brokers cut from each other, both ways and one way") as load:
        for both_ways in (True, False):
            for one, other in zip(cluster.brokers, cluster.brokers[1:] + cluster.brokers[:1]):
                lan.cut(one, other, both_ways)
                time.sleep(12)
                lan.heal(one, other, both_ways)
                cluster.until_registered([one, other])
                cluster.until_whole(load.topic)
