"""What the scenarios share: a running node, a directory for others, and unique names."""

import os
import uuid

import pytest
from confluent_kafka.admin import AdminClient

import nodes

# The same scenarios against Apache, which says whether what they expect is Kafka's behaviour or only ours.
AGAINST_APACHE = os.environ.get("OTTLA_BLACKBOX_AGAINST") == "apache"


CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"


def first_node(home, overrides=None) -> nodes.Node:
    """A formatted node that has not run yet."""
    node = (nodes.Apache if AGAINST_APACHE else nodes.Ottla)(home, overrides)
    node.format("--standalone", "-t", CLUSTER_ID)
    return node


def taker_over(other: nodes.Node) -> nodes.Node:
    """A node of ours on the directory of another."""
    return (nodes.Apache if AGAINST_APACHE else nodes.Ottla).over(other)


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """One node that the client scenarios share."""
    node = first_node(tmp_path_factory.mktemp("shared")).start()
    yield node
    assert node.stop() in (0, 143)


def pytest_collection_modifyitems(items):
    if AGAINST_APACHE:
        for item in items:
            if item.get_closest_marker("ours"):
                item.add_marker(pytest.mark.skip(reason="a limit of ours"))


@pytest.fixture
def bootstrap(node) -> str:
    return node.bootstrap


@pytest.fixture
def admin(bootstrap) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


@pytest.fixture
def name() -> str:
    """A topic's or group's name that nobody else uses."""
    return f"t-{uuid.uuid4().hex[:8]}"


FIGURES: list[str] = []


@pytest.fixture
def report():
    """Takes a figure that the run's end shows."""
    return FIGURES.append


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for figure in FIGURES:
            terminalreporter.write_line(figure)


@pytest.fixture(autouse=True)
def nothing_left_running():
    before = list(nodes.RUNNING)
    yield
    for node in [node for node in nodes.RUNNING if node not in before and node.process.poll() is None]:
        if node.home.name.startswith("shared"):
            continue
        node.kill()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed scenario shows the end of its nodes' logs."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for node in nodes.RUNNING:
            if node.log.exists():
                report.sections.append((f"log of {node.home.name}", node.tail()))
