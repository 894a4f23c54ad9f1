"""Examples and data sets as values: ordered, distinguished by id, hashed by content."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import attrs

from lmflow.errors import BadData, check_kind, clipped, safe_repr, short
from lmflow.values.attributes import uncached
from lmflow.values.printing import printable
from lmflow.values.record import Record, digest
from lmflow.values.unicode import well_formed
from lmflow.views.lines import counted
from lmflow.views.page import ROWS_SHOWN, Page, Table

_WIDEST_NAME = 60
_ID_FIX = (
    'Give each example an "id" of its own, or drop the repeats: '
    "lf.dataset(rows, drop_repeats=True)."
)
SPLIT_FIX = (
    'Part the rows: lf.Data(**lf.split(rows, {"train": 0.5, "select": 0.3, "held": 0.2})), '
    "or --split .5,.3,.2."
)
"""The fix for data without the parts that an optimizer needs."""


Examples = Iterable[Mapping[str, Any]]
"""Rows: a data set, or mappings of names to values."""


def example_id(example: Mapping[str, Any]) -> str:
    """The example's ``id`` as text; if it has none, the digest of its content."""
    name = example.get("id")
    if name is not None:
        return well_formed(str(name))
    return example.digest if isinstance(example, Record) else Record(example).digest


def dataset_of(name: str, examples: Iterable[Mapping[str, Any]]) -> Dataset:
    """The examples as a data set of that name; a data set is returned unchanged."""
    return examples if isinstance(examples, Dataset) else Dataset(name, records(examples))


def splits_of(name: str, parts: Any) -> dict[str, Dataset]:
    """The splits of a data set by their names, in order; rows that aren't in splits are one split
    without a name.

    ``parts`` is a data set, rows, or splits by name, each a data set or rows. ``TypeError`` if it
    is something else.
    """
    if not isinstance(parts, Mapping):
        return {"": dataset_of(name, parts)}
    for split in parts:
        check_kind("the name of a split", split, str, 'Name it like "train" or "held".')
    return {
        well_formed(split): dataset_of(f"{name}/{split}", parts[split]) for split in sorted(parts)
    }


def records(rows: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    """The rows as records. ``TypeError`` if they aren't mappings."""
    check_rows(rows)
    return tuple(map(record_of, rows))


def check_rows(rows: object) -> None:
    """Raise ``TypeError`` unless a value can be iterated over for examples."""
    if isinstance(rows, (str, Path)):
        path = str(rows)
        msg = f"expected examples, found the text {path!r}. Read a file: lf.dataset({path!r})."
        raise TypeError(msg)
    if isinstance(rows, Mapping):
        found = clipped(safe_repr(rows), 60)
        msg = f"expected a list of examples, found one mapping {found}. Write [{{...}}]."
        raise TypeError(msg)
    check_kind("examples", rows, Iterable, "Give rows, or a part of the data: data.held.")


def record_of(row: Mapping[str, Any]) -> Record:
    """A row as a record. ``TypeError`` if it isn't a mapping."""
    if isinstance(row, Record):
        return row
    check_kind("an example", row, Mapping, 'Its fields have names: {"question": ...}.')
    return Record(row)


def at_place(rows: Sequence[Record], at: int | slice) -> Record | Sequence[Record]:
    """The example at a place, or those of a slice, of a sequence that is read from its start."""
    if isinstance(at, slice):
        return tuple(rows)[at]
    return next(islice(rows, range(len(rows))[at], None))


@attrs.frozen(slots=False, repr=False)
class Dataset(Sequence[Record]):
    """Examples in order. No two have one id, so that scores can be paired and splits are disjoint.

    A slice is a data set too.

    Args:
        name: A name for people; it isn't part of the digest.
        examples: Mappings of names to values. An example's id is its field ``id``, or else the
            digest of its content.

    Raises:
        BadData: Two examples have one id.
        TypeError: The examples aren't mappings.

    Example:
        >>> rows = [{"question": "2 + 2?", "answer": "4"}, {"question": "Capital?", "answer": "x"}]
        >>> len(lf.Dataset("rows", rows)[:1])
        1
    """

    name: str
    examples: tuple[Record, ...] = attrs.field(converter=records)

    def __attrs_post_init__(self) -> None:
        places: dict[str, int] = {}
        for place, id_ in enumerate(self.ids):
            first = places.setdefault(id_, place)
            if first != place:
                problem = f"rows {first} and {place} have one id, {short(id_)!r}"
                raise BadData(self.name, problem, _ID_FIX)

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
        return f"<{self._headline}>"

    def _repr_html_(self) -> str:
        return self._page().html()

    def _repr_markdown_(self) -> str:
        return self._page().markdown()

    @property
    def _headline(self) -> str:
        name = printable(self.name, _WIDEST_NAME)
        return f"Dataset {name}: {counted(len(self), 'example')}, {short(self.digest)}"

    def _page(self) -> Page:
        rows = self.examples[:ROWS_SHOWN]
        return Page((self._headline,), (Table(rows, total=len(self), noun="example"),))

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


def _no_examples() -> Dataset:
    return Dataset("examples", ())


@attrs.frozen(slots=False)
class Data:
    """The data of an optimization. No example is in two parts, since examples that were learned
    from can't show what was learned.

    Args:
        train: Examples to learn from.
        select: Examples to choose between versions by.
        held: Examples to judge the final version by.

    Raises:
        BadData: An example is in two parts.

    Example:
        >>> lf.Data([{"question": "2 + 2?"}], held=[{"question": "2 + 3?"}]).select
        <Dataset examples: 0 examples, 491cf46fce4b>
    """

    train: Dataset = attrs.field(converter=_part)
    select: Dataset = attrs.field(factory=_no_examples, converter=_part)
    held: Dataset = attrs.field(factory=_no_examples, converter=_part)

    def __attrs_post_init__(self) -> None:
        parts = {"train": self.train, "select": self.select, "held": self.held}
        part_of: dict[str, str] = {}
        for part, rows in parts.items():
            for id_ in rows.ids:
                first = part_of.setdefault(id_, part)
                if first != part:
                    problem = f"the example {short(id_)!r} is in {first} and in {part}"
                    raise BadData("the data", problem, SPLIT_FIX)

    def __getstate__(self) -> dict[str, Any]:
        return uncached(self)

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the three parts."""
        return digest("data", [self.train.digest, self.select.digest, self.held.digest])
