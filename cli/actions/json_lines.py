"""Writes rows as JSON lines, for the commands that export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lmflow.cli.errors import writing
from lmflow.cli.options import echo_json
from lmflow.values.media import json_with_content
from lmflow.values.record import plain
from lmflow.values.unicode import escape_surrogates
from lmflow.views.lines import counted


def write_json_lines(rows: Iterator[Any], out: Path | None) -> int:
    """Write rows to a file as UTF-8, or to the terminal as ASCII; return their number."""
    if out is None:
        return sum(_echo(row) for row in rows)
    count = 0
    with writing(out), out.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(_json(row, ascii_only=False) + "\n")
            count += 1
    return count


def print_written(count: int, unit: str, out: Path | None, *, as_json: bool) -> None:
    """Print how much was written to a file; print nothing if the rows went to the terminal."""
    if out and as_json:
        echo_json({unit: count, "out": str(out)})
    elif out:
        click.echo(f"{counted(count, unit.removesuffix('s'))} in {out}")


def _echo(row: Any) -> int:
    click.echo(_json(row, ascii_only=True))
    return 1


def _json(row: Any, *, ascii_only: bool) -> str:
    values = plain(row, kept=True)
    return escape_surrogates(json.dumps(values, default=json_with_content, ensure_ascii=ascii_only))
