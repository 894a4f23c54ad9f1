"""Commands that keep a store: ``export``, ``import``, ``score``, ``pin``, ``gc``."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path

import attrs
import click

from lmflow.cli.loading.programs import load
from lmflow.cli.options import Group, echo_json, json_option, program_option, store_option, user
from lmflow.cli.text.terminal import table
from lmflow.errors import ForeignFile, NotFound, UnknownVersion, near, short
from lmflow.programs.dspy import from_dspy, to_dspy
from lmflow.stores.sqlite.gc import Swept, collect, shrink
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.schema import check_file
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import Event, Pinned, RefMoved, ScoreRecorded, VersionSaved
from lmflow.versions.files import Bundle, bundle, from_text, json_text, read_json, to_text
from lmflow.versions.history import lineage
from lmflow.versions.version import Version, check_ref

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

_format_option = click.option(
    "--format", "kind", type=click.Choice(["lmflow", "dspy"]), default="lmflow", show_default=True,
    help="Our own JSON, or what DSPy saves a program's state in.",
)  # fmt: skip
_names_option = click.option(
    "--name",
    "pairs",
    multiple=True,
    metavar="STEP=PREDICTOR",
    help="What DSPy calls a step, where it isn't the same.",
)


@click.command("export")
@click.argument("names", nargs=-1, metavar="[VERSION]...")
@click.option("--only", is_flag=True, help="Without their ancestors.")
@click.option(
    "--out", type=click.Path(dir_okay=False), help="The file to write; standard output otherwise."
)
@_format_option
@_names_option
@program_option
@store_option
@json_option
def export(  # noqa: PLR0913, PLR0917 - one an option
    names: tuple[str, ...],
    out: str | None,
    kind: str,
    pairs: tuple[str, ...],
    target: str,
    store: str,
    *,
    only: bool,
    as_json: bool,
) -> None:
    """Write versions with their ancestors and refs as JSON. Without VERSION those of all refs.

    \b
    Example:
      lmflow export prod --out prod.json
    """
    with reading(store) as reader:
        refs = reader.refs()
        found = [reader.version(name) for name in names or refs]
        if not found:
            raise click.ClickException(
                "there is no ref to export. Name a version, `lmflow export VERSION`."
            )
        if kind == "dspy":
            text = _dspy(reader, found, target, pairs)
        else:
            more = (
                []
                if only
                else [v for one in found for v in lineage(one, reader.version, whole=False)]
            )
            text = to_text(
                bundle(
                    [*found, *more],
                    {name: id_ for name, id_ in refs.items() if not names or name in names},
                )
            )
    if out is None:
        click.echo(text, nl=False)
        return
    Path(out).write_text(text, encoding="utf-8")
    if as_json:
        echo_json({"out": out, "versions": [version.id for version in found]})
    else:
        click.echo(f"{', '.join(short(version.id) for version in found)} in {out}")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--ref", "name", default="", help="Point this ref at the version that the file is about."
)
@_format_option
@_names_option
@program_option
@store_option
@json_option
def import_(  # noqa: PLR0913, PLR0917 - one an option
    file: str,
    name: str,
    kind: str,
    pairs: tuple[str, ...],
    target: str,
    store: str,
    *,
    as_json: bool,
) -> None:
    """Keep the versions of a file, under their ids. A file that was changed is refused.

    Refs of the file are set where the store has none of that name.

    \b
    Example:
      lmflow import prod.json
    """
    if name:
        check_ref(name)
    try:
        text = Path(file).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ForeignFile(
            file, f"it isn't UTF-8 ({error.reason})", "Nothing was imported."
        ) from None
    if kind == "dspy":
        version = from_dspy(
            load(_needed(target, "dspy")), read_json(text, file), file, _names(pairs)
        )
        found = Bundle((version,))
    else:
        found = from_text(text, file)
    if name and len(tips := _tips(found)) != 1:
        raise click.ClickException(
            f"{file} has {len(tips)} latest versions; import it without --ref, then `ref set`."
        )
    said = _keep(store, found, name, Path(file).name)
    if as_json:
        echo_json({"versions": [version.id for version in found.versions], "said": said})
    else:
        click.echo("\n".join(said))


@click.command()
@click.argument("run")
@click.option("--name", required=True, help="What is judged, such as helpful.")
@click.option("--value", type=float, help="The number.")
@click.option("--feedback", default="", help="The reason, in words.")
@click.option("--label", default="", help="Which trace of the run, where it has several.")
@store_option
@json_option
def score(  # noqa: PLR0913, PLR0917 - one an option
    run: str,
    name: str,
    value: float | None,
    feedback: str,
    label: str,
    store: str,
    *,
    as_json: bool,
) -> None:
    """Judge a run, or a trace by its id. Scores are kept beside it, none is overwritten.

    \b
    Example:
      lmflow score RUN --name helpful --value 1
    """
    if value is None and not feedback:
        raise click.ClickException("nothing to keep: give --value 1, or --feedback with words.")
    if value is not None and not math.isfinite(value):
        raise click.ClickException(
            f"--value {value} is no finite number: give one such as 1 or 0.5."
        )
    with reading(store) as reader:
        trace = _trace(reader, run, label)
    with SqliteStore(store) as kept:
        kept.append(
            ScoreRecorded(trace, name, value, feedback, "", user(), time.time_ns())
        ).result()
    if as_json:
        echo_json({"trace": trace, "name": name, "value": value, "feedback": feedback})
    else:
        click.echo(f"{trace}: {name} {'' if value is None else f'{value:g}'}".rstrip())


@click.group(cls=Group)
def pin() -> None:
    """Versions that are kept whatever `gc` collects.

    \b
    Example:
      lmflow pin ls
    """


@pin.command("add")
@click.argument("version")
@click.option("--why", default="", help="The reason.")
@store_option
@json_option
def pin_add(version: str, why: str, store: str, *, as_json: bool) -> None:
    """Keep a version and its ancestors.

    \b
    Example:
      lmflow pin add prod --why "in the paper"
    """
    _pin(version, why, store, on=True, as_json=as_json)


@pin.command("rm")
@click.argument("version")
@store_option
@json_option
def pin_rm(version: str, store: str, *, as_json: bool) -> None:
    """Keep a version no longer than others.

    \b
    Example:
      lmflow pin rm candidate
    """
    _pin(version, "", store, on=False, as_json=as_json)


@pin.command("ls")
@store_option
@json_option
def pin_ls(store: str, *, as_json: bool) -> None:
    """List the pinned versions.

    \b
    Example:
      lmflow pin ls
    """
    with reading(store) as reader:
        rows = [{"version": version, "why": why} for version, why in reader.versions.pins().items()]
    if as_json:
        echo_json(rows)
    else:
        shown = table(
            [{**row, "version": short(row["version"])} for row in rows], ("version", "why")
        )
        click.echo(shown if rows else "No pins.")


@click.command()
@click.option(
    "--older-than",
    "age",
    metavar="AGE",
    help="Also runs that began longer ago, such as 30d or 12h.",
)
@click.option("--yes", is_flag=True, help="Do it: without, only what would go is said.")
@click.option(
    "--vacuum",
    is_flag=True,
    help="Then make the file smaller; it takes as much space again meanwhile.",
)
@store_option
@json_option
def gc(age: str | None, store: str, *, yes: bool, vacuum: bool, as_json: bool) -> None:
    """Remove what no ref, reflog, pin or run reaches. With --older-than old runs too.

    \b
    Example:
      lmflow gc --older-than 30d
    """
    swept = collect(store, older_than=_nanoseconds(age) if age else None, dry_run=not yes)
    if yes and vacuum:
        shrink(store)
    if as_json:
        echo_json({**attrs.asdict(swept), "done": yes})
        return
    click.echo(f"{'removed' if yes else 'would remove'} {_said(swept)}")
    if not yes:
        click.echo(
            "Nothing was removed: `lmflow gc --yes` does it."
            if swept != Swept()
            else "Nothing to do."
        )


def _dspy(reader: Reader, found: list[Version], target: str, pairs: tuple[str, ...]) -> str:
    if len(found) != 1:
        raise click.ClickException(f"DSPy's file holds one version, found {len(found)}. Name one.")
    ancestors = [version.id for version in lineage(found[0], reader.version, whole=False)][1:]
    return json_text(
        to_dspy(load(_needed(target, "dspy")), found[0], tuple(ancestors), _names(pairs))
    )


def _needed(target: str, kind: str) -> str:
    if not target:
        raise click.ClickException(
            f"--format {kind} needs the program: add --program MODULE:PROGRAM."
        )
    return target


def _names(pairs: tuple[str, ...]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise click.ClickException(
                f"--name {pair!r} has no predictor. Write --name STEP=PREDICTOR."
            )
    return dict(pair.split("=", 1) for pair in pairs)


def _tips(found: Bundle) -> list[Version]:
    """The versions of a bundle that are no parents in it."""
    parents = {parent for version in found.versions for parent in version.parents}
    return [version for version in found.versions if version.id not in parents]


def _keep(store: str, found: Bundle, name: str, file: str) -> list[str]:
    """Keep versions and refs, all or none; what was done, as lines."""
    now, who = time.time_ns(), user()
    here: dict[str, str] = {}
    if check_file(Path(store)):
        with reading(store) as reader:
            here = dict(reader.refs())
    wanted = {**found.refs, **({name: _tips(found)[0].id} if name else {})}
    events: list[Event] = [VersionSaved(version, now, who) for version in found.versions]
    lines = [
        f"{len(found.versions)} versions, the latest {', '.join(short(tip.id) for tip in _tips(found))}"
    ]
    for ref, target in wanted.items():
        if here.get(ref) == target:
            continue
        if ref in here and ref != name:
            lines.append(
                f"{ref} stays at {short(here[ref])}; `lmflow ref set {ref} {short(target)}` moves it"
            )
            continue
        events.append(RefMoved(ref, target, f"import of {file}", now, who, here.get(ref, "")))
        lines.append(f"{ref}: {short(here.get(ref, '')) or 'new'} -> {short(target)}")
    with SqliteStore(store) as kept:
        kept.append(*events).result()
    return lines


def _trace(reader: Reader, wanted: str, label: str) -> str:
    """The id of the trace that a run, or a trace's own id, names."""
    try:
        labels = reader.labels(wanted)
    except NotFound:
        return reader.trace(wanted).id
    found = [uid for name, uid in labels if name == label or len(labels) == 1]
    if not found:
        names = [name for name, _ in labels]
        hint = (
            near(label, names)
            if label
            else f" Say which, --label {names[0] if names else 'LABEL'}."
        )
        raise click.ClickException(
            f"run {wanted} has {len(labels)} traces, {label or 'none'} isn't one of them.{hint}"
        )
    return found[0]


def _pin(version: str, why: str, store: str, *, on: bool, as_json: bool) -> None:
    with reading(store) as reader:
        found = reader.version(version).id
        if not on and found not in reader.versions.pins():
            raise UnknownVersion(
                version,
                tuple(reader.refs()),
                hint="It isn't pinned; `lmflow pin ls` lists what is.",
            )
    with SqliteStore(store) as kept:
        kept.append(Pinned(found, why, time.time_ns(), user(), on)).result()
    if as_json:
        echo_json({"version": found, "pinned": on})
    else:
        click.echo(f"{short(found)} {'is kept' if on else 'is no longer pinned'}")


def _nanoseconds(age: str) -> int:
    found = re.fullmatch(r"(\d+)([smhdw])", age)
    if not found:
        raise click.ClickException(f"--older-than {age!r} is no age. Write 30d, 12h, 90m or 2w.")
    return int(found[1]) * _UNITS[found[2]] * 10**9


def _said(swept: Swept) -> str:
    runs = f"{swept.runs} runs ({swept.traces} traces, {swept.calls} calls), " if swept.runs else ""
    return f"{runs}{swept.versions} versions, {swept.blobs} blobs, {swept.bytes / 1e6:.1f} MB"
