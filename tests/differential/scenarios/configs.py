"""DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources."""

from brokers import Broker

from .setup import create, fence

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)


def _describe(kind: int, name: str | None, keys: list | None = None, **more) -> dict:
    return {"resources": [{"resource_type": kind, "resource_name": name, "configuration_keys": keys}]} | more


def described(broker: Broker) -> None:
    create(broker, "configured", retention_ms="5000", cleanup_policy="compact")
    everything = {"include_synonyms": True, "include_documentation": True}
    broker.each("DescribeConfigs", _describe(TOPIC, "configured"), "topic")
    broker.each("DescribeConfigs", _describe(TOPIC, "configured", **everything), "topic, everything")
    broker.each("DescribeConfigs", _describe(TOPIC, "configured", ["retention.ms"], **everything), "a key")
    broker.each("DescribeConfigs", _describe(TOPIC, "configured", ["retention.ms", "nonsense", "retention.ms", ""]), "keys")
    broker.each("DescribeConfigs", _describe(TOPIC, "configured", []), "no keys")
    broker.each("DescribeConfigs", _describe(TOPIC, "configured", [None]), "null key")
    for name in ("nowhere", "", "a/b", None, "x" * 300):
        broker.each("DescribeConfigs", _describe(TOPIC, name), f"topic {name[:20] if name else name!r}")
    for name in ("1", "", "2", "x", "-1", None):
        keys = ["num.partitions", "log.retention.ms", "listeners", "node.id"]
        broker.each("DescribeConfigs", _describe(BROKER, name, keys, **everything), f"broker {name!r}")
    for kind in (0, 1, 3, 5, -1, 127, CLIENT_METRICS, GROUP, LOGGER):
        for name in ("", "1", "x"):
            broker.each("DescribeConfigs", _describe(kind, name, [] if kind == LOGGER else None), f"kind {kind} {name!r}")
    one = {"resource_type": TOPIC, "resource_name": "configured", "configuration_keys": ["retention.ms"]}
    broker.each("DescribeConfigs", {"resources": [one, one]}, "twice")
    broker.each("DescribeConfigs", {"resources": [one, one | {"resource_name": "nowhere"}]}, "right and wrong")
    broker.each("DescribeConfigs", {"resources": []}, "nothing")
    broker.each("DescribeConfigs", {"resources": None}, "null")


def brokers_keys(broker: Broker) -> None:
    broker.each(
        "DescribeConfigs",
        _describe(BROKER, "1", None, include_synonyms=True, include_documentation=True),
        "every key of a broker",
    )
    broker.each("DescribeConfigs", _describe(BROKER, "", None), "every key of all brokers")


