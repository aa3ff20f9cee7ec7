"""Metadata, DescribeTopicPartitions, DescribeCluster, DescribeQuorum, FindCoordinator."""

from brokers import Broker

from .setup import UNKNOWN_ID, create


def metadata(broker: Broker) -> None:
    known = create(broker, "described", 3)
    for label, topics in {
        "one": [{"name": "described"}],
        "unknown": [{"name": "nowhere"}],
        "twice": [{"name": "described"}] * 2,
        "unknown twice": [{"name": "nowhere"}] * 2,
        "both": [{"name": "nowhere"}, {"name": "described"}],
        "empty name": [{"name": ""}],
        "bad name": [{"name": "a/b"}],
        "long name": [{"name": "x" * 300}],
        "null name": [{"name": None}],
        "none": [],
        "all": None,
    }.items():
        broker.each("Metadata", {"topics": topics, "allow_auto_topic_creation": False}, label)
        broker.each("Metadata", {"topics": topics, "allow_auto_topic_creation": True}, f"{label}, may be created")
    for label, topics in {
        "by id": [{"name": None, "topic_id": known}],
        "by unknown id": [{"name": None, "topic_id": UNKNOWN_ID}],
        "by name and id": [{"name": "described", "topic_id": known}],
        "by name and unknown id": [{"name": "described", "topic_id": UNKNOWN_ID}],
        "by wrong name and id": [{"name": "nowhere", "topic_id": known}],
        "by neither": [{"name": None}],
        "by both kinds": [{"name": "described"}, {"name": None, "topic_id": known}],
        "by id twice": [{"name": None, "topic_id": known}] * 2,
    }.items():
        broker.each("Metadata", {"topics": topics}, label, range(10, 99))
    operations = {"include_topic_authorized_operations": True, "include_cluster_authorized_operations": True}
    broker.each("Metadata", {"topics": [{"name": "described"}]} | operations, "operations", range(8, 99))
    broker.each("Metadata", {"topics": [{"name": "nowhere"}]} | operations, "operations of nothing", range(8, 99))


def topic_partitions(broker: Broker) -> None:
    for name in ("parts-b", "parts-a", "parts-c"):
        create(broker, name, 3)

    def ask(label: str, topics: list | None, limit: int = 2000, cursor: dict | None = None) -> None:
        names = None if topics is None else [{"name": name} for name in topics]
        broker.each("DescribeTopicPartitions", {"topics": names, "response_partition_limit": limit, "cursor": cursor}, label)

    every = ["parts-b", "parts-a", "parts-c"]
    ask("all three", every)
    ask("unknown", ["nowhere", "parts-a"])
    ask("twice", ["parts-a", "parts-a"])
    ask("bad names", ["", "a/b", "x" * 300])
    ask("null name", [None])
    ask("null", None)
    for limit in (-1, 0, 1, 2, 3, 4, 1 << 30):
        ask(f"limit {limit}", every, limit)
    for topic, partition in [
        ("parts-a", 0),
        ("parts-a", 2),
        ("parts-a", 3),
        ("parts-a", -1),
        ("parts-b", 1),
        ("nowhere", 0),
        ("zz", 0),
        ("", 0),
    ]:
        cursor = {"topic_name": topic, "partition_index": partition}
        ask(f"from {topic} {partition}", every, 4, cursor)
    ask("all from a topic that is not there", [], 3, {"topic_name": "parts-aa", "partition_index": 0})
    ask("from a topic that is not asked for", ["parts-a", "parts-c"], 4, {"topic_name": "parts-b", "partition_index": 1})


def cluster(broker: Broker) -> None:
    for kind in (0, 1, 2, 3, -1):
        for operations in (False, True):
            body = {"endpoint_type": kind, "include_cluster_authorized_operations": operations}
            broker.each("DescribeCluster", body, f"endpoints {kind}, operations {operations}")
    broker.each("DescribeCluster", {"include_fenced_brokers": True}, "fenced too")


def quorum(broker: Broker) -> None:
    for label, topics in {
        "right": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}],
        "other partition": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 1}]}],
        "two partitions": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}, {"partition_index": 1}]}],
        "no partition": [{"topic_name": "__cluster_metadata", "partitions": []}],
        "other topic": [{"topic_name": "nowhere", "partitions": [{"partition_index": 0}]}],
        "two topics": [
            {"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]},
            {"topic_name": "nowhere", "partitions": [{"partition_index": 0}]},
        ],
        "nothing": [],
    }.items():
        broker.each("DescribeQuorum", {"topics": topics}, label)


def find_coordinator(broker: Broker) -> None:
    # The first one makes the topic; what it is told meanwhile depends on the time.
    from .setup import coordinator

    coordinator(broker)
    for key in ("g", "", "x" * 300):
        broker.each("FindCoordinator", {"key": key, "coordinator_keys": [key]}, f"key {key[:20]!r}")
    broker.each("FindCoordinator", {"key": None, "coordinator_keys": [None]}, "null key")
    broker.each("FindCoordinator", {"coordinator_keys": []}, "no keys", range(4, 99))
    broker.each("FindCoordinator", {"coordinator_keys": ["a", "a", "b"]}, "keys twice", range(4, 99))
    for kind in (2, 3, -1, 127):
        broker.each(
            "FindCoordinator",
            {"key": "g", "coordinator_keys": ["g", "g:CQkJCQkJCQkJCQkJCQkJCQ:0"], "key_type": kind},
            f"kind {kind}",
        )
