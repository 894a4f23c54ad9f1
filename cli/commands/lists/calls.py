"""The command ``runs calls``."""

from __future__ import annotations

from typing import Any

import attrs
import click

from lmflow.cli.commands.completion import complete_run
from lmflow.cli.options import (
    echo_json,
    integer,
    json_option,
    limit_option,
    options_value,
    store_option,
)
from lmflow.cli.text.amounts import dollars, more_line
from lmflow.cli.text.pager import page as page_text
from lmflow.cli.text.pager import pager_option
from lmflow.cli.text.tables import Column, table
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition, condition
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.lists.listing import ListedCall

_COLUMNS = (
    Column("run", whole=True),
    Column("label"),
    Column("address"),
    Column("attempt", rank=4),
    Column("model", rank=1),
    Column("status"),
    Column("seconds", rank=2),
    Column("tokens", rank=3),
    Column("cost", rank=2),
    Column("answer"),
)


@attrs.frozen(kw_only=True)
class CallsOptions:
    """The arguments and options of ``runs calls``."""

    run: str
    conditions: tuple[Condition, ...]
    limit: int
    before: int | None
    store: str
    as_json: bool


@click.command()
@click.argument("run", default="", metavar="[RUN]", shell_complete=complete_run)
@where_option("calls")
@limit_option(20, "calls")
@pager_option
@click.option(
    "--before", type=integer(1), metavar="CALL", help="List the calls before this number."
)
@store_option
@json_option
@options_value(CallsOptions)
def calls(options: CallsOptions) -> None:
    """List the latest calls.

    They are those of RUN, which may be an execution of one (RUN/ex[e7]), or of all runs. A field of
    a condition is that of the call if a call has it (status, seconds, cost, model), else that of
    its execution or run (version, kind=evaluate, score). `error` is how the call or its execution
    failed.

    \b
    Example:
      lmflow runs calls --where "seconds>0" --where attempt=1 --limit 5
    """
    page = () if options.before is None else (options.before,)
    with reading(options.store) as reader:
        conditions = list(options.conditions)
        if options.run:
            place = reader.place(options.run)
            named = f"trace={place.trace}" if place.trace else f"run={place.run}"
            conditions.append(condition(named))
        rows = reader.listing.calls(conditions, options.limit, *page)
        total = len(rows)
        if len(rows) == options.limit:
            total = reader.listing.count(conditions, "call")
    if options.as_json:
        echo_json([call_data(call) for call in rows])
    elif rows:
        page_text(table(map(_row, rows), _COLUMNS))
        more_line(len(rows), total, f"--all, or --before {rows[-1].call}")
    else:
        none = "No call fulfils the conditions. `lmflow runs ls` lists the runs."
        click.echo(none if conditions or page else "No calls yet.")


def call_data(call: ListedCall) -> dict[str, Any]:
    """Return a call as JSON values, its price in dollars."""
    return {**attrs.asdict(call), "cost": None if call.cost is None else call.cost / 1e9}


def _row(call: ListedCall) -> dict[str, Any]:
    seconds = f"{(call.ended - call.started) / 1e9:.2f}" if call.ended else ""
    has_price = call.cost is not None
    unpriced = call.kind != "tool" and call.status == "ok" and not has_price
    return {
        **attrs.asdict(call),
        "run": call.run[-8:],
        "model": f"tool {call.model}" if call.kind == "tool" else call.model,
        "seconds": seconds,
        "tokens": "" if call.tok_in is None else f"{call.tok_in} + {call.tok_out or 0}",
        "cost": dollars(None if call.cost is None else call.cost / 1e9, int(unpriced)),
        "answer": call.text[:200],
    }
