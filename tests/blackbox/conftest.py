"""What the scenarios share: a running node, a directory for others, and unique names."""

import uuid

import nodes
import pytest
from confluent_kafka.admin import AdminClient


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """One node that the client scenarios share."""
    node = nodes.first_node(tmp_path_factory.mktemp("shared")).start()
    yield node
    assert node.stop() in (0, 143)


def pytest_collection_modifyitems(items):
    if nodes.AGAINST_APACHE:
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
