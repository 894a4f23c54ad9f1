"""Pictures of a program: a text tree and a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lmflow.programs.combinators import Branch, Map, Parallel, Repeat
from lmflow.programs.embedding import Embed
from lmflow.programs.program import Flow, Pipe, Predict, Program, Tool, check_programs


@attrs.frozen
class Diagram:
    """A program drawn: ``text`` is a tree, ``mermaid`` a flowchart's source."""

    text: str
    mermaid: str

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.mermaid}\n```"


def diagram(program: Program) -> Diagram:
    """Draw a program: its parts, their signatures and their kinds."""
    check_programs(program)
    return Diagram(
        "\n".join(_tree(program, "", "")), "\n".join(["flowchart TD", *_chart(program, "n", "")])
    )


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
        case Branch():
            return (
                f"branch on {program.when if isinstance(program.when, str) else program.when.name}"
            )
        case Repeat(times=times):
            return f"repeat at most {times} times"
        case _:
            return f"{program.frame} ({_kind(program)})"


def _tree(program: Program, lead: str, rest: str) -> Iterator[str]:
    yield f"{lead}{_label(program)}: {program.signature}"
    last = len(program.children) - 1
    for position, child in enumerate(program.children):
        yield from _tree(
            child,
            rest + ("└─ " if position == last else "├─ "),
            rest + ("   " if position == last else "│  "),
        )


def _chart(program: Program, node: str, edge: str) -> Iterator[str]:
    left, right = {"model": ("(", ")"), "tool": ("[[", "]]")}.get(_kind(program), ("[", "]"))
    yield f'    {edge}{node}{left}"{_label(program)}<br/>{_escaped(str(program.signature))}"{right}'
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
