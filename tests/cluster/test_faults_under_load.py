"""The short run: under load leaders move, one broker is killed and one restarted."""

import faults


def test_nothing_acked_is_lost_and_replicas_are_equal(cluster, tmp_path, report, kind):
    with faults.load(cluster, tmp_path, report, f"{kind}: leaders moved, one killed, one restarted") as load:
        faults.move_leaders(cluster, load.topic)
        faults.kill_each(cluster, load.topic, [cluster.brokers[0]])
        faults.restart_each(cluster, load.topic, [cluster.brokers[1]])
