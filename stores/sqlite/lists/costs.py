"""What recorded calls cost, summed by day, version, step, model or run.

A reused reply was paid for once, by the call that it was copied from, so copies count as reused and
add neither tokens nor money nor time. Grouped by run, or chosen by conditions on runs, the calls of
an execution count in each run that has it: as reused in those that refer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from lmflow.data.conditions import Condition, step_name
from lmflow.stores.filters import level_of
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.lists.listing import Listing

Grouping = Literal["day", "version", "step", "model", "run"]
GROUPINGS: tuple[Grouping, ...] = ("day", "version", "step", "model", "run")

_KEYS: Mapping[Grouping, str] = {
    "day": "strftime('%Y-%m-%d', call.started_ns / 1000000000, 'unixepoch')",
    "version": "version.hash",
    "step": "call.address",
    "model": "call.kind || ' ' || call.model",
    "run": "run_item.run",
}
_JOINS: Mapping[Grouping, str] = {
    "version": " JOIN version ON version.id = trace.version",
}
_PLACES = " LEFT JOIN run_item ON run_item.trace = call.trace"
_SENT = "call.source = ''"
_SUMS = """
       min(call.id) AS first, sum({sent}) AS calls,
       sum(NOT {sent}) AS reused,
       sum({sent} AND call.status = 'failed') AS failed,
       coalesce(sum(CASE WHEN {sent} THEN call.tok_in END), 0) AS tok_in,
       coalesce(sum(CASE WHEN {sent} THEN call.tok_out END), 0) AS tok_out,
       sum(CASE WHEN {sent} THEN call.cost END) AS cost,
       sum({sent} AND call.kind <> 'tool' AND call.status = 'ok' AND call.cost IS NULL)
           AS unpriced,
       coalesce(sum(CASE WHEN {sent} AND call.ended_ns > 0
                    THEN call.ended_ns - call.started_ns END), 0) / 1e9 AS seconds
FROM call JOIN trace ON trace.id = call.trace
"""


@attrs.frozen
class Cost:
    """What a group of calls cost.

    Args:
        keys: The day, version id, step, model or run, by its name.
        calls: The calls that were sent, of models and tools; retries are calls of their own.
        reused: The calls that were answered by an earlier reply.
        failed: The calls that failed.
        tok_in: The tokens of the requests.
        tok_out: The tokens of the replies.
        cost: The known prices in nano-dollars, ``None`` if none is known.
        unpriced: The answered calls of models that have no known price.
        seconds: The time until the calls ended, one after the other.
    """

    keys: Mapping[str, str]
    calls: int
    reused: int
    failed: int
    tok_in: int
    tok_out: int
    cost: int | None
    unpriced: int
    seconds: float

    @property
    def usd(self) -> float | None:
        """The known prices in dollars."""
        return None if self.cost is None else self.cost / 1e9


def costs(
    listing: Listing, by: Sequence[Grouping], conditions: Iterable[Condition] = ()
) -> list[Cost]:
    """Return what the calls that fulfil all conditions cost, a group per combination of ``by``.

    Days, runs and versions are in the order of time, other groups with the dearest first.
    """
    conditions = tuple(conditions)
    by_place = "run" in by or any(level_of(one, "call") == "run" for one in conditions)
    chosen = listing.filter(conditions, "call", place=by_place)
    keys = [f"{_KEYS[name]} AS {name}" for name in by]
    joined = "".join(_JOINS.get(name, "") for name in by)
    sent = _SENT
    if by_place:
        joined += _PLACES
        sent = f"({_SENT} AND NOT coalesce({listing.reused()}, FALSE))"
    select = ", ".join([*keys, ""]) + _SUMS.format(sent=sent)
    query = f"SELECT {select} {joined} WHERE {chosen.sql}"
    query += f" GROUP BY {', '.join(map(str, range(1, len(by) + 1)))}"
    # Many addresses are of one step: they are few beside the calls, and cheaper to read in Python.
    merged: dict[tuple[str, ...], _Group] = {}
    for row in listing.rows(query, chosen):
        group = _Group(row["first"], _cost(row, by))
        place = tuple(group.cost.keys.values())
        merged[place] = merged[place] + group if place in merged else group
    groups = list(merged.values())
    return [group.cost for group in sorted(groups, key=_order(groups, by[0]))]


@attrs.frozen
class _Group:
    """The costs of a group, and the number of its first call."""

    first: int
    cost: Cost

    def __add__(self, other: _Group) -> _Group:
        total = attrs.evolve(total_of([self.cost, other.cost]), keys=self.cost.keys)
        return _Group(min(self.first, other.first), total)


def total_of(groups: Iterable[Cost]) -> Cost:
    """Return the sum of groups, without keys."""
    total = Cost({}, 0, 0, 0, 0, 0, None, 0, 0.0)
    for cost in groups:
        prices = [price for price in (total.cost, cost.cost) if price is not None]
        total = Cost(
            {},
            total.calls + cost.calls,
            total.reused + cost.reused,
            total.failed + cost.failed,
            total.tok_in + cost.tok_in,
            total.tok_out + cost.tok_out,
            sum(prices) if prices else None,
            total.unpriced + cost.unpriced,
            total.seconds + cost.seconds,
        )
    return total


def _order(groups: Sequence[_Group], name: Grouping) -> Callable[[_Group], Any]:
    """Return the sort key of a group: its place by the first grouping, then the dearest first."""
    firsts: dict[str, int] = {}
    amounts: dict[str, int] = {}
    for group in groups:
        key = group.cost.keys[name]
        firsts[key] = min(group.first, firsts.get(key, group.first))
        amounts[key] = amounts.get(key, 0) + (group.cost.cost or 0)

    def place(group: _Group) -> Any:
        key, cost = group.cost.keys[name], group.cost
        dearest = (-(cost.cost or 0), -cost.calls, group.first)
        if name in {"day", "run"}:
            return (key, *dearest)
        if name == "version":
            return (firsts[key], *dearest)
        return (-amounts[key], firsts[key], *dearest)

    return place


def _cost(row: Any, by: Sequence[Grouping]) -> Cost:
    keys: dict[str, str] = {name: _key_text(name, row[name]) for name in by}
    sums = {name: row[name] or 0 for name in ("calls", "reused", "failed", "unpriced")}
    rest = {name: row[name] for name in ("tok_in", "tok_out", "cost", "seconds")}
    return Cost(keys=keys, **sums, **rest)


def _key_text(name: Grouping, value: Any) -> str:
    if value is None:
        return ""
    if name == "version":
        return digest_text(value)
    if name == "step":
        return step_name(value)
    if name == "model":
        kind, _, model = str(value).partition(" ")
        return f"tool {model}" if kind == "tool" else model
    return str(value)
