"""What the operators of search at inference time share: samples whose failure is a value, and
judges of outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.errors import BadSignature, CallError, MissingInput
from lmflow.metrics import as_score
from lmflow.programs.effects import Fork
from lmflow.programs.program import Program, check_programs, take
from lmflow.signatures.signature import first_missing
from lmflow.values.functions import Function, check_takes, function_of
from lmflow.values.record import Record
from lmflow.versions.version import Version

Judging = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Search(Program):
    """What the operators share. Abstract: a program made of a ``part``, with its signature; it
    opens no frame.
    """

    part: Program

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "signature", self.part.signature)
        _ = self.steps

    def __str__(self) -> str:
        return f"{_snake(type(self).__name__)}({self.part})"

    @property
    def children(self) -> tuple[Program, ...]:
        """The part, and the programs that judge or choose."""
        return tuple(found for value in fields_of(self) for found in programs_in(value))

    @property
    def identity(self) -> Any:
        """All that it is made of."""
        return [type(self).__name__, *(identity_of(value) for value in fields_of(self))]


@attrs.frozen(eq=False)
class Attempt:
    """What came of one sample: its outputs, or the error that it failed with."""

    outputs: Record | None
    error: CallError | None = None


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Tried(Search):
    """The part; where a call of it fails, that is what it gives."""

    def __str__(self) -> str:
        return str(self.part)

    async def body(self, inputs: Record) -> Attempt:
        """The part's outputs, or its failure."""
        try:
            return Attempt(await take(self.part, inputs))
        except CallError as error:
            return Attempt(None, error)


def drawn(part: Program, inputs: Mapping[str, Any], start: int, stop: int) -> Fork:
    """Samples ``start`` to ``stop`` of a part side by side, each as an ``Attempt``."""
    pending = take(Tried(part), inputs)
    numbers = range(start, stop)
    return Fork(
        tuple(pending.sampled(k) for k in numbers), keys=tuple(map(str, numbers)), name="sample"
    )


def outputs_of(attempts: Sequence[Attempt]) -> list[Record]:
    """The outputs of the attempts that have some. Raises the first failure where none has."""
    found = [attempt.outputs for attempt in attempts if attempt.outputs is not None]
    if not found and attempts and attempts[0].error is not None:
        raise attempts[0].error
    return found


def judge_of(
    part: Program, judge: Judging | Program, gives: str, version: str | None = None
) -> Function | Program:
    """A judge of a part's outputs: a function ``(inputs, outputs)``, or a program that reads both
    by name.

    Raises ``TypeError`` where the function takes other arguments, ``BadSignature`` where the
    program doesn't give the output ``gives``, ``MissingInput`` where it needs what the part neither
    reads nor gives.
    """
    check_programs(part)
    if not isinstance(judge, Program):
        function = function_of(judge, version)
        check_takes(function, "inputs", "outputs")
        return function
    known = [field.name for field in (*part.signature.inputs, *part.signature.outputs)]
    if missing := first_missing(judge.signature.inputs, known):
        raise MissingInput(str(judge), missing, tuple(known))
    if gives not in [field.name for field in judge.signature.outputs]:
        raise BadSignature(
            str(judge.signature),
            f"it judges, and has no output {gives!r}",
            f'Write "... -> {gives}".',
        )
    return judge


async def judged(
    judge: Function | Program, inputs: Record, candidates: Sequence[Record]
) -> list[Any]:
    """What a judge says of each candidate: programs are asked side by side, ``None`` where one
    failed.
    """
    if isinstance(judge, Function):
        return [judge.call(inputs, outputs) for outputs in candidates]
    asked = tuple(take(Tried(judge), inputs | outputs) for outputs in candidates)
    return [attempt.outputs for attempt in await Fork(asked, name="judge")]


def score_in(judge: Function | Program, said: Any) -> float | None:
    """The score in what a judge said. ``BadScore`` where a function gave none."""
    if said is None or isinstance(judge, Program):
        return None if said is None else float(said["score"])
    return as_score(judge.name, said).value


def positive(name: str, value: int) -> int:
    """The number, if it is at least 1. ``ValueError`` otherwise."""
    if value < 1:
        msg = f"{name} must be at least 1, found {value}"
        raise ValueError(msg)
    return value


def fields_of(program: Program) -> list[Any]:
    """What a program was made of, in order."""
    return [getattr(program, field.name) for field in attrs.fields(type(program)) if field.init]


def programs_in(value: Any) -> Iterator[Program]:
    """The programs in a field."""
    if isinstance(value, Program):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from programs_in(item)


def identity_of(value: Any) -> Any:
    """What a field adds to a key, as JSON values."""
    if isinstance(value, (Program, Function)):
        return value.identity
    if isinstance(value, Version):
        return value.tree
    return [identity_of(item) for item in value] if isinstance(value, tuple) else value


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
