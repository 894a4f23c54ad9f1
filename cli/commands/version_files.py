"""The commands ``export`` and ``import``, which write and read files of versions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import click

from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.errors import writing
from lmflow.cli.lazy import LazyCommands
from lmflow.cli.loading.programs import load_program
from lmflow.cli.options import (
    echo_json,
    json_option,
    options_value,
    program_option,
    store_option,
    user_name,
)
from lmflow.cli.subcommands import CommandWithMore
from lmflow.data.file_rows import ENDINGS
from lmflow.errors import ForeignFile, short
from lmflow.programs.dspy import from_dspy, to_dspy
from lmflow.stores.opened import is_there, is_url, open_store, path_of, reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.weights import CarriedWeights, carry_weights, weights_folder
from lmflow.traces.events import Event, RefMoved, VersionSaved
from lmflow.values.hashed_files import HashedFiles
from lmflow.values.weights_names import files_of
from lmflow.versions.files import Bundle, bundle, from_text, json_text, read_json, to_text
from lmflow.versions.history import lineage
from lmflow.versions.version import Version, check_ref
from lmflow.views.lines import counted

_SQLITE = b"SQLite format 3\0"
_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["lmflow", "dspy"]),
    default="lmflow",
    show_default=True,
    help="lmflow: lmflow's own JSON. dspy: the state that DSPy saves of a program.",
)
_NAMES = click.option(
    "--name",
    "pairs",
    multiple=True,
    metavar="STEP=PREDICTOR",
    help="DSPy's name of a step, if it differs; repeatable.",
)
_PROGRAM = program_option("The program that the version is for.")


@attrs.frozen(kw_only=True)
class ExportOptions:
    """The arguments and options of ``export``."""

    names: tuple[str, ...]
    only: bool
    out: Path | None
    form: str
    pairs: tuple[str, ...]
    target: str
    store: str
    as_json: bool


@click.command(
    "export",
    cls=CommandWithMore,
    more=LazyCommands(
        {
            "otlp": (
                "traces.export_otlp:export_otlp",
                "Send executions to an OpenTelemetry endpoint.",
            ),
        }
    ),
)
@click.argument("names", nargs=-1, metavar="[VERSION]...", shell_complete=complete_ref)
@click.option("--only", is_flag=True, help="Leave out the ancestors.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; by default standard output.",
)
@_FORMAT
@_NAMES
@_PROGRAM
@store_option
@json_option
@options_value(ExportOptions)
def export(options: ExportOptions) -> None:
    """Write versions with their ancestors and refs as JSON.

    Without VERSION the versions of all refs are written. `lmflow export otlp` sends executions to
    an OpenTelemetry endpoint instead. With --out, trained weights that VERSION names are copied to
    FILE.weights, where `lmflow import` finds them.

    \b
    Example:
      lmflow export prod --out prod.json
    """
    with reading(options.store) as reader:
        versions = [reader.version(name) for name in options.names or reader.refs()]
        if not versions:
            raise click.ClickException(
                "there is no ref to export. Name a version, `lmflow export VERSION`."
            )
        text = _text(reader, versions, options)
    if options.out is None:
        click.echo(text, nl=False)
        return
    with writing(options.out):
        options.out.write_text(text, encoding="utf-8")
    carried = CarriedWeights()
    if not is_url(options.store):
        files = weights_folder(Path(options.store))
        carried = carry_weights(versions, files, weights_folder(options.out))
    ids = [version.id for version in versions]
    if options.as_json:
        weights = {"weights": [*carried.copied, *carried.present]}
        missing = {"missing_weights": list(carried.missing)}
        echo_json({"out": str(options.out), "versions": ids, **weights, **missing})
        return
    lines = [f"{', '.join(map(short, ids))} in {options.out}"]
    click.echo("\n".join([*lines, *_weights_lines(carried, weights_folder(options.out))]))


@attrs.frozen(kw_only=True)
class ImportOptions:
    """The arguments and options of ``import``."""

    file: Path
    ref: str
    form: str
    pairs: tuple[str, ...]
    target: str
    store: str
    as_json: bool


@click.command(
    "import",
    cls=CommandWithMore,
    more=LazyCommands(
        {
            "traces": ("traces.import_traces:import_traces", "Import traces of another system."),
        }
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--ref", default="", help="Point this ref at the file's latest version.")
@_FORMAT
@_NAMES
@_PROGRAM
@store_option
@json_option
@options_value(ImportOptions)
def import_(options: ImportOptions) -> None:
    """Store the versions of a file under their ids.

    A file that was changed is refused. Refs of the file are set if the store has none of that name.
    `lmflow import traces` imports what another system recorded instead.

    \b
    Example:
      lmflow import prod.json
    """
    file, ref = options.file, options.ref
    if ref:
        check_ref(ref)
    imported = _read_bundle(options)
    tips = _tips(imported)
    if ref and len(tips) != 1:
        raise click.ClickException(
            f"{file} has {len(tips)} latest versions; import it without --ref, then `ref set`."
        )
    carried = CarriedWeights()
    if any(files_of(version.params) for version in imported.versions):
        target = weights_folder(path_of(options.store, _WEIGHTS_FIX))
        carried = carry_weights(imported.versions, weights_folder(file), target)
        lines = _store_bundle(options.store, imported, ref, file.name)
        lines += _weights_lines(carried, target)
    else:
        lines = _store_bundle(options.store, imported, ref, file.name)
    if options.as_json:
        echo_json({"versions": [version.id for version in imported.versions], "said": lines})
    else:
        click.echo("\n".join(lines))


_WEIGHTS_FIX = "Trained weights lie in a folder beside a file: import them there, --store FILE."


def _weights_lines(carried: CarriedWeights, target: HashedFiles) -> Iterator[str]:
    """Yield what was done with the trained weights that versions name."""
    files = len(carried.copied) + len(carried.present)
    if files:
        yield f"{counted(files, 'file')} of trained weights in {target.folder}"
    for sha256 in carried.missing:
        yield f"the weights {sha256[:12]} are missing: copy their file to {target.path(sha256)}"


def _text(reader: Reader, versions: list[Version], options: ExportOptions) -> str:
    if options.form == "dspy":
        return _dspy_text(reader, versions, options)
    ancestors: list[Version] = []
    if not options.only:
        for version in versions:
            ancestors += lineage(version, reader.version, whole=False)
    names = options.names
    refs = {name: id_ for name, id_ in reader.refs().items() if not names or name in names}
    return to_text(bundle([*versions, *ancestors], refs))


def _dspy_text(reader: Reader, versions: list[Version], options: ExportOptions) -> str:
    if len(versions) != 1:
        raise click.ClickException(
            f"DSPy's file holds one version, found {len(versions)}. Name one."
        )
    (version,) = versions
    ancestors = [older.id for older in lineage(version, reader.version, whole=False)][1:]
    program = load_program(_required_program(options.target))
    return json_text(to_dspy(program, version, tuple(ancestors), _names(options.pairs)))


def _read_bundle(options: ImportOptions) -> Bundle:
    file = str(options.file)
    content = options.file.read_bytes()
    if content.startswith(_SQLITE):
        fix = f"Read it with --store {file}. Nothing was imported."
        raise ForeignFile(file, "it is an SQLite file, as stores are", fix)
    if _holds_rows(options.file, content):
        fix = f"`lmflow dataset import {file}` stores it. Nothing was imported."
        raise ForeignFile(file, "it holds rows of data, not versions", fix)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForeignFile(
            file, f"it isn't UTF-8 ({error.reason})", "Nothing was imported."
        ) from None
    if options.form != "dspy":
        return from_text(text, file)
    program = load_program(_required_program(options.target))
    version = from_dspy(program, read_json(text, file), file, _names(options.pairs))
    return Bundle((version,))


def _holds_rows(file: Path, content: bytes) -> bool:
    """Return whether a file is of data: a table, a JSON list, or an object on its first line."""
    suffix, text = file.suffix.lower(), content.lstrip()
    if suffix == ".json":
        return text.startswith(b"[")
    if suffix != ".jsonl":
        return suffix in ENDINGS
    first = text.partition(b"\n")[0].rstrip()
    return first.endswith(b"}") and b'"format"' not in first


def _required_program(target: str) -> str:
    if not target:
        raise click.ClickException("--format dspy needs the program: add --program MODULE:PROGRAM.")
    return target


def _names(pairs: tuple[str, ...]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise click.ClickException(
                f"--name {pair!r} has no predictor. Write --name STEP=PREDICTOR."
            )
    return dict(pair.split("=", 1) for pair in pairs)


def _tips(imported: Bundle) -> list[Version]:
    """Return the versions of a bundle that are not parents of others in it."""
    parents = {parent for version in imported.versions for parent in version.parents}
    return [version for version in imported.versions if version.id not in parents]


def _store_bundle(store_path: str, imported: Bundle, ref: str, file: str) -> list[str]:
    """Store versions and refs, all or none; return the lines that say what was done."""
    now, user = time.time_ns(), user_name()
    known_refs: dict[str, str] = {}
    if is_there(store_path):
        with reading(store_path) as reader:
            known_refs = dict(reader.refs())
    tips = _tips(imported)
    targets = {**imported.refs, **({ref: tips[0].id} if ref else {})}
    count = counted(len(imported.versions), "version")
    events: list[Event] = [VersionSaved(version, now, user) for version in imported.versions]
    lines = [f"{count}, the latest {', '.join(short(version.id) for version in tips)}"]
    for name, target in targets.items():
        current = known_refs.get(name, "")
        if current == target:
            continue
        if current and name != ref:
            move = f"`lmflow ref set {name} {short(target)}` moves it"
            lines.append(f"{name} stays at {short(current)}; {move}")
            continue
        events.append(RefMoved(name, target, f"import of {file}", now, user, current))
        lines.append(f"{name}: {short(current) or 'new'} -> {short(target)}")
    with open_store(store_path) as store:
        store.append(*events).result()
    return lines
