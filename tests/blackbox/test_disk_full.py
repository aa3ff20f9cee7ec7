"""A full disk, on a file system of its own: refused by name, everything else goes on, and by itself when there is space again."""

import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import disks
import pytest
import raw
import state
import verify
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from disks import MIB
from nodes import first_node

pytestmark = pytest.mark.ours  # Apache Kafka ends when its disk is full.

RESERVE = 32 * MIB
KAFKA_STORAGE_ERROR = 56


@pytest.fixture
def disk(tmp_path):
    with disks.mounted(tmp_path, "disk", 192) as disk:
        yield disk


class Scene:
    """A node on the disk, with a topic that fills it, under the load that proves."""

    def __init__(self, tmp_path: Path, disk: disks.Disk):
        self.disk = disk
        self.filler = disk.path / "of-another-program"
        self.node = first_node(
            tmp_path / "node",
            {
                "log.dirs": str(disk.path / "data"),
                "ottla.disk.reserve.bytes": str(RESERVE),
                "offsets.topic.num.partitions": "3",
                "log.initial.task.delay.ms": "500",
            },
        ).start()
        self.admin = AdminClient({"bootstrap.servers": self.node.bootstrap, "log_level": "0"})
        configs = {"segment.bytes": str(4 * MIB), "retention.ms": "-1"}
        topics = [NewTopic(name, 1, 1, config=configs) for name in ("bulk", "probe")]
        for created in self.admin.create_topics(topics).values():
            created.result(20)
        assert raw.produce(self.node.port, "probe", raw.batch(b"first")) == (0, 0)
        self.group = Consumer(
            {"bootstrap.servers": self.node.bootstrap, "group.id": "g", "enable.auto.commit": False, "log_level": "0"}
            | {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "auto.offset.reset": "earliest"}
        )
        self.group.subscribe(["probe"])
        assert self.group.poll(30).value() == b"first"
        self.load = verify.Load(self.node.bootstrap, 7, 18, tmp_path / "verify.log", rate=300)

    def probe(self) -> int:
        """The error code of one small produce."""
        return raw.produce(self.node.port, "probe", raw.batch(b"probe"))[0]

    def fill_by_producing(self) -> None:
        """Until it is refused; every batch before that is acknowledged."""
        batch = raw.batch(os.urandom(900_000))
        for _ in range(400):
            if (error := raw.produce(self.node.port, "bulk", batch)[0]) != 0:
                assert error == KAFKA_STORAGE_ERROR
                return
        raise AssertionError("the disk does not get full")

    def fill_wholly(self) -> None:
        with self.filler.open("ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def until(self, seconds: float, holds) -> float:
        """How long that takes."""
        start = time.monotonic()
        while not holds():
            assert time.monotonic() < start + seconds, f"not within {seconds} s:\n{self.node.tail()}"
            time.sleep(0.05)
        return time.monotonic() - start

    def reads(self) -> bool:
        reader = Consumer({"bootstrap.servers": self.node.bootstrap, "group.id": "reader", "log_level": "0"})
        reader.assign([TopicPartition("probe", 0, 0)])
        record = reader.poll(10)
        reader.close()
        return record is not None and record.error() is None and record.value() == b"first"

    def commit(self, offset: int) -> None:
        self.group.commit(offsets=[TopicPartition("probe", 0, offset)], asynchronous=False)

    def alter(self, topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(20)

    def get(self, path: str):
        return urllib.request.urlopen(f"http://{self.node.properties['ottla.http.listener']}/{path}", timeout=2)

    def status(self, path: str) -> int:
        try:
            return self.get(path).status
        except urllib.error.HTTPError as refused:
            return refused.code
        except OSError:
            return 0

    def metric(self, name: str) -> float:
        lines = self.get("metrics").read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(name + "{")).split()[-1])


@pytest.fixture
def scene(tmp_path, disk):
    scene = Scene(tmp_path, disk)
    yield scene
    scene.load.end()
    scene.group.close()
    if scene.node.process.poll() is None:
        scene.node.kill()
    shutil.rmtree(disk.path / "data", ignore_errors=True)


