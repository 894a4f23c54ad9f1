"""Examples and data sets as values: ordered, named apart by id, hashed by content."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import attrs

from lmflow.errors import BadData, check_kind, short
from lmflow.values.attributes import uncached
from lmflow.values.record import Record, digest

_APART = 'Give each example an "id" of its own, or drop the repeats: lf.dataset(rows, drop_repeats=True).'
PARTED = 'Part the rows: lf.Data(**lf.split(rows, {"train": 0.5, "select": 0.3, "held": 0.2})), or --split .5,.3,.2.'


def example_id(example: Mapping[str, Any]) -> str:
    """The example's ``id`` as text; where it has none, the digest of its content."""
    name = example.get("id")
    if name is not None:
        return str(name)
    return example.digest if isinstance(example, Record) else Record(example).digest


def dataset_of(name: str, examples: Iterable[Mapping[str, Any]]) -> Dataset:
    """The data set of examples; one that is a data set already is taken as it is."""
    return examples if isinstance(examples, Dataset) else Dataset(name, records(examples))


def records(rows: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    """The rows as records. ``TypeError`` where they are none."""
    check_kind("examples", rows, Iterable, "Give rows, or a part of the data: data.held.")
    return tuple(row if isinstance(row, Record) else _record(row) for row in rows)


def _record(row: Mapping[str, Any]) -> Record:
    check_kind("an example", row, Mapping, 'Its fields have names: {"question": ...}.')
    return Record(row)


@attrs.frozen(slots=False, repr=False)
class Dataset(Sequence[Record]):
    """Examples in order. No two have one id (``BadData``), so that scores can be paired and splits
    are disjoint.

    ``digest`` is the hash of the examples in order; the name isn't in it. A slice is a data set.
    """

    name: str
    examples: tuple[Record, ...] = attrs.field(converter=records)

    def __attrs_post_init__(self) -> None:
        seen: dict[str, int] = {}
        for place, name in enumerate(self.ids):
            if seen.setdefault(name, place) != place:
                raise BadData(
                    self.name, f"rows {seen[name]} and {place} have one id, {short(name)!r}", _APART
                )

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Dataset: ...
    def __getitem__(self, at: int | slice) -> Record | Dataset:
        return Dataset(self.name, self.examples[at]) if isinstance(at, slice) else self.examples[at]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {len(self)} examples, {short(self.digest)}>"

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of each example, in order."""
        return tuple(example_id(example) for example in self.examples)

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the examples in order."""
        return digest("dataset", [example.digest for example in self.examples])


def _part(rows: Iterable[Mapping[str, Any]]) -> Dataset:
    return rows if isinstance(rows, Dataset) else Dataset("examples", records(rows))


def _none() -> Dataset:
    return Dataset("examples", ())


@attrs.frozen(slots=False)
class Data:
    """What an optimizer is given: examples to learn from (``train``), to choose by (``select``) and
    to judge by in the end (``held``).

    No example is in two parts (``BadData``): what was learnt from says nothing about what was
    learnt.
    """

    train: Dataset = attrs.field(converter=_part)
    select: Dataset = attrs.field(factory=_none, converter=_part)
    held: Dataset = attrs.field(factory=_none, converter=_part)

    def __attrs_post_init__(self) -> None:
        parts = {"train": self.train, "select": self.select, "held": self.held}
        home: dict[str, str] = {}
        for part, rows in parts.items():
            for name in rows.ids:
                if home.setdefault(name, part) != part:
                    problem = f"the example {short(name)!r} is in {home[name]} and in {part}"
                    raise BadData("the data", problem, PARTED)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the three parts."""
        return digest("data", [self.train.digest, self.select.digest, self.held.digest])
