"""The command ``costs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import click

from lmflow.cli.options import echo_json, json_option, options_value, store_option
from lmflow.cli.text.amounts import dollars
from lmflow.cli.text.tables import Column, table
from lmflow.cli.where import where_option
from lmflow.data.conditions import Condition
from lmflow.errors import short
from lmflow.stores.opened import reading
from lmflow.stores.sqlite.lists.costs import GROUPINGS, Cost, Grouping, costs, total_of
from lmflow.stores.sqlite.reader import Reader

_AMOUNTS = (
    "calls",
    Column("reused", rank=3),
    Column("failed", rank=2),
    "tok_in",
    "tok_out",
    "cost",
    Column("unpriced", rank=1),
    "seconds",
)


@attrs.frozen(kw_only=True)
class CostsOptions:
    """The options of ``costs``."""

    by: tuple[Grouping, ...]
    conditions: tuple[Condition, ...]
    store: str
    as_json: bool


@click.command("costs")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(GROUPINGS),
    default=("day",),
    show_default=True,
    help="What the calls are grouped by; repeatable.",
)
@where_option("calls")
@store_option
@json_option
@options_value(CostsOptions)
def costs_(options: CostsOptions) -> None:
    """Sum calls, tokens, money and time.

    The sums are over the calls that were sent: a reply that was reused was paid for once. `seconds`
    are the times of the calls added up. A sum with +? has calls whose price is not known, which
    `unpriced` counts. Days are UTC.

    \b
    Example:
      lmflow costs --by model --where "started>=7d"
    """
    by = tuple(dict.fromkeys(options.by))
    with reading(options.store) as reader:
        groups = costs(reader.listing, by, options.conditions)
        total = total_of(groups)
        names = _version_names(reader, by)
    if options.as_json:
        echo_json({"by": by, "rows": list(map(_data, groups)), "total": _data(total)})
        return
    if not groups:
        click.echo("No call fulfils the conditions." if options.conditions else "No calls yet.")
        return
    rows = [_row(cost, names) for cost in groups]
    rows.append({**_row(total, names), **dict.fromkeys(by, ""), by[0]: "total"})
    columns = [Column(name, whole=name in {"run", "day"}) for name in by]
    click.echo(table(rows, [*columns, *_AMOUNTS]))
    if total.unpriced:
        count = "1 call has" if total.unpriced == 1 else f"{total.unpriced} calls have"
        click.echo(f"{count} no known price: the sums are at least what is shown.", err=True)


def _data(cost: Cost) -> dict[str, Any]:
    data = attrs.asdict(cost, filter=lambda field, _: field.name not in {"keys", "cost"})
    return {**cost.keys, **data, "usd": cost.usd}


def _row(cost: Cost, names: Mapping[str, str]) -> dict[str, Any]:
    keys = {name: names.get(text, text) for name, text in cost.keys.items()}
    amounts = attrs.asdict(cost, filter=lambda field, _: field.name != "keys")
    price = dollars(cost.usd, cost.unpriced)
    return {**keys, **amounts, "cost": price, "seconds": f"{cost.seconds:.2f}"}


def _version_names(reader: Reader, by: tuple[Grouping, ...]) -> dict[str, str]:
    """Return what each version is called: its short id, its refs or its note."""
    if "version" not in by:
        return {}
    titles = reader.versions.titles()
    return {id_: f"{short(id_)}  {title}".rstrip() for id_, title in titles.items()}
