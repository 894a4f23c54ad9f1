"""The command ``log``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_ref
from lmflow.cli.options import echo_json, json_option, limit_option, options_value, store_option
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import fitting_lines
from lmflow.cli.text.versions import log_lines, params_data
from lmflow.errors import UnknownVersion, short
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.store import StoredVersion
from lmflow.values.printing import clean
from lmflow.versions.pickaxe import WordsChange, changed_in, paths_named, words_changes
from lmflow.versions.version import Version
from lmflow.views.lines import counted

_MANY = 2**62


@attrs.frozen(kw_only=True)
class LogOptions:
    """The arguments and options of ``log``."""

    version: str
    path: str
    limit: int
    words: str
    oneline: bool
    store: str
    as_json: bool


@attrs.frozen
class _Entry:
    """A version of the log, and where it changed the words that are looked for."""

    saved: StoredVersion
    changes: tuple[WordsChange, ...] = ()


@click.command()
@click.argument("version", default="", metavar="[VERSION]", shell_complete=complete_ref)
@click.argument("path", default="", metavar="[PATH]")
@limit_option(20, "versions")
@click.option(
    "-S",
    "words",
    default="",
    metavar="WORDS",
    help="Only versions that introduced or removed these words.",
)
@click.option("--oneline", is_flag=True, help="Print a line per version.")
@pager_option
@store_option
@json_option
@options_value(LogOptions)
def log(options: LogOptions) -> None:
    """List a version and its ancestors.

    The latest comes first; without VERSION the versions that were stored last are listed. With PATH
    (answer.instruction, or a step) only those that changed it. A..B lists the versions of B that A
    lacks.

    \b
    VERSION is a ref, an id or its beginning, with git's moves after it:
      prod~2, prod^2      two first parents back; the second parent of a merge
      prod@{1}            where the ref was before its last move
      prod@{2026-11-23}   where it was at the end of that day

    The id of a run or execution stands for the version that it ran under.

    \b
    Example:
      lmflow log prod --limit 5
    """
    with reading(options.store) as reader:
        every = _entries(reader, options)
        entries = list(itertools.islice(every, options.limit))
        more = next(every, None) is not None
    if options.as_json:
        echo_json([_data(entry, options) for entry in entries])
        return
    if not entries:
        looks = options.words or options.path or ".." in options.version
        click.echo(
            "No version." if looks else "No versions yet: a run stores the one that it runs."
        )
        return
    text = "\n".join(text for entry in entries for text in _lines(entry, options))
    page(fitting_lines(text) if options.oneline else text)
    if more:
        count = counted(len(entries), "version")
        click.echo(f"{count} shown, there are more: --all, or --limit N", err=True)


def _entries(reader: Reader, options: LogOptions) -> Iterator[_Entry]:
    """Yield the versions that fit, newest first."""
    versions = _line(reader, options.version)
    if options.path and options.version and ".." not in options.version:
        paths_named(reader.version(options.version), [options.path])
    paths = (options.path,) if options.path else ()
    for saved in versions:
        if not (options.words or options.path):
            yield _Entry(saved)
            continue
        parent = _parent(reader, saved.version)
        if options.words:
            changes = words_changes(saved.version, parent, options.words, paths)
            if changes:
                yield _Entry(saved, tuple(changes))
        elif changed_in(saved.version, parent, paths):
            yield _Entry(saved)


def _line(reader: Reader, name: str) -> Iterator[StoredVersion]:
    if not name:
        return reader.versions.latest(_MANY)
    start, dots, end = name.partition("..")
    if not dots:
        return reader.versions.log(reader.version(name).id)
    if not start or not end:
        raise click.ClickException(f"{name!r} lacks a side: write A..B.")
    known = {saved.version.id for saved in reader.versions.log(reader.version(start).id)}
    line = reader.versions.log(reader.version(end.lstrip(".")).id)
    return (saved for saved in line if saved.version.id not in known)


def _parent(reader: Reader, version: Version) -> Version | None:
    """Return the first parent; ``None`` if there is none or it is not stored."""
    if not version.parents:
        return None
    try:
        return reader.version(version.parents[0])
    except UnknownVersion:
        return None


def _lines(entry: _Entry, options: LogOptions) -> Iterator[str]:
    if options.oneline:
        saved = entry.saved
        refs = f"  ({', '.join(map(clean, saved.refs))})" if saved.refs else ""
        note = clean(" ".join(saved.version.note.split())) or "no note"
        yield f"{short(saved.version.id)}{refs}  {note}"
    else:
        yield from log_lines(entry.saved)
    yield from (f"   {clean(str(change))}" for change in entry.changes)


def _data(entry: _Entry, options: LogOptions) -> dict[str, Any]:
    data = params_data(entry.saved.version, entry.saved)
    if options.words:
        data["changes"] = [attrs.asdict(change) for change in entry.changes]
    return data
