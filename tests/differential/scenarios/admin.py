"""Log directories, features, quotas, telemetry, and what else an admin asks."""

import codec
from brokers import Broker

from .setup import create, fence


def log_dirs(broker: Broker) -> None:
    create(broker, "stored", 2)
    for label, topics in {
        "all": None,
        "one": [{"topic": "stored", "partitions": [0, 1]}],
        "unknown": [{"topic": "nowhere", "partitions": [0]}],
        "unknown partition": [{"topic": "stored", "partitions": [0, 7, -1]}],
        "twice": [{"topic": "stored", "partitions": [0, 0]}],
        "no partitions": [{"topic": "stored", "partitions": []}],
        "nothing": [],
    }.items():
        broker.each("DescribeLogDirs", {"topics": topics}, label)
    for label, name, partitions in (
        ("no such directory", "stored", [0, 1]),
        ("of a topic that is not there", "nowhere", [0]),
        ("of a long name", "x" * 230, [0]),
        ("of a partition that is not there", "stored", [7, -1]),
        ("twice", "stored", [0, 0]),
        ("of no partitions", "stored", []),
    ):
        for path in ("/nowhere", "relative", ""):
            topics = [{"name": name, "partitions": partitions}]
            broker.each("AlterReplicaLogDirs", {"dirs": [{"path": path, "topics": topics}]}, f"{label} to '{path}'")
    broker.each("AlterReplicaLogDirs", {"dirs": [{"path": "/nowhere", "topics": []}]}, "of no topics")
    broker.each("AlterReplicaLogDirs", {"dirs": []}, "of nothing")


def cordons(broker: Broker) -> None:
    """What a broker is told of its own directories, and what follows for new topics and for moves (KIP-1066)."""
    create(broker, "cordoned", 1)
    fence(broker)
    with broker.connection() as asking:
        (own,) = asking.exchange("DescribeLogDirs", 4, {"topics": []})["results"]

    def alter(label: str, value: str | None, operation: int = 0, name: str = "1", validate: bool = False) -> None:
        config = {"name": "cordoned.log.dirs", "config_operation": operation, "value": value}
        resource = {"resource_type": 4, "resource_name": name, "configs": [config]}
        broker.ask("IncrementalAlterConfigs", 1, {"resources": [resource], "validate_only": validate}, label)
        fence(broker)

    def look(label: str) -> None:
        topics = [{"name": "cordoned", "partitions": [0, 7]}, {"name": "nowhere", "partitions": [0]}]
        broker.each("DescribeLogDirs", {"topics": []}, label)
        broker.each("AlterReplicaLogDirs", {"dirs": [{"path": own["log_dir"], "topics": topics}]}, label)

    def takes_topics(takes: bool, label: str) -> None:
        body = {
            "topics": [{"name": "new", "num_partitions": 1, "replication_factor": 1}],
            "validate_only": True,
            "timeout_ms": 9999,
        }

        def ready() -> bool:
            with broker.connection() as asking:
                return (asking.exchange("CreateTopics", 7, body)["topics"][0]["error_code"] == 0) == takes

        broker.until(ready, f"whether it takes topics, {label}")
        broker.ask("CreateTopics", 7, body, label)
        by_hand = {"name": "new", "num_partitions": -1, "replication_factor": -1, "assignments": [{"broker_ids": [1]}]}
        broker.ask("CreateTopics", 7, body | {"topics": [by_hand]}, f"by hand, {label}")

    look("before")
    for label, value in {"elsewhere": "/elsewhere", "all and more": "*,/elsewhere", "relative": "data"}.items():
        alter(label, value)
        alter(f"{label}, added", value, 2)
        replaced = {"resource_type": 4, "resource_name": "1", "configs": [{"name": "cordoned.log.dirs", "value": value}]}
        broker.ask("AlterConfigs", 2, {"resources": [replaced], "validate_only": True}, f"{label}, in place of everything")
    alter("of all brokers", "*", name="")
    alter("validated only", "*", validate=True)
    for label, value in {"all": "*", "its own": own["log_dir"]}.items():
        alter(label, value)
        takes_topics(False, label)
        look(label)
        alter(f"{label} no more", None, 1)
        takes_topics(True, f"{label} no more")
        look(f"{label} no more")
    alter("none", "")
    alter("its own added", own["log_dir"], 2)
    takes_topics(False, "its own added")
    alter("its own taken out", own["log_dir"], 3)
    takes_topics(True, "its own taken out")
    alter("as it was", None, 1)


