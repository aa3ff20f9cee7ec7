"""File systems of a scenario's own: small, and mortal."""

import contextlib
import fcntl
import os
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20
# _IOR('X', 125, u32): the file system answers every later request with an I/O error; without flushing its journal (2).
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


class Disk:
    """An ext4 in a file, all of which root may fill."""

    def __init__(self, home: Path, name: str, mib: int):
        self.image, self.path = home / f"{name}.img", home / name
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(mib * MIB)
        run("mkfs.ext4", "-q", "-m", "0", str(self.image))

    def mount(self) -> None:
        run("mount", "-o", "loop", str(self.image), str(self.path))

    def unmount(self, *options: str) -> None:
        run("umount", *options, str(self.path))

    def die(self) -> None:
        """As if it were pulled out: what is not on disk is lost, and whatever comes is an I/O error."""
        directory = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(directory)

    def free(self) -> int:
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize


@contextlib.contextmanager
def mounted(home: Path, name: str, mib: int):
    disk = Disk(home, name, mib)
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount("-l")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"without file systems of its own this proves nothing: {' '.join(command)}: {done.stderr}"
