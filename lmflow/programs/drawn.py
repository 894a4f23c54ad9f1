"""What is shown of a program: its repr, its drawing and its page in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lmflow.signatures.signature import Signature
from lmflow.values.printing import printable
from lmflow.views.page import Page, Table, Text

_WIDEST_REPR = 240


class Drawn:
    """Base of all programs, which shows them. ``Program`` has what is drawn."""

    _kind = ""
    """The word for the kind in diagrams; by default the name of the class."""

    if TYPE_CHECKING:
        signature: Signature

        @property
        def children(self) -> tuple[Any, ...]:
            """The programs that the program is composed of."""

        @property
        def frame(self) -> str:
            """The name under which the program opens a frame; empty if it opens none."""

        @property
        def steps(self) -> Mapping[str, Any]:
            """The steps by name, in program order."""

    def __repr__(self) -> str:
        return f"<{self._headline}>"

    def _repr_html_(self) -> str:
        return self._page().html()

    def _repr_markdown_(self) -> str:
        return self._page().markdown()

    @property
    def diagram_kind(self) -> str:
        """The kind of the program in diagrams: ``model``, ``tool``, ``flow``, ``pipe``, ..."""
        return self._kind or type(self).__name__.lower()

    @property
    def diagram_label(self) -> str:
        """The program in a diagram: its name with its kind, or its kind alone."""
        return f"{self.frame} ({self.diagram_kind})" if self.frame else self.diagram_kind

    @property
    def diagram_text(self) -> str:
        """The program's parts with their kinds and signatures, one a line."""
        return "\n".join(_tree_lines(self, "", ""))

    @property
    def _headline(self) -> str:
        return printable(f"{type(self).__name__} {self}: {self.signature}", _WIDEST_REPR)

    def _page(self) -> Page:
        steps = Table(
            [_step_cells(name, step) for name, step in self.steps.items()],
            "Steps and their defaults",
            noun="step",
        )
        return Page((self._headline,), (Text(self.diagram_text), steps))


def _tree_lines(program: Drawn, lead: str, rest: str) -> Iterator[str]:
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
