"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup, and groups as admins see them."""

from brokers import Broker

from .setup import coordinator, create

# A consumer's subscription to nothing, version 0.
METADATA = bytes(2 + 4) + b"\xff\xff\xff\xff"


def _join(group: str | None, member: str | None = "", instance: str | None = None, protocols=("range",), **more) -> dict:
    return {
        "group_id": group, "session_timeout_ms": 10000, "rebalance_timeout_ms": 10000, "member_id": member,
        "group_instance_id": instance, "protocol_type": "consumer",
        "protocols": None if protocols is None else [{"name": name, "metadata": METADATA} for name in protocols],
    } | more  # fmt: skip


def _sync(group: str, member: str, generation: int = 1, *assignments: str, **more) -> dict:
    rows = [{"member_id": to, "assignment": b"A"} for to in assignments]
    base = {"group_id": group, "generation_id": generation, "member_id": member, "assignments": rows}
    return base | {"protocol_type": "consumer", "protocol_name": "range"} | more


def _heartbeat(group: str | None, member: str | None, generation: int = 1, **more) -> dict:
    return {"group_id": group, "generation_id": generation, "member_id": member} | more


def _leave(group: str | None, *members: tuple[str | None, str | None]) -> dict:
    first = members[0][0] if members else ""
    return {
        "group_id": group,
        "member_id": first,
        "members": [{"member_id": member, "group_instance_id": instance} for member, instance in members],
    }


def _stable(broker: Broker, group: str, instance: str | None = None, version: int = 9) -> str:
    """A group of one member in its first generation; the member's id."""
    joined = broker.ask("JoinGroup", version, _join(group, "", instance), f"{group} joins")
    if joined["error_code"] == 79:
        joined = broker.ask("JoinGroup", version, _join(group, joined["member_id"], instance), f"{group} joins with its id")
    member = joined["member_id"]
    broker.ask("SyncGroup", 5, _sync(group, member, 1, member), f"{group} synced")
    return member


def joins_refused(broker: Broker) -> None:
    coordinator(broker)
    for timeout in (-1, 0, 999, 1, 1800001, (1 << 31) - 1, -(1 << 31)):
        broker.each("JoinGroup", _join("refused", session_timeout_ms=timeout), f"session timeout {timeout}")
    for label, body in {
        "no group": _join(""),
        "null group": _join(None),
        "null member": _join("refused", None),
        "no protocols": _join("refused", protocols=()),
        "null protocols": _join("refused", protocols=None),
        "no protocol type": _join("refused", protocol_type=""),
        "null protocol type": _join("refused", protocol_type=None),
        "unknown member": _join("refused", "nobody"),
        "unknown member of nothing": _join("nothing", "nobody"),
        "unknown static member": _join("refused", "nobody", "i"),
        "no instance": _join("refused", "nobody", ""),
        "bad instance": _join("refused", "nobody", "a b"),
        "dots as instance": _join("refused", "nobody", ".."),
        "long instance": _join("refused", "nobody", "x" * 250),
    }.items():
        broker.each("JoinGroup", body, label)


def joins_in_every_version(broker: Broker) -> None:
    coordinator(broker)
    for version in broker.versions("JoinGroup"):
        group = f"joined-{version}"
        member = _stable(broker, group, None, version)
        for asked in broker.versions("Heartbeat"):
            broker.ask("Heartbeat", asked, _heartbeat(group, member), "in a group")
        for asked in broker.versions("SyncGroup"):
            broker.ask("SyncGroup", asked, _sync(group, member), "again")
        broker.ask("JoinGroup", version, _join(group, member), "again, the same")
        broker.ask("Heartbeat", 4, _heartbeat(group, member), "after it joined again")
        broker.ask("LeaveGroup", min(version, broker.versions("LeaveGroup")[-1]), _leave(group, (member, None)), "leaves")
        broker.ask("Heartbeat", 4, _heartbeat(group, member), "has left")


