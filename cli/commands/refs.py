"""The commands ``ref ls``, ``set`` and ``rm``, ``rollback``, ``reflog`` and ``merge``."""

from __future__ import annotations

import attrs
import click

from lmflow.cli.actions.moves import (
    RefChange,
    apply_change,
    move_ref,
    print_move,
    target_of,
)
from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.options import (
    LARGEST,
    Group,
    echo_json,
    integer,
    json_option,
    limit_option,
    options_value,
    store_option,
)
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import Column, fitting_lines, table
from lmflow.cli.text.versions import reflog_line
from lmflow.errors import UnknownVersion, short
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.versions.history import common_ancestor
from lmflow.versions.merge import merge as merge_versions
from lmflow.versions.version import Version, check_ref
from lmflow.views.lines import counted

_WHY = click.option("--why", default="", help="The reason, for the reflog.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only print what would change.")


@click.group(cls=Group)
def ref() -> None:
    """List, set and remove refs, which are names of versions.

    \b
    Example:
      lmflow ref ls
    """


@ref.command("ls")
@store_option
@json_option
def ls(store: str, *, as_json: bool) -> None:
    """List the refs and the versions that they point at.

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
        shown = [{**row, "version": short(row["version"])} for row in rows]
        page(table(shown, ("ref", Column("version", whole=True), "note")))
    else:
        click.echo("No refs yet. `lmflow ref set prod VERSION` makes one.")


@ref.command("set")
@click.argument("name", shell_complete=complete_ref)
@click.argument("version", shell_complete=complete_ref)
@_WHY
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
        target, before = reader.version(version), reader.refs().get(name, "")
    why = why or f"set to {version}"
    move_ref(store, name, target, before, why)
    print_move(name, target, before, why, as_json=as_json)


@ref.command("rm")
@click.argument("name", shell_complete=complete_ref)
@_WHY
@store_option
@json_option
def rm(name: str, why: str, store: str, *, as_json: bool) -> None:
    """Remove a ref; its versions and its reflog stay.

    \b
    Example:
      lmflow ref rm candidate
    """
    with reading(store) as reader:
        before = target_of(reader, name)
    why = why or "removed"
    move_ref(store, name, None, before, why)
    print_move(name, None, before, why, as_json=as_json)


@attrs.frozen(kw_only=True)
class RollbackOptions:
    """The arguments and options of ``rollback``."""

    ref: str
    to: str
    steps: int | None
    why: str
    dry_run: bool
    store: str
    as_json: bool


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--to", default="", metavar="VERSION", help="The version to go back to.")
@click.option("--steps", type=integer(1), help="How many of the ref's moves to take back.")
@_WHY
@_DRY_RUN
@store_option
@json_option
@options_value(RollbackOptions)
def rollback(options: RollbackOptions) -> None:
    """Move a ref back to where it was.

    Takes back the ref's last move, or several, or goes to a version. The rollback is a move of its
    own in the reflog, so it can be rolled back too.

    \b
    Example:
      lmflow rollback prod --dry-run
    """
    if options.to and options.steps:
        raise click.ClickException(
            "--to and --steps exclude each other: name the version or count the moves."
        )
    steps = options.steps or 1
    with reading(options.store) as reader:
        current = reader.version(target_of(reader, options.ref))
        if options.to:
            target, default_why = reader.version(options.to), f"to {options.to}"
        else:
            target, default_why = _earlier(reader, options.ref, steps), f"{steps} back"
    change = RefChange(options.ref, current, target, f"rollback: {options.why or default_why}")
    apply_change(options.store, change, dry_run=options.dry_run, as_json=options.as_json)


@click.command()
@click.argument("ref", default="", metavar="[REF]", shell_complete=complete_ref)
@limit_option(50, "moves")
@pager_option
@store_option
@json_option
def reflog(ref: str, limit: int, store: str, *, as_json: bool) -> None:
    """List where a ref pointed.

    The latest move comes first; without REF the moves of all refs are listed.

    \b
    Example:
      lmflow reflog prod
    """
    with reading(store) as reader:
        moves = reader.versions.reflog(ref, min(limit, LARGEST - 1) + 1)
        if ref and not moves:
            raise UnknownVersion(ref, tuple(reader.refs()))
    moves, more = moves[:limit], len(moves) > limit
    if as_json:
        names = ("name", "version", "why", "at", "who", "before")
        echo_json([{name: getattr(moved, name) for name in names} for moved in moves])
        return
    page(fitting_lines("\n".join(map(reflog_line, moves))) or "No ref was moved yet.")
    if more:
        count = counted(len(moves), "move")
        click.echo(f"{count} shown, there are more: --all, or --limit N", err=True)


@attrs.frozen(kw_only=True)
class MergeOptions:
    """The arguments and options of ``merge``."""

    ref: str
    other: str
    base: str
    why: str
    dry_run: bool
    store: str
    as_json: bool


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.argument("other", metavar="VERSION", shell_complete=complete_ref)
@click.option(
    "--base",
    default="",
    metavar="VERSION",
    help="The version that both derive from; by default the nearest common ancestor.",
)
@click.option("--why", default="", help="The reason, which becomes the version's note.")
@_DRY_RUN
@store_option
@json_option
@options_value(MergeOptions)
def merge(options: MergeOptions) -> None:
    """Merge the changes of a version into a ref.

    Paths are merged one by one; a path that both sides changed is a conflict.

    \b
    Example:
      lmflow merge prod candidate --dry-run
    """
    ref, other = options.ref, options.other
    with reading(options.store) as reader:
        ours, theirs = reader.version(target_of(reader, ref)), reader.version(other)
        if options.base:
            base: Version | None = reader.version(options.base)
        else:
            base = common_ancestor(ours, theirs, reader.version)
    if base is None:
        raise click.ClickException(
            f"{ref} and {other} have no common ancestor in this store: "
            "name the version that both derive from, --base."
        )
    note = options.why or f"merge {other} into {ref}"
    merged = _merged(base, ours, theirs, note)
    if base.id == theirs.id and not options.as_json:
        click.echo(f"{ref} has all of {other} already")
    unchanged = merged.id == ours.id
    if unchanged and not options.as_json:
        return
    apply_change(
        options.store,
        RefChange(ref, ours, merged, note),
        dry_run=options.dry_run or unchanged,
        as_json=options.as_json,
    )


def _merged(base: Version, ours: Version, theirs: Version, note: str) -> Version:
    """Return the merge of two versions; if one derives from the other, it is the later one."""
    if base.id == theirs.id:
        return ours
    if base.id == ours.id:
        return theirs
    return merge_versions(base, ours, theirs, note=note)


def _earlier(reader: Reader, ref: str, steps: int) -> Version:
    """Return the version that a ref pointed at before its last ``steps`` moves."""
    moves = reader.versions.reflog(ref, steps)
    if len(moves) == steps and moves[-1].before:
        return reader.version(moves[-1].before)
    count = sum(1 for moved in moves if moved.before)
    hint = (
        f"{ref!r} was moved {counted(count, 'time')} since it was made. "
        f"`lmflow reflog {ref}` lists where it pointed."
    )
    raise UnknownVersion(f"{ref} {steps} moves ago", tuple(reader.refs()), hint=hint)
