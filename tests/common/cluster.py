"""Clusters of real processes, of ours and of Apache Kafka's, combined or with separate roles, on loopback or each in a network of its own."""

import base64
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodes
from nodes import CLUSTER_ID, Node, free_port
from wire import ask

# What neither kind of node is told to do otherwise: features that we do not serve yet.
WITHOUT = ("transaction.version", "group.version", "share.version", "streams.version")
# Several nodes as the client scenarios expect a single one.
CLIENTS = {"auto.create.topics.enable": "true", "offsets.topic.num.partitions": "50"}
COMBINED, CONTROLLER, BROKER = "broker,controller", "controller", "broker"
NOBODY = -1
TOPIC_ALREADY_EXISTS, ELECTION_NOT_NEEDED = 36, 84
# REQUEST_TIMED_OUT, NOT_CONTROLLER, PREFERRED_LEADER_NOT_AVAILABLE (it is not in sync right now)
AGAIN = {7, 41, 80}


@dataclass(frozen=True)
class Member:
    """A node to be: its id, its kind (`nodes.Ottla` or `nodes.Apache`), its roles and settings of its own."""

    id: int
    kind: type[Node]
    roles: str = COMBINED
    overrides: tuple[tuple[str, str], ...] = ()


def combined(*kinds: type[Node]) -> list[Member]:
    """Nodes 1, 2, … that are controllers and brokers."""
    return [Member(number, kind) for number, kind in enumerate(kinds, 1)]


def separate(controllers: Iterable[type[Node]], brokers: Iterable[type[Node]]) -> list[Member]:
    """Controllers 1, 2, … and brokers 11, 12, …"""
    voters = [Member(number, kind, CONTROLLER) for number, kind in enumerate(controllers, 1)]
    return voters + [Member(number, kind, BROKER) for number, kind in enumerate(brokers, 11)]


@dataclass(frozen=True)
class Partition:
    """What the metadata says of one."""

    leader: int
    epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    elr: tuple[int, ...]
    last_known_elr: tuple[int, ...]

    def outcome(self) -> dict[str, Any]:
        """What two clusters after the same faults have to agree on."""
        return {
            "leader": self.leader,
            "isr": sorted(self.isr),
            "elr": sorted(self.elr),
            "last known elr": sorted(self.last_known_elr),
        }