def altered(broker: Broker) -> None:
    create(broker, "altered", cleanup_policy="compact")

    def ask(
        label: str,
        *configs: tuple,
        kind: int = TOPIC,
        name: str | None = "altered",
        validate: bool = False,
        keys: tuple = ("retention.ms", "cleanup.policy"),
    ) -> None:
        rows = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in configs]
        resource = {"resource_type": kind, "resource_name": name, "configs": rows}
        for version in broker.versions("IncrementalAlterConfigs"):
            broker.ask("IncrementalAlterConfigs", version, {"resources": [resource], "validate_only": validate}, label)
        if kind == TOPIC:
            fence(broker)
            broker.ask("DescribeConfigs", 4, _describe(TOPIC, "altered", list(keys)), f"after {label}")

    ask("set", ("retention.ms", SET, "1000"))
    ask("validated only", ("retention.ms", SET, "2000"), validate=True)
    ask("delete", ("retention.ms", DELETE, None))
    ask("delete what is not set", ("retention.ms", DELETE, None))
    ask("delete with a value", ("retention.ms", DELETE, "5"))
    ask("append", ("cleanup.policy", APPEND, "delete"))
    ask("append again", ("cleanup.policy", APPEND, "delete"))
    ask("subtract", ("cleanup.policy", SUBTRACT, "compact"))
    ask("subtract what is not there", ("cleanup.policy", SUBTRACT, "compact"))
    ask("subtract the last", ("cleanup.policy", SUBTRACT, "delete"))
    ask("append nonsense", ("cleanup.policy", APPEND, "shred"))
    ask("append to what is no list", ("retention.ms", APPEND, "1"))
    ask("subtract from what is no list", ("retention.ms", SUBTRACT, "1"))
    ask("null value", ("retention.ms", SET, None))
    ask("append null", ("cleanup.policy", APPEND, None))
    ask("empty value", ("retention.ms", SET, ""))
    ask("unknown key", ("nonsense", SET, "1"))
    ask("delete unknown key", ("nonsense", DELETE, None))
    ask("empty key", ("", SET, "1"))
    ask("null key", (None, SET, "1"))
    ask("bad value", ("retention.ms", SET, "x"))
    ask("too low", ("segment.bytes", SET, "1"))
    ask("right and wrong", ("retention.ms", SET, "77"), ("segment.bytes", SET, "x"))
    ask("twice", ("retention.ms", SET, "1"), ("retention.ms", SET, "2"))
    ask("twice, differently", ("retention.ms", SET, "1"), ("retention.ms", DELETE, None))
    for operation in (4, -1, 127):
        ask(f"operation {operation}", ("retention.ms", operation, "1"))
    ask("nothing")
    for name in ("nowhere", "", "a/b", None):
        ask(f"topic {name!r}", ("retention.ms", SET, "1"), name=name)
    for kind in (0, 1, 3, -1, 127):
        ask(f"kind {kind}", ("retention.ms", SET, "1"), kind=kind, name="1")
    for kind in (CLIENT_METRICS, GROUP):
        for name in ("", "x", None):
            ask(f"kind {kind} {name!r}", ("nonsense", SET, "1"), kind=kind, name=name, validate=True)
    for name in ("1", "", "2", "x", "-1"):
        ask(f"broker {name!r}", ("log.cleaner.threads", SET, "1"), kind=BROKER, name=name, validate=True)
        ask(f"read-only of broker {name!r}", ("node.id", SET, "1"), kind=BROKER, name=name, validate=True)
        ask(f"unknown of broker {name!r}", ("nonsense", SET, "1"), kind=BROKER, name=name, validate=True)
        ask(f"bad value of broker {name!r}", ("log.cleaner.threads", SET, "x"), kind=BROKER, name=name, validate=True)
    one = {
        "resource_type": TOPIC,
        "resource_name": "altered",
        "configs": [{"name": "retention.ms", "config_operation": SET, "value": "9"}],
    }
    broker.each("IncrementalAlterConfigs", {"resources": [one, one]}, "a resource twice")
    broker.each("IncrementalAlterConfigs", {"resources": [one, one | {"resource_name": "nowhere"}]}, "resources right and wrong")
    broker.each("IncrementalAlterConfigs", {"resources": []}, "no resources")
    broker.each("IncrementalAlterConfigs", {"resources": None}, "null resources")
    broker.each("IncrementalAlterConfigs", {"resources": [one | {"configs": None}]}, "null configs")
    broker.ask("DescribeConfigs", 4, _describe(TOPIC, "altered"), "in the end")


