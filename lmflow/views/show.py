"""``show``: prints a value as the command line does, or displays it in a notebook."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import Any, Protocol, runtime_checkable

from lmflow.errors import NotFound, UnknownVersion
from lmflow.values.printing import clean
from lmflow.views.listed import Listed
from lmflow.views.notebook import is_notebook
from lmflow.views.page import Page

_NO_MESSAGES = (
    "messages=True shows the calls of a trace or a run, found {}. "
    "An optimization has its run, lf.show(optimization.run, messages=True); that of an evaluation "
    "is lf.show(evaluation.run, messages=True, store=store), the last one of an executor "
    "lf.show(ex.runs[-1], messages=True)."
)
_NO_STORE = "to show {0!r} by its id or name, say where it is: lf.show({0!r}, store=store)"


@runtime_checkable
class HasMessages(Protocol):
    """A trace or a run: its calls have messages."""

    def text(self, *, messages: bool) -> str:
        """Return the value as text."""
        ...

    def page(self, *, messages: bool) -> Page:
        """Return the value as a notebook shows it."""
        ...


@runtime_checkable
class HasRuns(Protocol):
    """A store or an executor: the list of its runs is shown."""

    @property
    def runs(self) -> Any:
        """The runs."""
        ...


@runtime_checkable
class Drawn(Protocol):
    """A program: its text for people is a drawing, as ``str`` is its name."""

    @property
    def diagram_text(self) -> str:
        """The parts of the program, one a line."""
        ...


def show(value: Any, *, messages: bool = False, store: Any = None) -> None:
    """Show a value: print it as the command line does, or display it in a notebook.

    Args:
        value: A trace, run, version, difference, plan, evaluation, comparison, optimization or
            program; a store or an executor, for the list of its latest runs. With ``store`` also
            the id of a run or trace, or a name of a version: a ref, an id or ``REF~N``.
        messages: Whether each call of a trace or run is followed by its exact messages and reply.
        store: The store in which ids and names are looked up.

    Raises:
        NotFound: The store has no run, trace or version of that id or name.
        TypeError: The value has no messages, or it is a name and there is no store.

    Example:
        >>> import lmflow as lf
        >>> version = lf.Version(params={"answer.instruction": "Answer."})
        >>> lf.show(lf.diff(version, version.put({"answer.instruction": "Answer briefly."})))
        answer.instruction
          Answer{+ briefly+}.
    """
    if isinstance(value, str):
        value = _stored(value, store)
    elif isinstance(value, HasRuns):
        value = value.runs
    if messages and not isinstance(value, HasMessages):
        raise TypeError(_NO_MESSAGES.format(type(value).__name__))
    if is_notebook(sys.modules):
        _display(value, messages=messages)
    else:
        _print(_text(value, messages=messages))


def _stored(name: str, store: Any) -> Any:
    if store is None:
        raise TypeError(_NO_STORE.format(name))
    try:
        return store.runs.get(name)
    except NotFound as error:
        no_run = error
    for read, missing in ((store.runs.trace, NotFound), (store.versions.saved, UnknownVersion)):
        with contextlib.suppress(missing):
            return read(name)
    problem = f"{no_run.problem}; no trace and no version is named so either"
    raise NotFound(store.name, problem, no_run.fix)


def _text(value: Any, *, messages: bool) -> str:
    if isinstance(value, HasMessages):
        return value.text(messages=messages)
    if isinstance(value, Listed):
        on_terminal = sys.stdout is not None and sys.stdout.isatty()
        return value.fitting(shutil.get_terminal_size().columns if on_terminal else None)
    text = value.diagram_text if isinstance(value, Drawn) else str(value)
    return clean(text)


def _print(text: str) -> None:
    """Print a text; a stream that has no lines of trees or foreign letters gets question marks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # noqa: T201 - what it is for


def _display(value: Any, *, messages: bool) -> None:
    display: Any = sys.modules["IPython"].display
    if messages:
        page = value.page(messages=True)
        texts = {"text/plain": value.text(messages=True), "text/html": page.html()}
        display.display({**texts, "text/markdown": page.markdown()}, raw=True)
    else:
        display.display(value)
