"""Optimization as a pure function: what an optimizer is given, what it asks for, how a plan becomes
one.

An optimizer is asked with (program, traces, metric) and answers a version, or what it needs to be
run first. Whoever drives it runs that and asks again, so it can be stopped anywhere, resumed, and
replayed offline.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Generator, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from lmflow.data.dataset import PARTED, Data, example_id
from lmflow.errors import BadData, check_kind
from lmflow.metrics import Metric
from lmflow.programs.program import Program, completed
from lmflow.traces.trace import Trace
from lmflow.values.record import Record, digest
from lmflow.versions.version import Version

TRAIN, SELECT, HELD, PRIOR = (frozenset({part}) for part in ("train", "select", "held", "prior"))
"""What an optimizer can't do without: a part of the data, or traces that existed before."""

_USES = {"train": "learns from", "select": "chooses by", "held": "judges by"}

Plan = Generator["Need", "tuple[Trace, ...]", Version]


@attrs.frozen(slots=False)
class PlannedRollout:
    """What to execute: a program under a version on an example. ``sample`` tells intended repeats
    apart.
    """

    program: Program
    version: Version
    example: Record
    sample: int = 0

    @functools.cached_property
    def key(self) -> str:
        """The hash of what is executed: program, the parameters it runs with, its inputs, sample."""
        names = (field.name for field in self.program.signature.inputs)
        return digest(
            "rollout",
            [
                self.program.key,
                _tree(self.program, self.version),
                self.example.only(*names),
                self.sample,
            ],
        )


@attrs.frozen
class Need:
    """What has to be run before an optimizer can go on.

    ``labels`` say where each rollout goes in the run tree; ``best`` is the best version so far,
    which is the answer where the optimization ends here; ``score`` is the best mean so far, where
    one is known; ``phase`` says what goes on, in words.
    """

    rollouts: tuple[PlannedRollout, ...]
    labels: tuple[str, ...]
    best: Version
    score: float | None = None
    phase: str = ""


def _in_parts(_traces: object, _field: object, data: Data) -> None:
    check_kind("lf.Data", data, Data, PARTED)


def _frozen(found: Mapping[str, Trace]) -> Mapping[str, Trace]:
    return MappingProxyType(dict(found))


@attrs.frozen(eq=False)
class Traces:
    """What an optimizer is given: the version to start from, the examples, traces that existed
    before, and ``answers``, the traces of what it asked for, by the keys of the rollouts.
    """

    version: Version
    data: Data = attrs.field(validator=_in_parts)
    prior: tuple[Trace, ...] = ()
    answers: Mapping[str, Trace] = attrs.field(factory=dict, converter=_frozen)

    def with_answers(self, found: Mapping[str, Trace]) -> Traces:
        """The same with more answers."""
        return attrs.evolve(self, answers={**self.answers, **found})


@attrs.frozen(eq=False)
class Task:
    """What a plan works on: the program, the version to start from, the examples, what existed
    before, the metric.
    """

    program: Program
    version: Version
    data: Data
    prior: tuple[Trace, ...]
    metric: Any


@attrs.frozen
class Bound:
    """The most that an optimizer asks for: rollouts of the program, of its proposers, and of the
    judge.
    """

    rollouts: int
    proposals: int = 0
    judgements: int = 0

    def __add__(self, other: Bound) -> Bound:
        return Bound(
            self.rollouts + other.rollouts,
            self.proposals + other.proposals,
            self.judgements + other.judgements,
        )


class Optimizer(Protocol):
    """A pure function from (program, traces, metric) to a version, or to what it needs."""

    def __call__(self, program: Program, traces: Traces, metric: Metric) -> Version | Need:
        """The version, or what has to be run before there is one."""
        ...


@attrs.frozen
class PlanOptimizer:
    """An optimizer that is written as a plan: a generator that yields needs, is sent their traces,
    returns a version.

    ``name`` and ``options`` identify it; ``bound(program, data)`` is the most that it asks for;
    ``parts`` are those of what it is given without which it would come to nothing.
    """

    name: str
    options: Record
    plan: Callable[[Task], Plan] = attrs.field(eq=False, repr=False)
    bound: Callable[[Program, Data], Bound] = attrs.field(eq=False, repr=False)
    parts: frozenset[str] = attrs.field(default=frozenset(), eq=False, repr=False)

    def __call__(self, program: Program, traces: Traces, metric: Metric) -> Version | Need:
        """Run the plan over the answers so far; the first need that they don't cover, without what
        they do.
        """
        plan = self.begin(program, traces, metric)
        try:
            need_rollouts = next(plan)
            while not (missing := unanswered(need_rollouts, traces.answers)).rollouts:
                need_rollouts = plan.send(tuple(traces.answers[rollout.key] for rollout in need_rollouts.rollouts))
        except StopIteration as stop:
            return checked_version(program, stop.value)
        finally:
            plan.close()
        return missing

    def begin(self, program: Program, traces: Traces, metric: Any) -> Plan:
        """The plan, begun. It sees what existed before, never the answers: live and resumed it
        takes the same way.
        """
        self.check(traces)
        return self.plan(Task(program, traces.version, traces.data, traces.prior, metric))

    def check(self, traces: Traces) -> None:
        """``BadData`` where a part of the data that it works on is empty, or no traces existed
        before that it needs.
        """
        for part, use in _USES.items():
            if part in self.parts and not len(getattr(traces.data, part)):
                fix = f"Give it some: lf.Data(..., {part}=rows), --{part} FILE or --split .5,.3,.2."
                raise BadData(
                    "the data", f"{self.name} {use} the examples in `{part}`, which has none", fix
                )
        if self.parts >= PRIOR and not traces.prior:
            problem = f"{self.name} was given no recorded traces of the program on the examples in `train`"
            raise BadData(
                "the data", problem, "Give it a run that has: prior=store.run(ID), or --prior RUN."
            )


