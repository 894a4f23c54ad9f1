"""The commands ``why`` and ``blame``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from lmflow.cli.commands.completion import complete_ref, complete_run
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import echo_json, json_option, program_option, store_option
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.terminal import line
from lmflow.errors import short
from lmflow.replays.provenance import why as provenance
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.lists.named import trace_at
from lmflow.stores.sqlite.reader import Reader
from lmflow.values.printing import clean
from lmflow.versions.blame import Attribution
from lmflow.versions.blame import blame as blame_parts
from lmflow.versions.pickaxe import paths_named
from lmflow.versions.version import Version
from lmflow.views.lines import when


@click.command()
@click.argument("trace", shell_complete=complete_run)
@program_option("The program, whose steps tell equal names apart.")
@pager_option
@store_option
@json_option
def why(trace: str, target: str, store: str, *, as_json: bool) -> None:
    """Show where an answer comes from.

    Prints its calls, the versions of their parameters, the demonstrations and what made them. TRACE
    is the id of a trace or of a run with one, `last`, or a label of a run, RUN/ex[e7].

    \b
    Example:
      lmflow why RUN
    """
    program = load_program(target) if target else None
    with reading(store) as reader:
        explained = provenance(trace_at(reader, trace), reader.version, program)
    if as_json:
        echo_json(explained.to_json())
    else:
        page(clean(str(explained)))


@click.command()
@click.argument("version", shell_complete=complete_ref)
@click.argument("path", default="", metavar="[PATH]")
@pager_option
@store_option
@json_option
def blame(version: str, path: str, store: str, *, as_json: bool) -> None:
    """Show which version introduced each part of a parameter.

    The parts are lines, demonstrations and keys; each is shown with what produced it. PATH is
    answer.instruction, or a step; without it all parameters are shown that are not empty.

    \b
    Example:
      lmflow blame prod answer.instruction
    """
    with reading(store) as reader:
        named = reader.version(version)
        paths = paths_named(named, [path]) if path else _filled_paths(named)
        rows = [
            _row(reader, name, part)
            for name in paths
            for part in blame_parts(named, name, reader.version)
        ]
    if as_json:
        echo_json(rows)
        return
    page("\n".join(_blame_lines(rows, headed=paths != [path])))


def _filled_paths(version: Version) -> list[str]:
    return [path for path, value in version.params.items() if value not in ("", (), {})]


def _blame_lines(rows: Iterable[Mapping[str, Any]], *, headed: bool) -> Iterator[str]:
    """Yield the lines of the parts; ``headed`` if each parameter's name stands above its own."""
    above = ""
    for row in rows:
        if headed and row["path"] != above:
            yield clean(row["path"])
            above = row["path"]
        yield from (f"  {text}" if headed else text for text in _lines(row))


def _row(reader: Reader, path: str, part: Attribution) -> dict[str, Any]:
    saved = reader.versions.saved(part.version.id)
    return {
        "path": path,
        "part": part.part,
        "version": part.version.id,
        "note": part.version.note,
        "author": saved.author,
        "at": saved.at,
        "origin": part.origin,
        "calls": _calls(reader, part.origin),
        "whole": part.whole,
        "root": not part.version.parents,
    }


def _calls(reader: Reader, origin: Any) -> list[dict[str, str]]:
    """Return the recorded calls whose key an origin names."""
    key = origin.get("key", "") if isinstance(origin, Mapping) else ""
    if not key:
        return []
    return [
        {"trace": trace, "address": address, "reply": reply}
        for trace, address, reply in reader.calls_of_key(key)
    ]


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    facts = [short(row["version"]), when(row["at"]), clean(row["author"]), line(row["note"], 40)]
    yield f"{'  '.join(fact for fact in facts if fact)}  | {line(row['part'])}"
    origin = row["origin"]
    if isinstance(origin, Mapping):
        pairs = (f"{clean(name)} {line(value, 80)}" for name, value in origin.items())
        yield f"    made by {', '.join(pairs)}"
        for call in row["calls"]:
            reply = line(call["reply"], 60)
            yield f"    call {call['address']} of {call['trace']}  → {reply}"
    elif origin is not None:
        yield f"    made by {line(origin)}"
    elif not row["root"]:
        yield "    written by hand"
    if not row["whole"]:
        yield "    or by an ancestor that is not in this store"
