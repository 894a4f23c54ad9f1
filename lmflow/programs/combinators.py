"""Combinators: programs side by side, over a list, one of two, repeated. None opens a frame."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import toolz

from lmflow.errors import BadSignature
from lmflow.programs.composed_signatures import merged, needed
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, check_programs, pending_of
from lmflow.programs.reasoning import names_of_reasoning, renamed
from lmflow.signatures.declaration import from_function
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.functions import Function, function_of
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Parallel(Program):
    """Several programs side by side on one record; the outputs are those of all."""

    parts: tuple[Program, ...]

    def __attrs_post_init__(self) -> None:
        pairs = zip(self.parts, self.new_names, strict=True)
        outputs = [field for part, names in pairs for field in renamed(part, names)]
        object.__setattr__(self, "signature", Signature(needed(self.parts), outputs))
        _ = self.steps

    @functools.cached_property
    def new_names(self) -> tuple[Mapping[str, str], ...]:
        """The new name of each part's outputs that would clash: the reasoning of several steps."""
        return names_of_reasoning(self.parts)

    def __str__(self) -> str:
        return f"parallel({', '.join(str(part) for part in self.parts)})"

    @property
    def children(self) -> tuple[Program, ...]:
        """The parts, in order."""
        return self.parts

    async def body(self, inputs: Record) -> Record:
        """Run all parts at once."""
        results = await Fork(
            tuple(pending_of(part, inputs) for part in self.parts), name="parallel"
        )
        outputs: dict[str, Any] = {}
        for result, names in zip(results, self.new_names, strict=True):
            outputs |= {names.get(name, name): result[name] for name in result}
        return Record(outputs)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Map(Program):
    """One program on each item of a list, side by side; each output becomes a list."""

    part: Program
    over: str
    item: str
    by: str | None = None

    def __attrs_post_init__(self) -> None:
        inner = self.part.signature
        shared = tuple(field for field in inner.inputs if field.name != self.item)
        items = next(field for field in inner.inputs if field.name == self.item)
        inputs = (Field(name=self.over, type=_list_of(items.type)), *shared)
        outputs = tuple(attrs.evolve(field, type=_list_of(field.type)) for field in inner.outputs)
        object.__setattr__(self, "signature", Signature(inputs, outputs))

    def __str__(self) -> str:
        return f"map({self.part}, over={self.over!r})"

    @property
    def diagram_label(self) -> str:
        """What it maps over."""
        return f"map over {self.over}"

    @property
    def children(self) -> tuple[Program, ...]:
        """The program that is mapped."""
        return (self.part,)

    @property
    def identity(self) -> Any:
        """The program, and the names of list, item and key."""
        return ["Map", self.part.identity, self.over, self.item, self.by]

    async def body(self, inputs: Record) -> Record:
        """Run all items at once, labelled by their keys, else by position."""
        items = inputs[self.over]
        branches = tuple(pending_of(self.part, inputs | {self.item: item}) for item in items)
        keys = tuple(str(_field_of(item, self.by)) for item in items) if self.by else ()
        results = await Fork(branches, keys=_distinct(keys), name="map")
        names = [field.name for field in self.part.signature.outputs]
        return Record({name: tuple(result[name] for result in results) for name in names})


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Branch(Program):
    """One of two programs, chosen by a field or a function; the outputs are those of both."""

    when: str | Function
    reads: tuple[Field, ...]
    then: Program
    otherwise: Program

    def __attrs_post_init__(self) -> None:
        inputs = merged(self.reads, needed((self.then, self.otherwise)))
        other = {field.name for field in self.otherwise.signature.outputs}
        outputs = tuple(field for field in self.then.signature.outputs if field.name in other)
        object.__setattr__(self, "signature", Signature(inputs, outputs))
        _ = self.steps

    def __str__(self) -> str:
        return f"branch({_condition(self.when)}, {self.then}, {self.otherwise})"

    @property
    def diagram_label(self) -> str:
        """What it branches on."""
        return f"branch on {_condition(self.when)}"

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
        """Run the program that the condition chooses."""
        chosen = self.then if _holds(self.when, self.reads, inputs) else self.otherwise
        result: Record = await pending_of(chosen, inputs)
        return result.only(*(field.name for field in self.signature.outputs))


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Repeat(Program):
    """One program repeated until a condition holds, at most ``times``; outputs become inputs."""

    part: Program
    until: str | Function
    reads: tuple[Field, ...]
    times: int

    def __attrs_post_init__(self) -> None:
        outputs = {field.name for field in self.part.signature.outputs}
        extra = tuple(field for field in self.reads if field.name not in outputs)
        inputs = merged(self.part.signature.inputs, extra)
        object.__setattr__(self, "signature", Signature(inputs, self.part.signature.outputs))

    def __str__(self) -> str:
        return f"repeat({self.part}, until={_condition(self.until)}, times={self.times})"

    @property
    def diagram_label(self) -> str:
        """How often it repeats."""
        return f"repeat at most {self.times} times"

    @property
    def children(self) -> tuple[Program, ...]:
        """The program that is repeated."""
        return (self.part,)

    @property
    def identity(self) -> Any:
        """The program, the condition and the bound."""
        return ["Repeat", self.part.identity, _condition_identity(self.until), self.times]

    async def body(self, inputs: Record) -> Record:
        """Run rounds until the condition holds on the record."""
        record = inputs
        for _ in range(self.times):
            record = record | await pending_of(self.part, record)
            if _holds(self.until, self.reads, record):
                break
        return record.only(*(field.name for field in self.signature.outputs))


