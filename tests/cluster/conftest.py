"""Which clusters the scenarios run on.

`OTTLA_CLUSTERS` lists kinds of `CLUSTERS` (by default those that pass today); `OTTLA_CLUSTER_LONG=1` adds the scenarios that CI leaves out;
`OTTLA_CLUSTER_ELR=1` formats them with eligible leader replicas (KIP-966).
"""

import os

import network
import nodes
import pytest
from cluster import Cluster, combined, separate
from nodes import Apache, Ottla
from reporting import nothing_left_running, pytest_runtest_makereport, pytest_terminal_summary, report  # noqa: F401

CLUSTERS = {
    "apache": lambda: combined(Apache, Apache, Apache),
    "ottla": lambda: combined(Ottla, Ottla, Ottla),
    "ottla-separate": lambda: separate([Ottla] * 3, [Ottla] * 3),
    # Brokers of both kinds under controllers of one.
    "apache-controllers": lambda: separate([Apache], [Apache, Ottla, Ottla]),
    "ottla-controllers": lambda: separate([Ottla] * 3, [Ottla, Apache, Apache]),
    # One more broker than replicas.
    "apache-controllers-4": lambda: separate([Apache], [Apache, Ottla, Apache, Ottla]),
    "ottla-controllers-4": lambda: separate([Ottla] * 3, [Ottla, Apache, Ottla, Apache]),
    # As many.
    "apache-controllers-rf4": lambda: separate([Apache], [Apache, Ottla, Apache, Ottla]),
    "ottla-controllers-rf4": lambda: separate([Ottla] * 3, [Ottla, Apache, Ottla, Apache]),
}
CHOSEN = [kind for kind in os.environ.get("OTTLA_CLUSTERS", "ottla,apache-controllers").split(",") if kind]
LONG = os.environ.get("OTTLA_CLUSTER_LONG") == "1"
ELR = int(os.environ.get("OTTLA_CLUSTER_ELR", "0"))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("long") and not LONG:
            item.add_marker(pytest.mark.skip(reason="OTTLA_CLUSTER_LONG=1 runs it"))


@pytest.fixture(params=CHOSEN)
def kind(request) -> str:
    return request.param


@pytest.fixture
def cluster(tmp_path, kind) -> Cluster:
    """One of three or more brokers that runs."""
    return Cluster(tmp_path, CLUSTERS[kind](), elr=ELR, replication=4 if kind.endswith("-rf4") else 3).start()


@pytest.fixture
def lan():
    """A network of the scenario's own."""
    if not network.is_possible():
        pytest.skip("network namespaces need root")
    with network.made() as lan:
        yield lan
        # Before their network goes.
        for node in [node for node in nodes.RUNNING if node.namespace and node.is_running()]:
            node.kill()
