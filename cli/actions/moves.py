"""Moves of refs, as several commands make and print them."""

from __future__ import annotations

import time

import attrs
import click

from lmflow.cli.options import echo_json, in_colour, user_name
from lmflow.cli.text.versions import diff_text
from lmflow.errors import UnknownVersion, short
from lmflow.stores.opened import open_store
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import RefMoved, VersionSaved
from lmflow.versions.diff import diff
from lmflow.versions.version import Version


@attrs.frozen
class RefChange:
    """A change of a ref from one version to another, and its reason."""

    ref: str
    before: Version
    after: Version
    why: str


def move_ref(store_path: str, ref: str, version: Version | None, before: str, why: str) -> None:
    """Store a version and point a ref at it, if the ref still is at ``before``; ``None`` removes
    the ref.
    """
    now, user = time.time_ns(), user_name()
    saved = [VersionSaved(version, now, user)] if version else []
    moved = RefMoved(ref, version.id if version else "", why, now, user, before)
    with open_store(store_path) as store:
        store.append(*saved, moved).result()


def print_move(ref: str, version: Version | None, before: str, why: str, *, as_json: bool) -> None:
    """Print a move of a ref; ``None`` says that the ref was removed."""
    after = version.id if version else ""
    if as_json:
        echo_json({"ref": ref, "before": before, "after": after, "why": why})
    else:
        click.echo(f"{ref}: {short(before) or 'new'} -> {short(after) or 'removed'}")


def apply_change(store_path: str, change: RefChange, *, dry_run: bool, as_json: bool) -> None:
    """Move a ref, unless it is a dry run, and print the changes of its parameters."""
    before, after = change.before.id, change.after.id
    changes = diff(change.before, change.after)
    if not dry_run:
        move_ref(store_path, change.ref, change.after, before, change.why)
    if as_json:
        facts = {"ref": change.ref, "before": before, "after": after, "why": change.why}
        echo_json({**facts, "dry_run": dry_run, "changes": changes.to_json()})
        return
    suffix = "  (dry run)" if dry_run else ""
    click.echo(f"{change.ref}: {short(before)} -> {short(after)}{suffix}")
    click.echo(diff_text(changes, colour=in_colour()))


def target_of(reader: Reader, ref: str) -> str:
    """Return the id of the version that a ref points at."""
    refs = reader.refs()
    if ref not in refs:
        raise UnknownVersion(ref, tuple(refs))
    return refs[ref]
