"""What a screen is: a path, a template, and a function from a store and a query to JSON values."""

from __future__ import annotations

import shlex
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import attrs

from lmflow.data.conditions import Condition, condition
from lmflow.errors import LmflowError
from lmflow.traces.events import SearchSteered

FIRST = 50
"""The rows of a list that a page shows before the reader asks for more."""

MOST = 500
"""The rows of a list that one request can get."""


class Programs(Protocol):
    """The programs that pages may run."""

    def add(self, target: str) -> None:
        """Import a program, so that pages may run it."""
        ...

    def __call__(self, target: str) -> Any:
        """Return a program that was loaded; ``NotLoaded``."""
        ...


@attrs.frozen(eq=False)
class Searches:
    """What the command line knows of recorded optimizations.

    Args:
        rows: Lists the executions of a run with what each spent: ``rows(reader, run, limit)``.
        scores: Scores executions again: ``scores(reader, run, rows)``, a mapping with ``scores``,
            ``select``, ``metric`` and ``problem``.
        budget: Returns a run's limits, ``calls`` and ``usd``.
        prove: Replays a run offline: ``prove(reader, run)``, a mapping with ``version`` and
            ``same``. It imports the program.
        acts: Lists what people did to a run: ``acts(reader, run)``.
        steer: Stores an act for a run, ``steer(act)``, once it is checked.
    """

    rows: Callable[..., Sequence[Mapping[str, Any]]]
    scores: Callable[..., Mapping[str, Any]]
    budget: Callable[..., Mapping[str, Any]]
    prove: Callable[..., Mapping[str, Any]]
    acts: Callable[..., Sequence[Mapping[str, Any]]]
    steer: Callable[[SearchSteered], SearchSteered]


@attrs.frozen(eq=False)
class Sources:
    """Everything that a screen may use from outside this package; the command line passes it.

    Args:
        store: The name of the store, as people know it.
        reading: Opens a reader of the store, on a read-only connection of its own.
        costs: Sums what calls cost: ``costs(reader, by, conditions)``, a mapping for each group.
        evaluation: Returns the evaluation that a run recorded: ``evaluation(reader, run)``.
        program: Returns the loaded program of a target, ``MODULE:PROGRAM``; ``add`` loads one.
        replay: Runs a recording under a version: ``await replay(run, version, calls, usd, reason)``
            returns the id of the new run once that is under way.
        append: Stores events: ``append(*events)``; returns once they are durable.
        searches: Reads recorded optimizations.
        checks: Checks the installation and the store; sends nothing.
        pairs: Lists executions of the same inputs: ``pairs(reader, version, other, limit)``, each
            with ``a``, ``b``, ``row_a`` and ``row_b``.
        add_example: Adds an example to a data set: ``add_example(name, split, example, trace)``.
        who: The name that is recorded with what a person writes.
    """

    store: str
    reading: Callable[[], AbstractContextManager[Any]]
    costs: Callable[..., Sequence[Mapping[str, Any]]]
    evaluation: Callable[[Any, Any], Any]
    program: Programs
    replay: Callable[..., Awaitable[str]]
    append: Callable[..., None]
    searches: Searches
    checks: Callable[[], Sequence[Mapping[str, Any]]]
    add_example: Callable[..., str]
    pairs: Callable[..., Sequence[Any]]
    who: str = ""


@attrs.frozen(eq=False)
class Asked:
    """A request for a screen: the open reader, the names in its path, and its query.

    Args:
        sources: Everything from outside.
        reader: The reader, open while the screen is loaded.
        path: The parts of the path by name.
        query: The query's values by name, in order.
    """

    sources: Sources
    reader: Any
    path: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, Sequence[str]] = attrs.field(factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a name, stripped."""
        values = self.query.get(name, ())
        return values[-1].strip() if values else default

    def texts(self, name: str) -> tuple[str, ...]:
        """Return all values of a name that aren't blank."""
        return tuple(value.strip() for value in self.query.get(name, ()) if value.strip())

    def number(self, name: str, default: int, most: int = MOST) -> int:
        """Return a number from 0 to ``most``; ``BadQuery`` if the value isn't one."""
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)):
            raise BadQuery(name, text, f"a number from 0 to {most}")
        return min(int(text), most)

    def conditions(self, name: str = "where") -> tuple[Condition, ...]:
        """Read the conditions of a name; several in one value are separated by ``;``."""
        now = time.time_ns()
        parts = [part.strip() for text in self.texts(name) for part in text.split(";")]
        return tuple(condition(part, now) for part in parts if part)

    @property
    def outlines(self) -> Any:
        """The reader's outlines: rows without messages."""
        return self.reader.outlines


@attrs.frozen(eq=False)
class BadQuery(LmflowError):
    """A request has a value that its screen can't read."""

    name: str
    found: str
    expected: str

    template = "{name}={found!r} is not {expected}."


@attrs.frozen(eq=False)
class Shown:
    """What a screen shows: its title, the command that prints the same, and its JSON values.

    Args:
        title: The title of the page.
        command: The command line that shows the same; empty if there is none.
        data: The JSON values. The template gets nothing else, so ``?format=json`` shows all.
        live: The id of the run to follow, ``*`` for every run; empty if nothing changes.
    """

    title: str
    command: str
    data: Mapping[str, Any]
    live: str = ""


@attrs.frozen(eq=False)
class Screen:
    """A page: where it is, what it shows and how.

    Args:
        path: The path, with names in braces: ``/runs/{run}``.
        template: The file in ``templates/``.
        load: Reads what the screen shows. It runs in a thread, and may raise ``LmflowError``.
        word: The word in the navigation; empty if the screen isn't in it.
    """

    path: str
    template: str
    load: Callable[[Asked], Shown]
    word: str = ""


@attrs.frozen(eq=False)
class Act:
    """Something that a person may do by a form, which is recorded with ``who`` and a reason.

    Args:
        path: The path that the form is posted to.
        do: Does it and returns the path of the page to show next. It gets the sources and the
            form's values, and may raise ``LmflowError``.
    """

    path: str
    do: Callable[[Sources, Mapping[str, str]], Awaitable[str]]


def link(*parts: str, **query: Any) -> str:
    """Return the path of parts, with a query: ``link("runs", id, call="a/b[0]")``."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    pairs = [(name, value) for name, value in query.items() if value not in ("", None, ())]
    return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


def command_line(*words: str, **options: Any) -> str:
    """Return a command of ``lmflow`` as a person would type it, each word quoted if need be."""
    parts = ["lmflow", *(word for word in words if word)]
    for name, value in options.items():
        for each in _values(value):
            parts += [f"--{name.replace('_', '-')}", each]
    return shlex.join(parts)


def _values(value: Any) -> Iterable[str]:
    if value in ("", None, ()):
        return ()
    return map(str, value) if isinstance(value, (tuple, list)) else (str(value),)