def test_producers_are_refused_before_the_reserve_is_gone(scene, report):
    scene.fill_by_producing()
    # What the file system needs for itself is only seen when it is asked, every second.
    assert scene.disk.free() > RESERVE * 0.8, "the reserve is there"
    scene.until(3, lambda: scene.probe() == KAFKA_STORAGE_ERROR)
    scene.until(3, lambda: scene.metric("ottla_disk_full") == 1)
    # All else goes on: reading, committing, topics, configurations.
    assert scene.reads()
    scene.commit(1)
    assert state.committed(scene.group, "probe", [0]) == {0: 1}
    scene.admin.create_topics([NewTopic("another", 1, 1)])["another"].result(20)
    # Retention does not wait for its hour.
    scene.alter("bulk", "retention.bytes", str(30 * MIB))
    resumed = scene.until(5, lambda: scene.probe() == 0)
    report(f"disk full: produce goes on {resumed:.1f} s after retention.bytes was lowered")
    assert scene.metric("ottla_disk_full") == 0

    scene.alter("bulk", "retention.bytes", "-1")
    scene.fill_by_producing()
    scene.until(3, lambda: scene.probe() == KAFKA_STORAGE_ERROR)
    _, high = scene.group.get_watermark_offsets(TopicPartition("bulk", 0), 10)
    scene.admin.delete_records([TopicPartition("bulk", 0, high)])[TopicPartition("bulk", 0)].result(20)
    resumed = scene.until(5, lambda: scene.probe() == 0)
    report(f"disk full: produce goes on {resumed:.1f} s after DeleteRecords")

    scene.fill_by_producing()
    scene.until(3, lambda: scene.probe() == KAFKA_STORAGE_ERROR)
    scene.admin.delete_topics(["bulk"])["bulk"].result(20)
    resumed = scene.until(5, lambda: scene.probe() == 0)
    report(f"disk full: produce goes on {resumed:.1f} s after DeleteTopics")
    summary = scene.load.judged()
    report(f"disk full: {summary['acked']} acked, 0 lost, longest gap {verify.longest_gap(summary):.1f} s")
    assert scene.node.stop() in (0, 143)


def test_another_program_fills_the_disk_to_the_last_byte(scene, report):
    scene.fill_wholly()
    scene.until(5, lambda: scene.metric("ottla_disk_available_bytes") < RESERVE / 4)
    assert scene.probe() == KAFKA_STORAGE_ERROR and scene.reads()
    # The coordinator's part of the reserve is gone too. Its members stay, and may commit again later.
    with pytest.raises(KafkaException) as refused:
        scene.commit(1)
    assert refused.value.args[0].code() == KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    for _ in range(20):
        scene.group.poll(0.5)
    assert scene.group.assignment() == [TopicPartition("probe", 0)], "still a member, longer than its session"

    # Killed and started again without a byte to write.
    scene.node.kill()
    scene.node.start()
    assert scene.reads() and scene.probe() == KAFKA_STORAGE_ERROR
    # The blocks that were held back are for deletions.
    scene.admin.delete_records([TopicPartition("probe", 0, 1)])[TopicPartition("probe", 0)].result(20)
    scene.admin.delete_topics(["bulk"])["bulk"].result(20)

    # Even those are taken: nothing can be changed, and nothing breaks.
    scene.fill_wholly()
    scene.node.kill()
    scene.node.start(wait=False)
    time.sleep(6)
    assert scene.node.process.poll() is None, f"it ended:\n{scene.node.tail()}"
    scene.until(3, lambda: (scene.status("livez"), scene.status("readyz")) == (200, 503))

    scene.filler.unlink()
    resumed = scene.until(5, lambda: answers(scene))
    report(f"disk wholly full: produce goes on {resumed:.1f} s after there is space")
    scene.until(20, lambda: commits(scene))
    summary = scene.load.judged()
    report(f"disk wholly full: {summary['acked']} acked, 0 lost, longest gap {verify.longest_gap(summary):.1f} s")
    assert scene.node.stop() in (0, 143)


def commits(scene: Scene) -> bool:
    """A member that was without its coordinator for longer than its session joins again first."""
    scene.group.poll(0.5)
    try:
        scene.commit(1)
    except KafkaException:
        return False
    return True


def answers(scene: Scene) -> bool:
    try:
        return scene.probe() == 0
    except OSError:
        return False


def test_a_producer_waits_for_space(scene):
    """An application's producer gets through without an error when space comes in time."""
    scene.fill_by_producing()
    scene.until(3, lambda: scene.probe() == KAFKA_STORAGE_ERROR)
    outcomes = []
    producer = Producer({"bootstrap.servers": scene.node.bootstrap, "enable.idempotence": True, "log_level": "0"})
    for number in range(10):
        producer.produce("probe", b"%d" % number, on_delivery=lambda error, _: outcomes.append(error))
    assert producer.flush(3) == 10
    scene.admin.delete_topics(["bulk"])["bulk"].result(20)
    assert producer.flush(10) == 0 and outcomes == [None] * 10
