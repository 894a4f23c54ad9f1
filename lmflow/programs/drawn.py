"""What is shown of a program: its repr, its drawing and its page in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmflow.programs.settled import Settled
from lmflow.values.printing import printable
from lmflow.views.page import Page, Table, Text

_WIDEST_REPR = 240


class Drawn(Settled):
    """Base of all programs, which shows them; ``Program`` has the parts that are drawn."""

    _kind = ""
    """The word for the kind in diagrams; by default the name of the class."""

    def __repr__(self) -> str:
        return f"<{_headline(self)}>"

    def _repr_html_(self) -> str:
        return _page(self).html()

    def _repr_markdown_(self) -> str:
        return _page(self).markdown()

    @property
    def diagram_kind(self) -> str:
        """The kind of the program in diagrams: ``model``, ``tool``, ``flow``, ``pipe``, ..."""
        return self._kind or type(self).__name__.lower()

    @property
    def diagram_label(self) -> str:
        """The program in a diagram: its name with its kind, or its kind alone."""
        return _label(self)

    @property
    def diagram_text(self) -> str:
        """The program's parts with their kinds and signatures, one a line."""
        return "\n".join(_tree_lines(self, "", ""))


# The functions take any program: `Program` itself derives from `Drawn`.
def _headline(program: Any) -> str:
    return printable(f"{type(program).__name__} {program}: {program.signature}", _WIDEST_REPR)


def _label(program: Any) -> str:
    kind: str = program.diagram_kind
    return f"{program.frame} ({kind})" if program.frame else kind


def _page(program: Any) -> Page:
    rows = [_step_cells(name, step) for name, step in program.steps.items()]
    steps = Table(rows, "Steps and their defaults", noun="step")
    return Page((_headline(program),), (Text(program.diagram_text), steps))


def _tree_lines(program: Any, lead: str, rest: str) -> Iterator[str]:
    yield f"{lead}{program.diagram_label}: {program.signature}"
    last = len(program.children) - 1
    for position, child in enumerate(program.children):
        branch, line = ("└─ ", "   ") if position == last else ("├─ ", "│  ")
        yield from _tree_lines(child, rest + branch, rest + line)


def _step_cells(name: str, step: Any) -> dict[str, Any]:
    slots = step.slots
    return {
        "step": name,
        "kind": step.diagram_kind,
        "instruction": slots.get("instruction"),
        "demos": len(slots.get("demos") or ()) or None,
        "options": slots.get("options") or None,
        "model": slots.get("model"),
    }
