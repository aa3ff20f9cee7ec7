"""What the scenarios share: a running node, a directory for others, and unique names."""

import os
import uuid

import pytest
from confluent_kafka.admin import AdminClient

import nodes

# The same scenarios against Apache, which says whether what they expect is Kafka's behaviour or only ours.
AGAINST_APACHE = os.environ.get("OTTLA_BLACKBOX_AGAINST") == "apache"


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """One node that the client scenarios share."""
    home = tmp_path_factory.mktemp("shared")
    if AGAINST_APACHE:
        node = nodes.Apache(home)
        node.format("--standalone", "-t", "4L6g3nShT-eMCtK--X86sw", "--ignore-formatted")
    else:
        node = nodes.Ottla(home)
    yield node.start()
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
