"""Commands that move refs: ``ref set | ls | rm``, ``rollback``, ``reflog``, ``edit``, ``merge``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import attrs
import click

from lmflow.cli.loading.programs import load
from lmflow.cli.options import (
    Group,
    echo_json,
    in_colour,
    json_option,
    program_option,
    store_option,
    user,
)
from lmflow.cli.text.terminal import line, table
from lmflow.cli.text.versions import diff_text, reflog_line
from lmflow.errors import UnknownVersion, short
from lmflow.programs.compatibility import checked_params
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.store import SqliteStore, reading
from lmflow.traces.events import RefMoved, VersionSaved
from lmflow.values.record import Record, plain
from lmflow.versions.diff import diff, same
from lmflow.versions.files import json_text
from lmflow.versions.history import common_ancestor
from lmflow.versions.merge import merge as merged_of
from lmflow.versions.version import Version, check_ref


@click.group(cls=Group)
def ref() -> None:
    """Names that point at versions: what is live, what is tried.

    \b
    Example:
      lmflow ref ls
    """


@ref.command("ls")
@store_option
@json_option
def ls(store: str, *, as_json: bool) -> None:
    """List the refs and what they point at.

    \b
    Example:
      lmflow ref ls
    """
    with reading(store) as reader:
        rows = [
            {"ref": name, "version": id_, "note": reader.version(id_).note}
            for name, id_ in reader.refs().items()
        ]
    if as_json:
        echo_json(rows)
    elif rows:
        click.echo(
            table(
                [{**row, "version": short(row["version"])} for row in rows],
                ("ref", "version", "note"),
            )
        )
    else:
        click.echo("No refs yet. `lmflow ref set prod VERSION` makes one.")


@ref.command("set")
@click.argument("name")
@click.argument("version")
@click.option("--why", default="", help="The reason, for the reflog.")
@store_option
@json_option
def set_(name: str, version: str, why: str, store: str, *, as_json: bool) -> None:
    """Point a ref at a version.

    \b
    Example:
      lmflow ref set live candidate --why "better on dev"
    """
    check_ref(name)
    with reading(store) as reader:
        found, before = reader.version(version), reader.refs().get(name, "")
    move(store, name, found, before, why or f"set to {version}", as_json=as_json)


@ref.command("rm")
@click.argument("name")
@click.option("--why", default="", help="The reason, for the reflog.")
@store_option
@json_option
def rm(name: str, why: str, store: str, *, as_json: bool) -> None:
    """Remove a ref; its versions and its reflog stay.

    \b
    Example:
      lmflow ref rm candidate
    """
    with reading(store) as reader:
        before = _pointed(reader, name)
    move(store, name, None, before, why or "removed", as_json=as_json)


@click.command()
@click.argument("ref")
@click.option("--to", default="", metavar="VERSION", help="The version to go back to.")
@click.option("--steps", type=click.IntRange(1), help="How many of the ref's moves to take back.")
@click.option("--why", default="", help="The reason, for the reflog.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@store_option
@json_option
def rollback(  # noqa: PLR0913 - one an option
    ref: str, to: str, steps: int | None, why: str, store: str, *, dry_run: bool, as_json: bool
) -> None:
    """Move a ref back to where it was. Its last move is taken back, or several, or to a version.

    Nothing is lost: the move is in the reflog, and a rollback can be rolled back.

    \b
    Example:
      lmflow rollback prod --dry-run
    """
    if to and steps:
        raise click.ClickException(
            "--to and --steps exclude each other: name the version or count the moves."
        )
    with reading(store) as reader:
        before = _pointed(reader, ref)
        target = reader.version(to) if to else _earlier(reader, ref, steps or 1)
        current = reader.version(before)
    why = f"rollback: {why or (f'to {to}' if to else f'{steps or 1} back')}"
    _moved(store, ref, current, target, why, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("ref", default="", metavar="[REF]")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many.")
@store_option
@json_option
def reflog(ref: str, limit: int, store: str, *, as_json: bool) -> None:
    """List where a ref pointed. The latest move first; without REF those of all.

    \b
    Example:
      lmflow reflog prod
    """
    with reading(store) as reader:
        moves = reader.versions.reflog(ref, limit)
        if ref and not moves:
            raise UnknownVersion(ref, tuple(reader.refs()))
    if as_json:
        names = ("name", "version", "why", "at", "who", "before")
        echo_json([{name: getattr(moved, name) for name in names} for moved in moves])
        return
    click.echo("\n".join(map(reflog_line, moves)) or "No ref was moved yet.")


@click.command()
@click.argument("ref")
@click.argument("path")
@click.option("--note", default="", help="What was changed and why.")
@program_option
@store_option
@json_option
def edit(ref: str, path: str, note: str, target: str, store: str, *, as_json: bool) -> None:  # noqa: PLR0913
    """Change one parameter of a ref in $EDITOR. Texts as they are, anything else as JSON.

    \b
    Example:
      lmflow edit prod answer.instruction
    """
    with reading(store) as reader:
        before = _pointed(reader, ref)
        version = reader.version(before)
    if target:
        version = attrs.evolve(version, params=checked_params(load(target), version))
    held = version[path]
    text = held if isinstance(held, str) else json_text(held)
    typed = click.edit(
        text, extension=".md" if isinstance(held, str) else ".json", require_save=False
    )
    new = _typed(path, held, typed if typed is not None else text)
    if same(new, held):
        click.echo("nothing was changed", err=as_json)
        if as_json:
            echo_json({"ref": ref, "before": before, "after": before, "changes": []})
        return
    child = Version(
        params=version.params | {path: new},
        parents=(before,),
        note=note or f"edit {path}",
        origin=Record(),
    )
    if target:
        checked_params(load(target), child)
    with reading(store) as reader:
        current = reader.version(before)
    _moved(store, ref, current, child, child.note, as_json=as_json)


@click.command()
@click.argument("ref")
@click.argument("other", metavar="VERSION")
@click.option(
    "--base",
    default="",
    metavar="VERSION",
    help="What both come from; the nearest common ancestor otherwise.",
)
@click.option("--note", default="", help="The reason.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@store_option
@json_option
def merge(  # noqa: PLR0913 - one an option
    ref: str, other: str, base: str, note: str, store: str, *, dry_run: bool, as_json: bool
) -> None:
    """Bring the changes of a version into a ref. Path by path; what both changed is a conflict.

    \b
    Example:
      lmflow merge prod candidate --dry-run
    """
    with reading(store) as reader:
        before = _pointed(reader, ref)
        ours, theirs = reader.version(before), reader.version(other)
        root = reader.version(base) if base else common_ancestor(ours, theirs, reader.version)
    if root is None:
        raise click.ClickException(
            f"no common ancestor of {ref} and {other} is kept: name what both come from, --base."
        )
    if root.id == theirs.id and not as_json:
        click.echo(f"{ref} has all of {other} already")
    note = note or f"merge {other} into {ref}"
    ahead = {theirs.id: ours, ours.id: theirs}
    merged = ahead[root.id] if root.id in ahead else merged_of(root, ours, theirs, note=note)
    if merged.id != ours.id or as_json:
        _moved(
            store, ref, ours, merged, note, dry_run=dry_run or merged.id == ours.id, as_json=as_json
        )


def _moved(  # noqa: PLR0913 - one an option
    store: str,
    ref: str,
    before: Version,
    after: Version,
    why: str,
    *,
    dry_run: bool = False,
    as_json: bool,
) -> None:
    """Say what a move of a ref changes, and move it where it isn't a dry run."""
    changed = diff(before, after)
    if not dry_run:
        move(store, ref, after, before.id, why, quiet=True)
    if as_json:
        found = {"ref": ref, "before": before.id, "after": after.id, "why": why, "dry_run": dry_run}
        echo_json({**found, "changes": changed.to_json()})
        return
    click.echo(f"{ref}: {short(before.id)} -> {short(after.id)}{'  (dry run)' if dry_run else ''}")
    click.echo(diff_text(changed, colour=in_colour()))


