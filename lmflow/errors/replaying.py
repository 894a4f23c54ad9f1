"""Errors of recordings that are replayed."""

from __future__ import annotations

import difflib

import attrs

from lmflow.errors.words import LmflowError, near


@attrs.frozen(eq=False)
class ReplayDiverged(LmflowError):
    """The program sent another request than was recorded at ``address``.

    ``recorded`` and ``asked`` are the two requests as text; the text of an absent one is empty.
    """

    address: str
    recorded: str
    asked: str
    hint: str = ""

    template = "replay diverged at {address}: {difference}"

    @property
    def difference(self) -> str:
        """Which side lacks the request, if one does; both sides line by line; the hint."""
        if not self.recorded:
            head = "nothing was recorded there"
        elif not self.asked:
            head = "recorded, but never asked for"
        else:
            head = "the request differs"
        sides = difflib.unified_diff(
            self.recorded.splitlines(),
            self.asked.splitlines(),
            "recorded",
            "asked",
            lineterm="",
            n=2,
        )
        return "\n".join(text for text in (head, *sides, self.hint) if text)


@attrs.frozen(eq=False)
class Undecided(ReplayDiverged):
    """The program reached a ``first`` whose winner wasn't recorded: nobody knows who would win."""


@attrs.frozen(eq=False)
class NotRecorded(LmflowError):
    """A trace has no call at an address. ``known`` are the addresses of its recorded calls."""

    where: str
    address: str
    known: tuple[str, ...]

    template = (
        "{where} has no call at {address!r}.{hint} `lmflow runs show RUN` lists the addresses."
    )

    @property
    def hint(self) -> str:
        """The recorded address or frame that is nearly this one, as a question."""
        frames = [address.rpartition("/")[0] for address in self.known]
        return near(self.address, dict.fromkeys([*self.known, *frames]))


@attrs.frozen(eq=False)
class Unrecorded(LmflowError):
    """The recording of a test doesn't hold an execution. ``parted`` says how the execution differs
    from the nearest recorded one, as a tree.
    """

    path: str
    program: str
    problem: str
    parted: str = ""

    template = (
        "{path} doesn't answer {program}: {problem}. Record it: pytest --lmflow-record=new adds "
        "what is new, --lmflow-record=all records anew.{tree}"
    )

    @property
    def tree(self) -> str:
        """``parted`` on lines of its own."""
        return f"\n{self.parted}" if self.parted else ""


@attrs.frozen(eq=False)
class NetworkShut(LmflowError):
    """A program tried to reach a host while the network is shut."""

    where: str
    why: str

    template = "the network is shut, found an attempt to reach {where}. {why}"


@attrs.frozen(eq=False)
class NotBisectable(LmflowError):
    """No first bad version can be searched between two versions."""

    problem: str

    template = (
        "{problem}: give a good version and a bad one that descends from it, and a metric that "
        "tells them."
    )


@attrs.frozen(eq=False)
class Redacted(LmflowError):
    """A trace can't be replayed: its texts were redacted when they were stored, so its requests are
    missing.
    """

    trace: str

    template = (
        "trace {trace} was redacted: the store doesn't hold what was asked. Run it anew, `ex.run`."
    )
