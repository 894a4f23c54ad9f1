"""Cascades and routers: the cheap model first, or the program that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors.calling import ParseFailure
from lmflow.errors.composing import BadSignature, UnknownInput
from lmflow.errors.words import listed
from lmflow.library.composed import Composed, identity_of, set_signature
from lmflow.library.search.judging import JudgeFunction, check_judge, judge_outputs
from lmflow.library.search.sampling import Attempt, Search, Tried, successes
from lmflow.programs.composed_signatures import add_needed
from lmflow.programs.program import Program, check_programs, pending_of
from lmflow.signatures.declaration import parse_signature
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.functions import Function, function_of
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Cascade(Search):
    """A program on one model after the other, until its outputs are accepted; see ``cascade``."""

    models: tuple[str, ...]
    accept: Function | Program
    predictors_routed: tuple[str, ...]

    @property
    def runs(self) -> int:
        """The most runs of its part."""
        return len(self.models)

    @property
    def named_models(self) -> tuple[str, ...]:
        """The models of the cascade, all of which a run looks up before it pays for the first."""
        return self.models if self.predictors_routed else ()

    async def body(self, inputs: Record) -> Record:
        """Return the first outputs that are accepted; the last model's always are."""
        *earlier, last = self.models
        attempts: list[Attempt] = []
        for model in earlier:
            attempt = await self._attempt(model, inputs)
            attempts.append(attempt)
            if attempt.outputs is not None and await self._accepts(inputs, attempt.outputs):
                outputs: Record = attempt.outputs
                return outputs
        attempts.append(await self._attempt(last, inputs))
        return successes(attempts)[-1]

    async def _attempt(self, model: str, inputs: Record) -> Attempt:
        params = {f"{step}.model": model for step in self.predictors_routed}
        attempt: Attempt = await pending_of(Tried(self.part), inputs).under(params)
        return attempt

    async def _accepts(self, inputs: Record, outputs: Record) -> bool:
        (verdict,) = await judge_outputs(self.accept, inputs, [outputs])
        if isinstance(self.accept, Program) and verdict is not None:
            return bool(verdict["ok"])
        return bool(verdict)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Router(Composed):
    """A choice of one of several programs, by a function or a program; see ``router``."""

    choose: Function | Program
    reads: tuple[Field, ...]
    routes: tuple[tuple[str, Program], ...]
    default: str

    def __attrs_post_init__(self) -> None:
        programs = [program for _, program in self.routes]
        inputs: dict[str, Field] = {}
        for field in (*self.reads, *(f for each in programs for f in each.signature.inputs)):
            add_needed(inputs, field)
        shared = _shared_outputs(programs)
        outputs = [field for field in programs[0].signature.outputs if field.name in shared]
        set_signature(self, Signature(tuple(inputs.values()), tuple(outputs)))

    def __str__(self) -> str:
        return f"router({', '.join(label for label, _ in self.routes)})"

    @property
    def identity(self) -> Any:
        """The class name and the fields but ``reads``, which add nothing to the choice."""
        return ["Router", identity_of(self.choose), identity_of(self.routes), self.default]

    async def body(self, inputs: Record) -> Record:
        """Return the outputs of the chosen route that all routes have."""
        routes, label = dict(self.routes), await self._choose(inputs)
        if label not in routes and not self.default:
            raise self._unknown_label(label)
        outputs = await pending_of(routes[label if label in routes else self.default], inputs)
        result: Record = outputs.only(*(field.name for field in self.signature.outputs))
        return result

    async def _choose(self, inputs: Record) -> str:
        if isinstance(self.choose, Function):
            return str(self.choose.call(inputs))
        return str((await pending_of(self.choose, inputs))[self.choose.signature.outputs[0].name])

    def _unknown_label(self, label: str) -> UnknownInput | ParseFailure:
        labels = tuple(name for name, _ in self.routes)
        if isinstance(self.choose, Function):
            return UnknownInput(str(self), label, labels)
        return ParseFailure(
            str(self.choose), f"one of {listed(labels)}", ("it is none of them",), (label,)
        )


def cascade(
    program: Program,
    models: Iterable[str],
    accept: JudgeFunction | Program,
    *,
    version: str | None = None,
) -> Cascade:
    """Run a program on one model after the other until its outputs are accepted.

    Cost: at most one run of the program for each model, and one of ``accept``, if that is a
    program, for each model but the last, whose outputs are always accepted. On average it is the
    sum of what each model costs times how often all before it are refused. A model that fails is
    refused; if all fail, the first failure is raised.

    Without token probabilities agreement is a good score to accept by: ``self_consistency(program,
    n=3, share="share")`` on the cheap model. ``lf.cascade_curve`` shows from recorded runs what a
    threshold would cost.

    Args:
        program: The program.
        models: Names of models, cheapest first. They replace those of all predictors.
        accept: A pure function ``(inputs, outputs)``, or a program with an output ``ok: bool``.
        version: Identifies a function whose source doesn't.

    Returns:
        A program with the signature of ``program``.

    Raises:
        ValueError: There is no model.
        BadSignature: The accepting program has no output ``ok``.
        MissingInput: The accepting program needs a field that ``program`` neither reads nor gives.

    Chen et al. 2023, arXiv 2305.05176, section 3 (FrugalGPT's cascade).
    """
    names = tuple(models)
    if not names:
        raise ValueError("cascade needs at least one model")
    judge = check_judge(program, accept, "ok", version)
    return Cascade(program, names, judge, tuple(program.predictors))


def router(
    choose: Callable[[Mapping[str, Any]], str] | Program,
    routes: Mapping[str, Program],
    *,
    reads: str | Iterable[Field] = (),
    default: str = "",
    version: str | None = None,
) -> Router:
    """Run the one of several programs whose label is chosen, on the same inputs.

    Cost: one run of ``choose``, if that is a program, and one of the chosen route.

    Args:
        choose: A pure function of the inputs that returns a label, or a program whose first output
            is one (let its type be a ``Literal`` of the labels).
        routes: Label -> program.
        reads: The inputs that a choosing function reads beside those of the routes, as fields or
            as text: ``"question, size: int"``.
        default: The label to take if the chosen one is not among the routes.
        version: Identifies a function whose source doesn't.

    Returns:
        A program that reads what the chooser and the routes read, and gives the outputs that all
        routes have. Without a default, running it raises ``UnknownInput`` for an unknown label of a
        function and ``ParseFailure`` for one of a program.

    Raises:
        ValueError: There is no route.
        UnknownInput: ``default`` is not among the routes.
        BadSignature: The routes have no output in common.
    """
    if not routes:
        raise ValueError("router needs at least one route")
    if default and default not in routes:
        raise UnknownInput("router's default", default, tuple(routes))
    labelled = tuple(routes.items())
    check_programs(*routes.values())
    if not _shared_outputs(list(routes.values())):
        first = str(labelled[0][1].signature)
        raise BadSignature(first, "the routes have no output in common", "Rename outputs.")
    if isinstance(choose, Program):
        return Router(choose, choose.signature.inputs, labelled, default)
    fields = parse_signature(f"{reads} -> _").inputs if isinstance(reads, str) else tuple(reads)
    return Router(function_of(choose, version), fields, labelled, default)


def _shared_outputs(programs: list[Program]) -> set[str]:
    """Return the names of the outputs that all programs have."""
    return set.intersection(
        *({field.name for field in each.signature.outputs} for each in programs)
    )
