"""`ottla-verify` beside a scenario: the load that proves that nothing is lost, doubled or out of order."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nodes import BINARY

VERIFY = os.environ.get("OTTLA_VERIFY") or str(Path(BINARY).with_name("ottla-verify"))
PRODUCERS = 3
FAULTS = ["lost", "duplicated", "reordered", "misplaced", "corrupt", "expired", "failed", "unresolved"]
# What a client does that begins its numbers anew while it does not know of every batch whether it was written.
RENUMBERED = ["duplicated", "misplaced"]


class Load:
    """Runs from its making on; `judged` waits for its end, or brings it about where the load is to go on until then."""

    def __init__(
        self, bootstrap: str, seed: int, seconds: float, log: Path, rate: float = 2000, patience: float = 60, more=(), on=False
    ):
        self.topic = f"verify-{seed}"
        self.log = log
        self.bound = seconds + 4 * patience + 40
        command = [VERIFY, "--bootstrap", bootstrap, "--seed", str(seed), "--seconds", str(seconds), "--rate", str(rate)]
        command += ["--producers", str(PRODUCERS), "--groups", "2", "--patience", str(patience), *more]
        command += ["--until-input-ends"] if on else []
        source = subprocess.PIPE if on else subprocess.DEVNULL
        with log.open("w") as complaints:
            self.process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=complaints, text=True)

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def judged(self, fine: Sequence[str] = ()) -> dict:
        """The summary of a load that was judged good, except for faults that are fine."""
        output, _ = self.process.communicate(timeout=self.bound)
        assert output.startswith("{"), f"no judgement ({self.process.returncode}):\n{self.log.read_text()}"
        summary = json.loads(output)
        faults = {fault: summary[fault] for fault in FAULTS if summary[fault] and fault not in fine}
        groups = [group for group in summary["groups"] if group["missed"] + group["vanished"] + group["changed"]]
        assert not faults and not groups, f"{faults}, groups {groups}, {summary['faults']}:\n{self.log.read_text()}"
        assert self.process.returncode == 0 or any(summary[fault] for fault in fine), self.log.read_text()
        return summary

    def end(self) -> None:
        if not self.is_over():
            self.process.kill()
        self.process.communicate()


def longest_gap(summary: dict) -> float:
    """Seconds without an acknowledgement."""
    return summary["longest_gap"]["all_ms"] / 1000