def strangers(broker: Broker) -> None:
    coordinator(broker)
    member = _stable(broker, "strange")
    for group in ("strange", "nothing", "", None):
        for who in ("nobody", "", None):
            broker.each("SyncGroup", _sync(group, who), f"{who!r} in {group!r}")
            broker.each("Heartbeat", _heartbeat(group, who), f"{who!r} in {group!r}")
            broker.each("LeaveGroup", _leave(group, (who, None)), f"{who!r} in {group!r}")
    for generation in (0, 2, -1, (1 << 31) - 1):
        broker.each("SyncGroup", _sync("strange", member, generation), f"generation {generation}")
        broker.each("Heartbeat", _heartbeat("strange", member, generation), f"generation {generation}")
    for instance in ("i", ""):
        more = {"group_instance_id": instance}
        broker.each("SyncGroup", _sync("strange", member, **more), f"instance {instance!r}", range(3, 99))
        broker.each("Heartbeat", _heartbeat("strange", member, **more), f"instance {instance!r}", range(3, 99))
        broker.each("LeaveGroup", _leave("strange", (member, instance)), f"instance {instance!r}", range(3, 99))
    for label, more in {
        "other type": {"protocol_type": "connect"},
        "other name": {"protocol_name": "sticky"},
        "no type": {"protocol_type": None},
        "no name": {"protocol_name": None},
        "neither": {"protocol_type": None, "protocol_name": None},
        "empty": {"protocol_type": "", "protocol_name": ""},
    }.items():
        broker.each("SyncGroup", _sync("strange", member, **more), label)
    broker.each("LeaveGroup", _leave("strange"), "nobody leaves", range(3, 99))
    broker.each(
        "LeaveGroup", _leave("strange", ("x", None), ("", "i"), ("y", "i"), ("x", None)), "several strangers", range(3, 99)
    )
    broker.ask("Heartbeat", 4, _heartbeat("strange", member), "still there")
    for label, body in {
        "other protocol": _join("strange", "", protocols=("sticky",)),
        "other type": _join("strange", "", protocol_type="connect"),
        "unknown id": _join("strange", "nobody"),
    }.items():
        broker.each("JoinGroup", body, f"{label} into a group", range(4, 99))
    broker.ask("LeaveGroup", 5, _leave("strange", (member, None), (member, None)), "leaves twice")


def static_members(broker: Broker) -> None:
    coordinator(broker)
    for version in (version for version in broker.versions("JoinGroup") if version >= 5):
        group = f"static-{version}"
        first = _stable(broker, group, "i", version)
        broker.ask("JoinGroup", version, _join(group, "nobody", "i"), "wrong id")
        second = broker.ask("JoinGroup", version, _join(group, "", "i"), "comes again")["member_id"]
        for member in (first, second):
            which = "first" if member == first else "second"
            fenced = {"group_instance_id": "i"}
            broker.ask("Heartbeat", 4, _heartbeat(group, member, **fenced), f"{which} id")
            broker.ask("Heartbeat", 4, _heartbeat(group, member), f"{which} id, no instance")
            broker.ask("SyncGroup", 5, _sync(group, member, **fenced), f"{which} id")
            commit = {"group_id": group, "generation_id_or_member_epoch": 1, "member_id": member, "topics": []}
            broker.ask("OffsetCommit", 9, commit | fenced, f"{which} id")
        broker.ask("JoinGroup", version, _join(group, first, "i"), "first id joins")
        leaving = _leave(group, (first, "i"), ("", "x"), ("", "i"), ("", "i"))
        broker.ask("LeaveGroup", 5, leaving, "leaves by instance")
        broker.ask("Heartbeat", 4, _heartbeat(group, second, group_instance_id="i"), "has left")


def two_members(broker: Broker) -> None:
    coordinator(broker)
    leader = _stable(broker, "pair")
    with broker.connection() as other:
        second = other.ask("JoinGroup", 9, _join("pair"), "second")["member_id"]
        joining = other.send("JoinGroup", 9, _join("pair", second))
        broker.until(lambda: broker.main.exchange("Heartbeat", 4, _heartbeat("pair", leader))["error_code"] == 27, "a rebalance")
        broker.ask("Heartbeat", 4, _heartbeat("pair", leader), "while it is rebalanced")
        broker.ask("SyncGroup", 5, _sync("pair", leader), "while it is rebalanced")
        commit = {"group_id": "pair", "generation_id_or_member_epoch": 1, "member_id": leader, "topics": []}
        broker.ask("OffsetCommit", 9, commit, "while it is rebalanced")
        again = broker.ask("JoinGroup", 9, _join("pair", leader), "leader again")
        other.receive(joining, "second joined")
        broker.ask("Heartbeat", 4, _heartbeat("pair", leader, 2), "before assignments")
        broker.ask("OffsetCommit", 9, commit | {"generation_id_or_member_epoch": 2}, "before assignments")
        waiting = other.send("SyncGroup", 5, _sync("pair", second, 2))
        broker.ask("SyncGroup", 5, _sync("pair", leader, 2, leader, second, "nobody"), "leader assigns")
        other.receive(waiting, "second assigned")
        _admins(broker, "pair")
        broker.ask("LeaveGroup", 5, _leave("pair", (second, None)), "second leaves")
        broker.ask("Heartbeat", 4, _heartbeat("pair", leader, again["generation_id"]), "one has left")
    broker.ask("LeaveGroup", 5, _leave("pair", (leader, None)), "the last leaves")
    _admins(broker, "pair")