def check_optimizers(*optimizers: object) -> None:
    """``TypeError`` where one is no optimizer, such as the function that makes it."""
    for optimizer in optimizers:
        check_kind("an optimizer", optimizer, PlanOptimizer, "It is made by a call: lf.mipro().")


def plan_optimizer(
    name: str,
    options: Mapping[str, Any],
    plan: Callable[[Task], Plan],
    bound: Callable[[Program, Data], Bound] | None = None,
    parts: frozenset[str] = frozenset(),
) -> PlanOptimizer:
    """The optimizer of a plan; without a bound it asks for nothing. ``parts`` of what it is given
    it can't do without.

    What in ``options`` is no JSON value stands there by its key, id or name. ``ValueError`` where a
    count is negative.
    """
    for option, value in options.items():
        if isinstance(value, int) and value < 0 and option != "seed":
            msg = f"{name}({option}=...) must be 0 or more, found {value}"
            raise ValueError(msg)
    named = Record({key: _named(value) for key, value in options.items()})
    return PlanOptimizer(name, named, plan, bound or _nothing, parts)


def traces_of_examples(
    program: Program, examples: Iterable[Record], traces: Iterable[Trace]
) -> list[tuple[Record, Trace]]:
    """The traces in which the program gave outputs for the inputs of an example, each with that
    example.
    """
    own = [trace for trace in traces if trace.program == program.key and trace.outputs is not None]
    names = [field.name for field in program.signature.inputs]
    known = {example.only(*names): example for example in examples} if own else {}
    return [
        (known[inputs], trace) for trace in own if (inputs := trace.inputs.only(*names)) in known
    ]


def need_rollouts(
    label: str,
    rollouts: Iterable[PlannedRollout],
    best: Version,
    *,
    score: float | None = None,
    phase: str = "",
) -> Need:
    """The need of rollouts, labelled ``label/ex[id]``, and ``/n[k]`` where one is a repeat."""
    asked = tuple(rollouts)
    ends = (f"/n[{rollout.sample}]" if rollout.sample else "" for rollout in asked)
    heads = (f"{label}/ex[{example_id(rollout.example)}]" for rollout in asked)
    return Need(
        asked, tuple(map("".join, zip(heads, ends, strict=True))), best, score, phase or label
    )


def unanswered(asked: Need, answers: Mapping[str, Trace]) -> Need:
    """The need without what is answered and without repeats of one rollout."""
    missing: dict[str, tuple[PlannedRollout, str]] = {}
    for rollout, label in zip(asked.rollouts, asked.labels, strict=True):
        if rollout.key not in answers:
            missing.setdefault(rollout.key, (rollout, label))
    rollouts = tuple(rollout for rollout, _ in missing.values())
    return attrs.evolve(
        asked, rollouts=rollouts, labels=tuple(label for _, label in missing.values())
    )


def checked_version(program: Program, version: Version) -> Version:
    """The version, if the program fits it. ``ForeignPaths`` otherwise."""
    completed(program, version)
    return version


def randomness(start: Version, name: str, *step: Any) -> random.Random:
    """Randomness that depends on the version to start from, the optimizer and the step, and on
    nothing else.
    """
    return random.Random(int(digest("randomness", [start.id, name, *step])[6:], 16))  # noqa: S311 - no secret


def _nothing(program: Program, data: Data) -> Bound:
    del program, data
    return Bound(0)


@functools.lru_cache(maxsize=4096)
def _tree(program: Program, version: Version) -> str:
    """The digest of the parameters that the program runs with."""
    return completed(program, version).digest


def _named(value: Any) -> Any:
    if isinstance(value, Program):
        return value.key
    if isinstance(value, Version):
        return value.id
    if isinstance(value, PlanOptimizer):
        return [value.name, value.options]
    if isinstance(value, (list, tuple)):
        return [_named(item) for item in value]
    return value
