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
# _IOWR('X', 119, int) and the one after: whoever writes waits from the one to the other.
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


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
        self._ask(EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)

    @contextlib.contextmanager
    def stalled(self):
        """Reads what is in memory; whatever writes waits until the end."""
        self._ask(FIFREEZE, 0)
        try:
            yield
        finally:
            self._ask(FITHAW, 0)

    def fill(self) -> Path:
        """No byte is left. The file that holds them; again where something was freed meanwhile."""
        filler = self.path / "filler"
        with filler.open("ab") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), file.tell(), max(self.free(), 1))
            while True:
                file.seek(0, os.SEEK_END)
                file.write(b"\0" * 65536)
                file.flush()
        return filler

    def _ask(self, what: int, how: int) -> None:
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, what, struct.pack("I", how))
        finally:
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
