"""The command ``status``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.loading.jobs import source_state, spec_of
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import echo_json, json_option, program_option, store_option
from lmflow.cli.text.terminal import line
from lmflow.errors import VersionError, short
from lmflow.programs.compatibility import checked_params, stale
from lmflow.programs.decisions import known_paths
from lmflow.programs.program import Program
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import clean
from lmflow.values.record import Record, pretty
from lmflow.versions.changes import changes
from lmflow.versions.version import Version
from lmflow.views.lines import when

_PROGRAM_STATES = {True: "changed since", False: "as it was", None: "never run"}
_TUNED = frozenset({"instruction", "demos"})


@click.command()
@click.argument("ref", metavar="VERSION", shell_complete=complete_ref)
@click.option("--model", default="", metavar="PROVIDER/MODEL", help="The model of future runs.")
@program_option("The program that the version is for.")
@store_option
@json_option
def status(ref: str, model: str, target: str, store: str, *, as_json: bool) -> None:
    """Compare a version's last run with the program of now.

    If any of them changed, instructions and demonstrations may no longer be the best: the last line
    says what to tune again.

    \b
    Example:
      lmflow status prod --program app:rag
    """
    with reading(store) as reader:
        saved = reader.versions.saved(reader.version(ref).id)
        version = saved.version
        last = reader.latest(version.id)
        first = reader.versions.first(version.id)
        files = _files(reader.run_with_result(version.id), reader)
    name = target or (last.target if last else "")
    if not name:
        raise click.ClickException(
            "no run says which program it is for: add --program MODULE:PROGRAM."
        )
    facts = _compare(load_program(name), version, first, last, model) | {"files": files}
    if as_json:
        echo_json({"version": version.id, "program": name, "last": last and last.id, **facts})
        return
    click.echo(f"{ref} is {short(version.id)}  {line(version.note)}")
    click.echo(f"last run  {f'{last.id} at {when(last.started)}' if last else 'never'}")
    click.echo("\n".join(_lines(facts)))


def _compare(
    program: Program, version: Version, first: Version, last: Trace | None, model: str
) -> dict[str, Any]:
    """Compare a version and its last trace with the program and model of now."""
    try:
        checked_params(program, version)
        problem = ""
    except VersionError as error:
        problem = str(error)
    models = _models(last, model)
    changed = last.program != program.key if last else None
    return {
        "fits": problem or True,
        "program_changed": changed,
        "models": models,
        "stale": stale(program, version, first),
        "data": version.origin.get("data"),
        "tune": _paths_to_tune(program, version, everything=changed is True, models=models),
    }


def _files(run: Run | None, store: Reader) -> dict[str, str]:
    """Return the state of each data file of the optimization that made a version."""
    if run is None or "command" not in run.config:
        return {}
    spec = spec_of(run)
    return {
        source.path: source_state(source, run.target, store, spec.allow_files)
        for _, source in spec.files
    }


def _models(last: Trace | None, model: str) -> dict[str, dict[str, str]]:
    """Return the default model's name then and now, under "", if it changed."""
    models = last.world.models if last else Record()
    recorded = models.get("", {}).get("model", "")
    if not (model and recorded) or recorded == model:
        return {}
    return {"": {"then": recorded, "now": model}}


def _paths_to_tune(
    program: Program, version: Version, *, everything: bool, models: Mapping[str, Any]
) -> list[str]:
    """Return the tuned paths that depend on what changed.

    These are all of them after a change of the program, else those on the default model if it
    changed.
    """
    params = program.defaults | version.params.only(*known_paths(program))
    paths = [change.path for change in changes(program.defaults, params)]
    tuned = [path for path in paths if path.rpartition(".")[2] in _TUNED]
    if everything:
        return tuned
    if not models:
        return []
    return [path for path in tuned if not version.params.get(f"{path.rpartition('.')[0]}.model")]


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"fits      {'yes' if facts['fits'] is True else facts['fits']}"
    yield f"program   {_PROGRAM_STATES[facts['program_changed']]}"
    for sides in facts["models"].values():
        yield f"model     {clean(sides['then'])} -> {clean(sides['now'])}"
    if not facts["models"]:
        yield "model     as it was, or not given (--model)"
    yield f"data      {line(facts['data']) if facts['data'] else 'no data hash is recorded'}"
    for path, state in facts["files"].items():
        yield f"          {clean(path)}: {state}"
    for path, sides in facts["stale"].items():
        then, now = (line(pretty(sides[side]), 40) for side in ("then", "now"))
        yield f"default   {clean(path)}: holds {then}, the code says {now}"
    paths = ", ".join(map(clean, facts["tune"]))
    yield f"tune      {f'{paths} again' if paths else 'nothing'}"
