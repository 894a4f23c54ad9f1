"""Programs that pages run: imported when a person says so, since importing runs their code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.errors import LmflowError
from lmflow.ui.pages import Act, BadQuery, Sources


@attrs.frozen(eq=False)
class NotLoaded(LmflowError):
    """A page needs a program that is not loaded; a store alone doesn't get code imported."""

    target: str

    @property
    def message(self) -> str:
        """The words of the error."""
        if not self.target:
            return "the run does not name its program. Name it: lmflow ui MODULE:PROGRAM."
        return f"this page runs the program {self.target}, which is not loaded yet."

    template = "{message}"


@attrs.define(eq=False)
class LoadedPrograms:
    """The programs that pages may run, by target.

    Args:
        load: Imports the program of a target, ``MODULE:PROGRAM``.
    """

    load: Callable[[str], Any]
    _programs: dict[str, Any] = attrs.field(factory=dict, init=False)

    def add(self, target: str) -> None:
        """Import a program, so that pages may run it."""
        self._programs[target] = self.load(target)

    def __call__(self, target: str) -> Any:
        """Return a program that was loaded; of a run that names none, the only one.

        Raises:
            NotLoaded: If it was not loaded.
        """
        if not target and len(self._programs) == 1:
            return next(iter(self._programs.values()))
        if target not in self._programs:
            raise NotLoaded(target)
        return self._programs[target]


async def load_named(sources: Sources, form: Mapping[str, str]) -> str:
    """Load the program that a form names, and show the page that needs it."""
    here = form.get("here", "/")
    if not is_own_path(here):
        raise BadQuery("here", here, "a path of this server")
    await asyncio.to_thread(sources.program.add, form.get("target", ""))
    return here


LOAD = Act("/programs", load_named)


def is_own_path(path: str) -> bool:
    """Tell whether a path is one of this server, which no redirect leaves."""
    plain = path.isascii() and path.isprintable()
    return plain and path.startswith("/") and not path.startswith(("//", "/\\"))