class Cluster:
    """Formatted when made; nothing runs before `start`. `overrides` are settings of all; ports are fixed from the beginning.
    `disks` are directories for the data of some nodes."""

    def __init__(
        self,
        home: Path,
        members: list[Member],
        overrides: dict[str, str] | None = None,
        elr: int = 0,
        kraft: int = 1,
        network: Any = None,
        disks: dict[int, Path] | None = None,
        replication: int = 3,
    ):
        self.members, self.elr, self.kraft = {member.id: member for member in members}, elr, kraft
        self.replication = replication
        hosts = {member.id: network.add(member.id) if network else ("127.0.0.1", None) for member in members}
        ports = {member.id: (free_port(), free_port()) for member in members}
        voters = [member.id for member in members if "controller" in member.roles]
        self.voter_addresses = {voter: (hosts[voter][0], ports[voter][1]) for voter in voters}
        self.nodes: dict[int, Node] = {}
        # A cluster that several scenarios share is not ended with the first of them.
        prefix = "shared" if home.name.startswith("shared") else "node"
        for member in members:
            settings = self._settings(member, hosts[member.id][0], ports[member.id]) | (overrides or {}) | dict(member.overrides)
            host, namespace = hosts[member.id]
            self.nodes[member.id] = member.kind(home / f"{prefix}-{member.id}", settings, ports[member.id][0], host, namespace)
            self.nodes[member.id].controller_port = ports[member.id][1]
            if disks and member.id in disks:
                self.nodes[member.id].data = disks[member.id]
                self.nodes[member.id].properties["log.dirs"] = str(disks[member.id])
        self.controllers = voters
        self.brokers = [member.id for member in members if "broker" in member.roles]
        self._format()

    def _settings(self, member: Member, host: str, ports: tuple[int, int]) -> dict[str, str | None]:
        """Those that a cluster's nodes differ in from a single node."""
        listeners = []
        if "broker" in member.roles:
            listeners.append(f"PLAINTEXT://{host}:{ports[0]}")
        if "controller" in member.roles:
            listeners.append(f"CONTROLLER://{host}:{ports[1]}")
        addresses = {voter: f"{host}:{port}" for voter, (host, port) in self.voter_addresses.items()}
        return {
            "process.roles": member.roles,
            "node.id": str(member.id),
            "listeners": ",".join(listeners),
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.bootstrap.servers": ",".join(addresses.values()) if self.kraft else None,
            "controller.quorum.voters": None if self.kraft else ",".join(f"{id}@{at}" for id, at in addresses.items()),
            "default.replication.factor": str(self.replication),
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": str(self.replication),
            "offsets.topic.num.partitions": "3",
            "auto.create.topics.enable": "false",
            "ottla.http.listener": f"{host}:{free_port()}" if member.kind is nodes.Ottla else None,
        }

    def _format(self) -> None:
        directories = {voter: directory_id() for voter in self.controllers}
        initial = ",".join(f"{id}@{host}:{port}:{directories[id]}" for id, (host, port) in self.voter_addresses.items())
        features = dict.fromkeys(WITHOUT, 0) | {"eligible.leader.replicas.version": self.elr}
        levels = [part for name, level in features.items() for part in ("--feature", f"{name}={level}")]

        def format(id: int) -> None:
            if not self.kraft:
                who = []
            elif id in self.controllers:
                who = ["--initial-controllers", initial]
            else:
                who = ["--no-initial-controllers"]
            self.nodes[id].format("-t", CLUSTER_ID, *who, *levels)

        each(format, self.nodes)

    # Processes

    def start(self, seconds: float = 300) -> "Cluster":
        """All at once; returns when there is an active controller that has unfenced every broker."""
        for node in self.nodes.values():
            node.start(wait=False)
        self.until_active(seconds)
        self.until_registered(self.brokers, seconds)
        return self

    def restart(self, id: int, seconds: float = 300) -> None:
        """Starts a node that is down; a broker is waited for until all others serve it."""
        self.nodes[id].start(wait=False)
        if id in self.brokers:
            self.until_registered([id], seconds)
        self.until_active(seconds)

    def kill(self, id: int) -> float:
        """kill -9; when."""
        at = time.monotonic()
        self.nodes[id].kill()
        return at

    def stop(self, id: int) -> float:
        """SIGTERM, and how long it took to end."""
        at = time.monotonic()
        code = self.nodes[id].stop()
        assert code in (0, 143), f"node {id} ended with {code}:\n{self.nodes[id].tail()}"
        return time.monotonic() - at

    @property
    def running(self) -> list[int]:
        return [id for id, node in self.nodes.items() if node.is_running()]

    @property
    def bootstrap(self) -> str:
        return ",".join(self.nodes[id].bootstrap for id in self.brokers)

    # Questions

    def ask(self, api: str, version: int, body: dict, of: int | None = None, seconds: float = 5) -> dict:
        """One request to that broker, or to the first that answers."""
        unanswered: Exception | None = None
        for id in [of] if of is not None else [id for id in self.brokers if id in self.running]:
            try:
                return ask((self.nodes[id].host, self.nodes[id].port), api, version, body, seconds)
            except OSError as error:
                unanswered = error
        raise unanswered or AssertionError("no broker runs")

    def quorum(self) -> dict | None:
        """What the leader of the metadata quorum says of it; None where nobody leads."""
        body = {"topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]}
        for id in self.controllers:
            if id in self.running:
                try:
                    answer = ask(self.voter_addresses[id], "DescribeQuorum", 1, body, 2)
                except OSError:
                    continue
                if answer["error_code"] == 0 and answer["topics"][0]["partitions"][0]["error_code"] == 0:
                    return answer["topics"][0]["partitions"][0]
        return None

    def active_controller(self) -> int:
        quorum = self.quorum()
        return quorum["leader_id"] if quorum else NOBODY

    def registered(self, of: int) -> set[int]:
        """The brokers that serve, as one of them knows. (Metadata names those that left a moment ago, too.)"""
        brokers = self.ask("DescribeCluster", 1, {"endpoint_type": 1}, of, 2)["brokers"]
        return {broker["broker_id"] for broker in brokers}

    def describe(self, topic: str, of: int | None = None) -> dict[int, Partition]:
        """By partition; empty where the topic is not known."""
        (answer,) = self.ask("DescribeTopicPartitions", 0, {"topics": [{"name": topic}]}, of)["topics"]
        fields = ("replica_nodes", "isr_nodes", "eligible_leader_replicas", "last_known_elr")
        return {
            found["partition_index"]: Partition(
                found["leader_id"], found["leader_epoch"], *(tuple(found[field] or ()) for field in fields)
            )
            for found in answer["partitions"]
        }

    def leaders(self, topic: str) -> dict[int, int]:
        return {partition: state.leader for partition, state in self.describe(topic).items()}

    def offset(self, topic: str, partition: int, timestamp: int) -> int:
        """The partition's first (-2) offset, or its high watermark (-1)."""
        asked = {"partition_index": partition, "timestamp": timestamp}
        body = {"replica_id": -1, "topics": [{"name": topic, "partitions": [asked]}]}
        found = self.ask("ListOffsets", 7, body, self.leaders(topic)[partition])["topics"][0]["partitions"][0]
        assert found["error_code"] == 0, f"{topic}-{partition}: {found}"
        return found["offset"]

    # Changes

    def create(self, topic: str, assignment: list[list[int]], **configs: str) -> None:
        """A topic with these replicas for its partitions, known to every broker that runs."""
        replicas = [{"partition_index": index, "broker_ids": ids} for index, ids in enumerate(assignment)]
        spec = {
            "name": topic,
            "num_partitions": -1,
            "replication_factor": -1,
            "assignments": replicas,
            "configs": [{"name": name.replace("_", "."), "value": value} for name, value in configs.items()],
        }
        body = {"topics": [spec], "timeout_ms": 20_000}
        self._decided("CreateTopics", 5, body, lambda answer: answer["topics"], {TOPIC_ALREADY_EXISTS})
        for id in [id for id in self.brokers if id in self.running]:
            self.until(f"{topic} on broker {id}", lambda: len(self.describe(topic, id)) == len(assignment))

    def reassign(self, topic: str, assignment: dict[int, list[int]], seconds: float = 240) -> None:
        """Other replicas, or another order of them; returns when they are in place."""
        partitions = [{"partition_index": partition, "replicas": ids} for partition, ids in assignment.items()]
        body = {"timeout_ms": 20_000, "topics": [{"name": topic, "partitions": partitions}]}
        self._decided(
            "AlterPartitionReassignments",
            0,
            body,
            lambda answer: [it for said in answer["responses"] for it in said["partitions"]],
        )
        wanted = {partition: tuple(ids) for partition, ids in assignment.items()}

        def in_place() -> bool:
            return {partition: self.describe(topic)[partition].replicas for partition in wanted} == wanted

        self.until(f"replicas of {topic} in place", in_place, seconds)

    def elect_preferred(self, topic: str) -> None:
        partitions = list(self.describe(topic))
        body = {"election_type": 0, "topic_partitions": [{"topic": topic, "partitions": partitions}], "timeout_ms": 20_000}
        results = lambda answer: [it for said in answer["replica_election_results"] for it in said["partition_result"]]  # noqa: E731
        self._decided("ElectLeaders", 2, body, results, {ELECTION_NOT_NEEDED})

    def _decided(self, api: str, version: int, body: dict, parts: Callable[[dict], list[dict]], fine=frozenset()) -> None:
        """Asks until the controller has decided: while nobody is active it says so, or that it took too long."""

        def accepted() -> bool:
            answer = self.ask(api, version, body, seconds=25)
            errors = {part["error_code"] for part in [answer, *parts(answer)] if part.get("error_code")} - fine
            assert errors <= AGAIN, answer
            return not errors

        self.until(f"{api} is accepted", accepted)

    def lead(self, topic: str, leaders: dict[int, int]) -> None:
        """Makes these brokers the preferred leaders, and has them elected."""
        order = {
            partition: [leaders[partition]] + [id for id in state.replicas if id != leaders[partition]]
            for partition, state in self.describe(topic).items()
            if partition in leaders
        }
        self.reassign(topic, order)
        self.elect_preferred(topic)
        self.until(f"leaders {leaders} of {topic}", lambda: self.leaders(topic).items() >= leaders.items())

    # Waiting

    def until(self, what: str, holds: Callable[[], Any], seconds: float = 300) -> float:
        """How long it took in seconds. What does not come is told with the end of every node's log."""
        begin, seen = time.monotonic(), None
        while True:
            try:
                seen = holds()
            except OSError as error:
                seen = error
            if seen and not isinstance(seen, OSError):
                return time.monotonic() - begin
            if time.monotonic() > begin + seconds:
                raise AssertionError(f"not in {seconds} s: {what} (last: {seen!r})\n{self.tails()}")
            time.sleep(0.05)

    def until_active(self, seconds: float = 300) -> float:
        return self.until("an active controller", lambda: self.active_controller() != NOBODY, seconds)

    def until_registered(self, ids: list[int], seconds: float = 300) -> float:
        """Until every running broker tells of these, and these answer."""

        def known() -> bool:
            asked = {id for id in self.brokers if id in self.running} | set(ids)
            return all(self.registered(id) >= set(ids) for id in asked)

        return self.until(f"brokers {ids} serve and are known to all", known, seconds)

    def until_fenced(self, ids: list[int], seconds: float = 300) -> float:
        return self.until(f"brokers {ids} are fenced", lambda: not (self.registered_anywhere() & set(ids)), seconds)

    def registered_anywhere(self) -> set[int]:
        """The union of what the running brokers that are not among the silent tell."""
        told: set[int] = set()
        for id in [id for id in self.brokers if id in self.running]:
            try:
                told |= self.registered(id)
            except OSError:
                continue
        return told

    def until_whole(self, topic: str, seconds: float = 300) -> float:
        """Until every replica is in sync and every partition has a leader."""

        def whole() -> bool:
            states = self.describe(topic).values()
            return bool(states) and all(set(it.isr) == set(it.replicas) and it.leader >= 0 for it in states)

        return self.until(f"{topic} is whole", whole, seconds)

    def tails(self, lines: int = 15) -> str:
        parts = []
        for id, node in self.nodes.items():
            state = (
                "not started"
                if node.process is None
                else "runs"
                if node.is_running()
                else f"ended with {node.process.returncode}"
            )
            parts.append(f"--- node {id} ({type(node).__name__}, {self.members[id].roles}): {state}")
            parts.append(node.tail(lines) if node.log.exists() else "(no log)")
        return "\n".join(parts)


def running(home: Path, overrides: dict[str, str] | None = None):
    """For a fixture: one node, or as many as the client scenarios are to have; something with a `bootstrap`."""
    if nodes.REPLICAS == 1:
        node = nodes.first_node(home, overrides).start()
        yield node
        assert node.stop() in (0, 143)
        return
    kind = nodes.Apache if nodes.AGAINST_APACHE else nodes.Ottla
    cluster = Cluster(home, combined(*[kind] * nodes.REPLICAS), CLIENTS | (overrides or {})).start()
    yield cluster
    # One after the other they could not stop: the last would wait for a majority.
    for node in cluster.nodes.values():
        node.kill()


def directory_id() -> str:
    """A random one that begins as no option does."""
    while True:
        text = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def each(do: Callable[[Any], Any], what: Iterable[Any]) -> list[Any]:
    """At once; Java's start is most of what the tools take."""
    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(do, what))
