"""Networks of a scenario's own: each node in a network namespace on a bridge, the scenario and its clients in one beside them.

A cut loses packets without a word, as a failed switch does: no connection is closed or refused.
"""

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path

CLONE_NEWNET = 0x40000000
PREFIX = "10.213.7"


class Network:
    """Inside of `made`. Node N has the address PREFIX.N."""

    def __init__(self, name: str):
        self.name = name
        self.namespaces: dict[int, str] = {}

    def add(self, id: int) -> tuple[str, str]:
        """The address and the namespace of one more node."""
        namespace, link = f"{self.name}-{id}", f"veth{id}"
        run("ip", "netns", "add", namespace)
        self.namespaces[id] = namespace
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "link", "set", link, "master", "bridge", "up")
        run("ip", "-n", namespace, "address", "add", f"{PREFIX}.{id}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", namespace, "link", "set", device, "up")
        return f"{PREFIX}.{id}", namespace

    def isolate(self, id: int) -> None:
        """From everybody, clients too."""
        run("ip", "link", "set", f"veth{id}", "down")

    def rejoin(self, id: int) -> None:
        run("ip", "link", "set", f"veth{id}", "up")

    def cut(self, one: int, other: int, both_ways: bool = True) -> None:
        """What the one sends does not reach the other, and the other way round."""
        self._drop("-A", one, other, both_ways)

    def heal(self, one: int, other: int, both_ways: bool = True) -> None:
        self._drop("-D", one, other, both_ways)

    def _drop(self, what: str, one: int, other: int, both_ways: bool) -> None:
        for source, at in [(one, other), (other, one)] if both_ways else [(one, other)]:
            run("ip", "netns", "exec", self.namespaces[at], "iptables", what, "INPUT", "-s", f"{PREFIX}.{source}", "-j", "DROP")


@contextlib.contextmanager
def made():
    """A network, and this thread and the processes that it starts in it. Needs root."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    enter(None)
    network = Network(f"ottla-{os.getpid()}")
    try:
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{PREFIX}.254/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        yield network
    finally:
        enter(home)
        os.close(home)
        for namespace in network.namespaces.values():
            run("ip", "netns", "delete", namespace)


def is_possible() -> bool:
    return os.geteuid() == 0 and Path("/proc/thread-self/ns/net").exists()


def enter(namespace: int | None) -> None:
    """A new network namespace, or that of the descriptor; of this thread and what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.unshare(CLONE_NEWNET) if namespace is None else libc.setns(namespace, CLONE_NEWNET)
    if result != 0:
        raise OSError(ctypes.get_errno(), "network namespaces")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
