"""Data sets parted by a seed: disjoint, covering, stratified, and nearly the same when rows are
added.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import Dataset, dataset_of, example_id
from lmflow.errors import BadData, MissingInput
from lmflow.values.record import Record, canonical, digest

_WHOLE = 1e-9


@attrs.frozen
class _Unit:
    """Rows that stay together: one example, or a group. ``order`` is the hash that shuffles."""

    order: str
    stratum: str
    rows: tuple[int, ...]


def split(
    rows: Iterable[Mapping[str, Any]], parts: Mapping[str, float], *, seed: int = 0, by: str | None = None,
    group: str | None = None,
) -> dict[str, Dataset]:  # fmt: skip
    """The rows parted by fractions that add up to 1: ``split(rows, {"train": 0.5, "select": 0.3,
    "held": 0.2})``.

    Each row is in one part, in its old order. ``by`` names a field whose values are spread evenly
    over the parts; ``group`` one whose rows stay together. The shuffle orders rows by the hash of
    (seed, id): the same on every platform and in every order of the rows; a row that is added moves
    at most one old row across each border (without ``by`` and ``group``). ``BadData`` where a part
    would be empty.
    """
    rows = dataset_of("rows", rows)
    _check(rows, parts)
    units = _units(rows, seed, by, group)
    borders = [*itertools.accumulate(parts.values())][:-1]
    found: dict[str, list[int]] = {name: [] for name in parts}
    names = list(parts)
    for unit, place in _placed(_interleaved(units)):
        found[names[sum(place >= border for border in borders)]].extend(unit.rows)
    if empty := [name for name, places in found.items() if not places]:
        kind = f"{len(units)} groups" if group else f"{len(rows)} rows"
        raise BadData(
            rows.name,
            f"the part {empty[0]!r} of {kind} would be empty",
            "Give it a larger fraction.",
        )
    return {
        name: Dataset(f"{rows.name}/{name}", [rows[at] for at in sorted(found[name])])
        for name in names
    }


def _check(rows: Dataset, parts: Mapping[str, float]) -> None:
    fix = 'Give each part its fraction: {"train": 0.5, "select": 0.3, "held": 0.2}.'
    if not parts or any(not 0 < size <= 1 for size in parts.values()):
        raise BadData(rows.name, f"the parts {dict(parts)} aren't all fractions above 0", fix)
    if abs(math.fsum(parts.values()) - 1) > _WHOLE:
        raise BadData(
            rows.name,
            f"the parts {dict(parts)} add up to {math.fsum(parts.values()):g}, not 1",
            fix,
        )


def _units(rows: Dataset, seed: int, by: str | None, group: str | None) -> list[_Unit]:
    together: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        together.setdefault(
            example_id(row) if group is None else _value(rows, row, group), []
        ).append(place)
    return [
        _Unit(digest("split", [seed, name]), _stratum(rows, places, by), tuple(places))
        for name, places in together.items()
    ]


def _stratum(rows: Dataset, places: Iterable[int], by: str | None) -> str:
    """The value of ``by`` that most of the rows have; of several the first in canonical order."""
    if by is None:
        return ""
    counts: dict[str, int] = toolz.frequencies(_value(rows, rows[place], by) for place in places)
    return min(counts, key=lambda value: (-counts[value], value))


def _value(rows: Dataset, row: Record, field: str) -> str:
    if field not in row:
        raise MissingInput(f"the split of {rows.name}", field, tuple(row))
    return canonical(row[field])


def _interleaved(units: Iterable[_Unit]) -> list[_Unit]:
    """The units in hash order, those of each stratum spread evenly over the whole."""
    strata: dict[str, list[_Unit]] = toolz.groupby(
        lambda unit: unit.stratum, sorted(units, key=_order)
    )
    placed = [
        (place, unit.order, unit) for inner in strata.values() for unit, place in _placed(inner)
    ]
    return [unit for _, _, unit in sorted(placed, key=lambda it: it[:2])]


def _placed(units: list[_Unit]) -> list[tuple[_Unit, float]]:
    """Each unit with the middle of its rows, as a fraction of all rows."""
    ends = [*itertools.accumulate(len(unit.rows) for unit in units)]
    return [
        (unit, (end - len(unit.rows) / 2) / ends[-1]) for unit, end in zip(units, ends, strict=True)
    ]


def _order(unit: _Unit) -> Any:
    return unit.order
