"""franz-go's own tests, against a node as they expect it: what they demand of a client, and of the broker behind it."""

import os
import re
import subprocess

import nodes
import pytest
from apache import PEERS
from cluster import running

TESTS = PEERS / "franz-go/kgo.test"
# The consumer protocol of KIP-848, share groups and transactions are not served yet.
NOT_YET = "848|Share|Txn"
# Reads the sources beside it, which are not there.
NOT_HERE = "TestOptValuesCoversEveryOption"
# A quarter of them need a broker; the rest are cheap. There were 133.
AT_LEAST = 130


@pytest.fixture
def expected_node(tmp_path_factory):
    overrides = {"num.partitions": "4", "group.min.session.timeout.ms": "1000"}
    yield from running(tmp_path_factory.mktemp("shared-franz-go"), overrides)


@pytest.mark.skipif(not TESTS.exists(), reason="tests/setup.sh found no Go to build franz-go's tests with")
def test_franz_go_s_own_tests(expected_node, tmp_path, report):
    environment = {
        "KGO_SEEDS": expected_node.bootstrap,
        "KGO_TEST_RF": str(nodes.REPLICAS),
        "KGO_TEST_RECORDS": "50000",
        "KGO_LOG_LEVEL": "none",
    }
    command = [TESTS, "-test.v", "-test.timeout", "240s", "-test.skip", f"{NOT_YET}|{NOT_HERE}"]
    done = subprocess.run(command, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    verdicts = re.findall(r"^--- (PASS|FAIL|SKIP): (\S+)", done.stdout, re.MULTILINE)
    passed = {test for verdict, test in verdicts if verdict == "PASS"}
    assert done.returncode == 0, failures(done.stdout) + done.stderr[-2000:]
    assert len(passed) >= AT_LEAST and {"TestGroupETL", "TestGroupSimple", "TestPing"} <= passed, verdicts
    report(f"franz-go's own tests: {len(passed)} passed")


def failures(output: str) -> str:
    """The verdicts of those that failed with what they said, or the end of it all after a panic."""
    parts = re.split(r"^(?=\s*--- |=== )", output, flags=re.MULTILINE)
    failed = [part for part in parts if part.lstrip().startswith("--- FAIL")]
    return "".join(failed)[:6000] or output[-6000:]
