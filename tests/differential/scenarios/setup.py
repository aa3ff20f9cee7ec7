"""What scenarios begin with. A wait is not a step: the brokers may take different times."""

from batches import batch
from brokers import UNKNOWN_ID, Broker

__all__ = ["UNKNOWN_ID", "batch", "coordinator", "create", "fence", "fill", "gone", "produce_body", "settled"]


def create(broker: Broker, name: str, partitions: int = 1, **configs: str) -> str:
    """A topic, its id."""
    topic = {
        "name": name, "num_partitions": partitions, "replication_factor": 1,
        "configs": [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()],
    }  # fmt: skip
    with broker.connection() as asking:
        made = asking.ask("CreateTopics", 7, {"topics": [topic], "timeout_ms": 10000}, f"set up {name}")
        settled(broker, name, partitions)
    return made["topics"][0]["topic_id"]


def settled(broker: Broker, name: str, partitions: int) -> None:
    """Until the broker itself serves all partitions."""

    def ready() -> bool:
        topic = {"name": name, "partitions": [{"partition_index": i, "timestamp": -2} for i in range(partitions)]}
        with broker.connection() as asking:
            answer = asking.exchange("ListOffsets", 7, {"replica_id": -1, "topics": [topic]})
        return all(partition["error_code"] == 0 for partition in answer["topics"][0]["partitions"])

    broker.until(ready, f"topic {name}")


def fence(broker: Broker) -> None:
    """Until changes of metadata that were answered are in effect: the log of metadata is in order."""
    broker.fences += 1
    config = {"name": "retention.ms", "config_operation": 0, "value": str(broker.fences)}
    with broker.connection() as asking:
        if broker.fences == 1:
            asking.exchange(
                "CreateTopics",
                7,
                {"topics": [{"name": "fence", "num_partitions": 1, "replication_factor": 1}], "timeout_ms": 9999},
            )
            settled(broker, "fence", 1)
        resource = {"resource_type": 2, "resource_name": "fence"}
        asking.exchange("IncrementalAlterConfigs", 1, {"resources": [resource | {"configs": [config]}]})

        def ready() -> bool:
            asked = {"resources": [resource | {"configuration_keys": ["retention.ms"]}]}
            return asking.exchange("DescribeConfigs", 4, asked)["results"][0]["configs"][0]["value"] == str(broker.fences)

        broker.until(ready, "a changed config")


def gone(broker: Broker, name: str) -> None:
    def ready() -> bool:
        with broker.connection() as asking:
            return asking.exchange("Metadata", 12, {"topics": [{"name": name}]})["topics"][0]["error_code"] == 3

    broker.until(ready, f"the end of topic {name}")


def produce_body(topic: str, data: bytes | None, partition: int = 0, acks: int = -1, topic_id: str | None = None) -> dict:
    part = {"index": partition, "records": data}
    named = {"topic_id": topic_id} if topic_id else {"name": topic}
    return {"acks": acks, "timeout_ms": 5000, "topic_data": [named | {"partition_data": [part]}]}


def fill(broker: Broker, topic: str, *batches: bytes, partition: int = 0) -> None:
    for data in batches or (batch(b"a", b"b"), batch(b"c")):
        broker.ask("Produce", 9, produce_body(topic, data, partition), f"fill {topic}")


def holds(broker: Broker, topic: str) -> None:
    """What is in the log: nothing refused was written, nothing accepted was changed."""
    partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    wanted = {
        "topics": [{"topic": topic, "partitions": [partition]}],
        "max_bytes": 1 << 20,
        "replica_id": -1,
        "session_epoch": -1,
    }
    broker.ask("Fetch", 12, wanted, f"what {topic} holds")


def coordinator(broker: Broker, group: str = "g") -> None:
    """Until groups are served."""

    def ready() -> bool:
        with broker.connection() as asking:
            found = asking.exchange("FindCoordinator", 1, {"key": group})
            if found["error_code"]:
                return False
            return asking.exchange("OffsetFetch", 7, {"group_id": group, "topics": []})["error_code"] == 0

    broker.until(ready, "the coordinator", 40)