def parallel(*programs: Program) -> Parallel:
    """Run several programs side by side on one record.

    Args:
        *programs: Programs whose outputs have different names. Only the reasoning of several chains
            of thought may have one name: it becomes ``step_reasoning``.

    Returns:
        A program whose inputs and outputs are those of all.

    Raises:
        BadSignature: Two outputs have one name.
        TypeError: A value isn't a program.

    Example:
        >>> from lmflow import predict
        >>> parallel(predict("a", "q -> x"), predict("b", "q -> y"))
        <Parallel parallel(a, b): q -> x, y>
    """
    check_programs(*programs)
    return Parallel(programs)


def map(program: Program, over: str, *, item: str | None = None, key: str | None = None) -> Map:  # noqa: A001 - lf.map
    """Run a program on each item of a list, side by side; each of its outputs becomes a list.

    Args:
        program: The program to run on each item.
        over: The name of the list, an input of the new program.
        item: The input that takes an item; may be left out if the program has one required input.
        key: The field of an item that labels its branch in addresses, by default its position.

    Returns:
        A program with the input ``over`` in place of ``item``.

    Raises:
        BadSignature: The program has no input ``item``.
        TypeError: ``program`` isn't a program.

    Example:
        >>> from lmflow import predict
        >>> map(predict("a", "q -> x"), over="questions")
        <Map map(a, over='questions'): questions: list[str] -> x: list[str]>
    """
    check_programs(program)
    required = [field.name for field in program.signature.inputs if field.required]
    names = [field.name for field in program.signature.inputs]
    if item is None and len(required) == 1:
        item = required[0]
    if item not in names:
        subject = "no item" if item is None else f"item {item!r}"
        problem = f"{subject} to map over {over!r}"
        fix = f"Say which input takes an element, item=one of {names}."
        raise BadSignature(str(program.signature), problem, fix)
    return Map(program, over, item, key)


def branch(when: str | Callable[..., Any], then: Program, otherwise: Program) -> Branch:
    """Run one of two programs, chosen by a condition.

    Args:
        when: The name of a field of the record, or an annotated function of fields.
        then: The program that runs if the condition holds.
        otherwise: The program that runs if it doesn't.

    Returns:
        A program whose outputs are those that both have.

    Raises:
        BadSignature: The programs have no output in common.
        TypeError: A value isn't a program.

    Example:
        >>> from lmflow import predict
        >>> branch("hard", predict("think", "q -> x"), predict("guess", "q -> x"))
        <Branch branch(hard, think, guess): hard: Any, q -> x>
    """
    check_programs(then, otherwise)
    return Branch(*_condition_fields(when), then, otherwise)


def repeat(program: Program, *, until: str | Callable[..., Any], times: int) -> Repeat:
    """Run a program until a condition holds; its outputs become inputs of the next round.

    Args:
        program: The program to repeat.
        until: The name of a field of the record, or an annotated function of fields.
        times: Greatest number of rounds, at least 1.

    Returns:
        A program with the same outputs.

    Raises:
        TypeError: ``program`` isn't a program.
        ValueError: ``times`` is less than 1.

    Example:
        >>> from lmflow import predict
        >>> repeat(predict("edit", "text -> text_, done: bool"), until="done", times=3)
        <Repeat repeat(edit, until=done, times=3): text -> text_, done: bool>
    """
    check_programs(program)
    if times < 1:
        msg = f"times must be at least 1, found {times}"
        raise ValueError(msg)
    return Repeat(program, *_condition_fields(until), times)


def _condition_fields(when: str | Callable[..., Any]) -> tuple[str | Function, tuple[Field, ...]]:
    if isinstance(when, str):
        return when, (Field(name=when, type=Any),)
    return function_of(when), from_function(when).inputs


def _list_of(kind: Any) -> Any:
    return list[kind]


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
        repeated = next(key for key, count in toolz.frequencies(keys).items() if count > 1)
        msg = f"the map key {repeated!r} appears twice: keys label branches, so they must differ"
        raise ValueError(msg)
    return keys
