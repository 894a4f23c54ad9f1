"""The command ``sql``."""

from __future__ import annotations

import csv
import io
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import click

from lmflow.cli.options import (
    echo_json,
    json_option,
    limit_option,
    number,
    options_value,
    store_option,
)
from lmflow.cli.text.pager import page, pager_option
from lmflow.cli.text.tables import fits, records, table, terminal_width
from lmflow.stores.opened import query_store, tables_of_store
from lmflow.stores.sqlite.query import Answer
from lmflow.values.printing import clean
from lmflow.views.lines import counted

_SECONDS = 60.0


@attrs.frozen(kw_only=True)
class SqlOptions:
    """The arguments and options of ``sql``."""

    sql: str
    form: str
    limit: int
    timeout: float
    store: str
    as_json: bool


@click.command()
@click.argument("sql", default="")
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json"]),
    help="How the rows are printed.",
)
@limit_option(100, "rows")
@click.option(
    "--timeout",
    default=_SECONDS,
    show_default=True,
    type=number(0.001, 86_400),
    help="Seconds that the query may take.",
)
@pager_option
@store_option
@json_option
@options_value(SqlOptions)
def sql(options: SqlOptions) -> None:
    """Read the store by SQL.

    Without SQL the tables and their columns are listed; those that begin with v_ are for people.
    "-" reads the SQL from standard input. Nothing is ever written, whatever the SQL says.

    \b
    Example:
      lmflow sql "select id, kind, calls, usd from v_runs order by usd desc limit 5"
    """
    text = sys.stdin.read() if options.sql == "-" else options.sql
    if not text.strip():
        _print_tables(options)
        return
    answer = query_store(options.store, text, limit=options.limit, seconds=options.timeout)
    if options.as_json or options.form == "json":
        echo_json(_dicts(answer))
    elif options.form == "csv":
        click.echo(_csv(answer), nl=False)
    else:
        page(_table(answer))
    if answer.more:
        click.echo(
            f"{counted(len(answer.rows), 'row')} shown, there are more: --limit N or --all",
            err=True,
        )


def _print_tables(options: SqlOptions) -> None:
    tables = tables_of_store(options.store)
    if options.as_json or options.form == "json":
        echo_json(tables)
        return
    widest = max(map(len, tables)) + 2
    page("\n".join(_wrapped(name.ljust(widest), columns) for name, columns in tables.items()))


def _table(answer: Answer) -> str:
    """Return the rows as a table, or below each other if the terminal is too narrow for that."""
    rows = _dicts(answer)
    if fits(rows, answer.columns, width=terminal_width()):
        return table(rows, answer.columns)
    return records(rows, answer.columns)


def _wrapped(name: str, columns: Sequence[str]) -> str:
    """Return a table's name and columns, in lines that fit the terminal."""
    width = terminal_width()
    text = f"{name}{', '.join(columns)}"
    return textwrap.fill(text, width, subsequent_indent=" " * len(name)) if width else text


def _dicts(answer: Answer) -> list[Mapping[str, Any]]:
    """Return the rows by column; bytes, such as hashes, as hexadecimal digits."""
    return [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    return value


def _csv(answer: Answer) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(clean, answer.columns))
    for row in answer.rows:
        writer.writerow(map(_cell, row))
    return text.getvalue()


def _cell(value: Any) -> Any:
    plain = _plain(value)
    return clean(plain) if isinstance(plain, str) else plain
