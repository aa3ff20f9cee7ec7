"""What admins ask about leaders, replicas, brokers and voters, on a cluster of one."""

from brokers import Broker

from .setup import create, fence

HIGHEST = 2147483647


def elections(broker: Broker) -> None:
    create(broker, "led", 2)

    def elect(label: str, partitions: list | None, kind: int = 0, timeout: int = 5000) -> None:
        broker.each(
            "ElectLeaders",
            lambda version: (
                {"topic_partitions": partitions, "timeout_ms": timeout} | ({"election_type": kind} if version else {})
            ),
            label,
        )

    for kind in (0, 1):
        for label, partitions in {
            "led already": [{"topic": "led", "partitions": [0, 1]}],
            "unknown topic": [{"topic": "nowhere", "partitions": [0]}],
            "unknown partition": [{"topic": "led", "partitions": [0, 7, -1, HIGHEST]}],
            "no name": [{"topic": "", "partitions": [0]}],
            "no partitions": [{"topic": "led", "partitions": []}],
            "nothing": [],
            "all": None,
            "two topics": [{"topic": "led", "partitions": [1]}, {"topic": "nowhere", "partitions": [1]}],
        }.items():
            elect(f"{label}, kind {kind}", partitions, kind)
    for kind in (2, -1, 127):
        elect(f"kind {kind}", [{"topic": "led", "partitions": [0]}], kind)
        elect(f"all, kind {kind}", None, kind)


def reassignments(broker: Broker) -> None:
    create(broker, "moved", 2)
    fence(broker)

    def alter(label: str, *partitions: tuple, topic: str = "moved", **more: object) -> None:
        rows = [{"partition_index": index, "replicas": replicas} for index, replicas in partitions]
        body = {"timeout_ms": 5000, "topics": [{"name": topic, "partitions": rows}]} | more
        broker.each("AlterPartitionReassignments", body, label)

    def show(label: str, topics: list | None) -> None:
        broker.each("ListPartitionReassignments", {"timeout_ms": 5000, "topics": topics}, label)

    for label, partitions in {
        "where it is": [(0, [1])],
        "both where they are": [(0, [1]), (1, [1])],
        "nowhere": [(0, [])],
        "twice the same": [(0, [1, 1])],
        "an unknown broker": [(0, [99])],
        "here and an unknown broker": [(0, [1, 99])],
        "a negative broker": [(0, [-1])],
        "cancelled": [(0, None)],
        "both cancelled": [(0, None), (1, None)],
        "an unknown partition": [(7, [1])],
        "a negative partition": [(-1, [1])],
        "an unknown partition cancelled": [(7, None)],
        "right and wrong": [(0, [1]), (1, [99])],
        "no partitions": [],
    }.items():
        for version_one in ({}, {"allow_replication_factor_change": False}):
            alter(f"{label} {version_one or ''}".strip(), *partitions, **version_one)
    alter("an unknown topic", (0, [1]), topic="nowhere")
    alter("no name", (0, [1]), topic="")
    broker.each("AlterPartitionReassignments", {"timeout_ms": 5000, "topics": []}, "nothing")
    for label, topics in {
        "all": None,
        "one": [{"name": "moved", "partition_indexes": [0, 1]}],
        "unknown": [{"name": "nowhere", "partition_indexes": [0]}],
        "unknown partition": [{"name": "moved", "partition_indexes": [7, -1]}],
        "no partitions": [{"name": "moved", "partition_indexes": []}],
        "nothing": [],
    }.items():
        show(label, topics)


def unknown_brokers(broker: Broker) -> None:
    for identity in (99, -1, HIGHEST, -HIGHEST):
        broker.each("UnregisterBroker", {"broker_id": identity}, f"broker {identity}")


def voters(broker: Broker) -> None:
    listener = {"name": "CONTROLLER", "host": "localhost", "port": 9}
    directory = "CQkJCQkJCQkJCQkJCQkJCQ"

    def add(label: str, **more: object) -> None:
        voter = {"timeout_ms": 500, "voter_id": 7, "voter_directory_id": directory, "listeners": [listener]}
        broker.each("AddRaftVoter", voter | more, label)

    add("of another cluster", cluster_id="other")
    add("there already", voter_id=1)
    add("negative", voter_id=-1)
    add("without listeners", listeners=[])
    add("by another listener", listeners=[listener | {"name": "OTHER"}])
    for label, body in {
        "of another cluster": {"cluster_id": "other", "voter_id": 7, "voter_directory_id": directory},
        "unknown": {"voter_id": 7, "voter_directory_id": directory},
        "with another directory": {"voter_id": 1, "voter_directory_id": directory},
        "negative": {"voter_id": -1, "voter_directory_id": directory},
    }.items():
        broker.each("RemoveRaftVoter", body, label)
