"""What an await may ask for: a call of the outside world, another program, several side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from lmflow.errors import NotDriven
from lmflow.messages.requests import Request
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import SAMPLES, check_paths

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen(eq=False)
class Call:
    """One call of the outside world. ``function`` is the tool's function, which only the live
    driver runs; ``wanted`` is the signature of what a model's reply is to hold, where a step
    says so.
    """

    request: Request
    function: Callable[..., Any] | None = attrs.field(default=None, repr=False)
    timeout: float | None = None
    wanted: Any = attrs.field(default=None, repr=False)

    def __await__(self) -> Generator[Call, Any, Any]:
        return (yield self)

    def __str__(self) -> str:
        return str(self.request)


@attrs.frozen
class Pending:
    """A program with its inputs, awaited for its outputs as often as you like: each await runs it
    anew.
    """

    program: Any
    inputs: Record
    overlay: Record = EMPTY
    sample: int | None = None

    def __await__(self) -> Generator[Pending, Any, Any]:
        _refuse_loop(str(self.program))
        return (yield self)

    def __getattr__(self, name: str) -> Any:
        msg = f"what hasn't run has no {name!r}: `await` it in a flow, `await ex.run(it)` elsewhere"
        raise AttributeError(msg)

    def __str__(self) -> str:
        return f"{self.program}({', '.join(self.inputs)})"

    def under(self, overlay: Mapping[str, Any]) -> Pending:
        """The same with some parameters replaced: ``overlay`` maps the program's own paths to
        values.

        Raises ``ForeignPaths`` where the program has no such path.
        """
        check_paths(str(self.program), overlay, self.program.paths)
        return attrs.evolve(self, overlay=self.overlay | overlay)

    def sampled(self, k: int) -> Pending:
        """The same as its k-th intended repeat: every request below it has ``sample=k``, addresses
        stay as they are.

        Sample 0 is the plain run. ``ValueError`` where ``k`` is none of 0 to 65,535.
        """
        if not 0 <= k < SAMPLES:
            msg = f"a sample is a number from 0 to {SAMPLES - 1}, found {k}"
            raise ValueError(msg)
        return attrs.evolve(self, sample=k)


@attrs.frozen
class Fork:
    """Several branches side by side. ``mode`` all waits for each and answers a tuple; first answers
    the earliest's.

    ``keys`` label the branches in addresses; without them their positions do.
    """

    branches: tuple[Pending | Fork, ...]
    mode: str = "all"
    keys: tuple[str, ...] = ()
    name: str = "gather"

    def __await__(self) -> Generator[Fork, Any, Any]:
        _refuse_loop(f"lf.{self.name}")
        return (yield self)

    def label(self, position: int) -> str | int:
        """What the branch is called in an address."""
        return self.keys[position] if self.keys else position


Effect = Call | Pending | Fork


def gather(*branches: Pending | Fork) -> Fork:
    """Run branches side by side; awaiting answers their results in order. All settle, then the
    first failure in program order is raised.
    """
    return _fork(branches, "all", "gather")


def first(*branches: Pending | Fork) -> Fork:
    """Run branches side by side; awaiting answers the one that ends first, and the others are
    stopped. The winner is recorded.
    """
    return _fork(branches, "first", "first")


def samples(pending: Pending, n: int) -> Fork:
    """``n`` intended repeats of a program side by side; awaiting answers their results in order.

    Branch k asks with ``sample=k``, so a provider's cache or a reuse of recorded calls can't make
    them one.
    """
    if not isinstance(pending, Pending):
        msg = f"lf.samples takes a program with its inputs, `lf.samples(step(x=1), 5)`, found {pending!r}"
        raise TypeError(msg)
    if n < 1:
        msg = f"lf.samples needs at least 1 sample, found {n}"
        raise ValueError(msg)
    return Fork(tuple(pending.sampled(k) for k in range(n)), name="sample")


def _fork(branches: Sequence[Any], mode: str, name: str) -> Fork:
    for branch in branches:
        if not isinstance(branch, (Pending, Fork)):
            msg = f"lf.{name} takes programs with their inputs, `lf.{name}(step(x=1), ...)`, found {branch!r}"
            raise TypeError(msg)
    if not branches and mode == "first":
        msg = "lf.first needs at least one branch"
        raise TypeError(msg)
    return Fork(tuple(branches), mode, (), name)


class Hidden:
    """What a flow finds in place of the event loop: nothing works, and ``touched`` says what it
    reached for.
    """

    __slots__ = ("touched",)

    def __init__(self) -> None:
        self.touched = ""

    def __getattr__(self, name: str) -> Any:
        """Refuse, and remember."""
        self.touched = self.touched or name
        msg = "no running event loop"
        raise RuntimeError(msg)


class hidden_loop:  # noqa: N801 - used as a verb; a class, since it stands around each step of each coroutine
    """Hide the running event loop, so that a flow that reaches for it fails the same way live and
    in replay.
    """

    __slots__ = ("_events", "_loop")

    def __enter__(self) -> Hidden:
        """What stands in its place."""
        hidden, self._events = Hidden(), sys.modules.get("asyncio.events")
        if self._events is not None:
            self._loop = self._events._get_running_loop()  # noqa: SLF001 - the only way to hide it
            self._events._set_running_loop(hidden)  # noqa: SLF001
        return hidden

    def __exit__(self, *_: object) -> None:
        """Put the loop back."""
        if self._events is not None:
            self._events._set_running_loop(self._loop)  # noqa: SLF001


def _refuse_loop(program: str) -> None:
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events else None  # noqa: SLF001
    if loop is not None and not isinstance(loop, Hidden):
        raise NotDriven(program)
