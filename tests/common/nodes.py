"""Kafka nodes as processes: ours and Apache's, started on the same kind of directory with the same properties."""

import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import apache

BINARY = os.environ.get("OTTLA_BROKER", "ottla-broker")
FIRST_PORT = int(os.environ.get("OTTLA_TEST_PORT", "25000"))
RUNNING: list["Node"] = []

# The same scenarios against Apache, which says whether what they expect is Kafka's behaviour or only ours.
AGAINST_APACHE = os.environ.get("OTTLA_BLACKBOX_AGAINST") == "apache"
# The client scenarios on several nodes, with as many replicas of everything.
REPLICAS = int(os.environ.get("OTTLA_BLACKBOX_NODES", "1"))


CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"

_next_port = FIRST_PORT


def free_port() -> int:
    """A port nobody listens on, never the same twice in a run."""
    global _next_port
    while True:
        port, _next_port = _next_port, _next_port + 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Node:
    """One node, combined unless `overrides` say otherwise: they are server properties, and None leaves one out. Its data lies in
    `home/data`. `namespace` is the network namespace that it runs in, where `host` is its address."""

    def __init__(
        self, home: Path, overrides=None, port: int | None = None, host: str = "127.0.0.1", namespace: str | None = None
    ):
        self.home, self.host, self.namespace = home, host, namespace
        self.data = home / "data"
        self.port = port or free_port()
        self.controller_port = free_port()
        self.bootstrap = f"{host}:{self.port}"
        self.process: subprocess.Popen | None = None
        self.properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{host}:{self.port},CONTROLLER://{host}:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{host}:{self.controller_port}",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": "0",
            "num.partitions": "1",
            "ottla.http.listener": f"127.0.0.1:{free_port()}",
        } | (overrides or {})
        self.properties = {key: value for key, value in self.properties.items() if value is not None}

    @classmethod
    def over(cls, other: "Node") -> "Node":
        """This kind of node on another's directory, ports and properties."""
        node = cls.__new__(cls)
        node.__dict__.update(other.__dict__)
        node.process = None
        return node

    @property
    def properties_file(self) -> Path:
        return self.home / "server.properties"

    @property
    def log(self) -> Path:
        return self.home / f"{type(self).__name__.lower()}.log"

    def command(self) -> list[str]:
        raise NotImplementedError

    def format(self, *arguments: str) -> None:
        """As `kafka-storage format`, with its arguments."""
        raise NotImplementedError

    def write_properties(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.properties_file.write_text("".join(f"{key}={value}\n" for key, value in self.properties.items()))

    def start(self, wait: bool = True) -> "Node":
        self.write_properties()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._inside() + self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home
            )
        RUNNING.append(self)
        if wait:
            self.wait_ready()
        return self

    def _inside(self) -> list[str]:
        """`ip` becomes the node: a signal to its process is one to the node."""
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def wait_ready(self, seconds: float = 60) -> None:
        """Until its metadata names a broker."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}:\n{self.tail()}")
            if knows_a_broker(self.port, self.host):
                return
            time.sleep(0.02)
        raise AssertionError(f"not ready after {seconds} s:\n{self.tail()}")

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended(seconds)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Where the disk is slow the system takes its time."""
        self.process.kill()
        self._ended(60)

    def _ended(self, seconds: float) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop in {seconds} s:\n{self.tail()}") from None
        finally:
            if self in RUNNING:
                RUNNING.remove(self)

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def rss_kib(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")


class Ottla(Node):
    def command(self) -> list[str]:
        return [BINARY, str(self.properties_file)]

    def format(self, *arguments: str) -> None:
        self.write_properties()
        subprocess.run([BINARY, "format", "-c", str(self.properties_file), *arguments], check=True, stdout=subprocess.DEVNULL)


class Apache(Node):
    def command(self) -> list[str]:
        return apache.java("kafka.Kafka", str(self.properties_file), heap="512M")

    def format(self, *arguments: str) -> None:
        self.write_properties()
        apache.tool("kafka.tools.StorageTool", "format", "-c", str(self.properties_file), *arguments)


def first_node(home, overrides=None) -> "Node":
    """A formatted node that has not run yet."""
    node = (Apache if AGAINST_APACHE else Ottla)(home, overrides)
    node.format("--standalone", "-t", CLUSTER_ID)
    return node


def taker_over(other: Node) -> "Node":
    """A node of ours on the directory of another."""
    return (Apache if AGAINST_APACHE else Ottla).over(other)


def knows_a_broker(port: int, host: str = "127.0.0.1") -> bool:
    """One Metadata request (v1, no topics), by hand: no client's retries and caches in between."""
    request = struct.pack(">hhih5si", 3, 1, 7, 5, b"probe", 0)
    try:
        with socket.create_connection((host, port), 1) as connection:
            connection.settimeout(2)
            answer = exchange(connection, request)
    except OSError:
        return False
    return len(answer) >= 8 and struct.unpack(">i", answer[4:8])[0] > 0


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """Sends one framed request and reads one framed answer (correlation id first)."""
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", receive(connection, 4))
    return receive(connection, size)


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError(f"closed after {len(data)} of {size} bytes")
        data += part
    return data
