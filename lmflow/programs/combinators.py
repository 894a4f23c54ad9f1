"""Combinators: programs side by side, over a list, one of two, again and again. None of them opens
a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import toolz

from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, need, take
from lmflow.signatures.signature import Field, Signature
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Parallel(Program):
    """Several programs on one record, side by side; their outputs together."""

    parts: tuple[Program, ...]

    def __attrs_post_init__(self) -> None:
        inputs = _needed(self.parts)
        outputs = tuple(field for part in self.parts for field in part.signature.outputs)
        object.__setattr__(self, "signature", Signature(inputs, outputs))
        _ = self.steps

    def __str__(self) -> str:
        return f"parallel({', '.join(map(str, self.parts))})"

    @property
    def children(self) -> tuple[Program, ...]:
        """Its parts."""
        return self.parts

    async def body(self, inputs: Record) -> Record:
        """All parts at once."""
        results = await Fork(tuple(take(part, inputs) for part in self.parts), name="parallel")
        return Record(toolz.merge(*map(dict, results)))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Map(Program):
    """One program over a list, side by side: each output becomes a list."""

    part: Program
    over: str
    item: str
    by: str | None = None

    def __attrs_post_init__(self) -> None:
        inner = self.part.signature
        shared = tuple(field for field in inner.inputs if field.name != self.item)
        items = next(field for field in inner.inputs if field.name == self.item)
        inputs = (Field(name=self.over, type=list[items.type]), *shared)  # type: ignore[name-defined]
        outputs = tuple(attrs.evolve(field, type=list[field.type]) for field in inner.outputs)  # type: ignore[name-defined]
        object.__setattr__(self, "signature", Signature(inputs, outputs))

    def __str__(self) -> str:
        return f"map({self.part}, over={self.over!r})"

    @property
    def children(self) -> tuple[Program, ...]:
        """The program that is mapped."""
        return (self.part,)

    @property
    def identity(self) -> Any:
        """The program and the names of list, item and key."""
        return ["Map", self.part.identity, self.over, self.item, self.by]

    async def body(self, inputs: Record) -> Record:
        """All items at once, labelled by their keys, else by position."""
        items = inputs[self.over]
        branches = tuple(take(self.part, inputs | {self.item: item}) for item in items)
        keys = tuple(str(_field_of(item, self.by)) for item in items) if self.by else ()
        results = await Fork(branches, keys=_distinct(keys), name="map")
        names = [field.name for field in self.part.signature.outputs]
        return Record({name: tuple(result[name] for result in results) for name in names})


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Branch(Program):
    """One of two programs, as a field or a function of the record says; outputs are what both give."""

    when: str | Function
    reads: tuple[Field, ...]
    then: Program
    otherwise: Program

    def __attrs_post_init__(self) -> None:
        inputs = _merged(self.reads, _needed((self.then, self.otherwise)))
        other = {field.name for field in self.otherwise.signature.outputs}
        outputs = tuple(field for field in self.then.signature.outputs if field.name in other)
        object.__setattr__(self, "signature", Signature(inputs, outputs))
        _ = self.steps

    def __str__(self) -> str:
        return f"branch({_condition(self.when)}, {self.then}, {self.otherwise})"

    @property
    def children(self) -> tuple[Program, ...]:
        """Both programs."""
        return (self.then, self.otherwise)

    @property
    def identity(self) -> Any:
        """The condition and both programs."""
        return [
            "Branch",
            _condition_identity(self.when),
            self.then.identity,
            self.otherwise.identity,
        ]

    async def body(self, inputs: Record) -> Record:
        """The one that the condition chooses."""
        chosen = self.then if _holds(self.when, self.reads, inputs) else self.otherwise
        result: Record = await take(chosen, inputs)
        return result.only(*(field.name for field in self.signature.outputs))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Repeat(Program):
    """One program again and again, its outputs fed back as inputs, until a condition holds, at most
    ``times``.
    """

    part: Program
    until: str | Function
    reads: tuple[Field, ...]
    times: int

    def __attrs_post_init__(self) -> None:
        made = {field.name for field in self.part.signature.outputs}
        extra = tuple(field for field in self.reads if field.name not in made)
        inputs = _merged(self.part.signature.inputs, extra)
        object.__setattr__(self, "signature", Signature(inputs, self.part.signature.outputs))

    def __str__(self) -> str:
        return f"repeat({self.part}, until={_condition(self.until)}, times={self.times})"

    @property
    def children(self) -> tuple[Program, ...]:
        """The program that is repeated."""
        return (self.part,)

    @property
    def identity(self) -> Any:
        """The program, the condition and the bound."""
        return ["Repeat", self.part.identity, _condition_identity(self.until), self.times]

    async def body(self, inputs: Record) -> Record:
        """Rounds until the condition holds on the record."""
        record = inputs
        for _ in range(self.times):
            record = record | await take(self.part, record)
            if _holds(self.until, self.reads, record):
                break
        return record.only(*(field.name for field in self.signature.outputs))


def _merged(first: tuple[Field, ...], then: tuple[Field, ...]) -> tuple[Field, ...]:
    names = {field.name for field in then}
    return (*(field for field in first if field.name not in names), *then)


def _holds(condition: str | Function, reads: tuple[Field, ...], record: Record) -> bool:
    if isinstance(condition, str):
        return bool(record[condition])
    return bool(condition.call(**{field.name: record[field.name] for field in reads}))


def _condition(condition: str | Function) -> str:
    return condition if isinstance(condition, str) else condition.name


def _condition_identity(condition: str | Function) -> str:
    return f"field:{condition}" if isinstance(condition, str) else condition.identity


def _field_of(item: Any, name: str) -> Any:
    return item[name] if isinstance(item, Mapping) else getattr(item, name)


def _distinct(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not toolz.isdistinct(keys):
        twice = next(key for key, count in toolz.frequencies(keys).items() if count > 1)
        msg = f"the map key {twice!r} appears twice: keys label branches, so they must differ"
        raise ValueError(msg)
    return keys


def _needed(parts: Iterable[Program]) -> tuple[Field, ...]:
    needed: dict[str, Field] = {}
    for part in parts:
        for field in part.signature.inputs:
            need(needed, field)
    return tuple(needed.values())
