"""Fetch: offsets, epochs, limits and sessions."""

from batches import batch
from brokers import Broker

from .setup import UNKNOWN_ID, create, fill

BIG = (1 << 31) - 1
FAR = (1 << 63) - 1


def _body(version: int, topic: str, topic_id: str, *partitions: dict, **more) -> dict:
    named = {"topic_id": topic_id} if version >= 13 else {"topic": topic}
    base = {"replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 1 << 20, "session_epoch": -1}
    return base | {"topics": [named | {"partitions": [{"partition_max_bytes": 1 << 20} | one for one in partitions]}]} | more


def offsets_and_limits(broker: Broker) -> None:
    made = create(broker, "fetched", 2)
    fill(broker, "fetched", batch(b"a", b"b"), batch(b"c"), batch(b"d"))

    def ask(label: str, partition: dict, versions=None, **more) -> None:
        broker.each("Fetch", lambda v: _body(v, "fetched", made, partition, **more), label, versions)

    for offset in (0, 1, 3, 4, 5, FAR, -1, -2, -FAR):
        ask(f"offset {offset}", {"fetch_offset": offset})
    for partition in (1, 2, -1, BIG):
        ask(f"partition {partition}", {"partition": partition})
    for epoch in (-1, 0, 1, BIG, -2):
        ask(f"leader epoch {epoch}", {"current_leader_epoch": epoch}, range(9, 99))
        ask(f"last fetched epoch {epoch}", {"last_fetched_epoch": epoch, "fetch_offset": 1}, range(12, 99))
    for start in (0, 5, -2):
        ask(f"log start {start}", {"log_start_offset": start})
    for size in (0, 1, -1, 80, 150, BIG):
        ask(f"partition bytes {size}", {"partition_max_bytes": size})
        ask(f"bytes {size}", {}, max_bytes=size)
    for size in (-1, 1, 50):
        ask(f"least bytes {size}", {}, min_bytes=size)
    ask("waits in vain", {"fetch_offset": 4}, range(12, 14), min_bytes=1, max_wait_ms=50)
    ask("negative wait", {}, max_wait_ms=-1)
    for isolation in (0, 1, 2, -1):
        ask(f"isolation {isolation}", {}, isolation_level=isolation)
    for replica in (1, 5, -2, -3):
        ask(f"replica {replica}", {}, replica_id=replica)
    for rack in ("", "r"):
        ask(f"rack {rack!r}", {}, range(11, 99), rack_id=rack)
    for name in ("nowhere", "", "a/b"):
        broker.each("Fetch", lambda v: _body(v, name, UNKNOWN_ID, {}), f"topic {name!r}")
    broker.each("Fetch", lambda v: _body(v, "", "AAAAAAAAAAAAAAAAAAAAAA", {}), "zero id", range(13, 99))
    broker.each("Fetch", lambda v: _body(v, "fetched", made, {}, {}), "a partition twice")
    broker.each("Fetch", lambda v: _body(v, "fetched", made), "no partitions")
    broker.each("Fetch", lambda v: _body(v, "fetched", made, topics=[]), "no topics")
    broker.each("Fetch", lambda v: _body(v, "fetched", made, topics=None), "null topics")
    broker.each("Fetch", lambda v: _body(v, "fetched", made, {}, {"partition": 1}, {"partition": 2}), "several")


def sessions(broker: Broker) -> None:
    made = create(broker, "in-session", 2)
    fill(broker, "in-session", batch(b"a"))
    for version in (version for version in broker.versions("Fetch") if version >= 7):

        def ask(label: str, session: int, epoch: int, *partitions: dict, **more) -> dict:
            body = _body(version, "in-session", made, *partitions, session_id=session, session_epoch=epoch, **more)
            if not partitions:
                body["topics"] = []
            return broker.ask("Fetch", version, body, label)

        number = ask("opens", 0, 0, {}, {"partition": 1}).get("session_id", 0)
        ask("nothing new", number, 1)
        ask("moves on", number, 2, {"fetch_offset": 1})
        ask("nothing new", number, 3)
        fill(broker, "in-session", batch(b"b"), partition=1)
        ask("something new", number, 4)
        named = {"topic_id": made} if version >= 13 else {"topic": "in-session"}
        ask("forgets", number, 5, forgotten_topics_data=[named | {"partitions": [0]}])
        ask("forgets what it has not", number, 6, forgotten_topics_data=[named | {"partitions": [0, 9]}])
        ask("adds a wrong one", number, 7, {"partition": 7})
        ask("keeps a wrong one", number, 8)
        ask("wrong epoch", number, 42)
        ask("epoch again", number, 8)
        ask("after a wrong epoch", number, 9)
        ask("unknown session", 123456, 1)
        ask("unknown session, opens", 123456, 0, {})
        ask("no session, epoch 1", 0, 1, {})
        ask("closes", number, -1, {})
        ask("closed", number, 10)
        ask("negative epoch", 0, -2, {})
        ask("negative session", -5, 0, {})
        ask("opens empty", 0, 0)
        ask("bad offset", 0, 0, {"fetch_offset": 99})