def protocols(broker: Broker) -> None:
    """Which of its protocols a group takes."""
    coordinator(broker)
    for name, lists in {"first": [("a", "b"), ("b", "a")], "common": [("a", "b"), ("b", "c")]}.items():
        group = f"protocols-{name}"
        first = broker.ask("JoinGroup", 9, _join(group, protocols=lists[0]), f"{name} asks")["member_id"]
        broker.ask("JoinGroup", 9, _join(group, first, protocols=lists[0]), f"{name} joins")
        broker.ask("SyncGroup", 3, _sync(group, first, 1, first), f"{name} syncs")
        with broker.connection() as other:
            second = other.ask("JoinGroup", 9, _join(group, protocols=lists[1]), f"{name} second asks")["member_id"]
            joining = other.send("JoinGroup", 9, _join(group, second, protocols=lists[1]))
            broker.until(
                lambda: broker.main.exchange("Heartbeat", 4, _heartbeat(group, first))["error_code"] == 27, "a rebalance"
            )
            broker.ask("JoinGroup", 9, _join(group, first, protocols=lists[0]), f"{name} joins again")
            other.receive(joining, f"{name} second joined")


def admins(broker: Broker) -> None:
    coordinator(broker)
    member = _stable(broker, "administered")
    _admins(broker, "administered")
    commit = {"group_id": "administered-simple", "generation_id_or_member_epoch": -1, "member_id": ""}
    create(broker, "administered", 2)
    rows = [{"name": "administered", "partitions": [{"partition_index": p, "committed_offset": 5} for p in (0, 1)]}]
    broker.ask("OffsetCommit", 9, commit | {"topics": rows}, "simple")
    _admins(broker, "administered-simple")
    for group in ("nothing", "", "x" * 300):
        _admins(broker, group)
    broker.each("DescribeGroups", {"groups": []}, "none")
    broker.each("DescribeGroups", {"groups": None}, "null")
    broker.each("DescribeGroups", {"groups": [None]}, "null group")
    broker.each("DescribeGroups", {"groups": ["administered", "nothing", "administered"]}, "several")
    broker.each("DescribeGroups", {"groups": ["administered"], "include_authorized_operations": True}, "operations", range(3, 99))
    for label, more in {
        "all": {},
        "stable": {"states_filter": ["Stable"]},
        "small letters": {"states_filter": ["stable"]},
        "empty": {"states_filter": ["Empty"]},
        "unknown state": {"states_filter": ["Nonsense"]},
        "classic": {"types_filter": ["classic"]},
        "capitals": {"types_filter": ["CLASSIC"]},
        "consumer": {"types_filter": ["consumer"]},
        "unknown type": {"types_filter": ["nonsense"]},
        "null": {"states_filter": None, "types_filter": None},
    }.items():
        broker.each("ListGroups", more, label)
    for label, names in {"not empty": ["administered"], "unknown": ["nothing"], "no name": [""], "twice": ["nothing", "nothing"],
                         "none": [], "null": None, "null group": [None], "both": ["administered", "nothing"]}.items():  # fmt: skip
        broker.each("DeleteGroups", {"groups_names": names}, label)

    def delete(label: str, group: str, topic: str, *partitions: int) -> None:
        rows = [{"name": topic, "partitions": [{"partition_index": p} for p in partitions]}]
        broker.each("OffsetDelete", {"group_id": group, "topics": rows}, label)

    delete("one", "administered-simple", "administered", 0)
    delete("unknown partition", "administered-simple", "administered", 0, 7, -1)
    delete("unknown topic", "administered-simple", "nowhere", 0)
    delete("unknown group", "nothing", "administered", 0)
    delete("no group", "", "administered", 0)
    delete("subscribed", "administered", "administered", 0)
    delete("twice", "administered-simple", "administered", 1, 1)
    delete("no partitions", "administered-simple", "administered")
    broker.each("OffsetDelete", {"group_id": "administered-simple", "topics": []}, "no topics")
    broker.ask("LeaveGroup", 5, _leave("administered", (member, None)), "leaves")
    for version in broker.versions("DeleteGroups"):
        broker.ask("OffsetCommit", 9, commit | {"group_id": f"deleted-{version}", "topics": rows}, "to be deleted")
        broker.ask("DeleteGroups", version, {"groups_names": [f"deleted-{version}"]}, "for real")
        broker.ask("OffsetFetch", 7, {"group_id": f"deleted-{version}", "topics": None}, "deleted")


def _admins(broker: Broker, group: str) -> None:
    broker.each("DescribeGroups", {"groups": [group]}, f"describes {group[:20]}")
    broker.each("ListGroups", {}, f"lists with {group[:20]}")
