"""What the scenarios share: a running node, a directory for others, and unique names."""

import uuid

import nodes
import pytest
from confluent_kafka.admin import AdminClient
from reporting import nothing_left_running, pytest_runtest_makereport, pytest_terminal_summary, report  # noqa: F401


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
