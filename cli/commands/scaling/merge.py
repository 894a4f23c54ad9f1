"""The commands ``store merge``, ``push`` and ``pull``."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

import attrs
import click

from lmflow.cli.options import echo_json, json_option, store_option, user_name
from lmflow.cli.text.bars import bar
from lmflow.errors import StoreError
from lmflow.exchange.moves import Side
from lmflow.stores.copying import copy_store
from lmflow.stores.opened import is_there, is_url, open_store, store_name
from lmflow.stores.sqlite.merging.merge import MergedCounts, Progress, merge_store
from lmflow.values.printing import clean
from lmflow.views.lines import counted

_TAKE = click.option(
    "--take",
    nargs=2,
    type=(click.Choice(["ours", "theirs"]), str),
    multiple=True,
    metavar="ours|theirs NAME",
    help="What counts for a ref that both stores have moved; ours is the store that gets it.",
)


@attrs.frozen
class _Merged:
    """One merge: from which store into which, and what came of it."""

    source: str
    target: str
    counts: MergedCounts


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="A B...", type=click.Path())
@click.option("--into", metavar="FILE", type=click.Path(), help="The store to write; A by default.")
@_TAKE
@json_option
def merge(
    files: tuple[str, ...], into: str | None, take: tuple[tuple[Side, str], ...], *, as_json: bool
) -> None:
    """Bring all that stores hold into one of them.

    Runs, executions, calls, versions, refs with their reflog, scores, data sets and weights, by
    their hashes: what is there already is not copied, and the order of the stores doesn't matter.
    The others are only read. A ref that two stores have moved apart is refused until --take says
    which counts. A merge that was stopped is done again, and goes on.

    \b
    Example:
      lmflow store merge shard1.db shard2.db shard3.db --into lmflow.db
    """
    sources = files if into else files[1:]
    if not sources:
        raise click.ClickException("one store alone: name another, or the store to write, --into.")
    if not into and not is_there(files[0]):
        name = store_name(files[0])
        fix = f"Name one that exists, or the one to make: --into {shlex.quote(name)}."
        raise StoreError(name, "there is no such store", fix)
    _merge_all(sources, into or files[0], take, as_json=as_json)


@click.command()
@click.argument("file", metavar="STORE", type=click.Path())
@_TAKE
@store_option
@json_option
def push(file: str, take: tuple[tuple[Side, str], ...], store: str, *, as_json: bool) -> None:
    """Bring all that this store holds into another one.

    \b
    Example:
      lmflow push team.db
    """
    _merge_all([store], file, take, as_json=as_json)


@click.command()
@click.argument("file", metavar="STORE", type=click.Path())
@_TAKE
@store_option
@json_option
def pull(file: str, take: tuple[tuple[Side, str], ...], store: str, *, as_json: bool) -> None:
    """Bring all that another store holds into this one.

    \b
    Example:
      lmflow pull team.db
    """
    _merge_all([file], store, take, as_json=as_json)


def _merge_all(
    sources: Sequence[str], target: str, take: tuple[tuple[Side, str], ...], *, as_json: bool
) -> None:
    sides: dict[str, Side] = {name: side for side, name in take}
    target = store_name(target)
    merges = []
    for source in map(store_name, sources):
        with bar("merge", quiet=as_json) as progress:
            counts = _merge(source, target, sides, progress)
        merges.append(_Merged(source, target, counts))
        if not as_json:
            click.echo(clean(_line(merges[-1])))
    if as_json:
        echo_json(
            [
                {"from": merged.source, "into": merged.target, **attrs.asdict(merged.counts)}
                for merged in merges
            ]
        )


def _merge(
    source: str, target: str, sides: dict[str, Side], progress: Progress | None
) -> MergedCounts:
    """Merge files table by table, and other stores run by run."""
    at, who = time.time_ns(), user_name()
    if not (is_url(source) or is_url(target)):
        return merge_store(source, target, take=sides, at=at, who=who, progress=progress)
    if not is_there(source):
        raise StoreError(source, "there is no such store", "Name one that exists.")
    with open_store(source) as own, open_store(target) as other:
        return copy_store(own, other, take=sides, at=at, who=who, progress=progress)


def _line(merged: _Merged) -> str:
    """Say what a store got, in one line."""
    counts = merged.counts
    parts = [
        counted(number, noun)
        for number, noun in (
            (counts.runs, "run"),
            (counts.traces, "execution"),
            (counts.calls, "call"),
            (counts.versions, "version"),
            (counts.scores, "score"),
            (counts.datasets, "data set"),
            (counts.weights, "weight file"),
        )
        if number
    ]
    text = f"{merged.source} into {merged.target}: {', '.join(parts) or 'nothing new'}"
    if counts.moved:
        text += f"; moved {', '.join(counts.moved)}"
    if counts.missing:
        text += f"; {merged.source} lacks {counted(len(counts.missing), 'weight file')}"
    return text