def replaced(broker: Broker) -> None:
    """AlterConfigs: what is not named is deleted."""
    create(broker, "replaced", cleanup_policy="compact", segment_ms="100000")

    def ask(label: str, *configs: tuple, kind: int = TOPIC, name: str | None = "replaced", validate: bool = False) -> None:
        rows = [{"name": key, "value": value} for key, value in configs]
        resource = {"resource_type": kind, "resource_name": name, "configs": rows}
        broker.each("AlterConfigs", {"resources": [resource], "validate_only": validate}, label)
        fence(broker)
        broker.ask(
            "DescribeConfigs", 4, _describe(TOPIC, "replaced", ["retention.ms", "cleanup.policy", "segment.ms"]), f"after {label}"
        )

    ask("validated only", ("retention.ms", "1000"), validate=True)
    ask("set", ("retention.ms", "1000"))
    ask("nothing")
    ask("unknown key", ("nonsense", "1"))
    ask("null value", ("retention.ms", None))
    ask("bad value", ("retention.ms", "x"))
    ask("twice", ("retention.ms", "1"), ("retention.ms", "2"))
    for name in ("nowhere", "", "a/b", None):
        ask(f"topic {name!r}", ("retention.ms", "1"), name=name)
    for kind in (0, 3, -1, 127, CLIENT_METRICS, GROUP, LOGGER):
        for name in ("1", "", "x"):
            ask(f"kind {kind} {name!r}", ("retention.ms", "1"), kind=kind, name=name, validate=True)
    ask("logger's level", ("root", "INFO"), kind=LOGGER, name="1")
    for name in ("1", "", "2", "x"):
        ask(f"broker {name!r}", ("log.cleaner.threads", "1"), kind=BROKER, name=name, validate=True)
    broker.each("AlterConfigs", {"resources": []}, "no resources")


def loggers(broker: Broker) -> None:
    """The root is the only logger that both have."""

    def ask(label: str, *configs: tuple, name: str = "1", validate: bool = False) -> None:
        rows = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in configs]
        body = {"resources": [{"resource_type": LOGGER, "resource_name": name, "configs": rows}], "validate_only": validate}
        broker.each("IncrementalAlterConfigs", body, label)
        broker.ask("DescribeConfigs", 4, _describe(LOGGER, "1", ["root"]), f"after {label}")

    ask("set", ("root", SET, "WARN"))
    for name in ("1", "", "2", "x", "-1", None):
        for keys in (["root"], ["nonsense"], ["root", "root"]):
            more = {"include_synonyms": True, "include_documentation": True}
            broker.each("DescribeConfigs", _describe(LOGGER, name, keys, **more), f"{keys} of {name!r}")
        ask(f"of {name!r}", ("root", SET, "ERROR"), name=name)
        ask(f"wrong of {name!r}", ("nonsense", SET, "WRONG"), name=name)
    for level in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF", "ALL", "info", "", " INFO", "wrong", None):
        ask(f"to {level}", ("root", SET, level), validate=level in ("TRACE", "DEBUG"))
    ask("validated only", ("root", SET, "FATAL"), validate=True)
    ask("delete", ("root", DELETE, None))
    ask("delete unknown", ("nonsense", DELETE, None))
    ask("unknown", ("nonsense", SET, "INFO"))
    ask("empty", ("", SET, "INFO"))
    ask("null", (None, SET, "INFO"))
    for operation in (APPEND, SUBTRACT, 4, -1):
        ask(f"operation {operation}", ("root", operation, "INFO"))
        ask(f"operation {operation} of unknown", ("nonsense", operation, "INFO"))
    ask("twice", ("root", SET, "INFO"), ("root", SET, "WARN"))
    ask("right and wrong", ("root", SET, "FATAL"), ("nonsense", SET, "INFO"))
    ask("nothing")
    one = {"resource_type": LOGGER, "resource_name": "1", "configs": [{"name": "root", "config_operation": SET, "value": "INFO"}]}
    topic = {"resource_type": TOPIC, "resource_name": "nowhere", "configs": []}
    broker.each("IncrementalAlterConfigs", {"resources": [one, one]}, "a resource twice")
    broker.each("IncrementalAlterConfigs", {"resources": [topic, one]}, "with a topic")
    broker.each("IncrementalAlterConfigs", {"resources": [one | {"configs": None}]}, "null configs")
    ask("in the end", ("root", SET, "INFO"))


def resources_listed(broker: Broker) -> None:
    broker.each("ListConfigResources", {}, "all")
    for kinds in ([], [TOPIC], [BROKER], [CLIENT_METRICS], [GROUP], [LOGGER], [0], [127], [-1], [TOPIC, TOPIC], None):
        broker.each("ListConfigResources", {"resource_types": kinds}, f"kinds {kinds}", range(1, 99))