def move(  # noqa: PLR0913
    store: str,
    name: str,
    version: Version | None,
    before: str,
    why: str,
    *,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Keep a version and point a ref at it, if the ref is still where it was; ``None`` removes the
    ref.
    """
    now, who = time.time_ns(), user()
    target = version.id if version else ""
    with SqliteStore(Path(store)) as kept:
        saved = [VersionSaved(version, now, who)] if version else []
        kept.append(*saved, RefMoved(name, target, why, now, who, before)).result()
    if as_json:
        echo_json({"ref": name, "before": before, "after": target, "why": why})
    elif not quiet:
        click.echo(f"{name}: {short(before) or 'new'} -> {short(target) or 'removed'}")


def _typed(path: str, held: Any, text: str) -> Any:
    """What was typed, of the kind of value that was there."""
    if isinstance(held, str):
        return text if held.endswith("\n") else text.removesuffix("\n")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.ClickException(f"{path} is no JSON ({error}). Nothing was changed.") from None
    fits = isinstance(value, type(plain(held))) and (
        not path.endswith((".demos", ".pool")) or all(isinstance(d, dict) for d in value)
    )
    if held is not None and not fits:
        kind = (
            "a JSON list of objects"
            if path.endswith((".demos", ".pool"))
            else f"a JSON {type(plain(held)).__name__}"
        )
        raise click.ClickException(
            f"{path} must be {kind}, found {line(value, 60)}. Nothing was changed."
        )
    return value


def _pointed(reader: Reader, name: str) -> str:
    refs = reader.refs()
    if name not in refs:
        raise UnknownVersion(name, tuple(refs))
    return refs[name]


def _earlier(reader: Reader, name: str, steps: int) -> Version:
    """Where the ref pointed before its last ``steps`` moves."""
    moves = reader.versions.reflog(name, steps)
    if len(moves) < steps or not moves[-1].before:
        made = sum(1 for moved in reader.versions.reflog(name, steps) if moved.before)
        hint = f"{name!r} was moved {made} times since it was made. `lmflow reflog {name}` lists where it pointed."
        raise UnknownVersion(f"{name} {steps} moves ago", tuple(reader.refs()), hint=hint)
    return reader.version(moves[-1].before)
