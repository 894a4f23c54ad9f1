"""Effects that programs await: a call of a model or tool, another program, a fork of several."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from lmflow.errors import NotDriven
from lmflow.messages.requests import Request
from lmflow.programs.decisions import known_paths
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import check_paths

if TYPE_CHECKING:
    from collections.abc import Sequence


SAMPLES = 65_536
"""How many samples a call can have: samples within samples are numbered in this base."""

ForkMode = Literal["all", "first"]
"""Whether a fork waits for all of its branches, or for the first that ends."""


@attrs.frozen(eq=False)
class Call:
    """One call of a model or tool.

    ``function`` is the tool's function, which only the live driver runs. ``wanted`` is the
    signature of the outputs that a model's reply must hold, ``None`` if the step doesn't say.
    ``adapter`` is the form in which they were asked for. ``price`` says what a tool's call costs.
    """

    request: Request
    function: Callable[..., Any] | None = attrs.field(default=None, repr=False)
    timeout: float | None = None
    wanted: Any = attrs.field(default=None, repr=False)
    adapter: Any = attrs.field(default=None, repr=False)
    price: Callable[[Mapping[str, Any]], int | None] | None = attrs.field(default=None, repr=False)

    def __await__(self) -> Generator[Call, Any, Any]:
        return (yield self)

    def __str__(self) -> str:
        return str(self.request)


@attrs.frozen
class Pending:
    """A program with its inputs; each await runs the program anew and returns its outputs.

    Args:
        program: The program to run.
        inputs: Its converted inputs.
        overlay: Parameters replaced for this run, by the program's own paths.
        sample: The number of an intended repeat, ``None`` for the surrounding one.
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
        """Replace parameters for this run.

        Args:
            overlay: The program's own paths -> values.

        Returns:
            The same program and inputs under those parameters.

        Raises:
            ForeignPaths: The program has no such path.
        """
        check_paths(str(self.program), overlay, known_paths(self.program))
        return attrs.evolve(self, overlay=self.overlay | overlay)

    def sampled(self, k: int) -> Pending:
        """Make this run an intended repeat: every request below it has ``sample=k``.

        Addresses stay as they are.

        Args:
            k: The number of the repeat, from 0 (the plain run) to 65,535.

        Returns:
            The same program and inputs with that sample.

        Raises:
            ValueError: ``k`` is out of range.
        """
        if not 0 <= k < SAMPLES:
            msg = f"a sample is a number from 0 to {SAMPLES - 1}, found {k}"
            raise ValueError(msg)
        return attrs.evolve(self, sample=k)


@attrs.frozen
class Fork:
    """Several branches side by side.

    Awaiting it returns all results as a tuple, or in mode ``first`` the result of the branch that
    ends first. ``keys`` label the branches in addresses, by default their positions do.
    """

    branches: tuple[Pending | Fork, ...]
    mode: ForkMode = "all"
    keys: tuple[str, ...] = ()
    name: str = "gather"

    def __await__(self) -> Generator[Fork, Any, Any]:
        _refuse_loop(f"lf.{self.name}")
        return (yield self)

    def label(self, position: int) -> str | int:
        """The label of a branch in addresses: its key, else its position.

        Args:
            position: The position of the branch.

        Returns:
            The label.
        """
        return self.keys[position] if self.keys else position


Effect = Call | Pending | Fork


def gather(*branches: Pending | Fork) -> Fork:
    """Run branches side by side and await all results.

    All branches end before the first failure, in program order, is raised.

    Args:
        *branches: Programs with their inputs, or forks.

    Returns:
        A fork; awaiting it returns the results in order, as a tuple.

    Raises:
        TypeError: A branch isn't a program with its inputs.

    Example:
        >>> from lmflow import predict
        >>> answer = predict("answer", "question -> answer")
        >>> len(gather(answer(question="a?"), answer(question="b?")).branches)
        2
    """
    return _fork(branches, "all", "gather")


def first(*branches: Pending | Fork) -> Fork:
    """Run branches side by side and await the one that ends first; the others are cancelled.

    Which branch won is recorded, so that a replay returns the same result.

    Args:
        *branches: Programs with their inputs, or forks; at least one.

    Returns:
        A fork; awaiting it returns the result of the winner.

    Raises:
        TypeError: A branch isn't a program with its inputs, or there is none.
    """
    return _fork(branches, "first", "first")


def samples(pending: Pending, n: int) -> Fork:
    """Run ``n`` intended repeats of a program side by side.

    The requests of branch k have ``sample=k``, so that neither a cache nor the reuse of recorded
    calls merges them.

    Args:
        pending: A program with its inputs.
        n: How many repeats, at least 1.

    Returns:
        A fork; awaiting it returns the results in order, as a tuple.

    Raises:
        TypeError: ``pending`` isn't a program with its inputs.
        ValueError: ``n`` is less than 1.
    """
    if not isinstance(pending, Pending):
        msg = (
            "lf.samples takes a program with its inputs, "
            f"`lf.samples(step(x=1), 5)`, found {pending!r}"
        )
        raise TypeError(msg)
    if n < 1:
        msg = f"lf.samples needs at least 1 sample, found {n}"
        raise ValueError(msg)
    return Fork(tuple(pending.sampled(k) for k in range(n)), name="sample")


def _fork(branches: Sequence[Any], mode: ForkMode, name: str) -> Fork:
    for branch in branches:
        if not isinstance(branch, (Pending, Fork)):
            msg = (
                f"lf.{name} takes programs with their inputs, "
                f"`lf.{name}(step(x=1), ...)`, found {branch!r}"
            )
            raise TypeError(msg)
    if not branches and mode == "first":
        msg = "lf.first needs at least one branch"
        raise TypeError(msg)
    return Fork(tuple(branches), mode, (), name)


class HiddenLoop:
    """Stands in for the event loop while a flow runs: it refuses all access.

    ``touched`` is the name of the first attribute that the flow reached for.
    """

    __slots__ = ("touched",)

    def __init__(self) -> None:
        self.touched = ""

    def __getattr__(self, name: str) -> Any:
        """Refuse the access, and remember its name."""
        self.touched = self.touched or name
        msg = "no running event loop"
        raise RuntimeError(msg)


class hidden_loop:  # noqa: N801 - a verb; a class is faster than a generator, at each step
    """Hide the running event loop, so that a flow that reaches for it fails in replay and live."""

    # A flow that could await timers or sockets would depend on things that no recording holds, so
    # its replay would diverge in silence. Hiding the loop, around each step of user code alone,
    # makes `asyncio.sleep` or `create_task` in a flow fail at once, as in a replay without a loop.

    __slots__ = ("_events", "_loop")

    def __enter__(self) -> HiddenLoop:
        """Put the stand-in in the loop's place, and return it."""
        hidden, self._events = HiddenLoop(), sys.modules.get("asyncio.events")
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
    if loop is not None and not isinstance(loop, HiddenLoop):
        raise NotDriven(program)
