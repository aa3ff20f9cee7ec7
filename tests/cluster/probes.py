"""Clients that note when each partition acknowledges: librdkafka, Java's, and one by hand that asks for metadata five times a second."""

import json
import subprocess
import threading
import time
from pathlib import Path

import apache
import raw
from cluster import Cluster
from confluent_kafka import Producer

# Records a second and partition.
RATE = 25


class Acks:
    """Times of acknowledgements by partition, in seconds of the monotonic clock."""

    def __init__(self, partitions: int):
        self.times: list[list[float]] = [[] for _ in range(partitions)]

    def note(self, partition: int, at: float) -> None:
        self.times[partition].append(at)

    def gap(self, partition: int, since: float) -> float | None:
        """The longest time without an acknowledgement that ends after `since`; None where none came since."""
        times = [at for at in self.times[partition] if at > since - 1]
        gaps = [later - earlier for earlier, later in zip(times, times[1:]) if later > since]
        return max(gaps) if gaps else None

    def since(self, partition: int, at: float) -> int:
        return sum(1 for time in self.times[partition][-5 * RATE :] if time > at)


class Librdkafka:
    """confluent-kafka's producer as it comes, with acks=all, which is its default."""

    name = "librdkafka"

    def __init__(
        self, cluster: Cluster, topic: str, partitions: int, home: Path, timeout_ms: int | None, beside: str | None = None
    ):
        """`beside` is a topic with a partition for each broker, written to without being measured."""
        self.acks, self.topic, self.partitions = Acks(partitions), topic, partitions
        self.beside, self.brokers = beside, len(cluster.brokers)
        settings = {"bootstrap.servers": cluster.bootstrap, "log_level": 0}
        settings |= {"socket.timeout.ms": timeout_ms} if timeout_ms else {}
        self.producer = Producer(settings)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        due, tick = time.monotonic(), 1 / RATE
        while not self.over.is_set():
            for partition in range(self.partitions):
                try:
                    self.producer.produce(self.topic, b"x" * 100, partition=partition, on_delivery=self._delivered)
                except BufferError:
                    self.producer.poll(0.01)
            for partition in range(self.brokers if self.beside else 0):
                try:
                    self.producer.produce(self.beside, b"x", partition=partition)
                except BufferError:
                    self.producer.poll(0.01)
            due += tick
            while (left := due - time.monotonic()) > 0:
                self.producer.poll(min(left, 0.005))
            self.producer.poll(0)

    def _delivered(self, error, message) -> None:
        if error is None:
            self.acks.note(message.partition(), time.monotonic())

    def end(self) -> None:
        self.over.set()
        self.thread.join(10)
        self.producer.purge()


class Java:
    """Kafka's own producer, by its VerifiableProducer, which prints every acknowledgement with the time."""

    name = "Java"

    def __init__(self, cluster: Cluster, topic: str, partitions: int, home: Path, timeout_ms: int | None):
        self.acks = Acks(partitions)
        settings = {"retries": 2147483647, "enable.idempotence": "true"}
        settings |= {"request.timeout.ms": timeout_ms} if timeout_ms else {}
        properties = home / "java-probe.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        # Enough keys for every partition to be among their hashes.
        command = apache.java(
            "org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", cluster.bootstrap, "--topic", topic,
            "--throughput", str(RATE * partitions), "--repeating-keys", str(partitions * 8), "--command-config", str(properties),
        )  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        offset = time.monotonic() - time.time()
        for line in self.process.stdout:
            if '"producer_send_success"' in line:
                told = json.loads(line)
                self.acks.note(told["partition"], told["timestamp"] / 1000 + offset)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join(10)


class ByHand:
    """Asks the brokers left for metadata every 200 ms, and a partition's new leader for one acknowledgement."""

    def __init__(self, cluster: Cluster, topic: str, partitions: int, lost: int):
        self.cluster, self.topic, self.lost = cluster, topic, lost
        self.left = set(range(partitions))
        self.acked: dict[int, float] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        batch = raw.batch(b"by hand")
        while self.left and not self.over.is_set():
            begun = time.monotonic()
            for partition, leader in self._leaders().items():
                if partition in self.left and leader not in (-1, self.lost):
                    try:
                        error, _ = raw.produce(self.cluster.nodes[leader].port, self.topic, batch, partition=partition)
                    except OSError:
                        continue
                    if error == 0:
                        self.acked[partition] = time.monotonic()
                        self.left.discard(partition)
            time.sleep(max(0.0, begun + 0.2 - time.monotonic()))

    def _leaders(self) -> dict[int, int]:
        for id in self.cluster.brokers:
            if id != self.lost and id in self.cluster.running:
                try:
                    answer = self.cluster.ask("Metadata", 12, {"topics": [{"name": self.topic}]}, id, 0.5)
                except OSError:
                    continue
                return {found["partition_index"]: found["leader_id"] for found in answer["topics"][0]["partitions"]}
        return {}

    def end(self) -> None:
        self.over.set()
        self.thread.join(10)


class Changes:
    """When topics can be made again, asked of each broker that is left."""

    def __init__(self, cluster: Cluster, lost: int, name: str):
        self.cluster, self.done, self.name = cluster, {}, name
        brokers = [id for id in cluster.brokers if id != lost]
        self.threads = [threading.Thread(target=self._run, args=(id,), daemon=True) for id in brokers]
        for thread in self.threads:
            thread.start()

    def _run(self, broker: int) -> None:
        for attempt in range(200):
            spec = {"name": f"{self.name}-{broker}-{attempt}", "num_partitions": 1, "replication_factor": 1}
            try:
                answer = self.cluster.ask("CreateTopics", 5, {"topics": [spec], "timeout_ms": 1000}, broker, 1.5)
            except OSError:
                answer = None
            if answer and answer["topics"][0]["error_code"] == 0:
                self.done[broker] = time.monotonic()
                return
            time.sleep(0.02)

    def end(self) -> None:
        for thread in self.threads:
            thread.join(60)
