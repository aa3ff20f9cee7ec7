"""What every suite with nodes does: figures at the end, logs of nodes beside a failure, no node left running."""

import nodes
import pytest

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