def features(broker: Broker) -> None:
    def ask(label: str, *updates: dict, validate: bool = True) -> None:
        broker.each("UpdateFeatures", {"feature_updates": list(updates), "validate_only": validate, "timeout_ms": 5000}, label)

    def update(feature: str | None, level: int, **more) -> dict:
        return {"feature": feature, "max_version_level": level, "upgrade_type": 1} | more

    ask("nothing")
    for level in (-1, 0, 1, 7, 29, 32767):
        ask(f"metadata.version {level}", update("metadata.version", level))
        ask(f"kraft.version {level}", update("kraft.version", level))
        ask(f"nonsense {level}", update("nonsense", level))
        ask(f"no name {level}", update("", level))
        for kind in (0, 2, 3, 4, -1):
            ask(f"metadata.version {level}, kind {kind}", update("metadata.version", level, upgrade_type=kind))
        ask(f"metadata.version {level}, downgrade", update("metadata.version", level, allow_downgrade=True))
    ask("twice", update("nonsense", 1), update("nonsense", 1))
    broker.each("UpdateFeatures", {"feature_updates": None}, "null")


def quotas(broker: Broker) -> None:
    def describe(label: str, *components: tuple, strict: bool = False) -> None:
        rows = [{"entity_type": kind, "match_type": how, "match": what} for kind, how, what in components]
        broker.each("DescribeClientQuotas", {"components": rows, "strict": strict}, label)

    def alter(label: str, entity: list[tuple], *ops: tuple, validate: bool = False) -> None:
        rows = [{"key": key, "value": value, "remove": remove} for key, value, remove in ops]
        named = [{"entity_type": kind, "entity_name": name} for kind, name in entity]
        broker.each("AlterClientQuotas", {"entries": [{"entity": named, "ops": rows}], "validate_only": validate}, label)

    describe("none yet")
    rate = ("producer_byte_rate", 1e9, False)
    alter("user", [("user", "u")], rate)
    alter("client", [("client-id", "c")], rate)
    alter("both", [("user", "u"), ("client-id", "c")], ("consumer_byte_rate", 2e9, False))
    alter("default user", [("user", None)], ("request_percentage", 5000.0, False))
    alter("ip", [("ip", "127.0.0.9")], ("connection_creation_rate", 1000.0, False))
    alter("validated only", [("user", "v")], rate, validate=True)
    for label, entity, ops in [
        ("unknown key", [("user", "u")], [("nonsense", 1.0, False)]),
        ("empty key", [("user", "u")], [("", 1.0, False)]),
        ("null key", [("user", "u")], [(None, 1.0, False)]),
        ("key of others", [("ip", "127.0.0.9")], [rate]),
        ("key of ips", [("user", "u")], [("connection_creation_rate", 1.0, False)]),
        ("negative", [("user", "u")], [("producer_byte_rate", -1.0, False)]),
        ("zero", [("user", "u")], [("producer_byte_rate", 0.0, False)]),
        ("fraction", [("user", "u")], [("producer_byte_rate", 1.5, False)]),
        ("not a number", [("user", "u")], [("producer_byte_rate", float("nan"), False)]),
        ("infinite", [("user", "u")], [("producer_byte_rate", float("inf"), False)]),
        ("huge", [("user", "u")], [("producer_byte_rate", 1e300, False)]),
        ("unknown entity", [("nonsense", "u")], [rate]),
        ("empty entity", [("", "u")], [rate]),
        ("empty name", [("user", "")], [rate]),
        ("no entity", [], [rate]),
        ("entity twice", [("user", "u"), ("user", "v")], [rate]),
        ("user and ip", [("user", "u"), ("ip", "127.0.0.9")], [("connection_creation_rate", 1.0, False)]),
        ("not an ip", [("ip", "not an ip")], [("connection_creation_rate", 1.0, False)]),
        ("nothing to do", [("user", "u")], []),
        ("removes what is not there", [("user", "u")], [("consumer_byte_rate", 0.0, True)]),
        ("key twice", [("user", "w")], [rate, ("producer_byte_rate", 2e9, False)]),
        ("set and removed", [("user", "w")], [rate, ("producer_byte_rate", 0.0, True)]),
    ]:
        alter(label, entity, *ops)
    for strict in (False, True):
        for label, components in {
            "all": [],
            "user": [("user", 0, "u")],
            "any user": [("user", 2, None)],
            "default user": [("user", 1, None)],
            "client": [("client-id", 0, "c")],
            "both": [("user", 0, "u"), ("client-id", 2, None)],
            "any ip": [("ip", 2, None)],
            "unknown user": [("user", 0, "nobody")],
            "null user": [("user", 0, None)],
            "default with a name": [("user", 1, "u")],
            "any with a name": [("user", 2, "u")],
            "unknown kind": [("nonsense", 0, "u")],
            "empty kind": [("", 0, "u")],
            "unknown match": [("user", 3, "u")],
            "negative match": [("user", -1, "u")],
            "twice": [("user", 0, "u"), ("user", 0, "v")],
            "user and ip": [("user", 0, "u"), ("ip", 0, "127.0.0.9")],
        }.items():
            describe(f"{label}{', strict' if strict else ''}", *components, strict=strict)
    remove = ("producer_byte_rate", 0.0, True)
    for entity in ([("user", "u")], [("client-id", "c")]):
        alter("removed", entity, remove)
    alter("removed", [("user", "u"), ("client-id", "c")], ("consumer_byte_rate", 0.0, True))
    alter("removed", [("user", None)], ("request_percentage", 0.0, True))
    alter("removed", [("ip", "127.0.0.9")], ("connection_creation_rate", 0.0, True))
    describe("in the end")
    broker.each("AlterClientQuotas", {"entries": []}, "nothing")
    for key, entity in (
        ("request_percentage", ("user", "u")),
        ("controller_mutation_rate", ("user", "u")),
        ("connection_creation_rate", ("ip", "127.0.0.9")),
    ):
        for value in (0.5, 1e-9, 1e300, 3e9, float("inf"), 0.0, -1.0):
            alter(f"{key} {value}", [entity], (key, value, False), validate=True)
    for address in (None, "::1", "localhost", "127.0.0.300", "1", "no.such.host.invalid"):
        alter(f"address {address}", [("ip", address)], ("connection_creation_rate", 5.0, False), validate=True)
    named = [{"entity_type": "user", "entity_name": "twice"}]

    def entry(*ops: tuple) -> dict:
        return {"entity": named, "ops": [{"key": key, "value": value, "remove": remove} for key, value, remove in ops]}

    for label, first, second in [
        ("set twice", entry(rate), entry(("producer_byte_rate", 2e9, False))),
        ("other keys", entry(rate), entry(("consumer_byte_rate", 2e9, False))),
        ("right and wrong", entry(("producer_byte_rate", 3e9, False)), entry(("nonsense", 1.0, False))),
        ("wrong and right", entry(("nonsense", 1.0, False)), entry(("producer_byte_rate", 4e9, False))),
        ("set and removed", entry(("producer_byte_rate", 5e9, False)), entry(("producer_byte_rate", 0.0, True))),
        ("removed twice", entry(("producer_byte_rate", 0.0, True)), entry(("producer_byte_rate", 0.0, True))),
        ("the rest", entry(("consumer_byte_rate", 0.0, True)), entry()),
    ]:
        broker.ask("AlterClientQuotas", 1, {"entries": [first, second]}, f"entity {label}")
        fence(broker)
        describe(f"after {label}", ("user", 0, "twice"))


