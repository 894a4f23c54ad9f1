"""Errors of recordings that are driven again."""

from __future__ import annotations

import difflib
from typing import Any

import attrs

from lmflow.errors.words import LmflowError, near


@attrs.frozen(eq=False)
class ReplayDiverged(LmflowError):
    """The program asked for something else than was recorded at ``address``.

    ``recorded`` and ``asked`` are the two sides as text; the empty side is absent.
    """

    address: str
    recorded: str
    asked: str
    hint: str = ""

    def __str__(self) -> str:
        if not self.recorded:
            head = f"replay diverged at {self.address}: nothing was recorded there"
        elif not self.asked:
            head = f"replay diverged at {self.address}: recorded, but never asked for"
        else:
            head = f"replay diverged at {self.address}: the request differs"
        return "\n".join(
            part for part in (head, _sides(self.recorded, self.asked), self.hint) if part
        )


@attrs.frozen(eq=False)
class Undecided(ReplayDiverged):
    """A ``first`` was reached whose winner wasn't recorded: nobody knows who would win."""


@attrs.frozen(eq=False)
class NotRecorded(LmflowError):
    """An address at which nothing was recorded. ``known`` are the addresses of the calls that were."""

    where: str
    address: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        frames = dict.fromkeys(
            part for address in self.known for part in (address, address.rpartition("/")[0])
        )
        fix = "`lmflow runs show RUN` lists the addresses."
        return f"{self.where} has no call at {self.address!r}.{near(self.address, frames)} {fix}"


@attrs.frozen(eq=False)
class Unrecorded(LmflowError):
    """An execution that a test's recording doesn't hold. ``parted`` says how it differs from the
    nearest that it holds, as a tree.
    """

    path: str
    program: str
    problem: str
    parted: str = ""

    def __str__(self) -> str:
        fix = "Record it: pytest --lmflow-record=new adds what is new, --lmflow-record=all records anew."
        head = f"{self.path} doesn't answer {self.program}: {self.problem}. {fix}"
        return "\n".join(part for part in (head, self.parted) if part)


@attrs.frozen(eq=False)
class NetworkShut(LmflowError):
    """Something reached for the network where it is shut."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"the network is shut, found an attempt to reach {self.where}. {self.why}"


@attrs.frozen(eq=False)
class NotBisectable(LmflowError):
    """Two versions between which no first bad one can be searched."""

    problem: str

    def __str__(self) -> str:
        return f"{self.problem}: give a good version and a bad one that descends from it, and a metric that tells them."


@attrs.frozen(eq=False)
class Redacted(LmflowError):
    """A trace whose texts were cleaned when they were stored: what was asked isn't there to be
    asked again.
    """

    trace: str

    def __str__(self) -> str:
        return f"trace {self.trace} was redacted: the store doesn't hold what was asked. Run it anew, `ex.run`."


def _sides(recorded: str, asked: str) -> str:
    diff: Any = difflib.unified_diff(
        recorded.splitlines(), asked.splitlines(), "recorded", "asked", lineterm="", n=2
    )
    return "\n".join(diff)
