"""kill -9 in the middle of a produce load: every acked record is there, once and in order; so are committed offsets."""

import os
import random
import threading
import time

import state
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from nodes import first_node

SEEDS = int(os.environ.get("OTTLA_KILL_SEEDS", "50"))
PARTITIONS = 2


def test_nothing_acked_is_lost(tmp_path, report):
    node = first_node(tmp_path / "node")
    node.start()
    admin = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": "0"})
    admin.create_topics([NewTopic("t", PARTITIONS, 1, config={"segment.bytes": "1048576"})])["t"].result(20)
    load = Load(node.bootstrap)
    for seed in range(SEEDS):
        load.run_for(random.Random(seed).uniform(0.05, 0.5), then=node.kill)
        node.start()
        state.patiently(lambda: load.commit(seed))
    load.finish()
    acked = sum(map(len, load.acked.values()))
    report(f"kill -9: {SEEDS} times, {acked} records acked, none lost or doubled")
    assert acked > 100 * SEEDS, "hardly anything was acked, so hardly anything was tested"

    for partition, acked in load.acked.items():
        numbers = load.read(partition)
        assert numbers == sorted(set(numbers)), f"partition {partition}: doubled or out of order"
        missing = acked - set(numbers)
        assert not missing, f"partition {partition}: {len(missing)} acked records lost, the first is {min(missing)}"
    assert load.committed() == SEEDS - 1
    assert node.stop() in (0, 143)


class Load:
    """An idempotent producer that numbers its records by partition, and a group's offset."""

    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 1,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "log_level": "0",
            }
        )
        self.group = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": state.GROUP, "enable.auto.commit": False, "log_level": "0"}
        )
        self.acked = {partition: set() for partition in range(PARTITIONS)}
        self.next = dict.fromkeys(range(PARTITIONS), 0)

    def run_for(self, seconds: float, then) -> None:
        killer = threading.Timer(seconds, then)
        killer.start()
        while killer.is_alive():
            for partition in self.acked:
                self.send(partition)
            self.producer.poll(0.0005)
        killer.join()

    def send(self, partition: int) -> None:
        number = self.next[partition]
        try:
            self.producer.produce("t", b"%d" % number, partition=partition, on_delivery=self.delivered)
        except BufferError:
            return
        self.next[partition] += 1

    def delivered(self, error, record) -> None:
        assert error is None, error
        self.acked[record.partition()].add(int(record.value()))

    def commit(self, offset: int) -> None:
        self.group.commit(offsets=[TopicPartition("t", 0, offset)], asynchronous=False)

    def committed(self) -> int:
        return state.committed(self.group, "t", [0])[0]

    def finish(self) -> None:
        assert self.producer.flush(60) == 0

    def read(self, partition: int) -> list[int]:
        _, high = self.group.get_watermark_offsets(TopicPartition("t", partition), 20)
        self.group.assign([TopicPartition("t", partition, OFFSET_BEGINNING)])
        numbers, position, end = [], 0, time.monotonic() + 120
        while position < high and time.monotonic() < end:
            for record in self.group.consume(5000, 1):
                assert not record.error(), record.error()
                numbers.append(int(record.value()))
                position = record.offset() + 1
        return numbers
