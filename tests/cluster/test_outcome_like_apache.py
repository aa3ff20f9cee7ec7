"""After one script of kills and starts, ISR, ELR and leaders are what Apache's controller makes of it, step by step."""

import time

import pytest
from cluster import Cluster, Partition, separate
from nodes import Apache, Ottla

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

BROKERS = [11, 12, 13, 14]
# Every broker is first somewhere, and is without a partition somewhere.
ASSIGNMENT = [[11, 12, 13], [12, 13, 14], [13, 14, 11], [14, 11, 12]]
# Down to nobody, back in another order, and down to one by clean stops.
SCRIPT = [
    ("kill", 11), ("kill", 12), ("start", 11), ("kill", 13), ("kill", 14), ("kill", 11), ("start", 12), ("start", 14),
    ("start", 13), ("start", 11), ("stop", 14), ("stop", 13), ("stop", 12), ("start", 12), ("start", 13), ("start", 14),
]  # fmt: skip
# Sessions shorter than usual: nothing of what is compared depends on them, unless a busy machine keeps a node from its heartbeats for as long.
SETTINGS = {
    "broker.session.timeout.ms": "6000",
    "broker.heartbeat.interval.ms": "1000",
    "replica.lag.time.max.ms": "10000",
    "auto.leader.rebalance.enable": "false",
}
REFERENCE: dict[int, list[dict]] = {}


@pytest.mark.parametrize("elr", [0, 1])
@pytest.mark.parametrize(
    ("controllers", "brokers"),
    [([Ottla], [Apache] * 4), ([Ottla], [Ottla] * 4), ([Apache], [Ottla, Apache, Ottla, Apache])],
    ids=["our controller", "all ours", "our brokers beside Apache's"],
)
def test_isr_elr_and_leaders_are_apaches(tmp_path, elr, controllers, brokers):
    if elr not in REFERENCE:
        REFERENCE[elr] = outcomes(tmp_path / "apache", [Apache], [Apache] * 4, elr)
    found = outcomes(tmp_path / "other", controllers, brokers, elr)
    compare(REFERENCE[elr], found)


@pytest.mark.parametrize("elr", [0, 1])
def test_apache_agrees_with_itself(tmp_path, elr):
    """The script's outcome does not depend on chance, or comparing would prove nothing."""
    first, second = (outcomes(tmp_path / name, [Apache], [Apache] * 4, elr) for name in "ab")
    compare(first, second)
    REFERENCE[elr] = first


def compare(expected: list[dict], found: list[dict]) -> None:
    """Tells of the first step that differs, and what was the same before."""
    told = ["before"]
    for number, (one, two) in enumerate(zip(expected, found)):
        what = f"{number}. {' '.join(map(str, SCRIPT[number]))}"
        assert one == two, "\n".join(told + [f"{what}: expected {line(one)}", f"{what}: found {line(two)}"])
        told.append(f"{what}: {line(one)}")


def line(state: dict) -> str:
    return "; ".join(f"{partition}: {' '.join(f'{key} {value}' for key, value in of.items())}" for partition, of in state.items())


def outcomes(home, controllers, brokers, elr: int) -> list[dict]:
    """What the metadata says after each step of the script."""
    cluster = Cluster(home, separate(controllers, brokers), SETTINGS, elr=elr).start()
    cluster.create("t", ASSIGNMENT, min_insync_replicas="2")
    cluster.until_whole("t")
    steps = []
    for what, id in SCRIPT:
        if what == "start":
            cluster.restart(id)
        elif what == "kill":
            cluster.kill(id)
        else:
            cluster.nodes[id].stop(90)
        steps.append(settled(cluster))
    for node in cluster.nodes.values():
        if node.is_running():
            node.kill()
    return steps


def settled(cluster: Cluster) -> dict:
    """Once whoever runs is in sync where there is a leader, and nothing has changed for two seconds. Nobody tells where no broker runs."""
    running = {id for id in cluster.brokers if id in cluster.running}
    if not running:
        time.sleep(2 * int(SETTINGS["broker.session.timeout.ms"]) / 1000)
        return {}
    cluster.until_fenced([id for id in cluster.brokers if id not in running])
    told: list[dict[int, Partition]] = []

    def quiet() -> bool:
        told.append(cluster.describe("t"))
        whole = all(set(it.isr) == set(it.replicas) & running for it in told[-1].values() if it.leader >= 0)
        return whole and len(told) > 40 and all(seen == told[-1] for seen in told[-40:])

    cluster.until("nothing changes any more", quiet, 60)
    return {partition: state.outcome() for partition, state in told[-1].items()}
