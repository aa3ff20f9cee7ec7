"""What the scenarios share: a running node, a directory for others, and unique names."""

import uuid

import cluster
import nodes
import pytest
from confluent_kafka.admin import AdminClient
from reporting import nothing_left_running, pytest_runtest_makereport, pytest_terminal_summary, report  # noqa: F401


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """One node that the client scenarios share."""
    yield from cluster.running(tmp_path_factory.mktemp("shared"))


# What is about clients alone, and so for any number of nodes.
ON_CLUSTERS = {
    "aiokafka", "confluent_kafka", "kafka_python", "kcat", "franz_go", "connect", "streams", "console_tools", "topics_tool",
    "offsets_tool", "performance_tools", "group_members",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if nodes.REPLICAS > 1 and item.module.__name__.removeprefix("test_") not in ON_CLUSTERS:
            item.add_marker(pytest.mark.skip(reason="about one node"))
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
