"""Apache's long-running programs (a Connect worker, a Streams application) as processes that end with the test."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import apache


class Program:
    """One Java program. Leaving its `with` ends it; what it printed lies in `log`."""

    def __init__(self, home: Path, main: str, properties: dict[str, str]):
        self.log = home / f"{main.rsplit('.', 1)[-1]}.log"
        self.properties_file = self.log.with_suffix(".properties")
        self.properties_file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        self.main = main

    def __enter__(self) -> "Program":
        with self.log.open("ab") as log:
            command = apache.java(self.main, str(self.properties_file), heap="512M")
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, failure, *_) -> None:
        """Asks it to end, as an operator would; after a failure it is not waited for."""
        self.process.kill() if failure else self.process.terminate()
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop:\n{self.tail()}") from None
        assert failure or code in (0, 143), f"ended with {code}:\n{self.tail()}"

    def until(self, what: str, holds: Callable[[], bool], seconds: float = 120) -> None:
        """Waits for something that this program is to bring about."""
        end = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, f"ended with {self.process.returncode}, still no {what}:\n{self.tail()}"
            assert time.monotonic() < end, f"no {what}:\n{self.tail()}"
            time.sleep(0.1)

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
