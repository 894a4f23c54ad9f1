"""Commands that explain versions: ``blame`` and ``status``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from lmflow.cli.loading.programs import load
from lmflow.cli.loading.work import spec_of, state
from lmflow.cli.options import echo_json, json_option, program_option, store_option
from lmflow.cli.text.terminal import line
from lmflow.cli.text.versions import when
from lmflow.errors import VersionError, short
from lmflow.programs.compatibility import checked_params, stale
from lmflow.programs.program import Program
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import reading
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import Record, pretty
from lmflow.versions.blame import Blamed
from lmflow.versions.blame import blame as blamed
from lmflow.versions.diff import changes
from lmflow.versions.version import Version


@click.command()
@click.argument("version")
@click.argument("path")
@store_option
@json_option
def blame(version: str, path: str, store: str, *, as_json: bool) -> None:
    """Show which version introduced each part of a parameter. Lines, demonstrations, keys, and what
    produced them.

    \b
    Example:
      lmflow blame prod answer.instruction
    """
    with reading(store) as reader:
        rows = [
            _row(reader, part) for part in blamed(reader.version(version), path, reader.version)
        ]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        click.echo("\n".join(_blame_lines(row)))


@click.command()
@click.argument("ref", metavar="VERSION")
@click.option(
    "--model", default="", metavar="PROVIDER/MODEL", help="The model that it is going to run on."
)
@program_option
@store_option
@json_option
def status(ref: str, model: str, target: str, store: str, *, as_json: bool) -> None:
    """Compare what a version was last run with to what runs now.

    When any of them changed, instructions and demonstrations may no longer be the best: what to
    tune again is said.

    \b
    Example:
      lmflow status prod --program app:rag
    """
    with reading(store) as reader:
        saved = reader.versions.saved(ref)
        last = reader.latest(saved.version.id)
        first = reader.versions.first(ref)
        files = _files(reader.came_to(saved.version.id), reader)
    name = target or (last.target if last else "")
    if not name:
        raise click.ClickException(
            "no run says which program it is for: add --program MODULE:PROGRAM."
        )
    found = _compared(load(name), saved.version, first, last, model) | {"files": files}
    if as_json:
        echo_json({"version": saved.version.id, "program": name, "last": last and last.id, **found})
        return
    click.echo(f"{ref} is {short(saved.version.id)}  {line(saved.version.note)}")
    click.echo(f"last run  {f'{last.id} at {when(last.started)}' if last else 'never'}")
    click.echo("\n".join(_status_lines(found)))


def _row(reader: Reader, part: Blamed) -> dict[str, Any]:
    saved = reader.versions.saved(part.version.id)
    return {
        "part": part.part, "version": part.version.id, "note": part.version.note, "author": saved.author,
        "at": saved.at, "origin": part.origin, "calls": _calls(reader, part.origin), "whole": part.whole,
        "root": not part.version.parents,
    }  # fmt: skip


def _calls(reader: Reader, origin: Any) -> list[dict[str, str]]:
    """The recorded calls that an origin names by their key."""
    key = origin.get("key", "") if isinstance(origin, Mapping) else ""
    return (
        [{"trace": uid, "address": at, "reply": reply} for uid, at, reply in reader.asked(key)]
        if key
        else []
    )


def _blame_lines(row: Mapping[str, Any]) -> Iterator[str]:
    facts = [short(row["version"]), when(row["at"]), clean(row["author"]), line(row["note"], 40)]
    yield f"{'  '.join(fact for fact in facts if fact)}  | {line(row['part'])}"
    origin = row["origin"]
    if isinstance(origin, Mapping):
        told = (f"{clean(name)} {line(value, 80)}" for name, value in origin.items())
        yield f"    made by {', '.join(told)}"
        yield from (
            f"    call {call['address']} of {call['trace']}  → {line(call['reply'], 60)}"
            for call in row["calls"]
        )
    elif origin is not None:
        yield f"    made by {line(origin)}"
    elif not row["root"]:
        yield "    written by hand"
    if not row["whole"]:
        yield "    or by an ancestor that isn't kept here"


def _compared(
    program: Program, version: Version, first: Version, last: Trace | None, model: str
) -> dict[str, Any]:
    """What changed since the version was last run, and which steps that concerns."""
    try:
        checked_params(program, version)
        problem = ""
    except VersionError as error:
        problem = str(error)
    old, models = stale(program, version, first), _models(last, model)
    changed = last.program != program.key if last else None
    return {
        "fits": problem or True,
        "program_changed": changed,
        "models": models,
        "stale": old,
        "data": version.origin.get("data"),
        "tune": _again(program, version, everything=changed is True, models=models),
    }


def _files(made: Run | None, store: Reader) -> dict[str, str]:
    """The data files of the optimization that made a version: as they were, changed or gone since."""
    if made is None or "command" not in made.config:
        return {}
    return {source.path: state(source, made.target, store) for _, source in spec_of(made).files}


def _models(last: Trace | None, model: str) -> dict[str, dict[str, str]]:
    """The default model where it was another: name in the version -> what it was and is."""
    ran = (last.world.models if last else Record()).get("", {}).get("model", "")
    return {"": {"then": ran, "now": model}} if model and ran and ran != model else {}


def _again(
    program: Program, version: Version, *, everything: bool, models: Mapping[str, Any]
) -> list[str]:
    """The tuned paths that depend on what changed: all after a change of the program, else those on
    the model.
    """
    tuned = [
        c.path
        for c in changes(program.defaults, program.defaults | version.params.only(*program.paths))
    ]
    told = [path for path in tuned if path.rpartition(".")[2] in {"instruction", "demos"}]
    on_default = [
        path for path in told if not version.params.get(f"{path.rpartition('.')[0]}.model")
    ]
    return told if everything else on_default if models else []


def _status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"fits      {'yes' if found['fits'] is True else found['fits']}"
    program = {True: "changed since", False: "as it was", None: "never run"}
    yield f"program   {program[found['program_changed']]}"
    for sides in found["models"].values():
        yield f"model     {clean(sides['then'])} -> {clean(sides['now'])}"
    if not found["models"]:
        yield "model     as it was, or not said (--model)"
    yield f"data      {line(found['data']) if found['data'] else 'no data hash is recorded'}"
    for path, now in found["files"].items():
        yield f"          {clean(path)}: {now}"
    for path, sides in found["stale"].items():
        then, now = (line(pretty(sides[side]), 40) for side in ("then", "now"))
        yield f"default   {clean(path)}: holds {then}, the code says {now}"
    yield f"tune      {', '.join(map(clean, found['tune'])) or 'nothing'}{' again' if found['tune'] else ''}"
