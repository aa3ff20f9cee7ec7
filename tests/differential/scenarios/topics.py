"""CreateTopics, DeleteTopics, CreatePartitions."""

from brokers import Broker

from .setup import UNKNOWN_ID, create, gone, settled

NAMES = ("", ".", "..", "a/b", "a b", "ä", "x" * 249, "x" * 250, "a.b_c-D9", "with\0nul", "__consumer_offsets", "__transaction_state",
         "__cluster_metadata", "__share_group_state")  # fmt: skip


def _topic(name: str | None, partitions: int = 1, replicas: int = 1, **more) -> dict:
    return {"name": name, "num_partitions": partitions, "replication_factor": replicas, **more}


def _try(broker: Broker, label: str, *topics: dict, **more) -> None:
    """In every version, validated only: nothing is changed."""
    body = {"topics": list(topics), "timeout_ms": 5000, "validate_only": True} | more
    broker.each("CreateTopics", body, label)


def creation_in_every_version(broker: Broker) -> None:
    for version in broker.versions("CreateTopics"):
        broker.ask("CreateTopics", version, {"topics": [_topic(f"created-{version}", 2)], "timeout_ms": 5000})
        settled(broker, f"created-{version}", 2)
        broker.ask("CreateTopics", version, {"topics": [_topic(f"created-{version}", 2)], "timeout_ms": 5000}, "exists")
        broker.ask(
            "CreateTopics", version, {"topics": [_topic(f"created-{version}", 2)], "validate_only": True}, "exists, validated"
        )
        broker.ask("Metadata", None, {"topics": [{"name": f"created-{version}"}]})


def creation_refused(broker: Broker) -> None:
    for name in NAMES:
        _try(broker, f"name {name[:20]!r}", _topic(name))
    for partitions in (0, -1, -2, -(1 << 31)):
        _try(broker, f"{partitions} partitions", _topic("t", partitions))
    for replicas in (0, -1, -2, 2, 3, 32767, -32768):
        _try(broker, f"{replicas} replicas", _topic("t", 1, replicas))
    _try(broker, "nothing")
    _try(broker, "the same twice", _topic("t"), _topic("t"), _topic("u"))
    _try(broker, "one bad", _topic("t"), _topic("a b"))
    _try(broker, "wrongly timed", _topic("t"), timeout_ms=-1)
    _try(broker, "no time", _topic("t"), timeout_ms=0)
    broker.each("CreateTopics", {"topics": None}, "null topics")
    broker.each("CreateTopics", {"topics": [_topic(None)], "validate_only": True}, "null name")
    broker.each("CreateTopics", {"topics": [_topic("t", configs=None)], "validate_only": True}, "null configs")
    broker.each("CreateTopics", {"topics": [_topic("t", assignments=None)], "validate_only": True}, "null assignments")


def names_that_collide(broker: Broker) -> None:
    create(broker, "collide.one")
    _try(broker, "collides", _topic("collide_one"))
    _try(broker, "collide with each other", _topic("both.ways"), _topic("both_ways"))


def assignments(broker: Broker) -> None:
    def assigned(*parts: tuple[int, list[int] | None], partitions: int = -1, replicas: int = -1) -> dict:
        rows = [{"partition_index": index, "broker_ids": ids} for index, ids in parts]
        return _topic("t", partitions, replicas, assignments=rows)

    for label, topic in {
        "right": assigned((0, [1]), (1, [1])),
        "out of order": assigned((1, [1]), (0, [1])),
        "empty": assigned((0, [])),
        "null": assigned((0, None)),
        "unknown broker": assigned((0, [2])),
        "negative broker": assigned((0, [-1])),
        "broker twice": assigned((0, [1, 1])),
        "not from 0": assigned((1, [1])),
        "with a gap": assigned((0, [1]), (2, [1])),
        "twice": assigned((0, [1]), (0, [1])),
        "negative": assigned((-1, [1])),
        "of different lengths": assigned((0, [1]), (1, [1, 2])),
        "and partitions": assigned((0, [1]), partitions=1),
        "and replicas": assigned((0, [1]), replicas=1),
    }.items():
        _try(broker, f"assignment {label}", topic)


