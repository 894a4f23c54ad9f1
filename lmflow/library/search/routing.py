"""Which model or program answers: the cheap one first, or the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadSignature, ParseFailure, UnknownInput, listed
from lmflow.library.search.samples import (
    Attempt,
    Judging,
    Search,
    Tried,
    fields_of,
    identity_of,
    judge_of,
    judged,
    outputs_of,
    programs_in,
)
from lmflow.programs.program import Program, check_programs, need, take
from lmflow.signatures.signature import Field, Signature, parse
from lmflow.values.functions import Function, function_of
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Cascade(Search):
    """A program on one model after the other, until its outputs are accepted; see ``cascade``."""

    models: tuple[str, ...]
    accept: Function | Program
    steps_asked: tuple[str, ...]

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return len(self.models)

    async def body(self, inputs: Record) -> Record:
        """The first outputs that are accepted; the last model's are, always."""
        attempts: list[Attempt] = []
        for model in self.models[:-1]:
            attempts.append(await take(Tried(self.part), inputs).under(self._on(model)))
            outputs = attempts[-1].outputs
            if outputs is not None and await self._accepted(inputs, outputs):
                return outputs
        attempts.append(await take(Tried(self.part), inputs).under(self._on(self.models[-1])))
        return outputs_of(attempts)[-1]

    def _on(self, model: str) -> dict[str, str]:
        return {f"{step}.model": model for step in self.steps_asked}

    async def _accepted(self, inputs: Record, outputs: Record) -> bool:
        (said,) = await judged(self.accept, inputs, [outputs])
        return bool(said["ok"] if isinstance(self.accept, Program) and said is not None else said)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Router(Program):
    """One of several programs, as a function or a program chooses; see ``router``."""

    choose: Function | Program
    reads: tuple[Field, ...]
    routes: tuple[tuple[str, Program], ...]
    default: str

    def __attrs_post_init__(self) -> None:
        inputs: dict[str, Field] = {}
        fields = [field for _, program in self.routes for field in program.signature.inputs]
        for field in (*self.reads, *fields):
            need(inputs, field)
        shared = [{field.name for field in program.signature.outputs} for _, program in self.routes]
        outputs = tuple(
            f
            for f in self.routes[0][1].signature.outputs
            if all(f.name in names for names in shared)
        )
        object.__setattr__(self, "signature", Signature(tuple(inputs.values()), outputs))
        _ = self.steps

    def __str__(self) -> str:
        return f"router({', '.join(label for label, _ in self.routes)})"

    @property
    def children(self) -> tuple[Program, ...]:
        """Who chooses, where that is a program, and the routes."""
        return tuple(found for value in fields_of(self) for found in programs_in(value))

    @property
    def identity(self) -> Any:
        """Who chooses, and what."""
        return ["Router", identity_of(self.choose), identity_of(self.routes), self.default]

    async def body(self, inputs: Record) -> Record:
        """The route that is chosen."""
        routes, label = dict(self.routes), await self._chosen(inputs)
        if label not in routes and not self.default:
            raise self._unknown(label)
        result: Record = await take(routes[label if label in routes else self.default], inputs)
        return result.only(*(field.name for field in self.signature.outputs))

    async def _chosen(self, inputs: Record) -> str:
        if isinstance(self.choose, Function):
            return str(self.choose.call(inputs))
        return str((await take(self.choose, inputs))[self.choose.signature.outputs[0].name])

    def _unknown(self, label: str) -> UnknownInput | ParseFailure:
        labels = tuple(name for name, _ in self.routes)
        if isinstance(self.choose, Function):
            return UnknownInput(str(self), label, labels)
        return ParseFailure(
            str(self.choose), f"one of {listed(labels)}", ("it is none of them",), (label,)
        )


def cascade(
    program: Program,
    models: Iterable[str],
    accept: Judging | Program,
    *,
    version: str | None = None,
) -> Cascade:
    """The program on the first of ``models`` whose outputs are accepted; the last model's always
    are.

    Cost: at most one run of the program a model, and of ``accept``, where that is a program, one a
    model but the last; on average the sum of what each model costs times how often all before it
    are refused. ``accept`` is a pure function ``(inputs, outputs)``, or a program with an output
    ``ok: bool``. A model that fails is refused; where all fail, the first failure is raised. Give
    models by name, cheapest first: they replace those of all predictors.

    Without token probabilities agreement is a good score to accept by: ``self_consistency(program,
    n=3, share="share")`` on the cheap model. ``lf.cascade_curve`` shows from recorded runs what a
    threshold would cost.

    Chen et al. 2023, arXiv 2305.05176, section 3 (FrugalGPT's cascade).
    """
    names = tuple(models)
    if not names:
        raise ValueError("cascade needs at least one model")
    return Cascade(
        program, names, judge_of(program, accept, "ok", version), tuple(program.predictors)
    )


def router(
    choose: Callable[[Mapping[str, Any]], str] | Program,
    routes: Mapping[str, Program],
    *,
    reads: str | Iterable[Field] = (),
    default: str = "",
    version: str | None = None,
) -> Router:
    """The one of ``routes`` (label -> program) whose label is chosen, on the same record.

    Cost: one run of ``choose``, where that is a program, and one of the chosen route. ``choose`` is
    a pure function of the inputs that returns a label, or a program whose first output is one (let
    its type be a ``Literal`` of them). ``default`` is the label that stands for unknown ones;
    without it a function's is ``UnknownInput``, a program's ``ParseFailure``. Inputs are what who
    chooses and the routes read, outputs those that all routes give; ``reads`` declares what else a
    function reads, ``"question, size: int"``.
    """
    if not routes:
        raise ValueError("router needs at least one route")
    if default and default not in routes:
        raise UnknownInput("router's default", default, tuple(routes))
    labelled = tuple(routes.items())
    check_programs(*routes.values())
    shared = set.intersection(
        *({f.name for f in program.signature.outputs} for program in routes.values())
    )
    if not shared:
        raise BadSignature(
            str(labelled[0][1].signature), "the routes have no output in common", "Rename outputs."
        )
    if isinstance(choose, Program):
        return Router(choose, choose.signature.inputs, labelled, default)
    extra = _read(reads) if isinstance(reads, str) else tuple(reads)
    return Router(function_of(choose, version), extra, labelled, default)


def _read(text: str) -> tuple[Field, ...]:
    return parse(f"{text} -> _").inputs
