"""Diagrams of programs: a text tree and a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lmflow.programs.combinators import Branch
from lmflow.programs.flow import Flow
from lmflow.programs.program import Pipe, Program, check_programs


@attrs.frozen
class Diagram:
    """A drawing of a program: ``text`` is a tree, ``mermaid`` the source of a flowchart."""

    text: str
    mermaid: str

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.mermaid}\n```"


def diagram(program: Program) -> Diagram:
    """Draw a program's parts with their signatures and kinds.

    Args:
        program: Any program.

    Returns:
        The tree, which is what ``print`` shows, and the flowchart, which notebooks show.

    Raises:
        TypeError: ``program`` isn't a program.

    Example:
        >>> from lmflow import predict
        >>> print(diagram(predict("answer", "question -> answer")))
        answer (model): question -> answer
    """
    check_programs(program)
    chart = ["flowchart TD", *_chart(program, "n", "")]
    return Diagram(program.diagram_text, "\n".join(chart))


def _chart(program: Program, node: str, edge: str) -> Iterator[str]:
    shapes = {"model": ("(", ")"), "tool": ("[[", "]]")}
    opening, closing = shapes.get(program.diagram_kind, ("[", "]"))
    label = f"{program.diagram_label}<br/>{_escaped(str(program.signature))}"
    yield f'    {edge}{node}{opening}"{label}"{closing}'
    previous = ""
    for position, child in enumerate(program.children):
        inner = f"{node}_{position}"
        yield from _chart(child, inner, f"{node} {_arrow(program, position)} ")
        if isinstance(program, Pipe) and previous:
            yield f"    {previous} ==> {inner}"
        previous = inner


def _arrow(program: Program, position: int) -> str:
    if isinstance(program, Branch):
        return "-- yes -->" if position == 0 else "-- no -->"
    return "-. uses .->" if isinstance(program, Flow) else "-->"


def _escaped(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )
