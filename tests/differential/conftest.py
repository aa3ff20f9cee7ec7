"""Both brokers, on directories of the same kind, with the same settings."""

from concurrent.futures import ThreadPoolExecutor

import allowed
import nodes
import pytest
from brokers import Broker
from compare import Normal, compare
from scenarios import on_use

SETTINGS = {
    "num.partitions": "1",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "3",
    "group.min.session.timeout.ms": "1000",
    # Batches carry a time of their own, that of a year ago.
    "log.retention.ms": "-1",
}
# Features that we do not serve yet; with them off Apache behaves as a cluster without them.
WITHOUT = ("transaction.version", "group.version", "share.version", "streams.version", "eligible.leader.replicas.version")


class Pair:
    """Runs a scenario against both at once, each on a thread of its own, and judges the answers."""

    def __init__(self, apache: nodes.Node, ottla: nodes.Node):
        self.nodes = (apache, ottla)
        self.brokers = (Broker("Apache", apache.port), Broker("ours", ottla.port))
        served = [broker.advertised() for broker in self.brokers]
        for broker in self.brokers:
            broker.common = {api: overlap(served[0][api], served[1][api]) for api in served[0].keys() & served[1].keys()}
        self.served = served[1]
        self.asked: dict[tuple[str, int], int] = {}
        self.allowed = 0

    def run(self, scenario) -> list:
        for broker in self.brokers:
            broker.steps = []
        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(scenario, broker) for broker in self.brokers]:
                done.result()
        for broker in self.brokers:
            broker.main.close()
        apache, ottla = (broker.steps for broker in self.brokers)
        for step in ottla:
            self.asked[step.api, step.version] = self.asked.get((step.api, step.version), 0) + 1
        differences = compare(apache, ottla, tuple(Normal(node) for node in self.nodes))
        left = allowed.unexplained(differences)
        self.allowed += len(differences) - len(left)
        return left


def overlap(one: range, two: range) -> range:
    return range(max(one.start, two.start), min(one.stop, two.stop))


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    yield from running(tmp_path_factory, SETTINGS)


@pytest.fixture(scope="module")
def making_topics(tmp_path_factory):
    """Another pair, where topics are made on their first use."""
    yield from running(tmp_path_factory, SETTINGS | on_use.SETTINGS)


def running(tmp_path_factory, settings: dict[str, str]):
    apache = nodes.Apache(tmp_path_factory.mktemp("apache"), settings)
    ottla = nodes.Ottla(tmp_path_factory.mktemp("ottla"), settings)
    features = [part for feature in WITHOUT for part in ("--feature", f"{feature}=0")]
    for node in (apache, ottla):
        node.format("--standalone", "-t", nodes.CLUSTER_ID, *(features if node is apache else []))
        node.start(wait=False)
    for node in (apache, ottla):
        node.wait_ready()
    pair = Pair(apache, ottla)
    FIGURES.append(pair)
    yield pair
    for node in (ottla, apache):
        node.stop()


FIGURES: list[Pair] = []


def pytest_terminal_summary(terminalreporter):
    for pair in FIGURES:
        terminalreporter.section("figures")
        terminalreporter.write_line(f"{sum(pair.asked.values())} requests to each broker, {len(pair.asked)} APIs and versions")
        terminalreporter.write_line(f"{pair.allowed} differences that are allowed")
        for row in allowed.TABLE:
            terminalreporter.write_line(f"  {row.seen} x {'FAULT ' if row.fault else ''}{row.api} {row.path}: {row.reason}")
