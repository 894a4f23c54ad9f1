"""A version's parameters as lines of text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.versions.changes import VECTORS
from lmflow.views.lines import counted
from lmflow.views.page import ROWS_SHOWN, WIDEST_LINE, Table


def version_text(head: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """Return what is known of a version, one fact a line, and each of its parameters.

    Args:
        head: The facts by name; empty ones are left out.
        params: The parameters by path.
    """
    lines = [f"{name:8} {value}" for name, value in head.items() if value]
    for path, value in params.items():
        lines += _parameter_lines(path, value)
    return "\n".join(lines)


def parameter_table(params: Mapping[str, Any]) -> Table:
    """Return the parameters as a table for a page."""
    rows = [
        {"parameter": path, "value": _cell(path, value)}
        for path, value in itertools.islice(params.items(), ROWS_SHOWN)
    ]
    return Table(rows, total=len(params), noun="parameter", width=WIDEST_LINE)


def _cell(path: str, value: Any) -> Any:
    if path.endswith(VECTORS) and isinstance(value, Mapping):
        return f"{len(value)} vectors"
    if value == "":
        return "(empty)"
    if isinstance(value, (tuple, list, Mapping)) and not value:
        return "(none)"
    if isinstance(value, (tuple, list)):
        return f"{counted(len(value), 'demo')}: {pretty(value[0])}"
    return value


def _parameter_lines(path: str, value: Any) -> Iterator[str]:
    yield ""
    yield clean(path)
    if path.endswith(VECTORS) and isinstance(value, Mapping):
        yield f"  {len(value)} vectors"
    elif isinstance(value, str):
        yield from (f"  {text}" for text in clean(value).splitlines() or ["(empty)"])
    elif isinstance(value, (tuple, list)):
        for number, item in enumerate(value, 1):
            yield from _demo(number, item)
        if not value:
            yield "  (none)"
    elif isinstance(value, Mapping):
        yield from (f"  {clean(name)} = {clean(pretty(part))}" for name, part in value.items())
        if not value:
            yield "  (none)"
    else:
        yield f"  {clean(pretty(value))}"


def _demo(number: int, item: Any) -> Iterator[str]:
    if not isinstance(item, Mapping):
        yield f"  {number}  {clean(pretty(item))}"
        return
    for position, (name, value) in enumerate(item.items()):
        text = value if isinstance(value, str) else pretty(value)
        first, *rest = clean(text).splitlines() or [""]
        yield f"  {'' if position else number:<3}{clean(name)}: {first}"
        yield from (f"       {more}" for more in rest)
