"""The commands ``gc`` and ``pin``, which remove versions and runs or protect them."""

from __future__ import annotations

import re
import time

import attrs
import click

from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.options import Group, echo_json, json_option, store_option, user_name
from lmflow.cli.text.tables import table
from lmflow.errors import UnknownVersion, short
from lmflow.stores.opened import collect_garbage, is_url, open_store, reading, shrink_store
from lmflow.stores.sqlite.gc import GarbageCounts
from lmflow.stores.weights import SweptWeights, sweep_weights
from lmflow.traces.events import Pinned
from lmflow.values.printing import sized
from lmflow.views.lines import counted

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.group(cls=Group)
def pin() -> None:
    """Pin versions, which `gc` then keeps.

    \b
    Example:
      lmflow pin ls
    """


@pin.command("add")
@click.argument("version", shell_complete=complete_ref)
@click.option("--why", default="", help="The reason.")
@store_option
@json_option
def pin_add(version: str, why: str, store: str, *, as_json: bool) -> None:
    """Pin a version; its ancestors are kept too.

    \b
    Example:
      lmflow pin add prod --why "in the paper"
    """
    _pin(version, why, store, pinned=True, as_json=as_json)


@pin.command("rm")
@click.argument("version", shell_complete=complete_ref)
@store_option
@json_option
def pin_rm(version: str, store: str, *, as_json: bool) -> None:
    """Remove the pin of a version.

    \b
    Example:
      lmflow pin rm candidate
    """
    _pin(version, "", store, pinned=False, as_json=as_json)


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
        pins = reader.versions.pins()
    if as_json:
        echo_json([{"version": version, "why": why} for version, why in pins.items()])
        return
    rows = [{"version": short(version), "why": why} for version, why in pins.items()]
    click.echo(table(rows, ("version", "why")) if rows else "No pins.")


@click.command()
@click.option(
    "--older-than",
    "age",
    metavar="AGE",
    help="Also remove runs that began longer ago, such as 30d or 12h.",
)
@click.option("--yes", is_flag=True, help="Remove; without it only print what would be removed.")
@click.option(
    "--vacuum",
    is_flag=True,
    help="Then make the file smaller; meanwhile it takes as much space again.",
)
@store_option
@json_option
def gc(age: str | None, store: str, *, yes: bool, vacuum: bool, as_json: bool) -> None:
    """Remove what no ref, reflog, pin or run reaches.

    With --older-than old runs are removed too. Files of trained weights are removed a day after the
    last version that names them.

    \b
    Example:
      lmflow gc --older-than 30d
    """
    swept = collect_garbage(store, older_than=_nanoseconds(age) if age else None, dry_run=not yes)
    weights = SweptWeights() if is_url(store) else sweep_weights(store, dry_run=not yes)
    if yes and vacuum:
        shrink_store(store)
    if as_json:
        files = {"weights": weights.files, "weights_bytes": weights.bytes}
        echo_json({**attrs.asdict(swept), **files, "done": yes})
        return
    if swept == GarbageCounts() and not weights.files:
        click.echo("Nothing to remove.")
        return
    click.echo(f"{'removed' if yes else 'would remove'} {_counts(swept, weights)}")
    if not yes:
        click.echo("Nothing was removed: `lmflow gc --yes` does it.")


def _pin(version: str, why: str, store_path: str, *, pinned: bool, as_json: bool) -> None:
    with reading(store_path) as reader:
        version_id = reader.version(version).id
        if not pinned and version_id not in reader.versions.pins():
            hint = "It isn't pinned; `lmflow pin ls` lists the pins."
            raise UnknownVersion(version, tuple(reader.refs()), hint=hint)
    with open_store(store_path) as store:
        store.append(Pinned(version_id, why, time.time_ns(), user_name(), pinned)).result()
    if as_json:
        echo_json({"version": version_id, "pinned": pinned})
    else:
        click.echo(f"{short(version_id)} {'is pinned' if pinned else 'is no longer pinned'}")


def _nanoseconds(age: str) -> int:
    match = re.fullmatch(r"([0-9]{1,15})([smhdw])", age)
    if not match:
        raise click.ClickException(
            f"--older-than {age!r} is not an age. Write 30d, 12h, 90m or 2w."
        )
    nanoseconds = int(match[1]) * _SECONDS[match[2]] * 10**9
    return min(nanoseconds, time.time_ns())  # no run is older than the epoch


def _counts(swept: GarbageCounts, weights: SweptWeights) -> str:
    parts = [counted(swept.versions, "version"), counted(swept.blobs, "blob"), sized(swept.bytes)]
    if swept.runs:
        inner = f"{counted(swept.traces, 'trace')}, {counted(swept.calls, 'call')}"
        parts.insert(0, f"{counted(swept.runs, 'run')} ({inner})")
    if weights.files:
        what = counted(weights.files, "file")
        parts.append(f"{what} of trained weights, {sized(weights.bytes)}")
    return ", ".join(parts)