def telemetry(broker: Broker) -> None:
    for identity in ("AAAAAAAAAAAAAAAAAAAAAA", "CQkJCQkJCQkJCQkJCQkJCQ"):
        broker.each("GetTelemetrySubscriptions", {"client_instance_id": identity}, f"of {identity}")
        broker.each("PushTelemetry", {"client_instance_id": identity, "subscription_id": 5, "metrics": b""}, f"of {identity}")


def telemetry_without_anybody_to_read_it(broker: Broker) -> None:
    """Not advertised without a plugin that reads it; a client that asks all the same."""
    for api, body in (("GetTelemetrySubscriptions", {}), ("PushTelemetry", {"metrics": b""})):
        with broker.connection() as asking:
            asking.force(api, 0, body, "unasked")


def the_rest(broker: Broker) -> None:
    """Whatever else both serve: the request with every field at its default, in every version."""
    asked = {(step.api, step.version) for step in broker.steps}
    for api in sorted(broker.common):
        for version in broker.versions(api):
            if (api, version) not in asked and api not in ("ApiVersions", "Produce", "UnregisterBroker"):
                broker.ask(api, version, {}, "defaults")


def unserved(broker: Broker) -> None:
    """What only a controller serves."""
    for api in (
        "Vote",
        "BeginQuorumEpoch",
        "EndQuorumEpoch",
        "BrokerRegistration",
        "BrokerHeartbeat",
        "AlterPartition",
        "FetchSnapshot",
    ):
        broker.main.force(api, codec.request(api).versions.high, {}, "on a broker's listener")
