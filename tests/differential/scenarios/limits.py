"""Quotas as they are felt: answers of clients that go beyond them. Each client has a name, and an address, of its own."""

from batches import batch
from brokers import Broker

from .setup import create, fence, gone, produce_body, settled


def _limit(broker: Broker, kind: str, name: str, key: str, value: float | None) -> None:
    op = {"key": key, "value": value or 0.0, "remove": value is None}
    entry = {"entity": [{"entity_type": kind, "entity_name": name}], "ops": [op]}
    with broker.connection() as asking:
        asking.ask("AlterClientQuotas", 1, {"entries": [entry]}, f"{key} of {name}")
    fence(broker)


def _topics(*names: str, count: int = 2) -> list[dict]:
    return [{"name": name, "num_partitions": count, "replication_factor": 1} for name in names]


def mutations_of_topics(broker: Broker) -> None:
    """Strict from the versions on that know the error, a pause only before."""
    create(broker, "grown")
    create(broker, "kept")
    # The burst is less than one mutation; what was let through has to be paid for.
    for client, strict in (("strict", True), ("lenient", False)):
        _limit(broker, "client-id", client, "controller_mutation_rate", 0.01)

        def ask(label: str, api: str, version: int, body: dict) -> None:
            with broker.connection(client) as asking:
                asking.ask(api, version, body, f"{client} {label}")

        old = 0 if strict else 1
        first = {"topics": _topics(f"{client}-a", f"{client}-b"), "timeout_ms": 5000}
        # As long as nothing was taken, validation takes the whole burst.
        ask("first", "CreateTopics", 6 - old, first)
        ask("validated", "CreateTopics", 6 - old, {"topics": _topics("never-c"), "timeout_ms": 5000, "validate_only": True})
        ask("second", "CreateTopics", 6 - old, {"topics": _topics(f"{client}-c"), "timeout_ms": 5000})
        ask("wrong", "CreateTopics", 6 - old, {"topics": _topics(f"{client}-d", count=-5), "timeout_ms": 5000})
        ask("there already", "CreateTopics", 6 - old, {"topics": _topics("kept"), "timeout_ms": 5000})
        ask(
            "grow",
            "CreatePartitions",
            3 - old,
            {"topics": [{"name": "grown", "count": 3 + old, "assignments": None}], "timeout_ms": 5000},
        )
        growth = {"topics": [{"name": "kept", "count": 3, "assignments": None}], "timeout_ms": 5000, "validate_only": True}
        ask("validated growth", "CreatePartitions", 3 - old, growth)
        ask(
            "not grown",
            "CreatePartitions",
            3 - old,
            {"topics": [{"name": "grown", "count": 1, "assignments": None}], "timeout_ms": 5000},
        )
        ask("delete", "DeleteTopics", 5 - old, {"topic_names": [f"{client}-a", "nowhere"], "timeout_ms": 5000})
        fence(broker)
        for name in (f"{client}-a", f"{client}-b", f"{client}-c", "grown"):
            broker.ask("Metadata", 12, {"topics": [{"name": name}], "allow_auto_topic_creation": False}, f"{client} {name}")
        _limit(broker, "client-id", client, "controller_mutation_rate", None)
        ask("no limit any more", "CreateTopics", 7, {"topics": _topics(f"{client}-e"), "timeout_ms": 5000})
        settled(broker, f"{client}-e", 2)


def requests(broker: Broker) -> None:
    _limit(broker, "client-id", "busy", "request_percentage", 1e-6)
    create(broker, "asked-for")
    part = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    fetch = {
        "topics": [{"topic": "asked-for", "partitions": [part]}],
        "max_bytes": 1 << 20,
        "replica_id": -1,
        "session_epoch": -1,
    }
    broker.ask("Produce", 9, produce_body("asked-for", batch(b"x")), "to be fetched")
    for api, version, body in [
        ("Metadata", 12, {"topics": []}),
        ("ApiVersions", 3, {"client_software_name": "a", "client_software_version": "1"}),
        ("Produce", 9, produce_body("asked-for", batch(b"x"))),
        ("Fetch", 12, fetch),
        ("FindCoordinator", 4, {"coordinator_keys": ["g"]}),
        ("DescribeConfigs", 4, {"resources": [{"resource_type": 2, "resource_name": "asked-for"}]}),
        ("CreateTopics", 7, {"topics": _topics("validated"), "timeout_ms": 5000, "validate_only": True}),
    ]:
        with broker.connection("busy") as asking:
            # What is counted is felt by the next request at the latest.
            asking.exchange("Metadata", 12, {"topics": []})
            asking.ask(api, version, body, "of a busy client")
    with broker.connection("another") as asking:
        asking.ask("Metadata", 12, {"topics": []}, "of another")
    _limit(broker, "client-id", "busy", "request_percentage", None)
    with broker.connection("busy") as asking:
        asking.ask("Metadata", 12, {"topics": []}, "no limit any more")


def bytes_of_clients(broker: Broker) -> None:
    create(broker, "limited")
    _limit(broker, "client-id", "limited", "producer_byte_rate", 30.0)
    data = batch(b"x" * 400)
    for label in ("first", "second"):
        with broker.connection("limited") as asking:
            asking.ask("Produce", 9, produce_body("limited", data), f"{label} produce")
    _limit(broker, "client-id", "limited", "consumer_byte_rate", 30.0)
    part = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    wanted = {"topics": [{"topic": "limited", "partitions": [part]}], "max_bytes": 1 << 20, "replica_id": -1, "session_epoch": -1}
    for version in (4, 6, 7, 12):
        with broker.connection("limited") as asking:
            asking.ask("Fetch", version, wanted, "fetch")
    for key in ("producer_byte_rate", "consumer_byte_rate"):
        _limit(broker, "client-id", "limited", key, None)


def connections_of_addresses(broker: Broker) -> None:
    for name, address in (("127.0.0.7", "127.0.0.7"), (None, "127.0.0.8")):
        _limit(broker, "ip", name, "connection_creation_rate", 0.5 if name is None else 1.0)
        _limit(broker, "ip", name, "connection_creation_rate", 1.0)
        for number in range(13):
            with broker.connection(address=address) as asking:
                asking.ask("Metadata", 12, {"topics": []}, f"connection {number} from {address}")
        _limit(broker, "ip", name, "connection_creation_rate", None)
        with broker.connection(address=address) as asking:
            asking.ask("Metadata", 12, {"topics": []}, f"{address} without a limit")


def cleared(broker: Broker) -> None:
    broker.ask("DescribeClientQuotas", 1, {"components": [], "strict": False}, "in the end")
    with broker.connection() as asking:
        asking.ask("DeleteTopics", 5, {"topic_names": ["kept"], "timeout_ms": 5000}, "cleared")
        gone(broker, "kept")
