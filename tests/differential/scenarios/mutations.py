"""A right request with one field at a time made odd: null, negative, huge, empty, twice. All APIs, first and last version."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import codec
from batches import batch
from brokers import PATIENCE, UNKNOWN_ID, Broker
from codec import NUMBERS, Field

from .setup import coordinator, create, fill

# What a broker would wait for, or what the odd value makes it wait for.
WAITS = {"max_wait_ms", "min_bytes", "timeout_ms", "rebalance_timeout_ms", "session_timeout_ms"}
# What is never answered.
SILENT = ("acks=0", "records=None")
LIMITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}


def _requests(topic: str, made: str, group: str) -> dict[str, Any]:
    """Right ones that change nothing, or the same thing each time; functions of the version where it matters."""

    def named(version: int, first: int) -> dict:
        return {"topic_id": made} if version >= first else {}

    parts = [{"index": 0, "records": batch(b"x")}]
    one = {"name": topic, "partitions": [{"partition_index": 0, "timestamp": -1}]}
    commit = [{"partition_index": 0, "committed_offset": 3, "committed_metadata": "m"}]
    entity = [{"entity_type": "user", "entity_name": "u"}]
    return {
        "Produce": lambda v: {"acks": -1, "timeout_ms": 1000, "topic_data": [{"name": topic, "partition_data": parts} | named(v, 13)]},
        "Fetch": lambda v: {
            "replica_id": -1, "max_bytes": 1 << 20, "session_epoch": -1,
            "topics": [{"topic": topic, "partitions": [{"partition": 0, "partition_max_bytes": 1 << 20}]} | named(v, 13)],
        },
        "ListOffsets": {"replica_id": -1, "topics": [one]},
        "Metadata": {"topics": [{"name": topic}]},
        "OffsetCommit": lambda v: {
            "group_id": group, "generation_id_or_member_epoch": -1, "topics": [{"name": topic, "partitions": commit} | named(v, 10)],
        },
        "OffsetFetch": lambda v: {
            "group_id": group, "topics": [{"name": topic, "partition_indexes": [0]}],
            "groups": [{"group_id": group, "topics": [{"name": topic, "partition_indexes": [0]} | named(v, 10)]}],
        } if v < 8 else {"groups": [{"group_id": group, "topics": [{"name": topic, "partition_indexes": [0]} | named(v, 10)]}]},
        "FindCoordinator": {"key": "g", "coordinator_keys": ["g"]},
        "Heartbeat": {"group_id": group, "generation_id": 1, "member_id": "m"},
        "LeaveGroup": {"group_id": group, "member_id": "m", "members": [{"member_id": "m"}]},
        "SyncGroup": {"group_id": group, "generation_id": 1, "member_id": "m", "assignments": [{"member_id": "m", "assignment": b"x"}],
                      "protocol_type": "consumer", "protocol_name": "range"},
        "JoinGroup": {"group_id": group, "session_timeout_ms": 10000, "member_id": "m", "protocol_type": "consumer",
                      "protocols": [{"name": "range", "metadata": b"x"}]},
        "DescribeGroups": {"groups": [group]},
        "ListGroups": {"states_filter": ["Stable"], "types_filter": ["classic"]},
        "CreateTopics": {"topics": [{"name": "never", "num_partitions": 1, "replication_factor": 1, "configs": [{"name": "retention.ms", "value": "1"}]}],
                         "timeout_ms": 5000, "validate_only": True},
        "DeleteTopics": {"topics": [{"name": "nowhere"}], "topic_names": ["nowhere"], "timeout_ms": 5000},
        "DeleteRecords": {"topics": [{"name": topic, "partitions": [{"partition_index": 0, "offset": 0}]}], "timeout_ms": 5000},
        "InitProducerId": {"transactional_id": None, "transaction_timeout_ms": 1000},
        "OffsetForLeaderEpoch": {"topics": [{"topic": topic, "partitions": [{"partition": 0, "leader_epoch": 0}]}]},
        "DescribeConfigs": {"resources": [{"resource_type": 2, "resource_name": topic, "configuration_keys": ["retention.ms"]}]},
        "AlterConfigs": {"resources": [{"resource_type": 2, "resource_name": topic, "configs": [{"name": "retention.ms", "value": "5"}]}], "validate_only": True},
        "IncrementalAlterConfigs": {
            "resources": [{"resource_type": 2, "resource_name": topic, "configs": [{"name": "retention.ms", "config_operation": 0, "value": "5"}]}],
            "validate_only": True,
        },
        "CreatePartitions": {"topics": [{"name": topic, "count": 3, "assignments": [{"broker_ids": [1]}]}], "timeout_ms": 5000, "validate_only": True},
        "DeleteGroups": {"groups_names": ["nothing"]},
        "OffsetDelete": {"group_id": "nothing", "topics": [{"name": topic, "partitions": [{"partition_index": 0}]}]},
        "AlterReplicaLogDirs": {"dirs": [{"path": "/nowhere", "topics": [{"name": topic, "partitions": [0]}]}]},
        "DescribeLogDirs": {"topics": [{"topic": topic, "partitions": [0]}]},
        "DescribeQuorum": {"topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]},
        "DescribeCluster": {},
        "DescribeProducers": {"topics": [{"name": topic, "partition_indexes": [0]}]},
        "DescribeTopicPartitions": {"topics": [{"name": topic}], "cursor": {"topic_name": topic, "partition_index": 0}},
        "DescribeClientQuotas": {"components": [{"entity_type": "user", "match_type": 0, "match": "u"}]},
        "AlterClientQuotas": {"entries": [{"entity": entity, "ops": [{"key": "producer_byte_rate", "value": 1e9}]}], "validate_only": True},
        "UpdateFeatures": {"feature_updates": [{"feature": "metadata.version", "max_version_level": 29, "upgrade_type": 1}], "validate_only": True},
        "ListConfigResources": {"resource_types": [2]},
        "GetTelemetrySubscriptions": {},
    }  # fmt: skip


def _mutations(fields: list[Field], body: dict, version: int, at: str = "") -> Iterator[tuple[str, dict]]:
    for field in fields:
        if version not in field.versions or field.name in WAITS:
            continue
        value, name = body.get(field.name, field.default), f"{at}{field.name}"
        for odd in _odd(field, value):
            yield f"{name}={_shown(odd)}", body | {field.name: odd}
        if field.fields is None or not value:
            continue
        first = value[0] if field.is_array else value
        for path, inner in _mutations(field.fields, first, version, f"{name}."):
            rest = copy.copy(value)
            if field.is_array:
                rest[0] = inner
            yield path, body | {field.name: rest if field.is_array else inner}


def _odd(field: Field, value: Any) -> Iterator[Any]:
    if field.is_array:
        yield from (None, [])
        if value:
            yield [value[0], value[0]]
    elif field.fields is not None:
        yield None
    elif field.type in LIMITS:
        top = 1 << LIMITS[field.type]
        yield from (odd for odd in (0, -1, -2, 1, top - 1, -top) if odd != value)
    elif field.type == "bool":
        yield not value
    elif field.type == "uuid":
        yield from (codec.NO_ID, UNKNOWN_ID)
    elif field.type == "string":
        yield from (None, "", "nowhere", "a/b", "x" * 300, b"\xff\xfe")
    elif field.type in ("bytes", "records"):
        yield from (None, b"", b"\xff" * 100)
    elif field.type not in NUMBERS:
        raise AssertionError(f"no odd values for {field.type}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 30 else f"{text[:20]}… of {len(text)}"


def _one_field_odd(api: str) -> Callable[[Broker], None]:
    def scenario(broker: Broker) -> None:
        coordinator(broker)
        topic = f"mutated-{api}"
        made = create(broker, topic, 2)
        fill(broker, topic)
        right = _requests(topic, made, topic)[api]
        versions = broker.versions(api)
        last = []
        for version in dict.fromkeys([*versions[:1], *versions[-1:]]):
            body = right(version) if callable(right) else right
            broker.ask(api, version, body, "right")
            for path, odd in _mutations(codec.request(api).fields, body, version):
                if "xff" in path:
                    # One of the brokers may take it, and is in another state from then on.
                    last.append((version, odd, path))
                else:
                    broker.ask(api, version, odd, path, 1.0 if path.endswith(SILENT) else PATIENCE)
        for version, odd, path in last:
            broker.ask(api, version, odd, path)

    return scenario


MADE = {api: _one_field_odd(api) for api in _requests("", "", "")}
