"""kill -9 of each node in turn, controllers too, under load."""

import faults
import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_nothing_acked_is_lost_and_replicas_are_equal(cluster, tmp_path, report, kind):
    with faults.load(cluster, tmp_path, report, f"{kind}: each node killed") as load:
        faults.kill_each(cluster, load.topic)
