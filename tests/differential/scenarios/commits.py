"""OffsetCommit and OffsetFetch."""

from brokers import Broker

from .groups import _heartbeat, _leave, _stable
from .setup import UNKNOWN_ID, coordinator, create


def _commit(
    version: int,
    group: str | None,
    made: str,
    *offsets: tuple,
    member: str | None = "",
    generation: int = -1,
    topic: str | None = "committed",
    **more,
) -> dict:
    rows = [
        {"partition_index": partition, "committed_offset": offset, "committed_metadata": text}
        for partition, offset, text in offsets
    ]
    named = {"topic_id": made} if version >= 10 else {"name": topic}
    base = {
        "group_id": group,
        "generation_id_or_member_epoch": generation,
        "member_id": member,
        "topics": [named | {"partitions": rows}],
    }
    return base | more


def _fetch(version: int, group: str | None, made: str, *partitions: int, topic: str | None = "committed", **more) -> dict:
    named = {"topic_id": made} if version >= 10 else {"name": topic}
    topics = [named | {"partition_indexes": list(partitions)}]
    if version < 8:
        return {"group_id": group, "topics": topics} | more
    return {"groups": [{"group_id": group, "topics": topics}]} | more


def commits_without_members(broker: Broker) -> None:
    coordinator(broker)
    made = create(broker, "committed", 2)

    def ask(label: str, *offsets: tuple, group: str | None = "plain", id_: str = made, **more) -> None:
        broker.each("OffsetCommit", lambda v: _commit(v, group, id_, *offsets, **more), label)
        broker.ask("OffsetFetch", 7, {"group_id": "plain", "topics": None}, f"after {label}")

    ask("right", (0, 11, "text"), (1, 12, ""))
    ask("null metadata", (0, 13, None))
    for offset in (0, -1, -2, -5, (1 << 63) - 1):
        ask(f"offset {offset}", (0, offset, "x"))
    for partition in (2, -1, (1 << 31) - 1):
        ask(f"partition {partition}", (partition, 1, "x"))
    ask("long metadata", (0, 1, "x" * 4097), (1, 15, "x" * 4096))
    ask("unknown topic", (0, 1, "x"), topic="nowhere", id_=UNKNOWN_ID)
    ask("bad topic", (0, 1, "x"), topic="a/b", id_=UNKNOWN_ID)
    ask("no topic", (0, 1, "x"), topic="", id_="AAAAAAAAAAAAAAAAAAAAAA")
    ask("null topic", (0, 1, "x"), topic=None)
    ask("no partitions")
    ask("no partitions of an unknown topic", topic="nowhere", id_=UNKNOWN_ID)
    ask("a partition twice", (0, 21, "x"), (0, 22, "y"))
    ask("no group", (0, 1, "x"), group="")
    ask("null group", (0, 1, "x"), group=None)
    ask("a member of nothing", (0, 1, "x"), group="nothing", member="m")
    ask("a generation of nothing", (0, 1, "x"), group="nothing", member="m", generation=1)
    ask("a generation, no member", (0, 1, "x"), group="nothing", generation=1)
    ask("an instance of nothing", (0, 1, "x"), group="nothing", member="m", generation=1)
    ask("null member", (0, 1, "x"), member=None)
    ask("member, no generation", (0, 31, "x"), member="m")
    ask("generation -2", (0, 32, "x"), generation=-2)
    for retention in (-1, 0, 1000):
        broker.each(
            "OffsetCommit",
            lambda v: _commit(v, "kept", made, (0, 1, "x"), retention_time_ms=retention),
            f"retention {retention}",
            range(0, 5),
        )
    broker.each("OffsetCommit", {"group_id": "plain", "generation_id_or_member_epoch": -1, "topics": []}, "no topics")
    broker.each("OffsetCommit", {"group_id": "plain", "generation_id_or_member_epoch": -1, "topics": None}, "null topics")
    broker.each("OffsetCommit", lambda v: _commit(v, "plain", made, (0, 41, "x")), "last")


def commits_of_members(broker: Broker) -> None:
    coordinator(broker)
    made = create(broker, "committed-to", 2)
    member = _stable(broker, "committing")

    def ask(label: str, who: str = member, generation: int = 1, **more) -> None:
        def body(version: int) -> dict:
            return _commit(
                version, "committing", made, (0, 7, "x"), member=who, generation=generation, topic="committed-to", **more
            )

        broker.each("OffsetCommit", body, label)

    ask("right")
    for generation in (0, 2, -1, -2):
        ask(f"generation {generation}", generation=generation)
    ask("stranger", "nobody")
    ask("no member", "")
    ask("admin", "", -1)
    ask("stranger without generation", "nobody", -1)
    broker.each(
        "OffsetCommit",
        lambda v: _commit(
            v, "committing", made, (0, 7, "x"), member=member, generation=1, topic="committed-to", group_instance_id="i"
        ),
        "instance",
        range(7, 99),
    )
    broker.ask("Heartbeat", 4, _heartbeat("committing", member), "still there")
    broker.ask("LeaveGroup", 5, _leave("committing", (member, None)), "leaves")
    ask("has left")
    ask("admin, nobody there", "", -1)


def fetches(broker: Broker) -> None:
    coordinator(broker)
    made = create(broker, "fetched-back", 3)
    for partition in (0, 1):
        broker.ask(
            "OffsetCommit",
            9,
            _commit(9, "fetching", made, (partition, 5 + partition, "t"), topic="fetched-back"),
            "to be fetched",
        )
    topic = "fetched-back"

    def ask(
        label: str, *partitions: int, group: str | None = "fetching", name: str | None = topic, id_: str = made, **more
    ) -> None:
        broker.each("OffsetFetch", lambda v: _fetch(v, group, id_, *partitions, topic=name, **more), label)

    ask("right", 0, 1)
    ask("none there", 2)
    ask("unknown partitions", 3, -1)
    ask("twice", 0, 0)
    ask("no partitions")
    ask("unknown topic", 0, name="nowhere", id_=UNKNOWN_ID)
    ask("empty topic", 0, name="", id_="AAAAAAAAAAAAAAAAAAAAAA")
    ask("null topic", 0, name=None)
    ask("unknown group", 0, group="nothing")
    ask("no group", 0, group="")
    ask("null group", 0, group=None)
    broker.each("OffsetFetch", lambda v: _fetch(v, "fetching", made, 0, topic=topic, require_stable=True), "stable", range(7, 99))
    for group in ("fetching", "nothing", ""):
        for label, topics in (("all", None), ("none", [])):
            broker.each(
                "OffsetFetch",
                {"group_id": group, "topics": topics, "groups": [{"group_id": group, "topics": topics}]},
                f"{label} of {group!r}",
            )
    broker.each("OffsetFetch", {"groups": []}, "no groups", range(8, 99))
    broker.each("OffsetFetch", {"groups": None}, "null groups", range(8, 99))
    broker.each(
        "OffsetFetch",
        {"groups": [{"group_id": g, "topics": None} for g in ("fetching", "nothing", "fetching")]},
        "several",
        range(8, 99),
    )
    for member, epoch in [("m", 1), (None, 1), ("m", -1), ("", 0), (None, -1)]:
        group = {"group_id": "fetching", "member_id": member, "member_epoch": epoch, "topics": None}
        broker.each("OffsetFetch", {"groups": [group]}, f"member {member!r} {epoch}", range(9, 99))