def creation_with_configs(broker: Broker) -> None:
    for label, configs in {
        "right": [("retention.ms", "1000"), ("cleanup.policy", "compact,delete")],
        "unknown": [("no.such.key", "1")],
        "empty name": [("", "1")],
        "null value": [("retention.ms", None)],
        "empty value": [("retention.ms", "")],
        "not a number": [("retention.ms", "x")],
        "too low": [("segment.bytes", "0")],
        "too low for new ones": [("segment.bytes", "1000")],
        "negative": [("min.insync.replicas", "-1")],
        "zero": [("min.insync.replicas", "0")],
        "not a policy": [("cleanup.policy", "shred")],
        "empty policy": [("cleanup.policy", "")],
        "policy twice": [("cleanup.policy", "delete,delete")],
        "policy with spaces": [("cleanup.policy", " compact , delete ")],
        "not a codec": [("compression.type", "rar")],
        "codec in capitals": [("compression.type", "GZIP")],
        "codec's level": [("compression.gzip.level", "99")],
        "not a boolean": [("preallocate", "maybe")],
        "boolean in capitals": [("preallocate", "TRUE")],
        "not a ratio": [("min.cleanable.dirty.ratio", "1.5")],
        "spaces": [("retention.ms", " 5 ")],
        "twice": [("retention.ms", "1"), ("retention.ms", "2")],
        "two wrong": [("retention.ms", "x"), ("segment.bytes", "y")],
        "lag above": [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")],
        "remote": [("remote.storage.enable", "true")],
        "timestamp type": [("message.timestamp.type", "Never")],
        "throttled replicas": [("leader.replication.throttled.replicas", "x")],
        "throttled replicas right": [("leader.replication.throttled.replicas", "0:1,1:1")],
        "broker's key": [("log.retention.ms", "1")],
        "retired": [("message.format.version", "3.0")],
    }.items():
        rows = [{"name": name, "value": value} for name, value in configs]
        _try(broker, f"config {label}", _topic("t", configs=rows))


def deletion_in_every_version(broker: Broker) -> None:
    for version in broker.versions("DeleteTopics"):
        names = [f"deleted-{version}-{i}" for i in range(3)]
        ids = [create(broker, name) for name in names]
        by_name = version < 6
        wanted = {"topic_names": [names[0]]} if by_name else {"topics": [{"name": names[0]}]}
        broker.ask("DeleteTopics", version, wanted | {"timeout_ms": 5000}, "by name")
        gone(broker, names[0])
        broker.ask("DeleteTopics", version, wanted | {"timeout_ms": 5000}, "again")
        wanted = {"topic_names": [names[1]] * 2} if by_name else {"topics": [{"name": names[1]}] * 2}
        broker.ask("DeleteTopics", version, wanted | {"timeout_ms": 5000}, "twice in one")
        if not by_name:
            broker.ask("DeleteTopics", version, {"topics": [{"name": None, "topic_id": ids[2]}], "timeout_ms": 5000}, "by id")
            gone(broker, names[2])


def deletion_refused(broker: Broker) -> None:
    kept = create(broker, "kept")
    body = {"timeout_ms": 5000}
    for name in ("nowhere", "", "a/b", "x" * 300, "__cluster_metadata"):
        broker.each("DeleteTopics", body | {"topic_names": [name], "topics": [{"name": name}]}, f"name {name[:20]!r}")
    for timeout in (0, -1):
        late = {"topic_names": ["nowhere"], "topics": [{"name": "nowhere"}], "timeout_ms": timeout}
        broker.each("DeleteTopics", late, f"timeout {timeout}")
    broker.each("DeleteTopics", body | {"topic_names": [], "topics": []}, "nothing")
    broker.each("DeleteTopics", body | {"topic_names": None, "topics": None}, "null")
    broker.each("DeleteTopics", body | {"topic_names": [None], "topics": [{"name": None}]}, "null name")
    for label, topics in {
        "unknown id": [{"name": None, "topic_id": UNKNOWN_ID}],
        "unknown id twice": [{"name": None, "topic_id": UNKNOWN_ID}] * 2,
        "name and id": [{"name": "kept", "topic_id": kept}],
        "name and its id apart": [{"name": "kept"}, {"name": None, "topic_id": kept}],
        "neither": [{"name": None}],
    }.items():
        broker.each("DeleteTopics", body | {"topics": topics}, label, range(6, 99))


def growth(broker: Broker) -> None:
    create(broker, "grows", 2)

    def grow(label: str, count: int, assignments: list | None = None, name: str | None = "grows", validate: bool = True) -> None:
        rows = None if assignments is None else [{"broker_ids": ids} for ids in assignments]
        topic = {"name": name, "count": count, "assignments": rows}
        broker.each("CreatePartitions", {"topics": [topic], "timeout_ms": 5000, "validate_only": validate}, label)

    for count in (3, 2, 1, 0, -1, 1 << 30, 10001):
        grow(f"to {count}", count)
    grow("unknown topic", 3, name="nowhere")
    grow("empty name", 3, name="")
    grow("null name", 3, name=None)
    grow("bad name", 3, name="a/b")
    grow("assigned", 4, [[1], [1]])
    grow("assigned too few", 4, [[1]])
    grow("assigned too many", 3, [[1], [1]])
    grow("assigned nothing", 3, [])
    grow("assigned to nobody", 3, [[]])
    grow("assigned to a stranger", 3, [[7]])
    grow("assigned twice the same", 3, [[1, 1]])
    grow("assigned more replicas", 3, [[1, 2]])
    one = {"name": "grows", "count": 3, "assignments": None}
    broker.each("CreatePartitions", {"topics": [one, one], "validate_only": True}, "twice in one")
    broker.each("CreatePartitions", {"topics": [one, one | {"count": 4}], "validate_only": True}, "twice in one, differently")
    broker.each("CreatePartitions", {"topics": []}, "nothing")
    broker.each("CreatePartitions", {"topics": None}, "null")
    for timeout in (0, -1):
        broker.each("CreatePartitions", {"topics": [one], "timeout_ms": timeout, "validate_only": True}, f"timeout {timeout}")
    for index, version in enumerate(broker.versions("CreatePartitions")):
        body = {"topics": [{"name": "grows", "count": 3 + index, "assignments": None}], "timeout_ms": 5000}
        broker.ask("CreatePartitions", version, body, "for real")
        settled(broker, "grows", 3 + index)
        broker.ask("CreatePartitions", version, body, "for real again")
