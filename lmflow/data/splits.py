"""Splits of data sets by a seed: disjoint, covering, stratified, and nearly the same when rows are
added.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import Dataset, dataset_of, example_id
from lmflow.errors import BadData, MissingInput, check_kind
from lmflow.values.record import Record, canonical, digest

_WHOLE = 1e-9


@attrs.frozen
class _Unit:
    """Rows that stay together: one example, or a group. ``order`` is the hash that they are
    shuffled by, ``stratum`` the value that is spread evenly, ``rows`` their places.
    """

    order: str
    stratum: str
    rows: tuple[int, ...]


def split(
    rows: Iterable[Mapping[str, Any]],
    parts: Mapping[str, float],
    *,
    seed: int = 0,
    by: str | None = None,
    group: str | None = None,
) -> dict[str, Dataset]:
    """Split rows into parts at random, reproducibly.

    Rows are shuffled by the hash of (seed, id), so the split is the same on every platform and for
    every order of the rows, and a row that is added moves at most one old row across each border
    (without ``by`` and ``group``).

    Args:
        rows: A data set, or mappings.
        parts: The fraction of each part; they add up to 1.
        seed: Another seed gives another split.
        by: A field whose values are spread evenly over the parts.
        group: A field whose equal values stay in one part.

    Returns:
        The parts by name. Each row is in one part, in its old order.

    Raises:
        BadData: The fractions are wrong, or a part would be empty.
        MissingInput: A row lacks the field ``by`` or ``group``.

    Example:
        >>> rows = [{"id": n} for n in range(10)]
        >>> parts = lf.split(rows, {"train": 0.5, "select": 0.3, "held": 0.2})
        >>> [len(part) for part in parts.values()]
        [5, 3, 2]
    """
    rows = dataset_of("rows", rows)
    _check(rows, parts)
    units = _units(rows, seed, by, group)
    names = list(parts)
    borders = [*itertools.accumulate(parts.values())][:-1]
    places: dict[str, list[int]] = {name: [] for name in names}
    for unit, middle in _middles(_interleaved(units)):
        places[names[bisect.bisect_right(borders, middle)]].extend(unit.rows)
    for name in names:
        if not places[name]:
            units_text = f"{len(units)} groups" if group else f"{len(rows)} rows"
            problem = f"the part {name!r} of {units_text} would be empty"
            raise BadData(rows.name, problem, "Give it a larger fraction.")
    return {
        name: Dataset(f"{rows.name}/{name}", [rows[place] for place in sorted(places[name])])
        for name in names
    }


def _check(rows: Dataset, parts: Mapping[str, float]) -> None:
    fix = 'Give each part its fraction: {"train": 0.5, "select": 0.3, "held": 0.2}.'
    check_kind("the parts of a split", parts, Mapping, fix)
    if not parts or any(not 0 < size <= 1 for size in parts.values()):
        raise BadData(rows.name, f"the parts {dict(parts)} aren't all fractions above 0", fix)
    if abs(math.fsum(parts.values()) - 1) > _WHOLE:
        problem = f"the parts {dict(parts)} add up to {math.fsum(parts.values()):g}, not 1"
        raise BadData(rows.name, problem, fix)


def _units(rows: Dataset, seed: int, by: str | None, group: str | None) -> list[_Unit]:
    units: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        name = example_id(row) if group is None else _value(rows, row, group)
        units.setdefault(name, []).append(place)
    return [
        _Unit(digest("split", [seed, name]), _stratum(rows, places, by), tuple(places))
        for name, places in units.items()
    ]


def _stratum(rows: Dataset, places: Iterable[int], by: str | None) -> str:
    """The most frequent value of ``by`` in the rows; of several, the first in canonical order."""
    if by is None:
        return ""
    counts: dict[str, int] = toolz.frequencies(_value(rows, rows[place], by) for place in places)
    return min(counts, key=lambda value: (-counts[value], value))


def _value(rows: Dataset, row: Record, field: str) -> str:
    if field not in row:
        raise MissingInput(f"the split of {rows.name}", field, tuple(row))
    return canonical(row[field])


def _interleaved(units: Iterable[_Unit]) -> list[_Unit]:
    """The units in hash order, with those of each stratum spread evenly."""
    strata: dict[str, list[_Unit]] = toolz.groupby(
        lambda unit: unit.stratum, sorted(units, key=lambda unit: unit.order)
    )
    middles = [pair for stratum in strata.values() for pair in _middles(stratum)]
    return [unit for unit, _ in sorted(middles, key=lambda pair: (pair[1], pair[0].order))]


def _middles(units: list[_Unit]) -> list[tuple[_Unit, float]]:
    """Each unit with the middle of its rows, as a fraction of all rows."""
    ends = [*itertools.accumulate(len(unit.rows) for unit in units)]
    return [
        (unit, (end - len(unit.rows) / 2) / ends[-1]) for unit, end in zip(units, ends, strict=True)
    ]
