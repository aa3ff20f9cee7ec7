"""Single requests to a node, over a connection of their own: no client's caches and retries in between."""

import socket
import struct

import codec
from nodes import receive


def ask(address: tuple[str, int], api: str, version: int, body: dict, seconds: float = 5) -> dict:
    """The answer's body. OSError (a timeout is one too) where there is none."""
    data = codec.encode(api, version, 1, body, "by-hand")
    with socket.create_connection(address, seconds) as connection:
        connection.settimeout(seconds)
        connection.sendall(struct.pack(">i", len(data)) + data)
        (size,) = struct.unpack(">i", receive(connection, 4))
        return codec.decode(api, version, 1, receive(connection, size))
