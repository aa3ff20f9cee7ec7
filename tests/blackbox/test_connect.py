"""Kafka Connect, distributed: a file goes through a topic into another file; a worker that starts again goes on where the last one ended."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import nodes
import pytest
from confluent_kafka.admin import ConfigResource, ResourceType
from programs import Program

INTERNAL = ("config", "offset", "status")
CONNECTORS = "org.apache.kafka.connect.file.FileStream"


class Worker(Program):
    def __init__(self, home: Path, bootstrap: str, name: str):
        self.address = f"http://127.0.0.1:{nodes.free_port()}"
        internal = {f"{what}.storage.topic": f"{name}-{what}" for what in INTERNAL}
        internal |= {f"{what}.storage.replication.factor": str(nodes.REPLICAS) for what in INTERNAL}
        super().__init__(
            home,
            "org.apache.kafka.connect.cli.ConnectDistributed",
            internal
            | {
                "bootstrap.servers": bootstrap,
                "group.id": name,
                "offset.storage.partitions": "3",
                "status.storage.partitions": "2",
                "offset.flush.interval.ms": "500",
                "key.converter": "org.apache.kafka.connect.storage.StringConverter",
                "value.converter": "org.apache.kafka.connect.storage.StringConverter",
                "listeners": self.address,
                "plugin.discovery": "service_load",
            },
        )

    def call(self, method: str, path: str, body: dict | None = None) -> tuple[int, object]:
        """Status and answer; 0 while nobody listens."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError:
            return 0, None

    def serves(self) -> None:
        self.until("answer over HTTP", lambda: self.call("GET", "/connectors")[0] == 200)

    def create(self, connector: str, kind: str, **config: str) -> None:
        config |= {"connector.class": f"{CONNECTORS}{kind}Connector", "tasks.max": "1"}
        status, answer = self.call("POST", "/connectors", {"name": connector, "config": config})
        assert status == 201, answer

    def becomes(self, connector: str, state: str) -> None:
        """The connector and its one task."""

        def is_so() -> bool:
            status, answer = self.call("GET", f"/connectors/{connector}/status")
            return status == 200 and [answer["connector"]["state"], *(task["state"] for task in answer["tasks"])] == [state] * 2

        self.until(f"{state} {connector}", is_so)


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    return tmp_path / "source.txt", tmp_path / "sink.txt"


def append(path: Path, first: int, end: int) -> None:
    with path.open("a") as file:
        file.writelines(f"line {number}\n" for number in range(first, end))


def test_a_file_through_a_topic_into_a_file_and_on_after_a_restart(bootstrap, admin, name, tmp_path, files):
    source, sink = files
    append(source, 0, 1000)
    with Worker(tmp_path, bootstrap, name) as worker:
        worker.serves()
        worker.create("in", "Source", file=str(source), topic=name)
        worker.create("out", "Sink", file=str(sink), topics=name)
        worker.becomes("in", "RUNNING")
        worker.becomes("out", "RUNNING")
        copied(worker, files)

        assert worker.call("PUT", "/connectors/out/pause")[0] == 202
        worker.becomes("out", "PAUSED")
        append(source, 1000, 1100)
        worker.until("offset of the source", lambda: source_offset(worker) == source.stat().st_size)
        assert len(sink.read_text().splitlines()) == 1000, "a paused sink wrote"
        assert worker.call("PUT", "/connectors/out/resume")[0] == 202
        copied(worker, files)
    assert cleanup_policies(admin, name) == {f"{name}-{what}": "compact" for what in INTERNAL}

    append(source, 1100, 1200)
    with Worker(tmp_path, bootstrap, name) as worker:
        worker.serves()
        copied(worker, files)
        for connector in ("in", "out"):
            worker.becomes(connector, "RUNNING")
            assert worker.call("DELETE", f"/connectors/{connector}")[0] == 204
        worker.until("empty list", lambda: worker.call("GET", "/connectors") == (200, []))
    assert sink.read_text() == source.read_text(), "something came twice"


def copied(worker: Worker, files: tuple[Path, Path]) -> None:
    source, sink = files
    worker.until("copy", lambda: sink.exists() and sink.read_text() == source.read_text())


def source_offset(worker: Worker) -> int | None:
    """How far into its file the source has stored that it came."""
    status, answer = worker.call("GET", "/connectors/in/offsets")
    return answer["offsets"][0]["offset"]["position"] if status == 200 and answer["offsets"] else None


def cleanup_policies(admin, name: str) -> dict[str, str]:
    asked = [ConfigResource(ResourceType.TOPIC, f"{name}-{what}") for what in INTERNAL]
    return {topic.name: config.result(20)["cleanup.policy"].value for topic, config in admin.describe_configs(asked).items()}
