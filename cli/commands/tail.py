"""The commands ``runs tail`` and ``runs search``."""

from __future__ import annotations

import json
import select
import sys
import time

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.options import (
    LARGEST,
    echo_json,
    integer,
    json_option,
    limit_option,
    number,
    on_terminal,
    store_option,
)
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import fitting_lines, terminal_width
from lmflow.cli.text.terminal import line
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.call_feed import EndedCall
from lmflow.stores.sqlite.full_text import CallHit
from lmflow.stores.sqlite.lists.search import LATEST
from lmflow.values.printing import clean
from lmflow.values.widths import cut
from lmflow.views.lines import counted, took

_INDENT = 4
"""Columns before a snippet."""


@click.command()
@click.argument("run", default="", shell_complete=complete_run)
@click.option(
    "--limit",
    default=10,
    show_default=True,
    type=integer(0),
    help="Print so many earlier calls first.",
)
@click.option(
    "--every",
    default=0.2,
    show_default=True,
    type=number(0.01, 86_400),
    help="Seconds between two reads of the store.",
)
@store_option
@json_option
def tail(run: str, limit: int, every: float, store: str, *, as_json: bool) -> None:
    """Follow the calls of the store, or of RUN, as they end.

    Ctrl-C stops it; with RUN it ends when the run does. --json prints a line of JSON per call.

    \b
    Example:
      lmflow runs tail RUN --limit 3
    """
    with reading(store) as reader:
        following = reader.follow(reader.place(run).run if run else "", limit)
        try:
            while True:
                # Asked before the calls are read: calls that end in between would be lost.
                over = bool(run) and following.over
                for call in following.ended():
                    click.echo(json.dumps(attrs.asdict(call)) if as_json else _line(call))
                if over or _reader_is_gone():
                    return
                following.wait(every)
        except KeyboardInterrupt:
            return


# Nothing is written while no call ends, so the pipe to a reader that ended (`| head -1`) would not
# be noticed by an error for as long as the store is quiet.
def _reader_is_gone() -> bool:
    """Return whether standard output is closed, or a pipe that nobody reads any more."""
    if sys.stdout is None:
        return True
    if not hasattr(select, "poll"):
        return False
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@click.command()
@click.argument("words", nargs=-1, required=True)
@limit_option(20, "calls")
@pager_option
@click.option(
    "--before",
    default=None,
    type=integer(1),
    metavar="CALL",
    help="Continue after this call.",
)
@where_option("calls")
@store_option
@json_option
def search(  # noqa: PLR0913 - one parameter an option
    words: tuple[str, ...],
    limit: int,
    before: int | None,
    conditions: tuple[Condition, ...],
    store: str,
    *,
    as_json: bool,
) -> None:
    """Find calls by the words of their messages and answers.

    A call matches if its last message or its answer holds all WORDS; the newest calls come first.
    Case and accents don't matter; "two words" in quotes is a phrase, wor* a prefix.

    \b
    Example:
      lmflow runs search decorator --limit 5
    """
    start = LATEST if before is None else before
    with reading(store) as reader:
        hits = reader.search(words, min(limit, LATEST - 1) + 1, start, conditions)
    hits, more = hits[:limit], len(hits) > limit
    if as_json:
        echo_json([attrs.asdict(hit) for hit in hits])
        return
    if hits:
        page("\n".join(text for hit in hits for text in _hit_lines(hit)))
    if not hits:
        text = " ".join(words)
        click.echo(f"No call holds {text!r}: all words must occur. Write a prefix, wor*, or fewer.")
    elif more:
        how = f"--all, or --before {hits[-1].call}"
        click.echo(f"{counted(len(hits), 'call')} shown, there are more: {how}", err=True)


def _hit_lines(hit: CallHit) -> tuple[str, str]:
    head = f"{hit.run}  {hit.trace}  {clean(hit.address)}  {clean(hit.model)}  {hit.status}"
    return fitting_lines(head), f"  {'<' if hit.where == 'answered' else '>'} {_marked(hit)}"


def _marked(hit: CallHit) -> str:
    """Return the snippet with the matched words in bold, or in «» if it is not for a terminal."""
    width = (terminal_width() or LARGEST) - _INDENT
    snippet, text, at = cut(hit.snippet, width), "", 0
    for start, end in hit.marks:
        if end > len(snippet):
            break
        text += clean(snippet[at:start]) + _strong(clean(snippet[start:end]))
        at = end
    return text + clean(snippet[at:])


def _strong(word: str) -> str:
    return click.style(word, bold=True, fg="yellow") if on_terminal() else f"«{word}»"


def _line(call: EndedCall) -> str:
    attempt = f" attempt {call.attempt + 1}" if call.attempt else ""
    mark = "✗" if call.status == "failed" else "→"
    parts = (
        time.strftime("%H:%M:%S", time.localtime(call.ended / 1e9)),
        call.run[-8:],
        f"{call.label} {call.address}{attempt}".strip(),
        f"tool {call.model}" if call.kind == "tool" else call.model,
        took(call.ended - call.started),
        "" if call.tok_in is None else f"{call.tok_in} + {call.tok_out or 0} tokens",
        f"{mark} {line(call.text, 60)}" if call.text else "",
    )
    return "  ".join(clean(part) for part in parts if part)
