"""`OTTLA_MANY_PARTITIONS` (3000) partitions with three replicas: made, written to, a node killed and started; metadata changes meanwhile."""

import os
import statistics
import threading
import time

import pytest
from cluster import Cluster
from confluent_kafka import Producer

pytestmark = pytest.mark.long

PARTITIONS = int(os.environ.get("OTTLA_MANY_PARTITIONS", "3000"))
TOPICS = 10


class Changes:
    """A topic made every 200 ms, and how long each took."""

    def __init__(self, cluster: Cluster, without: int):
        self.cluster, self.seconds, self.failed, self.over = cluster, [], [], threading.Event()
        self.of = next(id for id in cluster.brokers if id != without)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        number = 0
        while not self.over.wait(0.2):
            number += 1
            spec = {"name": f"small-{number}", "num_partitions": 1, "replication_factor": 1}
            begun = time.monotonic()
            try:
                (answer,) = self.cluster.ask("CreateTopics", 5, {"topics": [spec], "timeout_ms": 10_000}, self.of, 15)["topics"]
            except OSError as error:
                answer = {"error_code": -1, "error_message": str(error)}
            self.seconds.append(time.monotonic() - begun)
            if answer["error_code"] != 0:
                self.failed.append(answer)

    def end(self) -> str:
        self.over.set()
        self.thread.join(20)
        assert not self.failed, self.failed[0]
        return (
            f"p50 {1000 * statistics.median(self.seconds):.0f} ms, max {1000 * max(self.seconds):.0f} ms, n {len(self.seconds)}"
        )


@pytest.mark.timeout(1200)
def test_a_node_killed_and_started(cluster, report, kind):
    topics = [f"many-{number}" for number in range(TOPICS)]
    each = PARTITIONS // TOPICS
    begun = time.monotonic()
    for topic in topics:
        spec = {"name": topic, "num_partitions": each, "replication_factor": 3}
        (answer,) = cluster.ask("CreateTopics", 5, {"topics": [spec], "timeout_ms": 60_000}, seconds=65)["topics"]
        assert answer["error_code"] == 0, answer
    for topic in topics:
        cluster.until_whole(topic, 180)
    made = time.monotonic() - begun
    begun = time.monotonic()
    write(cluster, topics, each)
    written = time.monotonic() - begun

    active = cluster.active_controller()
    lost = next(id for id in cluster.brokers if id != active)
    changes = Changes(cluster, lost)
    time.sleep(2)
    at = cluster.kill(lost)
    for topic in topics:
        cluster.until(f"others lead {topic}", lambda: lost not in cluster.leaders(topic).values())
    led = time.monotonic() - at
    begun = time.monotonic()
    cluster.restart(lost)
    for topic in topics:
        cluster.until_whole(topic, 300)
    whole = time.monotonic() - begun
    write(cluster, topics, each)
    report(
        f"{kind}: {PARTITIONS} partitions: made and whole in {made:.1f} s, a record to each in {written:.1f} s, led by others {led:.1f} s after "
        f"kill -9, whole {whole:.1f} s after the start; a topic made meanwhile: {changes.end()}"
    )


def write(cluster: Cluster, topics: list[str], partitions: int) -> None:
    failed = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    for topic in topics:
        for partition in range(partitions):
            producer.produce(
                topic, b"x", partition=partition, on_delivery=lambda error, _: failed.append(error) if error else None
            )
            producer.poll(0)
    assert producer.flush(120) == 0 and not failed, failed[:1]
