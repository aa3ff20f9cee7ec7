"""Topics that are made because somebody asks for them: a pair of brokers of their own."""

from batches import batch
from brokers import Broker

from .setup import create, produce_body, settled

# Their settings besides those of all.
SETTINGS = {"auto.create.topics.enable": "true", "num.partitions": "3"}


def _asked(broker: Broker, name: str | None, label: str, version: int = 12, **more) -> None:
    broker.ask("Metadata", version, {"topics": [{"name": name}]} | more, label)


def _is_there(broker: Broker, *names: str) -> None:
    for name in names:
        _asked(broker, name, f"whether {name} is there", allow_auto_topic_creation=False)


def by_metadata(broker: Broker) -> None:
    for version in broker.versions("Metadata"):
        _asked(broker, f"asked-{version}", "first", version)
        settled(broker, f"asked-{version}", 3)
        _asked(broker, f"asked-{version}", "again", version)
    for version in broker.versions("Metadata"):
        if version >= 4:
            _asked(broker, f"unwanted-{version}", "not to be made", version, allow_auto_topic_creation=False)
            _is_there(broker, f"unwanted-{version}")
    resource = {"resource_type": 2, "resource_name": "asked-12", "configuration_keys": ["retention.ms", "cleanup.policy"]}
    broker.ask("DescribeConfigs", 4, {"resources": [resource]}, "made with defaults")


def names(broker: Broker) -> None:
    for name in ("", ".", "..", "a/b", "ä", "x" * 249, "x" * 250, None):
        _asked(broker, name, f"named {name[:20] if name else name!r}")
    settled(broker, "x" * 249, 3)
    create(broker, "one.dot")
    _asked(broker, "one_dot", "named almost alike")
    _is_there(broker, "one_dot", "x" * 249)
    _asked(broker, "__consumer_offsets", "the internal one")
    settled(broker, "__consumer_offsets", 3)
    _is_there(broker, "__consumer_offsets")
    resource = {
        "resource_type": 2,
        "resource_name": "__consumer_offsets",
        "configuration_keys": ["cleanup.policy", "segment.bytes"],
    }
    broker.ask("DescribeConfigs", 4, {"resources": [resource]}, "the internal one's configs")
    broker.ask("Metadata", 12, {"topics": [{"name": "double"}, {"name": "double"}]}, "twice")
    settled(broker, "double", 3)
    both = {"topics": [{"name": "one.dot"}, {"name": "a/b"}, {"name": "new"}]}
    broker.ask("Metadata", 12, both, "one there, one wrong, one new")
    settled(broker, "new", 3)
    broker.ask("Metadata", 12, {"topics": None}, "all")
    broker.ask("Metadata", 12, {"topics": []}, "none")


def by_nothing_else(broker: Broker) -> None:
    name = "never"
    part = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    for api, version, body in [
        ("Produce", 9, produce_body(name, batch(b"x"))),
        (
            "Fetch",
            12,
            {"topics": [{"topic": name, "partitions": [part]}], "max_bytes": 99, "replica_id": -1, "session_epoch": -1},
        ),
        ("ListOffsets", 7, {"replica_id": -1, "topics": [{"name": name, "partitions": [{"timestamp": -1}]}]}),
        ("DescribeTopicPartitions", 0, {"topics": [{"name": name}]}),
        ("DeleteRecords", 2, {"topics": [{"name": name, "partitions": [{"offset": 0}]}], "timeout_ms": 1000}),
    ]:
        broker.ask(api, version, body, "of a topic that is not there")
        _is_there(broker, name)


def beyond_a_quota(broker: Broker) -> None:
    op = {"key": "controller_mutation_rate", "value": 0.01, "remove": False}
    entry = {"entity": [{"entity_type": "client-id", "entity_name": "greedy"}], "ops": [op]}
    broker.ask("AlterClientQuotas", 1, {"entries": [entry]}, "limited")
    with broker.connection("greedy") as asking:
        asking.ask("Metadata", 12, {"topics": [{"name": "greedy-a"}]}, "first")
    settled(broker, "greedy-a", 3)
    with broker.connection("greedy") as asking:
        asking.ask("Metadata", 12, {"topics": [{"name": "greedy-b"}]}, "beyond")
    _is_there(broker, "greedy-a", "greedy-b")
