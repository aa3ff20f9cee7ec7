"""Leaders move to every broker and back under load, and replicas to brokers that had none."""

import apache
import faults
import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_nothing_acked_is_lost_and_replicas_are_equal(cluster, tmp_path, report, kind):
    with faults.load(cluster, tmp_path, report, f"{kind}: leaders moved to each broker, replicas moved") as load:
        faults.move_leaders(cluster, load.topic, rounds=2)
        faults.move_replicas(cluster, load.topic)
        faults.move_leaders(cluster, load.topic)


def test_apaches_tool_elects_the_preferred_leaders(cluster, kind):
    one, two, three = cluster.brokers[:3]
    cluster.create("t", [[one, two, three], [two, three, one]])
    cluster.stop(one)
    cluster.until("others lead", lambda: cluster.leaders("t") == {0: two, 1: two})
    cluster.restart(one)
    cluster.until_whole("t")
    tool = "org.apache.kafka.tools.LeaderElectionCommand"
    arguments = ["--election-type", "preferred", "--topic", "t", "--partition", "0"]
    said = apache.tool(tool, "--bootstrap-server", cluster.bootstrap, *arguments)
    assert "Successfully completed leader election" in said, said
    cluster.until("the preferred leader", lambda: cluster.leaders("t") == {0: one, 1: two})
