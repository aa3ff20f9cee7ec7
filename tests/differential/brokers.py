"""One of the two brokers as the scenarios see it: every request is noted with what came of it."""

import re
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import codec
from nodes import receive

# A request that is not answered in this time is noted as unanswered, in seconds.
PATIENCE = 5.0
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# The id of no topic.
UNKNOWN_ID = "CQkJCQkJCQkJCQkJCQkJCQ"


@dataclass
class Step:
    api: str
    version: int
    label: str
    # A body, or "closed" or "unanswered".
    outcome: dict | str


class Broker:
    """Connections to one node, what it serves, and the steps so far."""

    def __init__(self, name: str, port: int):
        self.name, self.port = name, port
        self.common: dict[str, range] = {}
        self.steps: list[Step] = []
        self.main = Connection(self)
        self.fences = 0

    def connection(self, client: str = "differential", address: str = "127.0.0.1") -> "Connection":
        """One more: what the client calls itself, and where it comes from."""
        return Connection(self, client, address)

    def advertised(self) -> dict[str, range]:
        """APIs and versions, as told in version 4 of ApiVersions."""
        body = {"client_software_name": "differential", "client_software_version": "1"}
        with self.connection() as asking:
            keys = asking.exchange("ApiVersions", 4, body)["api_keys"]
        names = codec.api_names()
        # Produce is said to begin with 0, for old clients' sake, which neither serves.
        lowest = {name: codec.request(name).versions.low for name in names.values()}
        found = {names[key["api_key"]]: key for key in keys}
        return {name: range(max(key["min_version"], lowest[name]), key["max_version"] + 1) for name, key in found.items()}

    def versions(self, api: str) -> range:
        """Those that both brokers serve; empty if one does not serve it at all."""
        return self.common.get(api, range(0))

    def ask(self, api: str, version: int | None, body: Any, label: str = "", patience: float = PATIENCE) -> dict:
        return self.main.ask(api, version, body, label, patience)

    def each(self, api: str, body: Any, label: str = "", versions: Any = None) -> list[dict]:
        """The request in every version; a function gives the body for a version."""
        chosen = [version for version in self.versions(api) if versions is None or version in versions]
        return [self.ask(api, version, body(version) if callable(body) else body, label) for version in chosen]

    def until(self, ready: Callable[[], bool], what: str, seconds: float = 20) -> None:
        """Waits outside the steps."""
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: {what} did not come in {seconds} s")
            time.sleep(0.02)


class Connection:
    def __init__(self, broker: Broker, client: str = "differential", address: str = "127.0.0.1"):
        self.broker, self.socket, self.correlation = broker, None, 0
        self.client, self.address = client, address

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None

    def open(self) -> socket.socket:
        if not self.socket:
            self.socket = socket.create_connection(("127.0.0.1", self.broker.port), PATIENCE, (self.address, 0))
        return self.socket

    def ask(self, api: str, version: int | None, body: Any, label: str = "", patience: float = PATIENCE) -> dict:
        """Sends a request, notes it, and returns the answer; {} without one. Without a version: the highest.

        Where one of the brokers does not serve it, nothing is asked."""
        versions = self.broker.versions(api)
        version = versions[-1] if version is None and versions else version
        if version not in versions:
            return {}
        return self.force(api, version, body, label, patience)

    def force(self, api: str, version: int, body: Any, label: str = "", patience: float = PATIENCE) -> dict:
        """As `ask`, whether it is served or not."""
        outcome = self.exchange(api, version, body, patience)
        self.broker.steps.append(Step(api, version, label, outcome))
        return outcome if isinstance(outcome, dict) else {}

    def raw(self, label: str, data: bytes, patience: float = PATIENCE) -> None:
        """Sends bytes and notes whether the connection is answered or closed."""
        try:
            self.open().settimeout(patience)
            self.socket.sendall(data)
            outcome: Any = "answered" if self.socket.recv(4096) else "closed"
        except TimeoutError:
            outcome = "unanswered"
        except OSError:
            outcome = "closed"
        self.close()
        self.broker.steps.append(Step("raw", 0, label, outcome))

    def send(self, api: str, version: int, body: Any) -> tuple[str, int, int]:
        """Without waiting; what `receive` needs."""
        self.correlation += 1
        data = codec.encode(api, version, self.correlation, body, self.client)
        self.open().sendall(struct.pack(">i", len(data)) + data)
        return api, version, self.correlation

    def receive(self, sent: tuple[str, int, int], label: str = "", patience: float = PATIENCE) -> dict:
        """The answer to what was sent, noted."""
        outcome = self._outcome(sent, patience)
        self.broker.steps.append(Step(sent[0], sent[1], label, outcome))
        return outcome if isinstance(outcome, dict) else {}

    def exchange(self, api: str, version: int, body: Any, patience: float = PATIENCE) -> dict | str:
        try:
            sent = self.send(api, version, body)
        except OSError:
            self.close()
            return "closed"
        return self._outcome(sent, patience)

    def _outcome(self, sent: tuple[str, int, int], patience: float) -> dict | str:
        api, version, correlation = sent
        try:
            self.open().settimeout(patience)
            (size,) = struct.unpack(">i", receive(self.socket, 4))
            return codec.decode(api, version, correlation, receive(self.socket, size))
        except TimeoutError:
            self.close()
            return "unanswered"
        except OSError:
            self.close()
            return "closed"
