"""Diagrams of programs: a text tree and a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lmflow.programs.combinators import Branch, Map, Parallel, Repeat
from lmflow.programs.embedding import Embed
from lmflow.programs.flow import Flow
from lmflow.programs.program import Pipe, Predict, Program, check_programs
from lmflow.programs.tool import Tool
from lmflow.values.functions import Function


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
    return Diagram("\n".join(_tree(program, "", "")), "\n".join(chart))


def _kind(program: Program) -> str:
    match program:
        case Predict() | Embed():
            return "model"
        case Tool():
            return "tool"
        case _:
            return type(program).__name__.lower()


def _label(program: Program) -> str:
    match program:
        case Pipe() | Parallel():
            return type(program).__name__.lower()
        case Map(over=over):
            return f"map over {over}"
        case Branch(when=str(field)):
            return f"branch on {field}"
        case Branch(when=Function(name=name)):
            return f"branch on {name}"
        case Repeat(times=times):
            return f"repeat at most {times} times"
        case _:
            return f"{program.frame} ({_kind(program)})"


def _tree(program: Program, lead: str, rest: str) -> Iterator[str]:
    yield f"{lead}{_label(program)}: {program.signature}"
    last = len(program.children) - 1
    for position, child in enumerate(program.children):
        branch, line = ("└─ ", "   ") if position == last else ("├─ ", "│  ")
        yield from _tree(child, rest + branch, rest + line)


def _chart(program: Program, node: str, edge: str) -> Iterator[str]:
    shapes = {"model": ("(", ")"), "tool": ("[[", "]]")}
    opening, closing = shapes.get(_kind(program), ("[", "]"))
    label = f"{_label(program)}<br/>{_escaped(str(program.signature))}"
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
